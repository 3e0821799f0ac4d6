#include "service/eval/qa_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "service/eval/read_file.h"

namespace longleaf::service::eval {
namespace {

using Json = nlohmann::json;

absl::Status Error(const std::string& what) { return absl::InvalidArgumentError(what); }

// A text as it stands or as {"text": ...}; null for anything else.
const std::string* TextOf(const Json& value) {
  if (value.is_object()) {
    const auto text = value.find("text");
    return text == value.end() ? nullptr : text->get_ptr<const std::string*>();
  }
  return value.get_ptr<const std::string*>();
}

// The one of several names that `object` has; null for none, an error for two.
absl::StatusOr<const Json*> OneOf(const Json& object, std::initializer_list<const char*> names) {
  const Json* found = nullptr;
  for (const char* name : names) {
    const auto entry = object.find(name);
    if (entry == object.end()) continue;
    if (found != nullptr) return Error(absl::StrCat("\"", name, "\" says again what is said"));
    found = &*entry;
  }
  return found;
}

absl::StatusOr<std::vector<std::string>> AnswersOf(const Json& value) {
  const Json* list = &value;
  if (value.is_object() && value.contains("text")) list = &value["text"];
  std::vector<std::string> answers;
  if (const std::string* only = TextOf(*list); only != nullptr) {
    answers.push_back(*only);
  } else if (list->is_array()) {
    if (list->size() > kMaxQaAnswers) return Error("too many answers");
    for (const Json& entry : *list) {
      const std::string* text = TextOf(entry);
      if (text == nullptr) return Error("an answer that is no text");
      answers.push_back(*text);
    }
  }
  if (answers.empty()) return Error("no answer to compare with");
  return answers;
}

absl::StatusOr<QaQuestion> QuestionOf(const Json& object) {
  if (!object.is_object()) return Error("a question that is no object");
  auto text = OneOf(object, {"question", "input"});
  if (!text.ok()) return text.status();
  auto answers = OneOf(object, {"answers", "answer"});
  if (!answers.ok()) return answers.status();
  if (*text == nullptr) return Error("no \"question\"");
  if (*answers == nullptr) return Error("no \"answers\"");
  QaQuestion question;
  const std::string* words = TextOf(**text);
  if (words == nullptr || words->empty()) return Error("a question without text");
  question.question = *words;
  auto all = AnswersOf(**answers);
  if (!all.ok()) return all.status();
  question.answers = *std::move(all);
  return question;
}

absl::StatusOr<QaLine> LineOf(const Json& object) {
  QaLine line;
  auto document = OneOf(object, {"document", "context", "document_file"});
  if (!document.ok()) return document.status();
  if (*document == nullptr) return Error("no \"document\"");
  const std::string* text = TextOf(**document);
  if (text == nullptr || text->empty()) return Error("a document without text");
  (object.contains("document_file") ? line.document_file : line.document) = *text;

  const auto questions = object.find("questions");
  if (questions == object.end()) {
    auto question = QuestionOf(object);
    if (!question.ok()) return question.status();
    line.questions.push_back(*std::move(question));
    return line;
  }
  if (!questions->is_array() || questions->empty())
    return Error("\"questions\" is no list of them");
  if (questions->size() > kMaxQaQuestions) return Error("too many questions");
  for (const Json& entry : *questions) {
    auto question = QuestionOf(entry);
    if (!question.ok()) return question.status();
    line.questions.push_back(*std::move(question));
  }
  return line;
}

// Lines of a file, none held beyond the bound.
class LineReader {
 public:
  absl::Status Open(const std::string& path) {
    file_.reset(std::fopen(path.c_str(), "rb"));
    if (file_ == nullptr) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
    return absl::OkStatus();
  }
  // False at the end.
  absl::StatusOr<bool> Next(std::string* line) {
    line->clear();
    while (true) {
      const size_t end = std::min(piece_.find('\n', at_), piece_.size());
      line->append(piece_, at_, end - at_);
      if (line->size() > kMaxQaLineBytes) {
        return Error(absl::StrCat("longer than ", kMaxQaLineBytes, " bytes"));
      }
      if (end < piece_.size()) {
        at_ = end + 1;
        return true;
      }
      piece_.resize(size_t{1} << 16);
      at_ = 0;
      piece_.resize(std::fread(piece_.data(), 1, piece_.size(), file_.get()));
      if (std::ferror(file_.get()) != 0) return absl::ErrnoToStatus(errno, "cannot be read");
      if (piece_.empty()) return !line->empty();
    }
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
  std::string piece_;
  size_t at_ = 0;  // of piece_
};

class QaReader {
 public:
  explicit QaReader(const std::string& path) : path_(path) {}

  absl::StatusOr<std::vector<QaDocument>> Read() {
    LineReader reader;
    if (absl::Status status = reader.Open(path_); !status.ok()) return status;
    std::string text;
    for (int64_t number = 1;; ++number) {
      auto more = reader.Next(&text);
      absl::Status status = more.status();
      if (more.ok() && !*more) break;
      if (status.ok() && !absl::StripAsciiWhitespace(text).empty()) status = Add(text, number);
      if (!status.ok()) {
        return absl::Status(status.code(),
                            absl::StrCat(path_, ", line ", number, ": ", status.message()));
      }
    }
    if (documents_.empty()) return Error(absl::StrCat(path_, ": no questions in it"));
    return std::move(documents_);
  }

 private:
  absl::Status Add(const std::string& json, int64_t number) {
    auto line = ParseQaLine(json);
    if (!line.ok()) return line.status();
    if (!line->document_file.empty()) {
      const auto folder = std::filesystem::path(path_).parent_path();
      auto text = ReadFile((folder / line->document_file).string());
      if (!text.ok()) return text.status();
      if (text->empty()) return Error(absl::StrCat(line->document_file, " is empty"));
      line->document = *std::move(text);
    }
    QaDocument& document = Find(std::move(line->document), number);
    for (QaQuestion& question : line->questions) {
      question.line = number;
      document.questions.push_back(std::move(question));
    }
    return absl::OkStatus();
  }

  QaDocument& Find(std::string text, int64_t number) {
    const size_t hash = std::hash<std::string>()(text);
    const auto [begin, end] = index_.equal_range(hash);
    for (auto entry = begin; entry != end; ++entry) {
      if (documents_[entry->second].text == text) return documents_[entry->second];
    }
    index_.emplace(hash, documents_.size());
    documents_.push_back({std::move(text), number, {}});
    return documents_.back();
  }

  const std::string path_;
  std::vector<QaDocument> documents_;
  std::unordered_multimap<size_t, size_t> index_;  // hash of the text: document
};

}  // namespace

absl::StatusOr<QaLine> ParseQaLine(std::string_view json) {
  if (json.size() > kMaxQaLineBytes) return Error("too long");
  const Json object = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Error("no JSON object");
  return LineOf(object);
}

absl::StatusOr<std::vector<QaDocument>> ReadQaFile(const std::string& path) {
  return QaReader(path).Read();
}

}  // namespace longleaf::service::eval
