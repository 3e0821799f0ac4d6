// What stands around a document and a question, from the optional file prompt.json in the model
// directory:
//
//   {"version": 1, "preamble": "", "question_prefix": "\n\nQuestion: ", "question_suffix":
//   "\nAnswer:",
//    "stop": ["\nQuestion:"], "max_answer_tokens": 256, "strip_leading_space": true}
//
// Every key but version may be left out; the values above are the defaults, also without a file.
// The sequence the model sees is
//
//   <s> + preamble + document + (question_prefix question question_suffix) + answer
//
// where BOS, preamble, document and question text are encoded apart, and only the first text has
// sentencepiece's dummy space: the preamble, or the document when there is no preamble.
#ifndef LONGLEAF_MODEL_PROMPT_H_
#define LONGLEAF_MODEL_PROMPT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer.h"

namespace longleaf::model {

// The file's content. A plain value.
struct PromptFile {
  std::string preamble;
  std::string question_prefix = "\n\nQuestion: ";
  std::string question_suffix = "\nAnswer:";
  std::vector<std::string> stop = {"\nQuestion:"};
  int64_t max_answer_tokens = 256;  // when a request does not say, and the most it may ask unless
                                    // the operator allows more
  bool strip_leading_space = true;

  static constexpr int64_t kMaxFileBytes = 256 << 10;
  static constexpr int64_t kMaxAnswerTokens = 1 << 20;

  // Reads DIRECTORY/prompt.json; the defaults if there is none. INVALID_ARGUMENT names the file and
  // the key: not JSON, unknown or repeated key, wrong type, out of range, a file too large.
  static absl::StatusOr<PromptFile> Load(const std::string& directory);
  // The same from text; `name` stands for the file in errors.
  static absl::StatusOr<PromptFile> Parse(std::string_view json, const std::string& name);
};

// A prompt file bound to a tokenizer. Immutable after Create and thread-safe; the tokenizer must
// outlive it.
class Prompt {
 public:
  static absl::StatusOr<Prompt> Create(PromptFile file, const Tokenizer* tokenizer);

  // BOS (if the model has one) and the preamble: what every document's sequence begins with.
  const std::vector<int32_t>& prefix_ids() const { return prefix_ids_; }

  // How to encode the document's text: Start::kFirst without a preamble.
  Start document_start() const;

  // The ids that follow the document: question_prefix + question + question_suffix, encoded as one
  // text that continues. INVALID_ARGUMENT if the question is not UTF-8.
  absl::StatusOr<std::vector<int32_t>> QuestionIds(std::string_view question) const;

  const PromptFile& file() const { return file_; }

  // Changes when, and only when, something changes that a document's state depends on: its prefix
  // ids and where the dummy space goes. Part of a state's fingerprint, beside Tokenizer::digest().
  // The question's text is not in it: it comes after the document.
  std::string digest() const;

 private:
  Prompt(PromptFile file, const Tokenizer* tokenizer)
      : file_(std::move(file)), tokenizer_(tokenizer) {}

  PromptFile file_;
  const Tokenizer* tokenizer_;
  std::vector<int32_t> prefix_ids_;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_PROMPT_H_
