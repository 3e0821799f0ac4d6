// What the sampling kernel is asked and answers, as it travels.
#ifndef LONGLEAF_KERNELS_CUDA_SAMPLING_REQUEST_H_
#define LONGLEAF_KERNELS_CUDA_SAMPLING_REQUEST_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "absl/status/status.h"

namespace longleaf::kernels::cuda {

inline constexpr int kMostTopLogprobs = 20;

struct RowRequest {
  double uniform = 0;
  double top_p = 1;
  int64_t top_k = 0;  // 0: no limit
  float temperature = 0;
  float min_p = 0;
  float repetition_penalty = 1;
  int32_t top_logprobs = 0;
  int32_t penalised_count = 0;
  const int32_t* penalised = nullptr;  // device: [penalised_count], each once
  float* work = nullptr;               // device: [vocab], where any are penalised
};

enum class RowStatus : int32_t { kOk, kNotANumber, kNotFinite };

struct RowResult {
  RowStatus status = RowStatus::kOk;
  int32_t token = 0;
  float logprob = 0;
  int32_t top_count = 0;
  int32_t top_tokens[kMostTopLogprobs];  // best first
  float top_logprobs[kMostTopLogprobs];
};

// Enqueues results[i] = a choice from logits[i] by requests[i]. All device memory.
absl::Status LaunchSampling(const float* logits,  // [rows, vocab]
                            int64_t rows, int64_t vocab, const RowRequest* requests,  // [rows]
                            RowResult* results,                                       // [rows]
                            cudaStream_t stream);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_SAMPLING_REQUEST_H_
