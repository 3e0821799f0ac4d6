// How near the CPU attention kernel comes to what the machine can do: prefill of a 512-token chunk
// as a share of the measured FMA peak, decoding as a share of the measured read bandwidth, full
// attention beside CCA. Results are compared with the definition in double before they are timed.
//
//   attention_bench [--threads N] [--context TOKENS] [--target AVX2|AVX3|...] [--seconds S]
//
// Only useful work is counted: 4 d operations for each (query, head, visible position).
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/attention_bench.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"
#include "kernels/aligned.h"
#include "kernels/attention_policy.h"
#include "kernels/cpu/cca_attention.h"
#include "kernels/cpu/page.h"
#include "kernels/cpu/thread_pool.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// `rounds` times 12 independent multiply-adds of whole vectors. Returns operations done.
int64_t FmaLoop(int64_t rounds, float* sink) {
  const hn::CappedTag<float, 16> df;
  const auto a = hn::Set(df, 0.999f), b = hn::Set(df, 0.001f);
  auto s0 = hn::Iota(df, 0.0f), s1 = hn::Iota(df, 1.0f), s2 = hn::Iota(df, 2.0f),
       s3 = hn::Iota(df, 3.0f), s4 = hn::Iota(df, 4.0f), s5 = hn::Iota(df, 5.0f),
       s6 = hn::Iota(df, 6.0f), s7 = hn::Iota(df, 7.0f), s8 = hn::Iota(df, 8.0f),
       s9 = hn::Iota(df, 9.0f), s10 = hn::Iota(df, 10.0f), s11 = hn::Iota(df, 11.0f);
  for (int64_t i = 0; i < rounds; ++i) {
    s0 = hn::MulAdd(s0, a, b);
    s1 = hn::MulAdd(s1, a, b);
    s2 = hn::MulAdd(s2, a, b);
    s3 = hn::MulAdd(s3, a, b);
    s4 = hn::MulAdd(s4, a, b);
    s5 = hn::MulAdd(s5, a, b);
    s6 = hn::MulAdd(s6, a, b);
    s7 = hn::MulAdd(s7, a, b);
    s8 = hn::MulAdd(s8, a, b);
    s9 = hn::MulAdd(s9, a, b);
    s10 = hn::MulAdd(s10, a, b);
    s11 = hn::MulAdd(s11, a, b);
  }
  s0 = hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(hn::Add(s4, s5), s6));
  s7 = hn::Add(hn::Add(hn::Add(s7, s8), hn::Add(s9, s10)), s11);
  *sink = hn::GetLane(hn::SumOfLanes(df, hn::Add(s0, s7)));
  return rounds * 12 * 2 * static_cast<int64_t>(hn::Lanes(df));
}

// Sums `count` floats, a multiple of 128.
float ReadLoop(const float* from, int64_t count) {
  const hn::CappedTag<float, 16> df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  auto s0 = hn::Zero(df), s1 = s0, s2 = s0, s3 = s0;
  for (int64_t i = 0; i < count; i += 4 * lanes) {
    s0 = hn::Add(s0, hn::Load(df, from + i));
    s1 = hn::Add(s1, hn::Load(df, from + i + lanes));
    s2 = hn::Add(s2, hn::Load(df, from + i + 2 * lanes));
    s3 = hn::Add(s3, hn::Load(df, from + i + 3 * lanes));
  }
  return hn::GetLane(hn::SumOfLanes(df, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {
HWY_EXPORT(FmaLoop);
HWY_EXPORT(ReadLoop);
namespace {

struct Options {
  int64_t threads = std::max(1u, std::thread::hardware_concurrency());
  int64_t context = 32768;
  double seconds = 0.5;
};

// The fastest of the runs that fit into `seconds`, at least three.
double BestSeconds(double seconds, const std::function<void()>& run) {
  double best = 1e30, total = 0;
  for (int n = 0; n < 3 || total < seconds; ++n) {
    const auto start = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = std::min(best, took.count());
    total += took.count();
  }
  return best;
}

double PeakFlops(ThreadPool& pool, double seconds) {
  std::vector<float> sinks(static_cast<size_t>(pool.threads()) * 16);
  std::vector<int64_t> done(static_cast<size_t>(pool.threads()) * 16);
  const double took = BestSeconds(seconds, [&] {
    pool.ParallelFor(pool.threads(), [&](int64_t task, int64_t) {
      const size_t at = static_cast<size_t>(task) * 16;
      done[at] = HWY_DYNAMIC_DISPATCH(FmaLoop)(400'000, &sinks[at]);
    });
  });
  double operations = 0;
  for (const int64_t n : done) operations += static_cast<double>(n);
  return operations / took;
}

double ReadBandwidth(ThreadPool& pool, const AlignedFloats& buffer, int64_t floats,
                     double seconds) {
  constexpr int64_t kPiece = int64_t{1} << 17;
  const int64_t pieces = floats / kPiece;
  std::vector<float> sinks(static_cast<size_t>(pieces));
  const double took = BestSeconds(seconds, [&] {
    pool.ParallelFor(pieces, [&](int64_t piece, int64_t) {
      sinks[static_cast<size_t>(piece)] =
          HWY_DYNAMIC_DISPATCH(ReadLoop)(buffer.get() + piece * kPiece, kPiece);
    });
  });
  return static_cast<double>(pieces * kPiece) * 4 / took;
}

// Several layers' states, page after page in one buffer, so that decoding reads memory and no
// cache.
struct States {
  States(const AlignedFloats& buffer, int64_t floats, const AttentionPolicy& policy,
         const AttentionDims& dims, int64_t tokens, int64_t most)
      : policy(policy), dims(dims), tokens(tokens) {
    const int64_t first_raw = policy.FirstRaw(std::max<int64_t>(1, tokens - 511)) / kPageTokens;
    const int64_t raw_pages = (tokens + kPageTokens - 1) / kPageTokens;
    const int64_t core_pages = (policy.CoresVisible(tokens) + kPageTokens - 1) / kPageTokens;
    const float* next = buffer.get();
    const int64_t layer = core_pages * PageFloats(dims.core_heads, dims.head_dim) +
                          (raw_pages - first_raw) * PageFloats(dims.kv_heads, dims.head_dim);
    for (int64_t n = 0; n < std::min(most, floats / layer); ++n) {
      cores.emplace_back();
      for (int64_t p = 0; p < core_pages; ++p) {
        cores.back().push_back(next);
        next += PageFloats(dims.core_heads, dims.head_dim);
      }
      raw.emplace_back(static_cast<size_t>(first_raw), nullptr);
      for (int64_t p = first_raw; p < raw_pages; ++p) {
        raw.back().push_back(next);
        next += PageFloats(dims.kv_heads, dims.head_dim);
      }
    }
  }
  AttentionPolicy policy;
  AttentionDims dims;
  int64_t tokens;
  std::vector<std::vector<const float*>> cores, raw;
};

AttentionItem LastRows(const States& s, size_t layer, int64_t rows, const std::vector<float>& query,
                       std::vector<float>& out) {
  AttentionItem item;
  item.first_token = s.tokens - rows;
  item.rows = rows;
  item.query = query.data();
  item.out = out.data();
  item.core_pages = s.cores[layer].data();
  item.raw_pages = s.raw[layer].data();
  return item;
}

// Largest error of `item`'s last row, head `h`, against the definition, over the largest value.
double Error(const States& s, const AttentionItem& item, int64_t h) {
  const AttentionDims& dims = s.dims;
  const int64_t d = dims.head_dim, i = s.tokens;
  const float* q = item.query + ((item.rows - 1) * dims.query_heads + h) * d;
  std::vector<double> out(static_cast<size_t>(d));
  double total = 0;
  const auto add = [&](const float* page, int64_t heads, int64_t slot) {
    const int64_t head = h / (dims.query_heads / heads);
    double dot = 0;
    for (int64_t c = 0; c < d; ++c) {
      dot += double{q[c]} * page[PageKeyOffset(head, d) + c * kPageTokens + slot];
    }
    const double weight = std::exp(dot / std::sqrt(static_cast<double>(d)));
    total += weight;
    for (int64_t c = 0; c < d; ++c) {
      out[static_cast<size_t>(c)] += weight * page[PageValueOffset(heads, head, d) + slot * d + c];
    }
  };
  for (int64_t j = 0; j < s.policy.CoresVisible(i); ++j) {
    add(item.core_pages[j / kPageTokens], dims.core_heads, j % kPageTokens);
  }
  for (int64_t j = s.policy.FirstRaw(i); j < i; ++j) {
    add(item.raw_pages[j / kPageTokens], dims.kv_heads, j % kPageTokens);
  }
  const float* got = item.out + ((item.rows - 1) * dims.query_heads + h) * d;
  double worst = 0, largest = 0;
  for (int64_t c = 0; c < d; ++c) {
    const double want = out[static_cast<size_t>(c)] / total;
    worst = std::max(worst, std::abs(got[c] - want));
    largest = std::max(largest, std::abs(want));
  }
  return worst / largest;
}

double VisiblePairs(const AttentionPolicy& policy, int64_t first, int64_t rows) {
  double pairs = 0;
  for (int64_t i = first + 1; i <= first + rows; ++i) {
    pairs += static_cast<double>(policy.CoresVisible(i) + i - policy.FirstRaw(i));
  }
  return pairs;
}

int Run(const Options& options) {
  ThreadPool pool(options.threads);
  const int64_t floats = int64_t{1} << 28;  // 1 GiB
  const AlignedFloats buffer = AllocateFloats(floats);
  if (buffer == nullptr) {
    std::fprintf(stderr, "no memory\n");
    return 1;
  }
  uint32_t random = 1;
  for (int64_t i = 0; i < floats; ++i) {
    random = random * 1664525u + 1013904223u;
    buffer[static_cast<size_t>(i)] = static_cast<float>(random >> 8) * (2.0f / (1 << 24)) - 1.0f;
  }
  const double peak = PeakFlops(pool, options.seconds);
  const double bandwidth = ReadBandwidth(pool, buffer, floats, options.seconds);
  std::printf("%s, %lld threads: FMA peak %.0f GFLOP/s, read bandwidth %.1f GB/s\n",
              hwy::TargetName(hwy::SupportedAndGeneratedTargets().front()),
              static_cast<long long>(options.threads), peak / 1e9, bandwidth / 1e9);
  std::printf("%-26s %8s %4s | %10s %6s | %10s %6s\n", "policy", "H/Hkv", "d", "512 rows", "peak",
              "1 row", "read");

  bool right = true;
  for (const auto& [query_heads, kv_heads] : {std::pair{8, 8}, {8, 2}}) {
    for (const int64_t d : {64, 128}) {
      for (const AttentionPolicy& policy :
           {AttentionPolicy::Full(), AttentionPolicy::Cca(16, 1024, CoreHeads::kKeyValue),
            AttentionPolicy::Cca(16, 1024, CoreHeads::kQuery)}) {
        if (query_heads == kv_heads && policy.core_heads == CoreHeads::kQuery &&
            policy.kind == AttentionPolicy::Kind::kCca) {
          continue;  // the same as one core per key head
        }
        const AttentionDims dims{query_heads, kv_heads, policy.CoreHeadCount(query_heads, kv_heads),
                                 d};
        const States states(buffer, floats, policy, dims, options.context, 64);
        const int64_t rows = std::min<int64_t>(512, options.context), width = query_heads * d;
        std::vector<float> query(static_cast<size_t>(rows * width)), out(query.size());
        std::minstd_rand engine(7);
        std::normal_distribution<float> normal;
        for (float& x : query) x = normal(engine);

        const AttentionItem chunk = LastRows(states, 0, rows, query, out);
        const double chunk_seconds = BestSeconds(options.seconds, [&] {
          CcaAttention(policy, dims, width, {&chunk, 1}, pool);
        });
        right &= Error(states, chunk, query_heads - 1) < 1e-5;
        const double operations =
            4.0 * static_cast<double>(width) * VisiblePairs(policy, options.context - rows, rows);

        const double single_seconds = BestSeconds(options.seconds, [&] {
          for (size_t layer = 0; layer < states.raw.size(); ++layer) {
            const AttentionItem single = LastRows(states, layer, 1, query, out);
            CcaAttention(policy, dims, width, {&single, 1}, pool);
          }
        });
        right &= Error(states, LastRows(states, states.raw.size() - 1, 1, query, out), 0) < 1e-5;
        const int64_t i = options.context;
        const double bytes = 8.0 *
                             static_cast<double>(d * static_cast<int64_t>(states.raw.size())) *
                             static_cast<double>(policy.CoresVisible(i) * dims.core_heads +
                                                 (i - policy.FirstRaw(i)) * kv_heads);
        std::printf("%-26s %5d/%-2d %4lld | %7.0f GF %5.1f%% | %5.1f GB/s %5.1f%%\n",
                    policy.ToString().c_str(), query_heads, kv_heads, static_cast<long long>(d),
                    operations / chunk_seconds / 1e9, 100 * operations / chunk_seconds / peak,
                    bytes / single_seconds / 1e9, 100 * bytes / single_seconds / bandwidth);
      }
    }
  }
  if (!right) std::fprintf(stderr, "WRONG: a result differs from the definition\n");
  return right ? 0 : 1;
}

// Lets only the named instruction set be chosen. False when this machine or build lacks it.
bool ForceTarget(const std::string& name) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    if (name != hwy::TargetName(target)) continue;
    hwy::SetSupportedTargetsForTest(target);
    return true;
  }
  return false;
}

}  // namespace
}  // namespace longleaf::kernels

int main(int argc, char** argv) {
  longleaf::kernels::Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    bool good = *value != '\0';
    if (flag == "--threads") {
      good &= (options.threads = std::atoll(value)) > 0;
    } else if (flag == "--context") {
      good &= (options.context = std::atoll(value)) > 0;
    } else if (flag == "--seconds") {
      good &= (options.seconds = std::atof(value)) > 0;
    } else if (flag == "--target") {
      good &= longleaf::kernels::ForceTarget(value);
    } else {
      good = false;
    }
    if (!good) {
      std::fprintf(stderr, "%s %s: see the head of attention_bench.cc\n", flag.c_str(), value);
      return 2;
    }
  }
  return longleaf::kernels::Run(options);
}
#endif  // HWY_ONCE
