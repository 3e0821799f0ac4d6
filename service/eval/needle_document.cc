#include "service/eval/needle_document.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace longleaf::service::eval {
namespace {

constexpr size_t kFewestSentences = 10;

// A statement that has to be set somewhere.
struct Place {
  size_t fact = 0;
  size_t statement = 0;
};

bool EndsSentence(char c) { return c == '.' || c == '!' || c == '?'; }

// Sentences of one paragraph: cut after . ! ? and the space that follows.
std::vector<std::string> CutSentences(const std::string& paragraph) {
  std::vector<std::string> sentences;
  size_t begin = 0;
  for (size_t i = 0; i + 1 < paragraph.size(); ++i) {
    if (!EndsSentence(paragraph[i]) || paragraph[i + 1] != ' ') continue;
    sentences.push_back(paragraph.substr(begin, i + 1 - begin));
    begin = i + 2;
  }
  if (begin < paragraph.size()) sentences.push_back(paragraph.substr(begin));
  return sentences;
}

}  // namespace

absl::StatusOr<Filler> Filler::Create(std::string_view text, const model::Tokenizer& tokenizer) {
  Filler filler;
  const std::string all(text);
  for (const absl::string_view part : absl::StrSplit(all, "\n\n")) {
    std::string paragraph(part);
    std::replace(paragraph.begin(), paragraph.end(), '\n', ' ');
    absl::RemoveExtraAsciiWhitespace(&paragraph);
    bool first = true;
    for (std::string& sentence : CutSentences(paragraph)) {
      auto ids = tokenizer.EncodeIds(absl::StrCat(" ", sentence), model::Start::kContinuation);
      if (!ids.ok()) return ids.status();
      const auto tokens = static_cast<int64_t>(ids->size());
      filler.sentences_.push_back({std::move(sentence), tokens, std::exchange(first, false)});
    }
  }
  if (filler.sentences_.size() < kFewestSentences) {
    return absl::InvalidArgumentError(
        absl::StrCat("the filler text has fewer than ", kFewestSentences, " sentences"));
  }
  return filler;
}

NeedleDocument MakeNeedleDocument(const Filler& filler, const std::vector<Fact>& facts,
                                  double phase, int64_t tokens, const model::Tokenizer& tokenizer,
                                  SplitMix64& random) {
  NeedleDocument document;
  std::vector<Place> places;
  int64_t statement_tokens = 0;
  for (size_t i = 0; i < facts.size(); ++i) {
    document.depths.emplace_back(facts[i].statements.size());
    for (size_t j = 0; j < facts[i].statements.size(); ++j) {
      places.push_back({i, j});
      auto ids = tokenizer.EncodeIds(" " + facts[i].statements[j], model::Start::kContinuation);
      if (ids.ok()) statement_tokens += static_cast<int64_t>(ids->size());
    }
  }
  for (size_t i = places.size(); i > 1; --i) {
    std::swap(places[i - 1], places[static_cast<size_t>(random.Below(static_cast<int64_t>(i)))]);
  }
  const int64_t filler_tokens = std::max<int64_t>(0, tokens - statement_tokens);

  const auto count = static_cast<double>(places.size());
  size_t next = 0;  // of places
  const auto place = [&](int64_t written) {
    const double due = (static_cast<double>(next) + phase) / count;
    if (static_cast<double>(written) < due * static_cast<double>(filler_tokens)) return false;
    const Place& at = places[next++];
    absl::StrAppend(&document.text, document.text.empty() ? "" : " ",
                    facts[at.fact].statements[at.statement]);
    document.depths[at.fact][at.statement] = due;
    return true;
  };

  const std::vector<Filler::Sentence>& sentences = filler.sentences();
  auto at = static_cast<size_t>(random.Below(static_cast<int64_t>(sentences.size())));
  int64_t written = 0;
  while (true) {
    while (next < places.size() && place(written)) {
    }
    const Filler::Sentence& sentence = sentences[at];
    if (written + sentence.tokens > filler_tokens) break;
    const char* join = document.text.empty() ? "" : sentence.paragraph ? "\n\n" : " ";
    absl::StrAppend(&document.text, join, sentence.text);
    written += sentence.tokens;
    at = (at + 1) % sentences.size();
  }
  while (next < places.size()) place(filler_tokens);
  return document;
}

}  // namespace longleaf::service::eval
