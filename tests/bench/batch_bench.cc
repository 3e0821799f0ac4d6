// Matrix products of a decode step with some questions in it: the four weights of the 1.1B shape at
// 1 to 64 rows, beside their limit, the greater of the weights' bytes over the measured read
// bandwidth and the operations over the rate of the same product at 512 rows. Then what a step of
// the whole model would take of products alone, and how many times the tokens of one row that is.
//
//   batch_bench [--threads N] [--seconds S] [--clock wall|processor]
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/bench/machine_limits.h"

namespace longleaf::kernels {
namespace {

struct Options {
  int64_t threads = std::max(1u, std::thread::hardware_concurrency());
  double seconds = 0.3;
  bool processor_time = false;
};

struct Product {
  const char* name;
  int64_t in, out;
  Epilogue epilogue;
  int64_t per_step;
};
constexpr Product kProducts[] = {{"qkv", 2048, 2560, Epilogue::kNone, 22},
                                 {"output", 2048, 2048, Epilogue::kNone, 22},
                                 {"gate_up", 2048, 2 * 5632, Epilogue::kSiluGate, 22},
                                 {"down", 5632, 2048, Epilogue::kNone, 22},
                                 {"logits", 2048, 32000, Epilogue::kNone, 1}};
constexpr int64_t kRows[] = {1, 2, 4, 6, 8, 9, 12, 16, 20, 24, 32, 48, 64};
constexpr double kCopyBytes = 200e6;  // so that weights come from memory as they do in a model

int Run(const Options& options) {
  CpuOptions cpu;
  cpu.threads = options.threads;
  auto backend = CreateCpuBackend(cpu).value();
  const Stopwatch watch =
      options.processor_time ? Stopwatch::OfProcessors(options.threads) : Stopwatch();
  const int64_t floats = 6 * 2048 * 5632;
  auto values = backend->Allocate(1, floats).value();
  FillRandom(values->tensor().data, floats);
  double bandwidth = 0;
  {
    ThreadPool pool(options.threads);
    bandwidth = ReadBandwidth(pool, values->tensor().data, floats, options.seconds, watch);
  }
  std::printf("%s: read bandwidth %.1f GB/s\n", backend->name().c_str(), bandwidth / 1e9);
  std::vector<double> step(std::size(kRows));
  std::vector<double> step_limit(std::size(kRows));
  for (const Product& product : kProducts) {
    const double bytes = 4.0 * static_cast<double>(product.in * product.out);
    std::vector<WeightView> parts;
    const int64_t halves = product.epilogue == Epilogue::kSiluGate ? 2 : 1;
    for (int64_t half = 0; half < halves; ++half) {
      parts.push_back({values->tensor().data, DType::kF32, product.out / halves, product.in});
    }
    std::vector<std::unique_ptr<Matrix>> copies;
    do {
      copies.push_back(backend->PackMatrix(parts, product.epilogue, WeightFormat::kF32).value());
    } while (static_cast<double>(copies.size()) * bytes < kCopyBytes);
    bool ok = true;
    const auto time = [&](int64_t rows) {
      auto in = backend->Allocate(rows, product.in).value();
      auto out = backend->Allocate(rows, product.out / halves).value();
      FillRandom(in->tensor().data, rows * product.in);
      return watch.Best(options.seconds, [&] {
        for (const auto& copy : copies) {
          ok &= backend->Linear(*copy, in->tensor(), {}, out->tensor()).ok();
        }
      }) / static_cast<double>(copies.size());
    };
    const double operations = 2.0 * static_cast<double>(product.in * product.out);
    const double rate = 512 * operations / time(512);
    std::printf("%s [rows, %lld] x [%lld, %lld]: %.0f GFLOP/s at 512 rows\n", product.name,
                static_cast<long long>(product.in), static_cast<long long>(product.in),
                static_cast<long long>(product.out), rate / 1e9);
    for (size_t r = 0; r < std::size(kRows); ++r) {
      const double rows = static_cast<double>(kRows[r]);
      const double took = time(kRows[r]);
      const double limit = std::max(bytes / bandwidth, rows * operations / rate);
      step[r] += took * static_cast<double>(product.per_step);
      step_limit[r] += limit * static_cast<double>(product.per_step);
      std::printf("  rows %3.0f %9.1f us, limit %9.1f us, reached %5.1f%%, %6.1f GFLOP/s\n", rows,
                  took * 1e6, limit * 1e6, 100 * limit / took, rows * operations / took / 1e9);
    }
    if (!ok) {
      std::fprintf(stderr, "a product failed\n");
      return 1;
    }
  }
  std::printf("all products of a step of the 1.1B model\n");
  for (size_t r = 0; r < std::size(kRows); ++r) {
    std::printf("  rows %3lld %7.1f ms, limit %7.1f ms, reached %5.1f%%, tokens/s %5.2fx one row\n",
                static_cast<long long>(kRows[r]), step[r] * 1e3, step_limit[r] * 1e3,
                100 * step_limit[r] / step[r], static_cast<double>(kRows[r]) * step[0] / step[r]);
  }
  return 0;
}

}  // namespace
}  // namespace longleaf::kernels

int main(int argc, char** argv) {
  longleaf::kernels::Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string flag = argv[i];
    const std::string value = i + 1 < argc ? argv[i + 1] : "";
    bool good = true;
    if (flag == "--threads") {
      good = (options.threads = std::atoll(value.c_str())) > 0;
    } else if (flag == "--seconds") {
      good = (options.seconds = std::atof(value.c_str())) > 0;
    } else if (flag == "--clock") {
      options.processor_time = value == "processor";
      good = value == "processor" || value == "wall";
    } else {
      good = false;
    }
    if (!good) {
      std::fprintf(stderr, "%s %s: see the head of batch_bench.cc\n", flag.c_str(), value.c_str());
      return 2;
    }
  }
  return longleaf::kernels::Run(options);
}
