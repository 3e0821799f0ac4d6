// Matrix products and sampling of the CPU backend: validated against a sum in double, then timed
// beside oneDNN's own rate and the machine's read bandwidth. Rounds alternate between what is
// compared, so that a busy machine slows both; the medians' ratio is the figure.
//
//   kernels_bench [threads]
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

// oneDNN's own product with its own packing, on `threads` OpenMP threads.
class OwnMatmul {
 public:
  OwnMatmul(int64_t rows, int64_t threads) : threads_(threads) {
    using dnnl::memory;
    omp_set_num_threads(static_cast<int>(threads));
    const auto f32 = memory::data_type::f32;
    const memory::desc in({rows, kInner}, f32, memory::format_tag::ab);
    const memory::desc any({kInner, kOuter}, f32, memory::format_tag::any);
    const memory::desc out({rows, kOuter}, f32, memory::format_tag::ab);
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(in, any, out), engine_);
    matmul_ = dnnl::matmul(description);
    for (auto [argument, desc] :
         {std::pair{DNNL_ARG_SRC, in}, std::pair{DNNL_ARG_WEIGHTS, description.weights_desc()},
          std::pair{DNNL_ARG_DST, out}}) {
      arguments_[argument] = memory(desc, engine_);
      std::fill_n(static_cast<float*>(arguments_[argument].get_data_handle()),
                  desc.get_size() / sizeof(float), 0.1f);
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
bool Validate(const std::vector<float>& x, const std::vector<float>& w, const Tensor& out) {
  for (int64_t r : {int64_t{0}, out.rows / 2, out.rows - 1}) {
    for (int64_t n = 0; n < kOuter; n += 97) {
      double sum = 0;
      for (int64_t k = 0; k < kInner; ++k) {
        sum += double{x[static_cast<size_t>(r * kInner + k)]} *
               double{w[static_cast<size_t>(n * kInner + k)]};
      }
      if (!(std::abs(double{out.data[r * kOuter + n]} - sum) < 1e-5)) return false;
    }
  }
  return true;
}

int BenchLinear(int64_t threads) {
  CpuOptions options;
  options.threads = threads;
  auto backend = CreateCpuBackend(options).value();
  std::printf("%s, W [%ld, %ld] f32\n", backend->name().c_str(), static_cast<long>(kOuter),
              static_cast<long>(kInner));
  const std::vector<float> w = Random(kOuter * kInner, 1);
  const WeightView view{w.data(), DType::kF32, kOuter, kInner};
  // Several copies, so that weights come from memory as they do in a model.
  std::vector<std::unique_ptr<Matrix>> copies;
  for (int i = 0; i < 6; ++i) {
    copies.push_back(backend->PackMatrix({&view, 1}, Epilogue::kNone, WeightFormat::kF32).value());
  }
  ThreadPool pool(threads);
  // The machine's read rate: sums over memory of the same size, each thread its own part.
  const std::vector<float> memory = Random(6 * kOuter * kInner, 2);
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
  const double bytes = 4.0 * static_cast<double>(kOuter * kInner);
  for (int64_t rows : {1, 2, 4, 8, 12, 16, 32, 64, 128, 512}) {
    const std::vector<float> x = Random(rows * kInner, 3);
    auto in = backend->Allocate(rows, kInner).value(),
         out = backend->Allocate(rows, kOuter).value();
    std::copy(x.begin(), x.end(), in->tensor().data);
    bool ok = true;
    const auto ours = [&] {
      for (const auto& copy : copies) {
        ok = ok && backend->Linear(*copy, in->tensor(), out->tensor()).ok();
      }
    };
    ours();
    if (!ok || !Validate(x, w, out->tensor())) {
      std::printf("Linear with %ld rows is WRONG\n", static_cast<long>(rows));
      return 1;
    }
    OwnMatmul own(rows, threads);
    const std::vector<double> s = Compare({ours,
                                           [&] {
                                             for (size_t i = 0; i < copies.size(); ++i) own.Run();
                                           },
                                           read},
                                          rows >= 128 ? 5 : 15);
    const double n = static_cast<double>(copies.size());
    const double flops = 2e-9 * static_cast<double>(rows * kInner * kOuter) * n;
    std::printf(
        "rows %4ld: ours %6.1f GFLOP/s %5.1f GB/s | oneDNN alone %6.1f GFLOP/s, ratio %.2f | "
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
  BenchSampling();
  return BenchLinear(threads);
}

}  // namespace
}  // namespace longleaf::kernels

int main(int argc, char** argv) { return longleaf::kernels::Main(argc, argv); }
