#include "tests/bench/machine_limits.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/machine_limits.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"

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

double Stopwatch::Time(const std::function<void()>& run) const {
  if (threads_ > 0) {
    const std::clock_t start = std::clock();
    run();
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC /
           static_cast<double>(threads_);
  }
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Stopwatch::Best(double seconds, const std::function<void()>& run) const {
  double best = 1e30, total = 0;
  for (int n = 0; n < 3 || total < seconds; ++n) {
    const double took = Time(run);
    best = std::min(best, took);
    total += took;
  }
  return best;
}

double PeakFlops(ThreadPool& pool, double seconds, const Stopwatch& watch) {
  std::vector<float> sinks(static_cast<size_t>(pool.threads()) * 16);
  std::vector<int64_t> done(static_cast<size_t>(pool.threads()) * 16);
  const double took = watch.Best(seconds, [&] {
    pool.ParallelFor(pool.threads(), [&](int64_t task, int64_t) {
      const size_t at = static_cast<size_t>(task) * 16;
      done[at] = HWY_DYNAMIC_DISPATCH(FmaLoop)(4'000'000, &sinks[at]);
    });
  });
  double operations = 0;
  for (const int64_t n : done) operations += static_cast<double>(n);
  return operations / took;
}

#if HWY_ARCH_X86
namespace {

// `rounds` times 12 independent dot products of whole vectors of pairs. Returns operations done.
__attribute__((target("avx512f,avx512bf16"))) int64_t PairsLoop(int64_t rounds, float* sink) {
  __m512 s[12];
  for (int n = 0; n < 12; ++n) s[n] = _mm512_set1_ps(static_cast<float>(n));
  const auto a = (__m512bh)_mm512_set1_epi32(0x3f003f00),
             b = (__m512bh)_mm512_set1_epi32(0x3c003c00);
  for (int64_t i = 0; i < rounds; ++i) {
    for (int n = 0; n < 12; ++n) s[n] = _mm512_dpbf16_ps(s[n], a, b);
  }
  *sink = 0;
  for (int n = 0; n < 12; ++n) *sink += _mm512_reduce_add_ps(s[n]);
  return rounds * 12 * 4 * 16;
}

}  // namespace
#endif

double PeakBF16Flops([[maybe_unused]] ThreadPool& pool, [[maybe_unused]] double seconds,
                     [[maybe_unused]] const Stopwatch& watch) {
  double operations = 0, took = 1;
#if HWY_ARCH_X86
  if (__builtin_cpu_supports("avx512bf16") == 0) return 0;
  std::vector<float> sinks(static_cast<size_t>(pool.threads()) * 16);
  std::vector<int64_t> done(static_cast<size_t>(pool.threads()) * 16);
  took = watch.Best(seconds, [&] {
    pool.ParallelFor(pool.threads(), [&](int64_t task, int64_t) {
      const size_t at = static_cast<size_t>(task) * 16;
      done[at] = PairsLoop(4'000'000, &sinks[at]);
    });
  });
  for (const int64_t n : done) operations += static_cast<double>(n);
#endif
  return operations / took;
}

double ReadBandwidth(ThreadPool& pool, const float* buffer, int64_t floats, double seconds,
                     const Stopwatch& watch) {
  constexpr int64_t kPiece = int64_t{1} << 17;
  const int64_t pieces = floats / kPiece;
  std::vector<float> sinks(static_cast<size_t>(pieces));
  const double took = watch.Best(seconds, [&] {
    pool.ParallelFor(pieces, [&](int64_t piece, int64_t) {
      sinks[static_cast<size_t>(piece)] =
          HWY_DYNAMIC_DISPATCH(ReadLoop)(buffer + piece * kPiece, kPiece);
    });
  });
  return static_cast<double>(pieces * kPiece) * 4 / took;
}

void FillRandom(float* to, int64_t floats) {
  uint32_t random = 1;
  for (int64_t i = 0; i < floats; ++i) {
    random = random * 1664525u + 1013904223u;
    to[i] = static_cast<float>(random >> 8) * (2.0f / (1 << 24)) - 1.0f;
  }
}

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
