// What longleaf-eval needle is told on the command line.
#ifndef LONGLEAF_SERVICE_EVAL_NEEDLE_OPTIONS_H_
#define LONGLEAF_SERVICE_EVAL_NEEDLE_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "kernels/attention_policy.h"
#include "service/eval/facts.h"
#include "service/eval/needle_trial.h"
#include "service/eval/report_file.h"
#include "service/eval/session.h"

namespace longleaf::service::eval {

struct NeedleOptions {
  SessionOptions session;
  NeedlePlan plan;
  std::vector<int64_t> lengths;
  std::vector<std::string> attention;
  int64_t documents = 4;
  int64_t full_documents = 0;  // 0: as many as of the others
  int64_t full_documents_from = 32768;
  int64_t depths = 5;
  std::string facts;
  std::vector<std::string> filler;
  bool by_kind = false;
  JsonFlag json;
  std::string picture;
  std::string answers;

  // Given, or the model's own.
  std::string FactsFile() const;
  std::vector<std::string> FillerFiles() const;
  // Documents that `policy` reads at `length`.
  int64_t DocumentsOf(const kernels::AttentionPolicy& policy, int64_t length) const;
};

// "trained", "held-out", "all".
std::string PhrasingsName(Phrasings phrasings);

// Declares the flags; `options` outlives the parsing.
void AddNeedleFlags(CLI::App& command, NeedleOptions& options);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_NEEDLE_OPTIONS_H_
