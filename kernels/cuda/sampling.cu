// Sampling, a block for each row: passes over the row, which stays in the second-level cache.
//
// Probabilities are fractions of the largest, in fixed point with so many bits that all of a row
// add up in 62: sums are exact, and the last step meets the total that the first one found.
#include <algorithm>
#include <cfloat>

#include "kernels/cuda/ptx.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/sampling_request.h"
#include "kernels/cuda/sampling_search.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kMostThreads = 1024;

// exp((logit - largest) / temperature).
struct Softmax {
  float largest = 0;
  float temperature = 1;
  float unit = 1;  // what 1 is in fixed point

  __device__ __forceinline__ float Weight(float logit) const {
    // The largest may be minus infinity where penalties overflowed.
    return logit == largest ? 1.0f : expf((logit - largest) / temperature);
  }
  __device__ __forceinline__ Sum Fixed(float logit) const {
    return static_cast<Sum>(Weight(logit) * unit);
  }
};

// Which tokens the cuts leave: those of smaller keys, of this key the lowest ids, and none below
// min_weight.
struct Cut {
  uint32_t key = 0xffffffffu;
  int32_t end = 0;  // of the ids with that key
  float min_weight = 0;

  __device__ __forceinline__ bool Keeps(int32_t id, uint32_t of_token, float weight) const {
    return (of_token < key || (of_token == key && id < end)) && weight >= min_weight;
  }
};

struct Shared {
  RankBins bins;
  Sum parts[32];
  int32_t top_count;
  int32_t top_ids[kMostTopLogprobs];
  float top_logits[kMostTopLogprobs];
};

// The largest logit's RankKey, then its lowest id in the lower half; 0 if there is a NaN.
__device__ Sum Best(const LogitRow& row, Shared& shared) {
  Sum best = ~Sum{0};
  ForEachLogit(row, [&](int32_t id, float logit) {
    const bool number = logit == logit;
    const Sum all = static_cast<Sum>(RankKey(logit)) << 32 | static_cast<uint32_t>(id);
    best = Least()(best, number ? all : Sum{0});
  });
  return BlockReduce(best, Least(), shared.parts);
}
__device__ __forceinline__ int32_t IdOf(Sum best) {
  return static_cast<int32_t>(best & 0xffffffffu);
}

// Block: fills request.work with the row after penalties.
__device__ LogitRow Penalise(const LogitRow& row, const RowRequest& request) {
  float* const work = request.work;
  ForEachLogit(row, [&](int32_t id, float logit) { work[id] = logit; });
  __syncthreads();
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < request.penalised_count;
       i += static_cast<int32_t>(blockDim.x)) {
    const int32_t id = request.penalised[i];
    const float logit = row.logits[id];
    work[id] = logit > 0 ? fminf(logit / request.repetition_penalty, FLT_MAX)
                         : logit * request.repetition_penalty;
  }
  __syncthreads();
  return {work, row.vocab};
}

// Block: where the ids end of which `count` >= 1 in all have this key and are within `cut`.
__device__ int32_t EndOfTies(const LogitRow& row, uint32_t key, Sum count, const Cut& cut,
                             Shared& shared) {
  return 1 + FindById(row, count - 1, shared.parts, [&](int32_t id, float logit) {
           const uint32_t of_token = RankKey(logit);
           return of_token == key && cut.Keeps(id, of_token, cut.min_weight) ? Sum{1} : Sum{0};
         });
}

// Block: the first `count` ranks of a row; 1 <= count <= vocab.
__device__ Cut FirstRanks(const LogitRow& row, Sum count, Shared& shared) {
  Cut cut;
  cut.end = row.vocab;
  if (count == static_cast<Sum>(row.vocab)) return cut;
  const RankFound found =
      FindByRank(row, count, shared.bins, [](int32_t, float, uint32_t) { return Sum{1}; });
  if (found.before + found.equal > count) {
    cut.end = EndOfTies(row, found.key, count - found.before, cut, shared);
  }
  cut.key = found.key;
  return cut;
}

// Block: narrows `cut` to the fewest first ranks whose share reaches top_p.
__device__ Cut Nucleus(const LogitRow& row, const Softmax& softmax, const RowRequest& request,
                       Cut cut, Sum total, Shared& shared) {
  const double wanted = ceil(request.top_p * static_cast<double>(total));
  const Sum target = Most()(Sum{1}, Least()(total, static_cast<Sum>(wanted)));
  const RankFound found =
      FindByRank(row, target, shared.bins, [&](int32_t id, float logit, uint32_t key) {
        return cut.Keeps(id, key, softmax.Weight(logit)) ? softmax.Fixed(logit) : Sum{0};
      });
  // Tokens of one key weigh the same.
  const float logit =
      __uint_as_float((found.key >> 31) != 0 ? found.key : ~found.key & 0x7fffffffu);
  const Sum each = softmax.Fixed(logit);
  const Sum count = (target - found.before + each - 1) / each;
  int32_t end = found.key == cut.key ? cut.end : row.vocab;
  if (count * each < found.equal) end = EndOfTies(row, found.key, count, cut, shared);
  cut.key = found.key;
  cut.end = end;
  return cut;
}

// Block: the choice at a temperature above 0.
__device__ int32_t Choose(const LogitRow& row, const Softmax& softmax, const RowRequest& request,
                          Shared& shared) {
  Cut cut;
  cut.end = row.vocab;
  if (request.top_k > 0 && request.top_k < row.vocab) {
    cut = FirstRanks(row, static_cast<Sum>(request.top_k), shared);
  }
  cut.min_weight = request.min_p;
  const auto kept = [&](int32_t id, float logit) {
    return cut.Keeps(id, RankKey(logit), softmax.Weight(logit)) ? softmax.Fixed(logit) : Sum{0};
  };
  const auto total_of = [&] {
    Sum mine = 0;
    ForEachLogit(row, [&](int32_t id, float logit) { mine += kept(id, logit); });
    return BlockReduce(mine, Add(), shared.parts);
  };
  Sum total = total_of();
  if (request.top_p < 1) {
    cut = Nucleus(row, softmax, request, cut, total, shared);
    total = total_of();
  }
  const Sum at = static_cast<Sum>(request.uniform * static_cast<double>(total));
  return FindById(row, Least()(at, total - 1), shared.parts, kept);
}

// Block: the most probable tokens of the row as it came, best first.
__device__ void TopLogprobs(const LogitRow& row, int32_t count, double log_sum, Shared& shared,
                            RowResult& result) {
  const Cut cut = FirstRanks(row, static_cast<Sum>(count), shared);
  if (threadIdx.x == 0) shared.top_count = 0;
  __syncthreads();
  ForEachLogit(row, [&](int32_t id, float logit) {
    if (!cut.Keeps(id, RankKey(logit), 0)) return;
    const int32_t at = atomicAdd(&shared.top_count, 1);
    shared.top_ids[at] = id;
    shared.top_logits[at] = logit;
  });
  __syncthreads();
  // They came in any order.
  const int32_t i = static_cast<int32_t>(threadIdx.x);
  if (i < count) {
    const float logit = shared.top_logits[i];
    const int32_t id = shared.top_ids[i];
    int32_t rank = 0;
    for (int32_t j = 0; j < count; ++j) {
      const float other = shared.top_logits[j];
      rank += other > logit || (other == logit && shared.top_ids[j] < id) ? 1 : 0;
    }
    result.top_tokens[rank] = id;
    result.top_logprobs[rank] = static_cast<float>(static_cast<double>(logit) - log_sum);
  }
}

// `unit`: Softmax::unit, such that vocab of it are below 2^63.
__global__ void __launch_bounds__(kMostThreads)
    SampleKernel(const float* logits,  // [gridDim.x, vocab]
                 int32_t vocab, float unit,
                 const RowRequest* requests,  // [gridDim.x]
                 RowResult* results) {        // [gridDim.x]
  __shared__ Shared shared;
  const LogitRow row{logits + int64_t{blockIdx.x} * vocab, vocab};
  const RowRequest request = requests[blockIdx.x];
  RowResult& result = results[blockIdx.x];

  Sum best = Best(row, shared);
  const float largest = row.logits[IdOf(best)];
  if (best == 0 || !(fabsf(largest) <= FLT_MAX)) {
    if (threadIdx.x == 0) {
      result.status = best == 0 ? RowStatus::kNotANumber : RowStatus::kNotFinite;
    }
    return;
  }
  const Softmax own{largest, 1, unit};
  Sum sum = 0;
  ForEachLogit(row, [&](int32_t, float logit) { sum += own.Fixed(logit); });
  sum = BlockReduce(sum, Add(), shared.parts);
  const double log_sum =
      static_cast<double>(largest) + log(static_cast<double>(sum) / static_cast<double>(unit));

  LogitRow penalised = row;
  if (request.penalised_count > 0) {
    penalised = Penalise(row, request);
    best = Best(penalised, shared);
  }
  int32_t token = IdOf(best);
  if (request.temperature > 0) {
    const Softmax softmax{penalised.logits[token], request.temperature, unit};
    token = Choose(penalised, softmax, request, shared);
  }
  const int32_t top = Least()(request.top_logprobs, vocab);
  if (threadIdx.x == 0) {
    result.status = RowStatus::kOk;
    result.token = token;
    result.logprob = static_cast<float>(static_cast<double>(row.logits[token]) - log_sum);
    result.top_count = top;
  }
  if (top > 0) TopLogprobs(row, top, log_sum, shared, result);
}

}  // namespace

absl::Status LaunchSampling(const float* logits, int64_t rows, int64_t vocab,
                            const RowRequest* requests, RowResult* results, cudaStream_t stream) {
  // 2^48 is finer than f32 weights need; vocab is below 2^31.
  float unit = 0x1p48f;
  while (unit * static_cast<float>(vocab) > 0x1p62f) unit /= 2;
  // Eight numbers of a row for each thread, where there are so few.
  const int64_t threads = std::min<int64_t>(kMostThreads, (vocab / 8 + 31) / 32 * 32);
  return Launch("sampling", SampleKernel, dim3(static_cast<unsigned>(rows)),
                dim3(static_cast<unsigned>(std::max<int64_t>(threads, 32))), 0, stream, logits,
                static_cast<int32_t>(vocab), unit, requests, results);
}

}  // namespace longleaf::kernels::cuda
