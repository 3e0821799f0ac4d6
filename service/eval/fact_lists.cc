#include "service/eval/fact_lists.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace longleaf::service::eval {
namespace {

constexpr size_t kMaxAlternatives = 8192;  // of a list
constexpr size_t kLongestName = 16;        // {name} is shorter
constexpr int64_t kLargestNumber = 1'000'000'000'000;

absl::Status Error(int64_t line, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", what));
}

bool IsIdentifier(absl::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
  });
}

}  // namespace

std::optional<std::vector<BracedText>> CutBraces(absl::string_view text) {
  std::vector<BracedText> parts;
  while (!text.empty()) {
    const size_t brace = text.find_first_of("{}");
    if (brace != 0) parts.push_back({text.substr(0, brace), false});
    if (brace == absl::string_view::npos) break;
    const size_t end = text.find_first_of("{}", brace + 1);
    if (text[brace] != '{' || end == absl::string_view::npos || text[end] != '}') {
      return std::nullopt;
    }
    parts.push_back({text.substr(brace + 1, end - brace - 1), true});
    text.remove_prefix(end + 1);
  }
  return parts;
}

absl::Status FactLists::Add(absl::string_view entry, int64_t line, Table& into) {
  const size_t equals = entry.find('=');
  if (equals == absl::string_view::npos) return Error(line, "no = after the name");
  absl::string_view name = entry.substr(0, equals);
  const bool more = absl::ConsumeSuffix(&name, "+");
  name = absl::StripAsciiWhitespace(name);
  if (!IsIdentifier(name)) return Error(line, "a name is made of letters, digits, _ and -");
  if (name == "name" || name == "digit" || name == "letter") {
    return Error(line, absl::StrCat("{", name, "} already has a meaning"));
  }
  auto found = into.index.find(name);
  if (more != (found != into.index.end())) {
    return Error(line, absl::StrCat(name, more ? " is not there yet" : " is there already"));
  }
  if (!more) {
    if (into.lists.size() == FactCatalogue::kMaxLists) return Error(line, "too many lists");
    found = into.index.emplace(name, into.lists.size()).first;
    into.lists.push_back({std::string(name), {}});
    into.texts.emplace_back();
  }
  std::vector<Unresolved>& texts = into.texts[found->second];
  for (const absl::string_view part : absl::StrSplit(entry.substr(equals + 1), " | ")) {
    const absl::string_view text = absl::StripAsciiWhitespace(part);
    if (text.empty()) return Error(line, "an empty alternative");
    if (texts.size() == kMaxAlternatives) return Error(line, "too many alternatives");
    texts.push_back({std::string(text), line});
  }
  return absl::OkStatus();
}

absl::Status FactLists::Finish() {
  for (Table* table : {&lists_, &kinds_}) {
    for (size_t i = 0; i < table->lists.size(); ++i) {
      for (const Unresolved& text : table->texts[i]) {
        auto alternative = Resolve(text);
        if (!alternative.ok()) return alternative.status();
        table->lists[i].alternatives.push_back(*std::move(alternative));
      }
    }
  }
  extents_.resize(lists_.lists.size());
  for (size_t i = 0; i < extents_.size(); ++i) {
    if (absl::Status status = MeasureList(i); !status.ok()) return status;
  }
  for (size_t i = 0; i < kinds_.lists.size(); ++i) {
    Extent extent;
    absl::Status status = Measure(kinds_.lists[i], kinds_.texts[i], extent);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<Alternative> FactLists::Resolve(const Unresolved& unresolved) const {
  const auto parts = CutBraces(unresolved.text);
  if (!parts.has_value()) return Error(unresolved.line, "braces that do not match");
  Alternative alternative;
  for (const BracedText& part : *parts) {
    if (!part.placeholder) {
      alternative.push_back({.kind = Piece::Kind::kText, .text = std::string(part.text)});
      continue;
    }
    auto piece = Placeholder(part.text, unresolved.line);
    if (!piece.ok()) return piece.status();
    alternative.push_back(*std::move(piece));
  }
  return alternative;
}

absl::StatusOr<Piece> FactLists::Placeholder(absl::string_view text, int64_t line) const {
  Piece piece;
  if (text == "name") {
    piece.kind = Piece::Kind::kName;
  } else if (text == "digit") {
    piece.kind = Piece::Kind::kDigit;
  } else if (text == "letter") {
    piece.kind = Piece::Kind::kLetter;
  } else if (const auto list = lists_.index.find(text); list != lists_.index.end()) {
    piece.kind = Piece::Kind::kList;
    piece.list = list->second;
  } else if (const size_t dots = text.find(".."); dots != absl::string_view::npos) {
    piece.kind = Piece::Kind::kNumber;
    if (!absl::SimpleAtoi(text.substr(0, dots), &piece.low) ||
        !absl::SimpleAtoi(text.substr(dots + 2), &piece.high) || piece.low < 0 ||
        piece.low > piece.high || piece.high > kLargestNumber) {
      return Error(line, absl::StrCat("{", text, "} is no range of whole numbers"));
    }
  } else {
    return Error(line, absl::StrCat("there is no list \"", text, "\""));
  }
  return piece;
}

std::optional<size_t> FactLists::FindKind(absl::string_view name) const {
  const auto found = kinds_.index.find(name);
  if (found == kinds_.index.end()) return std::nullopt;
  return found->second;
}

// The extent of list `i` and of those that it uses, each looked at once.
absl::Status FactLists::MeasureList(size_t i) {
  Extent& extent = extents_[i];
  if (extent.mark == Extent::Mark::kDone) return absl::OkStatus();
  const bool circle = extent.mark == Extent::Mark::kOpen;
  if (circle || depth_ == FactCatalogue::kMaxNesting) {
    return Error(lists_.texts[i].front().line,
                 absl::StrCat("list ", lists_.lists[i].name,
                              circle ? " contains itself" : " lies too deep within others"));
  }
  extent.mark = Extent::Mark::kOpen;
  ++depth_;
  absl::Status status = Measure(lists_.lists[i], lists_.texts[i], extent);
  --depth_;
  extent.mark = Extent::Mark::kDone;
  return status;
}

absl::Status FactLists::Measure(const ValueList& list, const std::vector<Unresolved>& texts,
                                Extent& extent) {
  for (size_t a = 0; a < list.alternatives.size(); ++a) {
    size_t bytes = 0;
    for (const Piece& piece : list.alternatives[a]) {
      switch (piece.kind) {
        case Piece::Kind::kText:
          bytes += piece.text.size();
          break;
        case Piece::Kind::kList:
          if (absl::Status status = MeasureList(piece.list); !status.ok()) return status;
          bytes += extents_[piece.list].bytes;
          extent.nesting = std::max(extent.nesting, extents_[piece.list].nesting + 1);
          break;
        case Piece::Kind::kName:
        case Piece::Kind::kNumber:
          bytes += kLongestName;
          break;
        case Piece::Kind::kDigit:
        case Piece::Kind::kLetter:
          ++bytes;
          break;
      }
    }
    if (bytes > FactCatalogue::kMaxExpandedBytes || extent.nesting > FactCatalogue::kMaxNesting) {
      return Error(texts[a].line,
                   absl::StrCat(list.name, " can get too long, or lies too deep in lists"));
    }
    extent.bytes = std::max(extent.bytes, bytes);
  }
  return absl::OkStatus();
}

}  // namespace longleaf::service::eval
