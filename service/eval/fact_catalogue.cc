#include "service/eval/fact_catalogue.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "model/json_text.h"
#include "model/utf8.h"
#include "service/eval/fact_lists.h"

namespace longleaf::service::eval {
namespace {

constexpr size_t kMaxPhrasings = 512;  // of a relation
constexpr size_t kMaxPhrasingBytes = 1024;

absl::Status Error(int64_t line, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", what));
}

template <typename T>
void Append(const std::vector<T>& from, std::vector<T>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

// Reads entries one by one; what they refer to may come later, so names are resolved at the end.
class CatalogueParser {
 public:
  absl::StatusOr<FactCatalogue> Parse(absl::string_view text) {
    if (static_cast<int64_t>(text.size()) > FactCatalogue::kMaxFileBytes) {
      return absl::InvalidArgumentError("too large for a file of facts");
    }
    for (const absl::string_view raw : absl::StrSplit(text, '\n')) {
      ++line_;
      const absl::string_view line = absl::StripAsciiWhitespace(raw);
      if (line.empty() || line.front() == '#') continue;
      if (absl::Status status = model::CheckUtf8({line.data(), line.size()}); !status.ok()) {
        return Error(line_, std::string(status.message()));
      }
      if (absl::Status status = Entry(line); !status.ok()) return status;
    }
    if (relations_.empty()) return absl::InvalidArgumentError("no relation in it");
    if (absl::Status status = lists_.Finish(); !status.ok()) return status;
    FactCatalogue catalogue;
    for (Draft& draft : relations_) {
      if (absl::Status status = Finish(draft); !status.ok()) return status;
      catalogue.relations_.push_back(std::move(draft.relation));
    }
    catalogue.lists_ = lists_.TakeLists();
    catalogue.kinds_ = lists_.TakeKinds();
    return catalogue;
  }

 private:
  // A relation and what is left to resolve in it.
  struct Draft {
    Relation relation;
    std::vector<std::string> kinds;
    int64_t line = 0;
  };

  absl::Status Entry(absl::string_view line) {
    const size_t end = std::min(line.find_first_of(" \t"), line.size());
    const absl::string_view word = line.substr(0, end);
    const absl::string_view rest = absl::StripAsciiWhitespace(line.substr(end));
    if (word == "list") return lists_.AddList(rest, line_);
    if (word == "kind") return lists_.AddKind(rest, line_);
    if (word == "relation") return AddRelation(rest);
    if (word == "generic" && rest.empty()) {
      block_ = &generic_;
      return absl::OkStatus();
    }
    if (word == "s" || word == "s*" || word == "q" || word == "q*") return AddPhrasing(word, rest);
    return Error(line_, "an entry begins with list, kind, relation, generic, s, s*, q or q*");
  }

  absl::Status AddRelation(absl::string_view rest) {
    const std::vector<absl::string_view> parts = absl::StrSplit(rest, ':');
    if (parts.size() != 3) return Error(line_, "a relation is KINDS : NOUNS : LIST");
    if (relations_.size() == FactCatalogue::kMaxLists) return Error(line_, "too many relations");
    Draft draft;
    draft.line = line_;
    draft.relation.title = std::string(rest);
    draft.relation.values = std::string(absl::StripAsciiWhitespace(parts[2]));
    for (const absl::string_view kind : absl::StrSplit(parts[0], ',')) {
      draft.kinds.emplace_back(absl::StripAsciiWhitespace(kind));
    }
    for (const absl::string_view part : absl::StrSplit(parts[1], '|')) {
      const absl::string_view noun = absl::StripAsciiWhitespace(part);
      if (noun.find_first_of("{}") != absl::string_view::npos) {
        return Error(line_, "a noun with braces");
      }
      if (!noun.empty()) draft.relation.nouns.emplace_back(noun);
    }
    relations_.push_back(std::move(draft));
    block_ = &relations_.back().relation;
    return absl::OkStatus();
  }

  absl::Status AddPhrasing(absl::string_view word, absl::string_view text) {
    if (block_ == nullptr) return Error(line_, "a phrasing before the first relation");
    if (text.size() > kMaxPhrasingBytes) return Error(line_, "too long");
    const auto parts = CutBraces(text);
    if (!parts.has_value()) return Error(line_, "braces that do not match");
    bool thing = false;
    bool answer = false;
    bool noun = false;
    for (const BracedText& part : *parts) {
      if (!part.placeholder) continue;
      if (part.text == "e" || part.text == "E") {
        thing = true;
      } else if (part.text == "v" || part.text == "V") {
        answer = true;
      } else if (part.text == "n" || part.text == "N") {
        noun = true;
      } else {
        return Error(line_, absl::StrCat("{", part.text, "} is none of {e} {E} {v} {V} {n} {N}"));
      }
    }
    const bool statement = word[0] == 's';
    if (!thing) return Error(line_, "no {e} for the thing");
    if (answer != statement) {
      return Error(line_, statement ? "no {v} for the answer" : "a question with its answer");
    }
    if (noun != (block_ == &generic_)) {
      return Error(line_, noun ? "{n} is for generic phrasings" : "no {n} in a generic phrasing");
    }
    std::vector<Phrasing>& into = statement ? block_->statements : block_->questions;
    if (into.size() == kMaxPhrasings) return Error(line_, "too many phrasings");
    into.push_back({std::string(text), absl::EndsWith(word, "*")});
    return absl::OkStatus();
  }

  absl::Status Finish(Draft& draft) const {
    Relation& relation = draft.relation;
    for (const std::string& name : draft.kinds) {
      const std::optional<size_t> kind = lists_.FindKind(name);
      if (!kind.has_value()) {
        return Error(draft.line, absl::StrCat("there is no kind \"", name, "\""));
      }
      relation.kinds.push_back(*kind);
    }
    auto answer = lists_.Placeholder(relation.values, draft.line);
    if (!answer.ok()) return answer.status();
    relation.answer = *std::move(answer);
    if (!relation.nouns.empty()) {
      Append(generic_.statements, relation.statements);
      Append(generic_.questions, relation.questions);
    }
    if (relation.statements.empty() || relation.questions.empty()) {
      return Error(draft.line, "a relation without a statement or without a question");
    }
    return absl::OkStatus();
  }

  int64_t line_ = 0;
  FactLists lists_;
  std::vector<Draft> relations_;
  Relation generic_;           // its phrasings
  Relation* block_ = nullptr;  // that phrasings go to: generic_ or the last of relations_
};

absl::StatusOr<FactCatalogue> FactCatalogue::Parse(std::string_view text, const std::string& name) {
  auto catalogue = CatalogueParser().Parse({text.data(), text.size()});
  if (catalogue.ok()) return catalogue;
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", catalogue.status().message()));
}

absl::StatusOr<FactCatalogue> FactCatalogue::Load(const std::string& path) {
  auto text = model::ReadSmallFile(path, kMaxFileBytes);
  if (!text.ok()) return text.status();
  return Parse(*text, path);
}

}  // namespace longleaf::service::eval
