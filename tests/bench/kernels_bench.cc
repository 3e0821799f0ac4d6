// Matrix products and sampling of the CPU backend: validated against a sum in double, then timed
// beside oneDNN's own rate and the machine's read bandwidth. Rounds alternate between what is
// compared, so that a busy machine slows both; the medians' ratio is the figure.
//
//   kernels_bench [threads [f32|int8|int4]]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/fast_sampling.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/quantised.h"
#include "oneapi/dnnl/dnnl.hpp"

extern "C" void omp_set_num_threads(int);  // libgomp's, which oneDNN runs on

namespace longleaf::kernels {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kInner = 2048;
constexpr int64_t kOuter = 5632;

double Seconds(const std::function<void()>& run) {
  const Clock::time_point start = Clock::now();
  run();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Median seconds of each of `runs`, taken in turn.
std::vector<double> Compare(const std::vector<std::function<void()>>& runs, int rounds) {
  std::vector<std::vector<double>> seconds(runs.size());
  for (int round = -1; round < rounds; ++round) {
    for (size_t i = 0; i < runs.size(); ++i) {
      const double s = Seconds(runs[i]);
      if (round >= 0) seconds[i].push_back(s);
    }
  }
  std::vector<double> medians;
  for (const std::vector<double>& s : seconds) medians.push_back(Median(s));
  return medians;
}

std::vector<float> Random(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = normal(random);
  return values;
}

// oneDNN's own product with its own packing, on `threads` OpenMP threads: of f32, or of unsigned
// with signed bytes into 32-bit sums, without scales.
class OwnMatmul {
 public:
  OwnMatmul(int64_t rows, int64_t threads, WeightFormat format) : threads_(threads) {
    using dnnl::memory;
    omp_set_num_threads(static_cast<int>(threads));
    const bool bytes = GroupOf(format) != 0;
    const auto type = [bytes](memory::data_type of_bytes) {
      return bytes ? of_bytes : memory::data_type::f32;
    };
    const memory::desc in({rows, kInner}, type(memory::data_type::u8), memory::format_tag::ab);
    const memory::desc any({kInner, kOuter}, type(memory::data_type::s8), memory::format_tag::any);
    const memory::desc out({rows, kOuter}, type(memory::data_type::s32), memory::format_tag::ab);
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(in, any, out), engine_);
    matmul_ = dnnl::matmul(description);
    for (auto [argument, desc] :
         {std::pair{DNNL_ARG_SRC, in}, std::pair{DNNL_ARG_WEIGHTS, description.weights_desc()},
          std::pair{DNNL_ARG_DST, out}}) {
      arguments_[argument] = memory(desc, engine_);
      std::fill_n(static_cast<uint8_t*>(arguments_[argument].get_data_handle()), desc.get_size(),
                  uint8_t{1});
    }
  }
  void Run() {
    omp_set_num_threads(static_cast<int>(threads_));
    matmul_.execute(stream_, arguments_);
    stream_.wait();
  }

 private:
  const int64_t threads_;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  dnnl::matmul matmul_;
  std::unordered_map<int, dnnl::memory> arguments_;
};

// Whether a few elements of out = in W^T are right.
bool Validate(const std::vector<float>& x, const std::vector<float>& w, WeightFormat format,
              const Tensor& out) {
  const auto row_of = [format](const std::vector<float>& from, int64_t row, bool weights) {
    std::vector<float> rounded(from.begin() + row * kInner, from.begin() + (row + 1) * kInner);
    RoundForProduct(format, weights, kInner, rounded.data());
    return rounded;
  };
  for (int64_t r : {int64_t{0}, out.rows / 2, out.rows - 1}) {
    const std::vector<float> a = row_of(x, r, false);
    for (int64_t n = 0; n < kOuter; n += 97) {
      const std::vector<float> b = row_of(w, n, true);
      double sum = 0;
      for (size_t k = 0; k < a.size(); ++k) sum += double{a[k]} * double{b[k]};
      if (!(std::abs(double{out.data[r * kOuter + n]} - sum) < 1e-5)) return false;
    }
  }
  return true;
}

int BenchLinear(int64_t threads, WeightFormat format) {
  CpuOptions options;
  options.threads = threads;
  auto backend = CreateCpuBackend(options).value();
  std::printf("%s, W [%ld, %ld] %s\n", backend->name().c_str(), static_cast<long>(kOuter),
              static_cast<long>(kInner), NameOf(format));
  const std::vector<float> w = Random(kOuter * kInner, 1);
  const WeightView view{w.data(), DType::kF32, kOuter, kInner};
  // Several copies, so that weights come from memory as they do in a model.
  std::vector<std::unique_ptr<Matrix>> copies;
  constexpr int64_t kBytes = 256 << 20;  // of all, far more than the caches hold
  while (backend->memory().weight_bytes < kBytes) {
    copies.push_back(backend->PackMatrix({&view, 1}, Epilogue::kNone, format).value());
  }
  ThreadPool pool(threads);
  // The machine's read rate: sums over memory of the same size, each thread its own part.
  const std::vector<float> memory(static_cast<size_t>(backend->memory().weight_bytes / 4), 1.0f);
  std::vector<double> sums(static_cast<size_t>(threads) * 8);
  const auto read = [&] {
    const int64_t part = static_cast<int64_t>(memory.size()) / threads;
    pool.ParallelFor(threads, [&](int64_t task, int64_t) {
      float lanes[64] = {};
      const float* from = memory.data() + task * part;
      for (int64_t i = 0; i + 64 <= part; i += 64) {
        for (int64_t lane = 0; lane < 64; ++lane) lanes[lane] += from[i + lane];
      }
      for (float lane : lanes) sums[static_cast<size_t>(task * 8)] += double{lane};
    });
  };
  const double bytes = static_cast<double>(copies.front()->bytes());
  for (int64_t rows : {1, 2, 4, 8, 12, 16, 32, 64, 128, 512}) {
    const std::vector<float> x = Random(rows * kInner, 3);
    auto in = backend->Allocate(rows, kInner).value(),
         out = backend->Allocate(rows, kOuter).value();
    std::copy(x.begin(), x.end(), in->tensor().data);
    bool ok = true;
    const auto ours = [&] {
      for (const auto& copy : copies) {
        ok = ok && backend->Linear(*copy, in->tensor(), {}, out->tensor()).ok();
      }
    };
    ours();
    if (!ok || !Validate(x, w, format, out->tensor())) {
      std::printf("Linear with %ld rows is WRONG\n", static_cast<long>(rows));
      return 1;
    }
    OwnMatmul own(rows, threads, format);
    const std::vector<double> s = Compare({ours,
                                           [&] {
                                             for (size_t i = 0; i < copies.size(); ++i) own.Run();
                                           },
                                           read},
                                          rows >= 128 ? 5 : 15);
    const double n = static_cast<double>(copies.size());
    const double flops = 2e-9 * static_cast<double>(rows * kInner * kOuter) * n;
    std::printf(
        "rows %4ld: ours %6.1f Gop/s %5.1f GB/s | oneDNN alone %6.1f Gop/s, ratio %.2f | "
        "memory %5.1f GB/s, ratio %.2f\n",
        static_cast<long>(rows), flops / s[0], n * bytes * 1e-9 / s[0], flops / s[1], s[1] / s[0],
        n * bytes * 1e-9 / s[2], s[2] / s[0]);
  }
  return 0;
}

void BenchSampling() {
  for (int64_t vocabulary : {32000, 128256}) {
    std::vector<float> logits = Random(vocabulary, 4);
    for (float& logit : logits) logit *= 50;
    const auto time = [&](const char* what, const SampleRequest& request) {
      const double s = Compare({[&] { (void)SampleFast(logits, request); }}, 101)[0];
      std::printf("sampling of %6ld, %-22s %7.1f us\n", static_cast<long>(vocabulary), what,
                  s * 1e6);
    };
    SampleRequest request;
    time("greedy", request);
    request.temperature = 0.8f;
    request.uniform = 0.7;
    time("temperature", request);
    request.top_p = 0.95f;
    time("top_p 0.95", request);
    request.top_k = 40;
    time("top_k 40, top_p 0.95", request);
    request.top_logprobs = 20;
    time("the same, 20 logprobs", request);
  }
}

int Main(int argc, char** argv) {
  const int64_t threads =
      argc > 1 ? std::atol(argv[1]) : std::max<int64_t>(1, std::thread::hardware_concurrency());
  if (argc > 2) {
    const auto format = ParseWeightFormat(argv[2]);
    return format.ok() ? BenchLinear(threads, *format) : 1;
  }
  BenchSampling();
  int failures = 0;
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kI8, WeightFormat::kI4}) {
    failures += BenchLinear(threads, format);
  }
  return failures;
}

}  // namespace
}  // namespace longleaf::kernels

int main(int argc, char** argv) { return longleaf::kernels::Main(argc, argv); }
