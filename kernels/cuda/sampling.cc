// Requests to the device, results back.
#include "kernels/cuda/sampling.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/sampling_request.h"

namespace longleaf::kernels::cuda {

using absl::Status;
using absl::StatusOr;

namespace {

bool Penalises(const SampleRequest& request) {
  return !request.penalised.empty() && request.repetition_penalty != 1;
}

// The ids of a request, each once.
std::vector<int32_t> Distinct(absl::Span<const int32_t> ids) {
  std::vector<int32_t> distinct(ids.begin(), ids.end());
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  return distinct;
}

// Room for `bytes`: at least half as much again as before, so that it seldom grows.
template <typename Memory>
Status Grow(int64_t bytes, Memory& memory) {
  if (bytes <= memory.bytes()) return absl::OkStatus();
  StatusOr<Memory> larger = Memory::Allocate(std::max(bytes, memory.bytes() * 3 / 2));
  if (!larger.ok()) return larger.status();
  memory = *std::move(larger);
  return absl::OkStatus();
}

StatusOr<SampleResult> ResultOf(const RowResult& row) {
  switch (row.status) {
    case RowStatus::kNotANumber:
      return absl::InternalError("a logit is not a number");
    case RowStatus::kNotFinite:
      return absl::InternalError("the largest logit is not finite");
    case RowStatus::kOk:
      break;
  }
  SampleResult result;
  result.token = row.token;
  result.logprob = row.logprob;
  for (int32_t i = 0; i < row.top_count; ++i) {
    result.top.push_back({row.top_tokens[i], row.top_logprobs[i]});
  }
  return result;
}

}  // namespace

Status CudaSampler::Fit(int64_t request_bytes, int64_t result_bytes, int64_t work_bytes) {
  // Nothing is under way: every call waits for its results.
  Status status = Grow(request_bytes, requests_);
  if (status.ok()) status = Grow(request_bytes, device_requests_);
  if (status.ok()) status = Grow(result_bytes, results_);
  if (status.ok()) status = Grow(result_bytes, device_results_);
  if (status.ok()) status = Grow(work_bytes, work_);
  return status;
}

StatusOr<std::vector<SampleResult>> CudaSampler::Sample(const Tensor& logits,
                                                        absl::Span<const SampleRequest> requests,
                                                        cudaStream_t stream) {
  if (requests.empty()) return std::vector<SampleResult>();
  // Requests, then the penalised ids of all.
  std::vector<int32_t> ids;
  std::vector<int64_t> ends;  // of each request's ids
  int64_t penalising = 0;
  for (const SampleRequest& request : requests) {
    if (Penalises(request)) {
      const std::vector<int32_t> distinct = Distinct(request.penalised);
      ids.insert(ids.end(), distinct.begin(), distinct.end());
      ++penalising;
    }
    ends.push_back(static_cast<int64_t>(ids.size()));
  }
  const int64_t rows = static_cast<int64_t>(requests.size());
  const int64_t head_bytes = rows * int64_t{sizeof(RowRequest)};
  const int64_t request_bytes = head_bytes + static_cast<int64_t>(ids.size() * sizeof(int32_t));
  const int64_t result_bytes = rows * int64_t{sizeof(RowResult)};
  Status status =
      Fit(request_bytes, result_bytes, penalising * logits.cols * int64_t{sizeof(float)});
  if (!status.ok()) return status;

  auto* const to = requests_.as<RowRequest>();
  std::copy(ids.begin(), ids.end(), reinterpret_cast<int32_t*>(requests_.data() + head_bytes));
  const auto* const device_ids =
      reinterpret_cast<const int32_t*>(device_requests_.data() + head_bytes);
  float* work = work_.as<float>();
  int64_t first = 0;
  for (size_t r = 0; r < requests.size(); ++r) {
    const SampleRequest& from = requests[r];
    RowRequest request;
    request.uniform = from.uniform;
    request.top_p = static_cast<double>(from.top_p);
    request.top_k = from.top_k;
    request.temperature = from.temperature;
    request.min_p = from.min_p;
    request.repetition_penalty = from.repetition_penalty;
    request.top_logprobs = static_cast<int32_t>(from.top_logprobs);
    if (Penalises(from)) {
      request.penalised = device_ids + first;
      request.penalised_count = static_cast<int32_t>(ends[r] - first);
      request.work = work;
      work += logits.cols;
    }
    first = ends[r];
    to[r] = request;
  }

  status = Copy(device_requests_.data(), requests_.data(), request_bytes, stream);
  if (status.ok()) {
    status = LaunchSampling(logits.data, rows, logits.cols, device_requests_.as<RowRequest>(),
                            device_results_.as<RowResult>(), stream);
  }
  if (status.ok()) status = Copy(results_.data(), device_results_.data(), result_bytes, stream);
  // Also after an error: the next call writes to this memory.
  const Status waited = Check(cudaStreamSynchronize(stream), "waiting for the device");
  if (status.ok()) status = waited;
  if (!status.ok()) return status;

  std::vector<SampleResult> results;
  for (int64_t r = 0; r < rows; ++r) {
    StatusOr<SampleResult> result = ResultOf(results_.as<RowResult>()[r]);
    if (!result.ok()) return result.status();
    results.push_back(*std::move(result));
  }
  return results;
}

}  // namespace longleaf::kernels::cuda
