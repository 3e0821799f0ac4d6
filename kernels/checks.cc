// Argument checks shared by the backends.
#include "kernels/checks.h"

#include <limits>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace longleaf::kernels {
namespace {

using absl::InvalidArgumentError;
using absl::OkStatus;
using absl::Status;
using absl::StrCat;

// More elements than any machine has, few enough that byte counts stay inside int64.
constexpr int64_t kMostElements = int64_t{1} << 48;
constexpr int64_t kMostHeads = int64_t{1} << 20;

Status CheckLayer(const StateShape& shape, int64_t layer) {
  if (layer < 0 || layer >= shape.layers) {
    return InvalidArgumentError(StrCat("layer ", layer, " of ", shape.layers));
  }
  return OkStatus();
}

// Batch members share one set of weights, so their states have one shape.
Status CheckSameShapes(Batch batch) {
  const StateShape& first = batch.front().state->shape();
  for (const BatchItem& item : batch) {
    const StateShape& shape = item.state->shape();
    if (shape.layers != first.layers || shape.query_heads != first.query_heads ||
        shape.kv_heads != first.kv_heads || shape.head_dim != first.head_dim ||
        !(shape.policy == first.policy) || shape.dtype != first.dtype) {
      return InvalidArgumentError("the states of a batch differ in shape");
    }
  }
  return OkStatus();
}

}  // namespace

BatchTotals TotalsOf(Batch batch) {
  BatchTotals totals;
  for (const BatchItem& item : batch) {
    totals.rows += item.rows;
    totals.outputs += item.outputs;
  }
  return totals;
}

Status CheckStateShape(const StateShape& shape) {
  if (shape.layers < 1 || shape.query_heads < 1 || shape.kv_heads < 1 || shape.head_dim < 1 ||
      shape.layers > kMostHeads || shape.query_heads > kMostHeads || shape.head_dim > kMostHeads) {
    return InvalidArgumentError("state shape: layers, heads or head_dim out of range");
  }
  if (shape.query_heads % shape.kv_heads != 0) {
    return InvalidArgumentError(StrCat("state shape: ", shape.query_heads,
                                       " query heads are not a multiple of ", shape.kv_heads,
                                       " key heads"));
  }
  if (shape.head_dim % 2 != 0) {
    return InvalidArgumentError(StrCat("state shape: head_dim ", shape.head_dim, " is odd"));
  }
  if (shape.dtype != DType::kF32 && shape.dtype != DType::kBF16 && shape.dtype != DType::kI8) {
    return absl::UnimplementedError(StrCat("states of type ", NameOf(shape.dtype)));
  }
  return shape.policy.Validate();
}

Status CheckTensor(absl::string_view name, const Tensor& tensor, int64_t rows, int64_t cols) {
  if (tensor.rows != rows || tensor.cols != cols) {
    return InvalidArgumentError(StrCat(name, " is [", tensor.rows, ", ", tensor.cols,
                                       "], expected [", rows, ", ", cols, "]"));
  }
  if (tensor.data == nullptr && rows != 0 && cols != 0) {
    return InvalidArgumentError(StrCat(name, " has no memory"));
  }
  return OkStatus();
}

Status CheckWeightView(const WeightView& view) {
  if (view.type != DType::kF32 && view.type != DType::kBF16 && view.type != DType::kF16) {
    return absl::UnimplementedError(StrCat("weights of type ", NameOf(view.type)));
  }
  if (view.data == nullptr || view.rows < 1 || view.cols < 1 ||
      view.cols > kMostElements / view.rows) {
    return InvalidArgumentError(StrCat("weights [", view.rows, ", ", view.cols, "]"));
  }
  return OkStatus();
}

Status CheckMatrixShape(const MatrixShape& shape) {
  const auto [rows, cols, epilogue, format] = shape;
  if (rows < 1 || cols < 1 || rows > kMostElements / cols) {
    return InvalidArgumentError(StrCat("a matrix [", rows, ", ", cols, "]"));
  }
  switch (format) {
    case WeightFormat::kF32:
    case WeightFormat::kI8:
    case WeightFormat::kI4:
    case WeightFormat::kBF16:
    case WeightFormat::kFP8:
      break;
    default:
      return InvalidArgumentError(StrCat("weight format ", static_cast<int>(format)));
  }
  switch (epilogue) {
    case Epilogue::kNone:
      return OkStatus();
    case Epilogue::kSiluGate:
      return rows % 2 == 0 ? OkStatus() : InvalidArgumentError("a SiLU gate of odd height");
  }
  return InvalidArgumentError(StrCat("epilogue ", static_cast<int>(epilogue)));
}

Status CheckPackMatrix(absl::Span<const WeightView> parts, Epilogue epilogue, WeightFormat format) {
  if (parts.empty()) return InvalidArgumentError("a matrix of no parts");
  int64_t rows = 0;
  for (const WeightView& part : parts) {
    if (Status status = CheckWeightView(part); !status.ok()) return status;
    if (part.cols != parts[0].cols) {
      return InvalidArgumentError(
          StrCat("parts of one matrix with ", parts[0].cols, " and ", part.cols, " columns"));
    }
    rows += part.rows;
    if (rows > kMostElements / part.cols) return InvalidArgumentError("matrix too large");
  }
  if (epilogue == Epilogue::kSiluGate && (parts.size() != 2 || parts[0].rows != parts[1].rows)) {
    return InvalidArgumentError("a SiLU gate takes two parts of equal rows, gate and up");
  }
  return CheckMatrixShape({rows, parts[0].cols, epilogue, format});
}

Status CheckCopyVector(const WeightView& vector) {
  if (Status status = CheckWeightView(vector); !status.ok()) return status;
  if (vector.rows != 1) {
    return InvalidArgumentError(StrCat("a vector with ", vector.rows, " rows"));
  }
  return OkStatus();
}

Status CheckAllocate(int64_t rows, int64_t cols) {
  if (rows < 1 || cols < 1) return InvalidArgumentError(StrCat("buffer [", rows, ", ", cols, "]"));
  if (cols > kMostElements / rows) {
    return absl::ResourceExhaustedError(StrCat("no memory for a buffer [", rows, ", ", cols, "]"));
  }
  return OkStatus();
}

Status CheckEmbed(const WeightView& table, absl::Span<const int32_t> tokens, const Tensor& out) {
  if (Status status = CheckWeightView(table); !status.ok()) return status;
  const int64_t rows = static_cast<int64_t>(tokens.size());
  if (Status status = CheckTensor("out", out, rows, table.cols); !status.ok()) return status;
  for (int32_t token : tokens) {
    if (token < 0 || token >= table.rows) {
      return InvalidArgumentError(StrCat("token ", token, " of a vocabulary of ", table.rows));
    }
  }
  return OkStatus();
}

Status CheckLinear(const MatrixShape& weight, const Tensor& in, const RmsNorm& norm,
                   const Tensor& out) {
  if (in.rows < 0) return InvalidArgumentError("in has a negative number of rows");
  const int64_t width =
      weight.epilogue == Epilogue::kSiluGate ? weight.out_features / 2 : weight.out_features;
  Status status = CheckTensor("in", in, in.rows, weight.in_features);
  if (status.ok()) status = CheckTensor("out", out, in.rows, width);
  if (!status.ok() || norm.weight.data == nullptr) return status;
  if (!(norm.epsilon >= 0)) return InvalidArgumentError("a norm with a negative epsilon");
  return CheckTensor("norm", norm.weight, 1, weight.in_features);
}

Status CheckAddLinear(const MatrixShape& weight, const Tensor& in, const Tensor& x) {
  if (weight.epilogue != Epilogue::kNone) {
    return InvalidArgumentError("a SiLU gate does not add to its result");
  }
  return CheckLinear(weight, in, {}, x);
}

Status CheckFeedForward(const Tensor& x, const RmsNorm& norm, const MatrixShape& gate_up,
                        const MatrixShape& down) {
  if (gate_up.epilogue != Epilogue::kSiluGate || down.epilogue != Epilogue::kNone ||
      gate_up.format != down.format) {
    return InvalidArgumentError(
        "a feed-forward layer takes a SiLU gate and a plain matrix of one "
        "format");
  }
  if (down.in_features != gate_up.out_features / 2 || down.out_features != gate_up.in_features) {
    return InvalidArgumentError(StrCat("a feed-forward layer [", gate_up.out_features, ", ",
                                       gate_up.in_features, "] then [", down.out_features, ", ",
                                       down.in_features, "]"));
  }
  return CheckLinear({down.out_features, gate_up.in_features, Epilogue::kNone, down.format}, x,
                     norm, x);
}

Status CheckGatherRows(const Tensor& in, absl::Span<const int64_t> indices, const Tensor& out) {
  const int64_t rows = static_cast<int64_t>(indices.size());
  Status status = CheckTensor("in", in, in.rows, in.cols);
  if (status.ok()) status = CheckTensor("out", out, rows, in.cols);
  if (!status.ok()) return status;
  for (int64_t index : indices) {
    if (index < 0 || index >= in.rows) {
      return InvalidArgumentError(StrCat("row ", index, " of ", in.rows));
    }
  }
  return OkStatus();
}

Status CheckSample(const Tensor& logits, absl::Span<const SampleRequest> requests) {
  if (logits.cols < 1 || logits.cols > std::numeric_limits<int32_t>::max()) {
    return InvalidArgumentError(StrCat("logits of a vocabulary of ", logits.cols));
  }
  const int64_t rows = static_cast<int64_t>(requests.size());
  if (Status status = CheckTensor("logits", logits, rows, logits.cols); !status.ok()) return status;
  for (const SampleRequest& r : requests) {
    // Written so that a NaN fails.
    if (!(r.temperature >= 0 && r.temperature <= std::numeric_limits<float>::max()) ||
        r.top_k < 0 || !(r.top_p > 0 && r.top_p <= 1) || !(r.min_p >= 0 && r.min_p < 1) ||
        !(r.repetition_penalty > 0 && r.repetition_penalty <= std::numeric_limits<float>::max()) ||
        !(r.uniform >= 0 && r.uniform < 1) || r.top_logprobs < 0 || r.top_logprobs > 20) {
      return InvalidArgumentError("a sampling parameter is out of range");
    }
    for (int32_t token : r.penalised) {
      if (token < 0 || token >= logits.cols) {
        return InvalidArgumentError(StrCat("penalised token ", token, " of ", logits.cols));
      }
    }
  }
  return OkStatus();
}

Status CheckBatch(Batch batch) {
  if (batch.empty()) return InvalidArgumentError("an empty batch");
  absl::flat_hash_set<const State*> seen;
  for (const BatchItem& item : batch) {
    if (item.state == nullptr) return InvalidArgumentError("a batch item without a state");
    if (!seen.insert(item.state).second) {
      return InvalidArgumentError("a state is in the batch twice");
    }
    if (item.rows < 1 || item.rows > kMostElements || item.outputs < 0 ||
        item.outputs > item.rows) {
      return InvalidArgumentError(
          StrCat("a batch item of ", item.rows, " rows, ", item.outputs, " outputs"));
    }
  }
  return CheckSameShapes(batch);
}

Status CheckRotaryAppendPool(int64_t layer, Batch batch, const Rotary& rotary, const Tensor& qkv) {
  if (Status status = CheckBatch(batch); !status.ok()) return status;
  const StateShape& shape = batch.front().state->shape();
  if (Status status = CheckLayer(shape, layer); !status.ok()) return status;
  if (static_cast<int64_t>(rotary.inverse_frequencies.size()) != shape.head_dim / 2) {
    return InvalidArgumentError(StrCat(rotary.inverse_frequencies.size(),
                                       " rotary frequencies for head_dim ", shape.head_dim));
  }
  return CheckTensor("qkv", qkv, TotalsOf(batch).rows,
                     (shape.query_heads + 2 * shape.kv_heads) * shape.head_dim);
}

Status CheckAttention(int64_t layer, Batch batch, Rows rows, const Tensor& qkv, const Tensor& out) {
  if (Status status = CheckBatch(batch); !status.ok()) return status;
  const StateShape& shape = batch.front().state->shape();
  if (Status status = CheckLayer(shape, layer); !status.ok()) return status;
  for (const BatchItem& item : batch) {
    if (rows == Rows::kOutputs && item.outputs == 0 && item.attention_mass != nullptr) {
      return InvalidArgumentError("attention weights asked of an item without outputs");
    }
  }
  const BatchTotals totals = TotalsOf(batch);
  const int64_t wanted = rows == Rows::kAll ? totals.rows : totals.outputs;
  Status status = CheckTensor("qkv", qkv, totals.rows,
                              (shape.query_heads + 2 * shape.kv_heads) * shape.head_dim);
  if (status.ok()) {
    status = CheckTensor("out", out, wanted, shape.query_heads * shape.head_dim);
  }
  return status;
}

Status CheckLayerReady(const State& state, int64_t layer) {
  if (state.LayerReady(layer)) return OkStatus();
  return absl::FailedPreconditionError(
      StrCat("layer ", layer, " of a state has not been imported yet"));
}

Status CheckLayerReady(Batch batch, int64_t layer) {
  for (const BatchItem& item : batch) {
    if (Status status = CheckLayerReady(*item.state, layer); !status.ok()) return status;
  }
  return OkStatus();
}

Status CheckRange(const State& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                  size_t bytes) {
  const StateShape& shape = state.shape();
  if (Status status = CheckLayer(shape, layer); !status.ok()) return status;
  if (part != StatePart::kCore && part != StatePart::kRaw) {
    return InvalidArgumentError("unknown part of a state");
  }
  const bool core = part == StatePart::kCore;
  const int64_t low = core ? 0 : state.first_raw();
  const int64_t high = core ? state.cores() : state.tokens();
  if (count < 0 || first < low || first > high || count > high - first) {
    return InvalidArgumentError(StrCat(core ? "cores " : "raw tokens ", first, " + ", count,
                                       " of a state that holds ", low, "..", high));
  }
  const int64_t heads = core ? shape.core_heads() : shape.kv_heads;
  const int64_t needed = 2 * count * heads * shape.row_bytes();
  if (static_cast<int64_t>(bytes) != needed) {
    return InvalidArgumentError(StrCat(bytes, " bytes for a range of ", needed));
  }
  return OkStatus();
}

Status CheckPrepareImport(const State& state, int64_t tokens, int64_t first_raw) {
  if (state.tokens() != 0) return InvalidArgumentError("import into a state that is not empty");
  if (tokens < 0 || tokens > kMostElements || first_raw < 0 || first_raw > tokens ||
      first_raw > state.shape().policy.FirstRaw(tokens + 1)) {
    return InvalidArgumentError(
        StrCat("import of ", tokens, " tokens with raw tokens from ", first_raw));
  }
  return OkStatus();
}

}  // namespace longleaf::kernels
