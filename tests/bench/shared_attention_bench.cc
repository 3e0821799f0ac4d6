// What it costs to decode many questions on one document: attention of one layer of the 1.1B shape
// (32 query heads, 4 key heads, d = 64, cores per key head, g=16, w=1024), one query each, on
// branches of one state and on as many states of their own. Rounds alternate between the two, so
// that a busy machine slows both; the fastest of each counts.
//
//   shared_attention_bench [--threads N] [--context TOKENS] [--rounds N] [--processor-time 1]
//                          [--bits 32|16|8: pages of f32, bf16 or int8]
//
// The limit of a batch is the greater of its bytes, each page once, over the measured read
// bandwidth and its operations over the measured multiply-add rate.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "kernels/aligned.h"
#include "kernels/attention_policy.h"
#include "kernels/cpu/cca_attention.h"
#include "kernels/cpu/page.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/bench/machine_limits.h"

namespace longleaf::kernels {
namespace {

struct Options {
  int64_t threads = std::max(1u, std::thread::hardware_concurrency());
  int64_t context = 32768;
  int64_t rounds = 15;
  int64_t processor_time = 0;  // 1: see Stopwatch
  int64_t bits = 32;
};

constexpr int64_t kMostLayers = 8;
const AttentionPolicy kPolicy = AttentionPolicy::Cca(16, 1024, CoreHeads::kKeyValue);
constexpr int64_t kKeyHeads = 4;
constexpr int64_t kHeadDim = 64;
constexpr int64_t kWidth = 32 * 64;

// Questions 1 .. n tokens into their answers. Layers one after another in the buffer, so that
// pages come from memory as they do in a model.
class Batch {
 public:
  Batch(DType dtype, float* buffer, int64_t floats, int64_t context, int64_t questions, bool shared,
        const std::vector<float>& query)
      : dims_{kWidth / kHeadDim, kKeyHeads, kKeyHeads, kHeadDim, dtype},
        layout_{dtype, kKeyHeads, kHeadDim},
        out_(static_cast<size_t>(questions * kWidth)) {
    const int64_t first_raw = kPolicy.FirstRaw(context) / kPageTokens;
    int64_t used = 0;
    const auto take = [&] {
      std::byte* const page = reinterpret_cast<std::byte*>(buffer) + layout_.bytes() * used++;
      if (dtype == DType::kI8 && layout_.bytes() * used <= floats * 4) {
        std::fill_n(reinterpret_cast<float*>(page + layout_.key_scales(0)),
                    2 * kKeyHeads * kPageTokens, 1.0f / 127);
      }
      return static_cast<const std::byte*>(page);
    };
    for (int64_t layer = 0; layer < kMostLayers; ++layer) {
      const int64_t before = used;
      Tables document;
      std::vector<Tables> tables;
      std::vector<AttentionItem> items;
      for (int64_t n = 0; n < questions; ++n) {
        const int64_t tokens = context + 1 + n % 48;
        Tables t;
        // A branch owns its copy of the last page of each part, and what follows.
        Grow(kPolicy.CoresAfter(tokens), kPolicy.CoresAfter(context), 0, shared, take,
             document.cores, t.cores);
        Grow(tokens, context, first_raw, shared, take, document.raw, t.raw);
        tables.push_back(std::move(t));
      }
      if (used * layout_.bytes() > floats * 4) break;
      pages_per_layer_ = used - before;
      tables_.push_back(std::move(tables));
      for (int64_t n = 0; n < questions; ++n) {
        AttentionItem item;
        item.first_token = context + n % 48;
        item.rows = 1;
        item.query = query.data() + n * kWidth;
        item.out = out_.data() + n * kWidth;
        item.core_pages = tables_.back()[static_cast<size_t>(n)].cores.data();
        item.raw_pages = tables_.back()[static_cast<size_t>(n)].raw.data();
        items.push_back(item);
      }
      items_.push_back(std::move(items));
    }
  }

  int64_t layers() const { return static_cast<int64_t>(items_.size()); }
  double bytes() const { return static_cast<double>(pages_per_layer_ * layout_.bytes()); }
  double operations() const {
    double pairs = 0;
    for (const AttentionItem& item : items_[0]) {
      const int64_t i = item.first_token + 1;
      pairs += static_cast<double>(kPolicy.CoresVisible(i) + i - kPolicy.FirstRaw(i));
    }
    return 4.0 * kWidth * pairs;
  }
  // Seconds for one layer.
  double Run(ThreadPool& pool, const Stopwatch& watch) {
    return watch.Time([&] {
      for (const auto& items : items_) CcaAttention(kPolicy, dims_, kWidth, items, pool);
    }) / static_cast<double>(items_.size());
  }
  // Greatest difference between the questions together and each alone, over a row's greatest value.
  double Difference(ThreadPool& pool) {
    CcaAttention(kPolicy, dims_, kWidth, items_[0], pool);
    const std::vector<float> together = out_;
    double worst = 0;
    for (size_t n = 0; n < items_[0].size(); ++n) {
      CcaAttention(kPolicy, dims_, kWidth, {&items_[0][n], 1}, pool);
      double largest = 0, difference = 0;
      for (size_t i = n * kWidth; i < (n + 1) * kWidth; ++i) {
        largest = std::max(largest, std::abs(double{out_[i]}));
        difference = std::max(difference, std::abs(double{out_[i]} - together[i]));
      }
      worst = std::max(worst, difference / largest);
    }
    return worst;
  }

 private:
  struct Tables {
    std::vector<const std::byte*> cores, raw;
  };
  template <typename Take>
  static void Grow(int64_t count, int64_t common, int64_t first_page, bool shared, const Take& take,
                   std::vector<const std::byte*>& document, std::vector<const std::byte*>& table) {
    for (int64_t p = 0; p * kPageTokens < count; ++p) {
      if (p < first_page) {
        table.push_back(nullptr);
      } else if (!shared || (p + 1) * kPageTokens > common) {
        table.push_back(take());
      } else {
        while (std::ssize(document) <= p) document.push_back(nullptr);
        const std::byte*& page = document[static_cast<size_t>(p)];
        if (page == nullptr) page = take();
        table.push_back(page);
      }
    }
  }

  AttentionDims dims_;
  PageLayout layout_;
  std::vector<float> out_;
  int64_t pages_per_layer_ = 0;
  std::vector<std::vector<Tables>> tables_;        // [layer][question]
  std::vector<std::vector<AttentionItem>> items_;  // [layer][question]
};

int Run(const Options& options) {
  ThreadPool pool(options.threads);
  const Stopwatch watch =
      options.processor_time == 1 ? Stopwatch::OfProcessors(options.threads) : Stopwatch();
  const int64_t floats = int64_t{1} << 29;  // 2 GiB
  const AlignedFloats buffer = AllocateFloats(floats);
  if (buffer == nullptr) {
    std::fprintf(stderr, "no memory\n");
    return 1;
  }
  FillRandom(buffer.get(), floats);
  const DType dtype = options.bits == 8    ? DType::kI8
                      : options.bits == 16 ? DType::kBF16
                                           : DType::kF32;
  if (dtype == DType::kBF16) {  // the high half of each number, twice
    auto* words = reinterpret_cast<uint32_t*>(buffer.get());
    for (int64_t i = 0; i < floats; ++i) words[i] = (words[i] & 0xffff0000u) | words[i] >> 16;
  }
  std::vector<float> query(64 * kWidth);
  std::minstd_rand engine(7);
  std::normal_distribution<float> normal;
  for (float& x : query) x = normal(engine);
  const double narrow = dtype == DType::kF32 ? 0 : PeakBF16Flops(pool, 0.3, watch);
  const double peak = narrow > 0 ? narrow : PeakFlops(pool, 0.3, watch);
  const double bandwidth = ReadBandwidth(pool, buffer.get(), floats / 4, 0.3, watch);
  std::printf(
      "%lld threads, context %lld, %s, %lld bits: peak %.0f GFLOP/s, read bandwidth %.1f GB/s\n",
      static_cast<long long>(options.threads), static_cast<long long>(options.context),
      kPolicy.ToString().c_str(), static_cast<long long>(options.bits), peak / 1e9,
      bandwidth / 1e9);
  std::printf("%9s | %12s %12s %8s | %10s %8s | %9s\n", "questions", "shared us", "apart us",
              "speedup", "limit us", "reached", "max delta");
  bool right = true;
  for (const int64_t questions : {1, 2, 4, 8, 16, 32, 64}) {
    Batch shared(dtype, buffer.get(), floats, options.context, questions, true, query);
    Batch apart(dtype, buffer.get(), floats, options.context, questions, false, query);
    if (shared.layers() == 0 || apart.layers() == 0) {
      std::fprintf(stderr, "the context is too long for the buffer\n");
      return 1;
    }
    const double difference = shared.Difference(pool);
    right &= difference < (dtype == DType::kF32 ? 1e-5 : 1e-4);  // next to a tie of bf16
    double shared_seconds = 1e30, apart_seconds = 1e30;
    for (int64_t round = 0; round < options.rounds; ++round) {
      shared_seconds = std::min(shared_seconds, shared.Run(pool, watch));
      apart_seconds = std::min(apart_seconds, apart.Run(pool, watch));
    }
    const double limit = std::max(shared.bytes() / bandwidth, shared.operations() / peak);
    std::printf("%9lld | %12.1f %12.1f %7.2fx | %10.1f %7.1f%% | %9.1e\n",
                static_cast<long long>(questions), shared_seconds * 1e6, apart_seconds * 1e6,
                apart_seconds / shared_seconds, limit * 1e6, 100 * limit / shared_seconds,
                difference);
  }
  if (!right) std::fprintf(stderr, "WRONG: questions together differ from each alone\n");
  return right ? 0 : 1;
}

}  // namespace
}  // namespace longleaf::kernels

int main(int argc, char** argv) {
  longleaf::kernels::Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    int64_t* to = flag == "--threads"          ? &options.threads
                  : flag == "--context"        ? &options.context
                  : flag == "--rounds"         ? &options.rounds
                  : flag == "--bits"           ? &options.bits
                  : flag == "--processor-time" ? &options.processor_time
                                               : nullptr;
    if (to == nullptr || i + 1 >= argc || (*to = std::atoll(argv[i + 1])) <= 0) {
      std::fprintf(stderr, "%s: see the head of shared_attention_bench.cc\n", flag.c_str());
      return 2;
    }
  }
  return longleaf::kernels::Run(options);
}
