// What a needle test found, in cells of length and attention policy: as tables, JSON, heat maps and
// one line a question.
#ifndef LONGLEAF_SERVICE_EVAL_NEEDLE_REPORT_H_
#define LONGLEAF_SERVICE_EVAL_NEEDLE_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "service/eval/clustered_mean.h"
#include "service/eval/needle_trial.h"

namespace longleaf::service::eval {

// One question of a cell.
struct NeedleResult {
  int64_t document = 0;
  int64_t question = 0;  // number within its document
  Fact fact;
  std::string answer;
  std::vector<bool> found;     // [fact.answers]
  std::vector<double> depths;  // [fact.answers]; none: not stated

  bool stated() const { return !depths.empty(); }
  double right() const;  // the share of `found`
};

struct NeedleCell {
  int64_t length = 0;
  std::string attention;
  int64_t documents = 0;
  int64_t state_bytes = 0;  // of the last document
  int64_t full_cache_bytes = 0;
  std::vector<NeedleResult> results;

  double state_share() const;
};

struct NeedleReport {
  int64_t depths = 5;             // ranges of depth that results are shown by
  std::vector<std::string> head;  // what was done, in lines for people
  nlohmann::ordered_json setup;   // the same for programs
  std::vector<NeedleCell> cells;  // by length, then by policy
};

// Shares of right answers to stated questions, and to others.
Estimate StatedShare(const NeedleCell& cell);
Estimate UnstatedShare(const NeedleCell& cell);
// Of answers that stand in range `depth` of `depths`; one of several answers counts alone.
Estimate DepthShare(const NeedleCell& cell, int64_t depth, int64_t depths);
// By the list that the answers come from.
std::map<std::string, Estimate> ShareByKind(const std::vector<const NeedleCell*>& cells);

// `cell` minus that of full attention at the same length, over the stated questions that both were
// asked.
struct NeedleDifference {
  const NeedleCell* cell = nullptr;
  Estimate points;  // of shares
};
std::vector<NeedleDifference> DifferencesToFull(const std::vector<NeedleCell>& cells);

std::string NeedleTables(const NeedleReport& report, bool by_kind);
nlohmann::ordered_json NeedleJson(const NeedleReport& report);
std::string NeedlePicture(const NeedleReport& report);
// One JSON object a question.
std::string NeedleAnswers(const NeedleCell& cell, absl::Span<const NeedleResult> results);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_NEEDLE_REPORT_H_
