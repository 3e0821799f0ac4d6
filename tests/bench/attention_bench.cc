// How near the CPU attention kernel comes to what the machine can do: prefill of a 512-token chunk
// as a share of the measured peak of the products in use (f32, or bf16 where pages and processor
// have it), decoding as a share of the measured read bandwidth, full attention beside CCA, for
// every type of page. Results are compared with the definition in double before they are timed.
//
//   attention_bench [--threads N] [--context TOKENS] [--target AVX2|AVX3|...] [--seconds S]
//                   [--clock wall|processor] [--dtype f32|bf16|int8] [--products fastest|f32]
//
// Only useful work is counted: 4 d operations for each (query, head, visible position).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "hwy/targets.h"
#include "kernels/aligned.h"
#include "kernels/attention_policy.h"
#include "kernels/cpu/cca_attention.h"
#include "kernels/cpu/cca_attention_block.h"
#include "kernels/cpu/page.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/state_rounding.h"
#include "tests/bench/machine_limits.h"

namespace longleaf::kernels {
namespace {

struct Options {
  int64_t threads = std::max(1u, std::thread::hardware_concurrency());
  int64_t context = 32768;
  double seconds = 0.5;
  bool processor_time = false;
  std::vector<DType> dtypes = {DType::kF32, DType::kBF16, DType::kI8};
  Products products = Products::kFastest;
};

// Random numbers in [-1, 1) as pages of that type have them; scales come with the pages.
void FillPages(DType dtype, float* to, int64_t floats) {
  FillRandom(to, floats);
  if (dtype == DType::kF32) return;
  auto* words = reinterpret_cast<uint32_t*>(to);
  for (int64_t i = 0; i < floats; ++i) {
    if (dtype == DType::kBF16) {
      words[i] = (words[i] & 0xffff0000u) | words[i] >> 16;
    } else {
      const auto byte = static_cast<int32_t>(to[i] * 127.0f);
      words[i] = static_cast<uint32_t>(byte & 0xff) * 0x01030507u;
    }
  }
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
    const int64_t core_page = PageLayout{dims.dtype, dims.core_heads, dims.head_dim}.bytes();
    const int64_t raw_page = PageLayout{dims.dtype, dims.kv_heads, dims.head_dim}.bytes();
    auto* next = reinterpret_cast<std::byte*>(buffer.get());
    const int64_t layer = core_pages * core_page + (raw_pages - first_raw) * raw_page;
    for (int64_t n = 0; n < std::min(most, floats * 4 / layer); ++n) {
      cores.emplace_back();
      for (int64_t p = 0; p < core_pages; ++p) {
        cores.back().push_back(next);
        PutScales(dims.core_heads, next);
        next += core_page;
      }
      raw.emplace_back(static_cast<size_t>(first_raw), nullptr);
      for (int64_t p = first_raw; p < raw_pages; ++p) {
        raw.back().push_back(next);
        PutScales(dims.kv_heads, next);
        next += raw_page;
      }
    }
  }
  void PutScales(int64_t heads, std::byte* page) const {
    if (dims.dtype != DType::kI8) return;
    const PageLayout layout{dims.dtype, heads, dims.head_dim};
    auto* scales = reinterpret_cast<float*>(page + layout.key_scales(0));
    for (int64_t n = 0; n < 2 * heads * kPageTokens; ++n) {
      scales[n] = (1.0f + static_cast<float>(n % 7) / 8) / 127;
    }
  }
  AttentionPolicy policy;
  AttentionDims dims;
  int64_t tokens;
  std::vector<std::vector<const std::byte*>> cores, raw;
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
  const auto add = [&](const std::byte* page, int64_t heads, int64_t slot) {
    const int64_t head = h / (dims.query_heads / heads);
    const PageLayout layout{dims.dtype, heads, d};
    const int64_t packing = PagePacking(dims.dtype), size = SizeOf(dims.dtype);
    const bool scaled = dims.dtype == DType::kI8;
    const auto number = [&](int64_t offset, int64_t scales) {
      const float scale = scaled ? reinterpret_cast<const float*>(page + scales)[slot] : 1.0f;
      float x;
      ReadRow(dims.dtype, page + offset, scale, 1, &x);
      return double{x};
    };
    double dot = 0;
    for (int64_t c = 0; c < d; ++c) {
      dot += double{q[c]} *
             number(layout.keys(head) +
                        ((c / packing * kPageTokens + slot) * packing + c % packing) * size,
                    layout.key_scales(head));
    }
    const double weight = std::exp(dot / std::sqrt(static_cast<double>(d)));
    total += weight;
    for (int64_t c = 0; c < d; ++c) {
      out[static_cast<size_t>(c)] +=
          weight *
          number(layout.values(head) + ((slot / packing * d + c) * packing + slot % packing) * size,
                 layout.value_scales(head));
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

// Times the last 512 rows of one layer, and the last row of all. False when a result is wrong.
bool Measure(const States& states, ThreadPool& pool, const Stopwatch& watch, double seconds,
             double peak, double bandwidth) {
  const AttentionDims& dims = states.dims;
  const AttentionPolicy& policy = states.policy;
  const int64_t i = states.tokens, d = dims.head_dim, width = dims.query_heads * d;
  const int64_t rows = std::min<int64_t>(512, i);
  std::vector<float> query(static_cast<size_t>(rows * width)), out(query.size());
  std::minstd_rand engine(7);
  std::normal_distribution<float> normal;
  for (float& x : query) x = normal(engine);

  const AttentionItem chunk = LastRows(states, 0, rows, query, out);
  const double chunk_seconds = watch.Best(seconds, [&] {
    CcaAttention(policy, dims, width, {&chunk, 1}, pool);
  });
  double error = Error(states, chunk, dims.query_heads - 1);
  const double operations = 4.0 * static_cast<double>(width) * VisiblePairs(policy, i - rows, rows);

  const double single_seconds = watch.Best(seconds, [&] {
    for (size_t layer = 0; layer < states.raw.size(); ++layer) {
      const AttentionItem single = LastRows(states, layer, 1, query, out);
      CcaAttention(policy, dims, width, {&single, 1}, pool);
    }
  });
  error = std::max(error, Error(states, LastRows(states, states.raw.size() - 1, 1, query, out), 0));
  const double token_bytes = static_cast<double>(
      2 * d * SizeOf(dims.dtype) + (dims.dtype == DType::kI8 ? 8 : 0));  // of one head
  const double bytes = token_bytes * static_cast<double>(states.raw.size()) *
                       static_cast<double>(policy.CoresVisible(i) * dims.core_heads +
                                           (i - policy.FirstRaw(i)) * dims.kv_heads);
  std::printf("%-5s %-26s %5lld/%-2lld %4lld | %7.0f GF %5.1f%% | %5.1f GB/s %5.1f%% | %7.1e\n",
              NameOf(dims.dtype), policy.ToString().c_str(),
              static_cast<long long>(dims.query_heads), static_cast<long long>(dims.kv_heads),
              static_cast<long long>(d), operations / chunk_seconds / 1e9,
              100 * operations / chunk_seconds / peak, bytes / single_seconds / 1e9,
              100 * bytes / single_seconds / bandwidth, error);
  return error < (ArithmeticOf(dims) == Arithmetic::kBF16 ? 1e-2 : 2e-4);
}

int Run(const Options& options) {
  ThreadPool pool(options.threads);
  const Stopwatch watch =
      options.processor_time ? Stopwatch::OfProcessors(options.threads) : Stopwatch();
  const int64_t floats = int64_t{1} << 28;  // 1 GiB
  const AlignedFloats buffer = AllocateFloats(floats);
  if (buffer == nullptr) {
    std::fprintf(stderr, "no memory\n");
    return 1;
  }
  FillRandom(buffer.get(), floats);
  const double peak = PeakFlops(pool, options.seconds, watch);
  const double pairs_peak = PeakBF16Flops(pool, options.seconds, watch);
  const double bandwidth = ReadBandwidth(pool, buffer.get(), floats, options.seconds, watch);
  std::printf("%s, %lld threads: peak %.0f GFLOP/s in f32, %.0f in bf16, reads %.1f GB/s\n",
              hwy::TargetName(hwy::SupportedAndGeneratedTargets().front()),
              static_cast<long long>(options.threads), peak / 1e9, pairs_peak / 1e9,
              bandwidth / 1e9);
  std::printf("%-5s %-26s %8s %4s | %10s %6s | %10s %6s | %7s\n", "pages", "policy", "H/Hkv", "d",
              "512 rows", "peak", "1 row", "read", "error");

  bool right = true;
  for (const DType dtype : options.dtypes) {
    FillPages(dtype, buffer.get(), floats);
    for (const auto& [query_heads, kv_heads] : {std::pair{8, 8}, {16, 2}}) {
      for (const int64_t d : {64, 128}) {
        for (const AttentionPolicy& policy :
             {AttentionPolicy::Full(), AttentionPolicy::Cca(16, 1024, CoreHeads::kKeyValue),
              AttentionPolicy::Cca(16, 1024, CoreHeads::kQuery)}) {
          if (query_heads == kv_heads && policy.core_heads == CoreHeads::kQuery &&
              policy.kind == AttentionPolicy::Kind::kCca) {
            continue;  // the same as one core per key head
          }
          const AttentionDims dims{
              query_heads, kv_heads, policy.CoreHeadCount(query_heads, kv_heads),
              d,           dtype,    options.products};
          const States states(buffer, floats, policy, dims, options.context, 64);
          right &= Measure(states, pool, watch, options.seconds,
                           ArithmeticOf(dims) == Arithmetic::kF32 ? peak : pairs_peak, bandwidth);
        }
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
    } else if (flag == "--clock") {
      options.processor_time = std::string(value) == "processor";
    } else if (flag == "--products") {
      const bool f32 = std::string(value) == "f32";
      options.products =
          f32 ? longleaf::kernels::Products::kF32 : longleaf::kernels::Products::kFastest;
    } else if (flag == "--dtype") {
      const auto dtype = longleaf::kernels::ParseStateType(value);
      if (good &= dtype.ok()) options.dtypes = {*dtype};
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
