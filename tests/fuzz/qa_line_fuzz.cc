// Any bytes as a line of a file of questions, and its first answer judged.
#include <cstdint>
#include <string_view>

#include "service/eval/qa_file.h"
#include "service/eval/squad_score.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto line = longleaf::service::eval::ParseQaLine(
      std::string_view(reinterpret_cast<const char*>(data), size));
  if (!line.ok()) return 0;
  if (line->document.empty() == line->document_file.empty() || line->questions.empty()) {
    __builtin_trap();
  }
  const auto& question = line->questions.front();
  if (question.question.empty() || question.answers.empty()) __builtin_trap();
  const auto score =
      longleaf::service::eval::ScoreAnswer(question.answers.front(), question.answers);
  if (score.exact != 1 || score.f1 != 1) __builtin_trap();
  return 0;
}
