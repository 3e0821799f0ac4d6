// What was answered to a file of questions: exact match and F1 by attention policy and length.
#ifndef LONGLEAF_SERVICE_EVAL_QA_REPORT_H_
#define LONGLEAF_SERVICE_EVAL_QA_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "service/eval/qa_file.h"
#include "service/eval/squad_score.h"

namespace longleaf::service::eval {

struct QaResult {
  int64_t document = 0;
  int64_t question = 0;         // number within its document
  int64_t document_tokens = 0;  // of all of it
  QaQuestion asked;
  std::string answer;
  AnswerScore score;
};

// All answers under one policy.
struct QaRun {
  std::string attention;
  int64_t state_bytes = 0;       // of all documents
  int64_t full_cache_bytes = 0;  // what full attention holds for them
  std::vector<QaResult> results;
};

struct QaReport {
  std::vector<std::string> head;  // what was done, in lines for people
  nlohmann::ordered_json setup;   // the same for programs
  std::vector<QaRun> runs;
};

std::string QaTables(const QaReport& report);
nlohmann::ordered_json QaJson(const QaReport& report);
// One JSON object a question, of the results from `first` on.
std::string QaAnswers(const QaRun& run, size_t first);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_QA_REPORT_H_
