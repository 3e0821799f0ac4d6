// One measurement of longleaf-eval bench: one length under one attention policy.
#ifndef LONGLEAF_SERVICE_EVAL_BENCH_CASE_H_
#define LONGLEAF_SERVICE_EVAL_BENCH_CASE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/attention_policy.h"
#include "service/eval/bench_batch.h"
#include "service/eval/cost.h"
#include "service/eval/session.h"

namespace longleaf::service::eval {

struct BenchPlan {
  int64_t tokens = 0;           // length of the document
  int64_t question_tokens = 0;  // of the question behind it
  int64_t decode_tokens = 0;    // generated after it
  std::string store_folder;     // where a store of its own is made and removed again; empty: none
  int64_t batch = 0;            // answers at once, besides; 0: not measured
  float temperature = 0;        // of those
};

// Seconds and bytes as they were; nothing is an average but the decode rate.
struct BenchResult {
  kernels::AttentionPolicy policy;
  int64_t tokens = 0;

  double prefill_seconds = 0;
  PrefillCost cost;

  int64_t state_bytes = 0;             // as stored: canonical bytes of all segments
  int64_t state_bytes_arithmetic = 0;  // the formula of model/core_state.h
  int64_t full_cache_bytes = 0;
  int64_t memory_state_bytes = 0;  // of the pages in memory

  double save_seconds = 0;         // export, write, sync, manifest
  double restore_seconds = 0;      // from disk: store opened anew, page cache dropped
  double plain_write_seconds = 0;  // as many bytes, one file, fdatasync
  double plain_read_seconds = 0;   // likewise not from the page cache

  double ttft_memory_seconds = 0;  // branch, question, first token
  double ttft_disk_seconds = 0;    // the same with the restoring before it
  double decode_seconds = 0;       // of decode_tokens steps
  int64_t decode_tokens = 0;
  BatchResult batch;  // no rounds where it was not measured
  int64_t peak_memory_bytes = 0;
};

// Validates before it times: the restored state must give the same next token as the live one,
// INTERNAL otherwise.
absl::StatusOr<BenchResult> RunBenchCase(Session& session, const kernels::AttentionPolicy& policy,
                                         const BenchPlan& plan);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_BENCH_CASE_H_
