#include "tests/unit/kernels/backend_fixture.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/state_rounding.h"

namespace longleaf::kernels {

std::unique_ptr<Backend> Make(Kind kind, int64_t state_capacity) {
  if (kind == Kind::kReference) return CreateReferenceBackend(state_capacity).value();
  if (kind == Kind::kCuda) {
    CudaOptions options;
    options.state_capacity_bytes = state_capacity;
    options.poison_pages = true;
    return CreateCudaBackend(options).value();
  }
  CpuOptions options;
  options.threads = kind == Kind::kCpuOneThread ? 1 : 3;
  options.state_capacity_bytes = state_capacity;
  options.poison_pages = true;
  return CreateCpuBackend(options).value();
}

std::string NameOf(const testing::TestParamInfo<Kind>& info) {
  switch (info.param) {
    case Kind::kReference:
      return "Reference";
    case Kind::kCpuOneThread:
      return "CpuOneThread";
    case Kind::kCpuThreeThreads:
      return "CpuThreeThreads";
    case Kind::kCuda:
      return "Cuda";
  }
  return "";
}

std::vector<float> RandomFloats(int64_t count, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = normal(random);
  return values;
}

std::unique_ptr<Buffer> Upload(Backend& backend, const std::vector<float>& values, int64_t rows,
                               int64_t cols) {
  EXPECT_EQ(static_cast<int64_t>(values.size()), rows * cols);
  std::unique_ptr<Buffer> buffer = backend.Allocate(rows, cols).value();
  // An embedding of row 0..rows-1 is how host values reach a backend.
  std::vector<int32_t> ids(static_cast<size_t>(rows));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  EXPECT_TRUE(backend.Embed({values.data(), DType::kF32, rows, cols}, ids, buffer->tensor()).ok());
  return buffer;
}

std::vector<float> Download(Backend& backend, const Tensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.rows * tensor.cols));
  EXPECT_TRUE(backend.ToHost(tensor, values.data()).ok());
  return values;
}

std::vector<float> ProductTest::Run(const Matrix& matrix, const std::vector<float>& x, int64_t rows,
                                    int64_t width) {
  auto in = Upload(*backend_, x, rows, matrix.in_features());
  auto out = backend_->Allocate(rows, width).value();
  const absl::Status status = backend_->Linear(matrix, in->tensor(), {}, out->tensor());
  EXPECT_TRUE(status.ok()) << status.ToString();
  return Download(*backend_, out->tensor());
}

StateShape ShapeOf(int64_t query_heads, int64_t kv_heads, int64_t head_dim, const char* policy,
                   DType dtype) {
  return {2, query_heads, kv_heads, head_dim, AttentionPolicy::Parse(policy).value(), dtype};
}

std::vector<StateShape> Shapes() {
  return {ShapeOf(4, 4, 16, "full"),
          ShapeOf(4, 4, 16, "cca:g=4,w=8"),
          ShapeOf(8, 2, 8, "cca:g=4,w=8,heads=query"),
          ShapeOf(8, 2, 8, "cca:g=4,w=8,heads=kv"),
          ShapeOf(4, 1, 32, "streaming:sinks=4,w=8"),
          ShapeOf(2, 2, 16, "streaming:sinks=0,w=1"),
          ShapeOf(6, 2, 80, "full"),
          ShapeOf(2, 2, 96, "cca:g=16,w=64,heads=query"),
          ShapeOf(2, 1, 128, "cca:g=16,w=64,heads=kv"),
          ShapeOf(4, 2, 64, "cca:g=24,w=48,heads=query"),
          ShapeOf(3, 1, 2, "cca:g=1,w=1,heads=kv"),
          ShapeOf(2, 1, 16, "cca:g=80,w=80,heads=query"),
          ShapeOf(2, 1, 40, "full", DType::kBF16),
          ShapeOf(8, 2, 8, "cca:g=4,w=8,heads=query", DType::kBF16),
          ShapeOf(2, 1, 64, "cca:g=5,w=35,heads=kv", DType::kBF16),
          ShapeOf(4, 1, 32, "streaming:sinks=5,w=9", DType::kBF16),
          ShapeOf(3, 3, 10, "full", DType::kI8),
          ShapeOf(4, 2, 64, "cca:g=16,w=48,heads=query", DType::kI8),
          ShapeOf(3, 1, 2, "cca:g=1,w=1,heads=kv", DType::kI8),
          ShapeOf(2, 1, 6, "cca:g=66,w=66,heads=query", DType::kI8),
          ShapeOf(4, 1, 32, "streaming:sinks=5,w=9", DType::kI8)};
}

std::string Describe(const StateShape& shape) {
  return absl::StrCat(shape.query_heads, "/", shape.kv_heads, " heads of ", shape.head_dim, ", ",
                      shape.policy.ToString(), ", ", NameOf(shape.dtype));
}

float AttentionTolerance(const StateShape& shape) {
  return shape.dtype == DType::kF32 ? kAttentionTolerance : kBF16PairsTolerance;
}

float StateTolerance(const StateShape& shape) {
  switch (shape.dtype) {
    case DType::kBF16:
      return kBF16StateTolerance;
    case DType::kI8:
      return kI8StateTolerance;
    default:
      return kAttentionTolerance;
  }
}

Rotary RotaryFor(const StateShape& shape, int64_t first) {
  Rotary rotary;
  rotary.first_position = first;
  for (int64_t k = 0; k < shape.head_dim / 2; ++k) {
    rotary.inverse_frequencies.push_back(
        std::pow(10000.0, -2.0 * static_cast<double>(k) / static_cast<double>(shape.head_dim)));
  }
  return rotary;
}

Sequence::Sequence(const StateShape& shape, int64_t tokens, uint32_t seed)
    : width((shape.query_heads + 2 * shape.kv_heads) * shape.head_dim), length(tokens) {
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    layers.push_back(RandomFloats(tokens * width, seed * 16 + static_cast<uint32_t>(layer), 1.5f));
  }
}

Sequence::Sequence(const Sequence& prefix, int64_t tokens, uint32_t seed)
    : width(prefix.width), length(prefix.length) {
  for (size_t layer = 0; layer < prefix.layers.size(); ++layer) {
    layers.push_back(RandomFloats(length * width, seed * 16 + static_cast<uint32_t>(layer), 1.5f));
    std::copy_n(prefix.layers[layer].begin(), tokens * width, layers.back().begin());
  }
}

std::vector<BatchItem> BatchOf(const std::vector<Member>& members) {
  std::vector<BatchItem> batch;
  for (const Member& m : members) batch.push_back({m.state, m.rows, m.outputs, m.mass});
  return batch;
}

StepResult RunStep(Backend& backend, const std::vector<Member>& members, int64_t first_position) {
  const std::vector<BatchItem> batch = BatchOf(members);
  const StateShape& shape = members[0].state->shape();
  const int64_t width = members[0].sequence->width, out_width = shape.query_heads * shape.head_dim;
  int64_t rows = 0, outputs = 0;
  for (const Member& m : members) {
    rows += m.rows;
    outputs += m.outputs;
  }
  StepResult result;
  EXPECT_TRUE(backend.BeginStep(batch).ok());
  std::unique_ptr<Buffer> out = backend.Allocate(rows, out_width).value();
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    std::vector<float> values;
    for (const Member& m : members) {
      const float* from =
          m.sequence->layers[static_cast<size_t>(layer)].data() + m.state->tokens() * width;
      values.insert(values.end(), from, from + m.rows * width);
    }
    std::unique_ptr<Buffer> qkv = Upload(backend, values, rows, width);
    EXPECT_TRUE(
        backend.RotaryAppendPool(layer, batch, RotaryFor(shape, first_position), qkv->tensor())
            .ok());
    const bool last = layer == shape.layers - 1;
    const Tensor to = out->tensor().Rows(last ? outputs : rows);
    const absl::Status status =
        backend.Attention(layer, batch, last ? Rows::kOutputs : Rows::kAll, qkv->tensor(), to);
    EXPECT_TRUE(status.ok()) << status.ToString();
    const std::vector<float> all = Download(backend, to);
    std::vector<std::vector<float>> by_member;
    auto at = all.begin();
    for (const Member& m : members) {
      const auto end = at + (last ? m.outputs : m.rows) * out_width;
      by_member.emplace_back(at, end);
      at = end;
    }
    result.attention.push_back(std::move(by_member));
  }
  return result;
}

std::vector<float> Feed(Backend& backend, State& state, const Sequence& sequence, int64_t end,
                        int64_t chunk, int64_t first_position) {
  std::vector<float> fed;
  while (state.tokens() < end) {
    const int64_t rows = std::min(chunk, end - state.tokens());
    const std::vector<Member> members = {{&state, &sequence, rows, rows}};
    const StepResult result = RunStep(backend, members, first_position);
    backend.CommitStep(BatchOf(members));
    fed.insert(fed.end(), result.attention.back()[0].begin(), result.attention.back()[0].end());
  }
  return fed;
}

namespace {

struct Part {
  StatePart part;
  int64_t first, count, heads;
  int64_t bytes(const StateShape& shape, int64_t tokens) const {
    return 2 * tokens * heads * shape.row_bytes();
  }
};
std::vector<Part> PartsOf(const State& state) {
  const StateShape& s = state.shape();
  return {{StatePart::kCore, 0, state.cores(), s.core_heads()},
          {StatePart::kRaw, state.first_raw(), state.tokens() - state.first_raw(), s.kv_heads}};
}

}  // namespace

std::vector<std::byte> ExportBytes(Backend& backend, const State& state) {
  std::vector<std::byte> all;
  for (int64_t layer = 0; layer < state.shape().layers; ++layer) {
    for (const Part& p : PartsOf(state)) {
      std::vector<std::byte> piece(static_cast<size_t>(p.bytes(state.shape(), p.count)));
      const absl::Status status =
          backend.Export(state, layer, p.part, p.first, p.count, absl::MakeSpan(piece));
      EXPECT_TRUE(status.ok()) << status.ToString();
      all.insert(all.end(), piece.begin(), piece.end());
    }
  }
  return all;
}

std::vector<float> ExportAll(Backend& backend, const State& state) {
  const StateShape& shape = state.shape();
  const int64_t d = shape.head_dim;
  const std::vector<std::byte> bytes = ExportBytes(backend, state);
  const std::byte* at = bytes.data();
  std::vector<float> all;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (const Part& p : PartsOf(state)) {
      const int64_t rows = p.count * p.heads;
      for (int half = 0; half < 2; ++half) {  // keys, values
        const std::byte* scales = at + rows * d * SizeOf(shape.dtype);
        for (int64_t r = 0; r < rows; ++r, at += d * SizeOf(shape.dtype)) {
          float scale = 1;
          if (shape.dtype == DType::kI8) std::memcpy(&scale, scales + r * 4, 4);
          all.resize(all.size() + static_cast<size_t>(d));
          ReadRow(shape.dtype, at, scale, d, all.data() + all.size() - d);
        }
        at += rows * (shape.row_bytes() - d * SizeOf(shape.dtype));
      }
    }
  }
  EXPECT_EQ(at - bytes.data(), std::ssize(bytes));
  return all;
}

std::unique_ptr<State> Transfer(Backend& from, const State& state, Backend& backend) {
  std::unique_ptr<State> to = backend.NewState(state.shape()).value();
  EXPECT_TRUE(backend.PrepareImport(*to, state.tokens(), state.first_raw()).ok());
  for (int64_t layer = 0; layer < state.shape().layers; ++layer) {
    for (const Part& p : PartsOf(state)) {
      // In two pieces, the later one first, and through memory that is not aligned.
      const int64_t half = p.count / 3;
      for (const auto& [first, count] :
           {std::pair{p.first + half, p.count - half}, std::pair{p.first, half}}) {
        if (count == 0) continue;
        const auto bytes = static_cast<size_t>(p.bytes(state.shape(), count));
        std::vector<std::byte> memory(bytes + 1);
        const absl::Span<std::byte> span = absl::MakeSpan(memory).subspan(1);
        EXPECT_TRUE(from.Export(state, layer, p.part, first, count, span).ok());
        EXPECT_TRUE(backend.Import(*to, layer, p.part, first, count, span).ok());
      }
    }
  }
  return to;
}

float LargestGap(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  float largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const float gap = std::abs(a[i] - b[i]);
    if (std::isnan(gap)) return std::numeric_limits<float>::quiet_NaN();
    largest = std::max(largest, gap);
  }
  return largest;
}

float LargestMagnitude(const std::vector<float>& a) {
  float largest = 0;
  for (float x : a) largest = std::max(largest, std::abs(x));
  return largest;
}

}  // namespace longleaf::kernels
