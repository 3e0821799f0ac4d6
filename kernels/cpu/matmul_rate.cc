#include "kernels/cpu/matmul_rate.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "oneapi/dnnl/dnnl.hpp"

// libgomp's; its header belongs to another compiler.
extern "C" void omp_set_num_threads(int threads);

namespace longleaf::kernels {
namespace {

using dnnl::memory;

constexpr int64_t kRows = 1024;
constexpr int64_t kInner = 2048;
constexpr int64_t kColumns = 4096;

// May throw dnnl::error.
double BestRate() {
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const memory::desc in({kRows, kInner}, memory::data_type::f32, memory::format_tag::ab);
  const memory::desc plain({kInner, kColumns}, memory::data_type::f32, memory::format_tag::ab);
  const memory::desc any({kInner, kColumns}, memory::data_type::f32, memory::format_tag::any);
  const memory::desc out({kRows, kColumns}, memory::data_type::f32, memory::format_tag::ab);
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(in, any, out), engine);
  const dnnl::matmul product(description);

  std::vector<float> a(kRows * kInner, 0.5F);
  std::vector<float> b(kInner * kColumns, 0.25F);
  std::vector<float> c(kRows * kColumns);
  memory in_memory(in, engine, a.data());
  memory plain_memory(plain, engine, b.data());
  memory packed_memory(description.weights_desc(), engine);
  memory out_memory(out, engine, c.data());
  dnnl::reorder(plain_memory, packed_memory).execute(stream, plain_memory, packed_memory);
  stream.wait();

  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  double best = 0;
  for (int repeat = 0; repeat < 4 || Clock::now() - begin < std::chrono::seconds(1); ++repeat) {
    const Clock::time_point start = Clock::now();
    product.execute(
        stream,
        {{DNNL_ARG_SRC, in_memory}, {DNNL_ARG_WEIGHTS, packed_memory}, {DNNL_ARG_DST, out_memory}});
    stream.wait();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, 2.0 * kRows * kInner * kColumns / seconds);
  }
  return best;
}

}  // namespace

absl::StatusOr<double> MeasureMatmulRate(int64_t threads) {
  absl::StatusOr<double> rate = absl::InternalError("not measured");
  // A thread of its own: the number of OpenMP threads is a property of the thread that asks, and
  // the CPU backend sets it to one for its own.
  std::thread measuring([threads, &rate] {
    const auto all = static_cast<int64_t>(std::thread::hardware_concurrency());
    omp_set_num_threads(static_cast<int>(std::max<int64_t>(1, threads > 0 ? threads : all)));
    try {
      rate = BestRate();
    } catch (const dnnl::error& error) {
      rate = absl::InternalError(absl::StrCat("oneDNN: ", error.message));
    } catch (const std::bad_alloc&) {
      rate = absl::ResourceExhaustedError("no memory for the measurement of oneDNN");
    }
  });
  measuring.join();
  return rate;
}

}  // namespace longleaf::kernels
