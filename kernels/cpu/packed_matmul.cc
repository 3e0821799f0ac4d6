// Products with packed weights on oneDNN 2.6. A product is cut into tasks of (row block x column
// block); each task is one oneDNN call with a single OpenMP thread, on a worker of our own pool.
// Panels in bf16 are expanded to f32 by the task that multiplies them.
#include "kernels/cpu/packed_matmul.h"

#include <algorithm>
#include <atomic>
#include <dnnl.hpp>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/panels.h"

// From libgomp, which oneDNN runs on; clang's <omp.h> is that of another runtime.
extern "C" void omp_set_num_threads(int);

namespace longleaf::kernels {
namespace {

using dnnl::memory;

// Up to here MultiplyPanel reads the weights at the speed of memory or computes near the peak, and
// a row has the same bits whatever the others are. (Where oneDNN has no kernel for the packed
// layout, as 2.6 on AMD's processors, MultiplyPanel takes all.)
constexpr int64_t kFewRows = 64;
constexpr int64_t kMostRowsPerTask = 512;
constexpr int64_t kMostPanelsPerTask = 4;
constexpr size_t kMostPrimitives = 256;

struct Shape {
  int64_t rows, columns, depth, out_stride;
  bool add;
  friend bool operator<(const Shape& a, const Shape& b) {
    return std::tie(a.rows, a.columns, a.depth, a.out_stride, a.add) <
           std::tie(b.rows, b.columns, b.depth, b.out_stride, b.add);
  }
};

struct Primitive {
  memory::desc in, weight, out;
  dnnl::matmul matmul;
  int64_t scratch_bytes = 0;
  bool optimised = false;  // false: oneDNN only has its reference for this shape on this machine
  int64_t last_use = 0;
};

// A product cut into tasks.
struct Plan {
  int64_t row_blocks = 0;
  int64_t rows = 0;  // per block, the last may have fewer
  int64_t column_blocks = 0;
  int64_t panels = 0;  // per block, the last may have fewer
};

Plan PlanFor(int64_t rows, int64_t panels, int64_t halves, int64_t threads) {
  Plan plan;
  plan.row_blocks = (rows + kMostRowsPerTask - 1) / kMostRowsPerTask;
  plan.rows = (rows + plan.row_blocks - 1) / plan.row_blocks;
  // Some tasks per thread, so that all end at about the same time.
  const int64_t fair = panels * plan.row_blocks / (threads * 6);
  plan.panels = std::clamp<int64_t>(fair, 1, kMostPanelsPerTask / halves);
  plan.column_blocks = (panels + plan.panels - 1) / plan.panels;
  return plan;
}

}  // namespace

struct PackedMatmul::Impl {
  struct Scratch {
    AlignedFloats data;
    int64_t floats = 0;
  };

  explicit Impl(ThreadPool* p)
      : pool(p),
        engine(dnnl::engine::kind::cpu, 0),
        stream(engine),
        scratch(static_cast<size_t>(p->threads())) {}

  // Throws dnnl::error. The reference stays valid until the next call of Trim.
  const Primitive& PrimitiveFor(const Shape& shape);
  // Drops the least recently used primitives beyond the bound.
  void Trim();
  bool ReserveScratch(int64_t floats);
  absl::Status RunPanels(const PackedMatrix& weight, const Tensor& in, Tensor out, bool add);
  absl::Status RunPrimitives(const PackedMatrix& weight, const Tensor& in, Tensor out, bool add,
                             const Plan& plan);
  void Execute(const Primitive& p, const float* in, const float* panels, float* out,
               void* scratchpad) const;

  ThreadPool* const pool;
  const dnnl::engine engine;
  const dnnl::stream stream;
  std::map<Shape, Primitive> primitives;
  int64_t uses = 0;
  std::vector<Scratch> scratch;  // one per thread
};

const Primitive& PackedMatmul::Impl::PrimitiveFor(const Shape& shape) {
  const auto [at, is_new] = primitives.try_emplace(shape);
  Primitive& p = at->second;
  p.last_use = ++uses;
  if (!is_new) return p;
  const auto f32 = memory::data_type::f32;
  p.in = memory::desc({shape.rows, shape.depth}, f32, memory::format_tag::ab);
  p.weight = memory::desc({shape.depth, shape.columns}, f32, memory::format_tag::BA16a64b);
  p.out = memory::desc({shape.rows, shape.columns}, f32, memory::dims{shape.out_stride, 1});
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (shape.add) {
    dnnl::post_ops sum;
    sum.append_sum();
    attributes.set_post_ops(sum);
  }
  try {
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(p.in, p.weight, p.out),
                                                   attributes, engine);
    p.scratch_bytes = static_cast<int64_t>(description.scratchpad_desc().get_size());
    p.optimised =
        std::string_view(description.impl_info_str()).find("ref") == std::string_view::npos;
    p.matmul = dnnl::matmul(description);
  } catch (const dnnl::error&) {
    primitives.erase(at);
    throw;
  }
  return p;
}

void PackedMatmul::Impl::Trim() {
  while (primitives.size() > kMostPrimitives) {
    primitives.erase(std::min_element(
        primitives.begin(), primitives.end(),
        [](const auto& a, const auto& b) { return a.second.last_use < b.second.last_use; }));
  }
}

bool PackedMatmul::Impl::ReserveScratch(int64_t floats) {
  for (Scratch& s : scratch) {
    if (s.floats >= floats) continue;
    s.data = AllocateFloats(floats);
    s.floats = s.data == nullptr ? 0 : floats;
    if (s.data == nullptr) return false;
  }
  return true;
}

// Throws dnnl::error.
void PackedMatmul::Impl::Execute(const Primitive& p, const float* in, const float* panels,
                                 float* out, void* scratchpad) const {
  const memory::desc scratch_desc({p.scratch_bytes}, memory::data_type::u8, memory::format_tag::a);
  // oneDNN's memory objects have no const form; it only reads the first two.
  p.matmul.execute(stream,
                   {{DNNL_ARG_SRC, memory(p.in, engine, const_cast<float*>(in))},
                    {DNNL_ARG_WEIGHTS, memory(p.weight, engine, const_cast<float*>(panels))},
                    {DNNL_ARG_DST, memory(p.out, engine, out)},
                    {DNNL_ARG_SCRATCHPAD, memory(scratch_desc, engine, scratchpad)}});
}

absl::Status PackedMatmul::Impl::RunPanels(const PackedMatrix& weight, const Tensor& in, Tensor out,
                                           bool add) {
  const bool gate = weight.halves() == 2;
  // Many rows come here only where oneDNN has no kernel; blocks of them keep the panel in cache.
  const int64_t row_block = std::min<int64_t>(in.rows, 48);
  const bool bf16 = weight.shape().format == WeightFormat::kBF16;
  const auto take = [&](int64_t half, int64_t index, PanelProduct& p) {
    if (bf16) {
      p.bf16_panel = weight.bf16_panel(half, index);
    } else {
      p.panel = weight.float_panel(half, index);
    }
  };
  if (gate && !ReserveScratch(row_block * kPanelColumns)) {
    return absl::ResourceExhaustedError("no scratch memory for a matrix product");
  }
  pool->ParallelFor(PanelsFor(weight.width()), [&](int64_t index, int64_t thread) {
    const int64_t column = index * kPanelColumns;
    PanelProduct p;
    p.depth = in.cols;
    p.add = add;
    p.columns = std::min(kPanelColumns, weight.width() - column);
    p.in_stride = in.cols;
    p.reread = in.rows > kFewRows;
    for (int64_t row = 0; row < in.rows; row += row_block) {
      p.rows = std::min(row_block, in.rows - row);
      p.in = in.data + row * in.cols;
      take(0, index, p);
      p.out = out.data + row * out.cols + column;
      p.out_stride = out.cols;
      MultiplyPanel(p);
      if (!gate) continue;
      float* const gates = p.out;
      take(1, index, p);
      p.out = scratch[static_cast<size_t>(thread)].data.get();
      p.out_stride = kPanelColumns;
      MultiplyPanel(p);
      for (int64_t r = 0; r < p.rows; ++r) {
        SiluGate(gates + r * out.cols, p.out + r * kPanelColumns, p.columns);
      }
    }
  });
  return absl::OkStatus();
}

// Throws dnnl::error when a primitive cannot be made.
absl::Status PackedMatmul::Impl::RunPrimitives(const PackedMatrix& weight, const Tensor& in,
                                               Tensor out, bool add, const Plan& plan) {
  const bool gate = weight.halves() == 2;
  const int64_t columns = std::min(plan.panels * kPanelColumns, weight.width());
  const int64_t last_columns =
      weight.width() - (plan.column_blocks - 1) * plan.panels * kPanelColumns;
  const int64_t last_rows = in.rows - (plan.row_blocks - 1) * plan.rows;
  // All primitives before any task: a worker only looks them up.
  struct Pair {
    const Primitive* main;
    const Primitive* up;
  };
  const auto make = [&](int64_t rows, int64_t width) {
    return Pair{&PrimitiveFor({rows, width, in.cols, out.cols, add}),
                gate ? &PrimitiveFor({rows, width, in.cols, width, false}) : nullptr};
  };
  const Pair pairs[2][2] = {{make(plan.rows, columns), make(plan.rows, last_columns)},
                            {make(last_rows, columns), make(last_rows, last_columns)}};
  int64_t scratch_bytes = 0;
  for (const auto& row : pairs) {
    for (const Pair& p : row) {
      if (!p.main->optimised) return RunPanels(weight, in, out, add);
      scratch_bytes = std::max(scratch_bytes, p.main->scratch_bytes);
      if (gate) scratch_bytes = std::max(scratch_bytes, p.up->scratch_bytes);
    }
  }
  // Of each thread: the second half of a gate, expanded panels, oneDNN's own.
  const bool bf16 = weight.shape().format == WeightFormat::kBF16;
  const int64_t depth = PaddedDepth(in.cols), panel_floats = depth * kPanelColumns;
  const int64_t up_floats = gate ? (plan.rows * columns + 15) / 16 * 16 : 0;
  const int64_t expanded_floats = bf16 ? plan.panels * panel_floats : 0;
  if (!ReserveScratch(up_floats + expanded_floats + (scratch_bytes + 3) / 4)) {
    return absl::ResourceExhaustedError("no scratch memory for a matrix product");
  }
  std::atomic<bool> failed{false};
  pool->ParallelFor(plan.row_blocks * plan.column_blocks, [&](int64_t task, int64_t thread) {
    omp_set_num_threads(1);  // of this thread: oneDNN must start no threads of its own
    // Row blocks innermost: a column block of weights is read from memory once.
    const int64_t row_block = task % plan.row_blocks, column_block = task / plan.row_blocks;
    const bool last_row = row_block == plan.row_blocks - 1;
    const bool last_column = column_block == plan.column_blocks - 1;
    const Pair& p = pairs[last_row ? 1 : 0][last_column ? 1 : 0];
    const int64_t index = column_block * plan.panels, row = row_block * plan.rows;
    const int64_t height = last_row ? last_rows : plan.rows;
    const int64_t width = last_column ? last_columns : columns;
    const float* x = in.data + row * in.cols;
    float* to = out.data + row * out.cols + index * kPanelColumns;
    float* const up = scratch[static_cast<size_t>(thread)].data.get();
    float* const expanded = up + up_floats;
    float* const scratchpad = expanded + expanded_floats;
    const auto panels = [&](int64_t half) -> const float* {
      if (!bf16) return weight.float_panel(half, index);
      ExpandPanel(weight.bf16_panel(half, index),
                  (width + kPanelColumns - 1) / kPanelColumns * depth, expanded);
      return expanded;
    };
    try {
      Execute(*p.main, x, panels(0), to, scratchpad);
      if (gate) Execute(*p.up, x, panels(1), up, scratchpad);
    } catch (const dnnl::error&) {
      failed = true;
      return;
    }
    for (int64_t r = 0; gate && r < height; ++r) {
      SiluGate(to + r * out.cols, up + r * width, width);
    }
  });
  if (failed) return absl::InternalError("oneDNN failed to run a matrix product");
  return absl::OkStatus();
}

PackedMatmul::PackedMatmul(ThreadPool* pool) : impl_(std::make_unique<Impl>(pool)) {}

PackedMatmul::~PackedMatmul() = default;

absl::Status PackedMatmul::Run(const PackedMatrix& weight, const Tensor& in, Tensor out, bool add) {
  if (in.rows == 0) return absl::OkStatus();
  if (in.rows <= kFewRows) return impl_->RunPanels(weight, in, out, add);
  omp_set_num_threads(1);  // oneDNN fixes the threads of a primitive when it makes it
  try {
    const absl::Status status = impl_->RunPrimitives(
        weight, in, out, add,
        PlanFor(in.rows, PanelsFor(weight.width()), weight.halves(), impl_->pool->threads()));
    impl_->Trim();
    return status;
  } catch (const dnnl::error& error) {
    return absl::InternalError(std::string("oneDNN: ") + error.message);
  }
}

}  // namespace longleaf::kernels
