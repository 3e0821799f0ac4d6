// What the machine can do at most, measured beside what is to be judged by it.
#ifndef LONGLEAF_TESTS_BENCH_MACHINE_LIMITS_H_
#define LONGLEAF_TESTS_BENCH_MACHINE_LIMITS_H_

#include <cstdint>
#include <functional>

#include "kernels/cpu/thread_pool.h"

namespace longleaf::kernels {

// Time by the wall clock or, where others use the processors too, by what this process got of
// `threads` of them: right for work that keeps all of its threads busy.
class Stopwatch {
 public:
  Stopwatch() = default;
  static Stopwatch OfProcessors(int64_t threads) { return Stopwatch(threads); }
  // Seconds that `run` takes.
  double Time(const std::function<void()>& run) const;
  // Of the fastest of the runs that fit into `seconds`, at least three.
  double Best(double seconds, const std::function<void()>& run) const;

 private:
  explicit Stopwatch(int64_t threads) : threads_(threads) {}
  int64_t threads_ = 0;  // 0: the wall clock
};
// Multiply-adds of whole vectors on all threads, two operations each, per second.
double PeakFlops(ThreadPool& pool, double seconds, const Stopwatch& watch = {});
// The same of dot products of bf16 pairs, four operations a lane; 0 where the processor has none.
double PeakBF16Flops(ThreadPool& pool, double seconds, const Stopwatch& watch = {});
// Bytes per second that all threads read of `buffer`, 64-byte aligned.
double ReadBandwidth(ThreadPool& pool, const float* buffer, int64_t floats, double seconds,
                     const Stopwatch& watch = {});
// Uniform in [-1, 1), always the same.
void FillRandom(float* to, int64_t floats);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_TESTS_BENCH_MACHINE_LIMITS_H_
