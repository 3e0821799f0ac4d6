// Files of questions about documents, one JSON object a line. A line is
//
//   {"document": TEXT, "question": TEXT, "answers": [TEXT, ...]}
//
// with "document_file": PATH for a text in a file of its own (beside this one, unless the path is
// absolute), "answer": TEXT for a single answer, and "questions": [{"question", "answers"}, ...]
// for several at once. The names that published sets use are taken too: "context" and "input"
// (LongBench),
// {"text": TEXT} for a text (NarrativeQA) and {"text": [TEXT, ...]} for answers (SQuAD). Other keys
// are ignored.
#ifndef LONGLEAF_SERVICE_EVAL_QA_FILE_H_
#define LONGLEAF_SERVICE_EVAL_QA_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longleaf::service::eval {

struct QaQuestion {
  std::string question;
  std::vector<std::string> answers;  // any of them is right; at least one
  int64_t line = 0;
};

struct QaLine {
  std::string document;               // the text, or
  std::string document_file;          // where it is
  std::vector<QaQuestion> questions;  // at least one; `line` is not set
};

struct QaDocument {
  std::string text;
  int64_t line = 0;  // where it came first
  std::vector<QaQuestion> questions;
};

inline constexpr size_t kMaxQaLineBytes = 64 << 20;
inline constexpr size_t kMaxQaQuestions = 100'000;  // of a line
inline constexpr size_t kMaxQaAnswers = 1000;       // of a question

// INVALID_ARGUMENT says what is missing, empty or of the wrong type.
absl::StatusOr<QaLine> ParseQaLine(std::string_view json);

// The documents of a file in the order in which they come, each once with all questions of the
// lines that hold the same text. INVALID_ARGUMENT and NOT_FOUND name the file and the line.
absl::StatusOr<std::vector<QaDocument>> ReadQaFile(const std::string& path);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_QA_FILE_H_
