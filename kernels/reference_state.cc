// The reference backend's states: steps, branches, canonical bytes.
#include "kernels/reference_state.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <new>

#include "absl/strings/str_cat.h"
#include "kernels/checks.h"
#include "kernels/reference.h"
#include "kernels/state_rounding.h"

namespace longleaf::kernels {
namespace {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

// The canonical bytes are little-endian, and are copied as they lie.
static_assert(std::endian::native == std::endian::little);

ReferenceState& Cast(State& state) { return static_cast<ReferenceState&>(state); }
const ReferenceState& Cast(const State& state) { return static_cast<const ReferenceState&>(state); }

Status Exhausted(int64_t needed, const BackendMemory& memory) {
  return absl::ResourceExhaustedError(absl::StrCat("state memory: ", needed, " bytes needed, ",
                                                   memory.state_bytes, " of ",
                                                   memory.state_capacity_bytes, " in use"));
}

// The rows of a range of one layer: keys, then values.
struct Range {
  int64_t first;  // row
  int64_t count;  // rows
  int64_t bytes;  // of the keys, and of the values
};
Range RangeOf(const ReferenceState& state, StatePart part, int64_t first, int64_t count) {
  const StateShape& shape = state.shape();
  const bool core = part == StatePart::kCore;
  const int64_t heads = core ? shape.core_heads() : shape.kv_heads;
  return {(core ? first : first - state.first_raw()) * heads, count * heads,
          count * heads * shape.row_bytes()};
}

}  // namespace

void ReferenceRows::Append(const float* x, int64_t count) {
  const int64_t first = rows();
  Resize(first + count);
  for (int64_t r = first; r < first + count; ++r, x += d_) {
    scales_[static_cast<size_t>(r)] = RoundRow(type_, x, d_, Elements(r));
    Read(r);
  }
}

void ReferenceRows::Read(int64_t row) {
  ReadRow(type_, Elements(row), scales_[static_cast<size_t>(row)], d_, values_.data() + row * d_);
}

void ReferenceRows::Resize(int64_t rows) {
  elements_.resize(static_cast<size_t>(rows * element_bytes()));
  scales_.resize(static_cast<size_t>(rows), type_ == DType::kI8 ? 0.0f : 1.0f);
  values_.resize(static_cast<size_t>(rows * d_));
}

void ReferenceRows::EraseFirst(int64_t rows) {
  elements_.erase(elements_.begin(), elements_.begin() + rows * element_bytes());
  scales_.erase(scales_.begin(), scales_.begin() + rows);
  values_.erase(values_.begin(), values_.begin() + rows * d_);
}

void ReferenceRows::Export(int64_t first, int64_t count, std::byte* bytes) const {
  bytes = std::copy_n(elements_.begin() + first * element_bytes(), count * element_bytes(), bytes);
  if (type_ != DType::kI8 || count == 0) return;
  std::memcpy(bytes, scales_.data() + first, static_cast<size_t>(count) * sizeof(float));
}

void ReferenceRows::Import(int64_t first, int64_t count, const std::byte* bytes) {
  std::copy_n(bytes, count * element_bytes(), Elements(first));
  if (type_ == DType::kI8 && count > 0) {
    std::memcpy(scales_.data() + first, bytes + count * element_bytes(),
                static_cast<size_t>(count) * sizeof(float));
  }
  for (int64_t r = first; r < first + count; ++r) Read(r);
}

StatusOr<std::unique_ptr<State>> ReferenceBackend::NewState(const StateShape& shape) {
  if (Status status = CheckStateShape(shape); !status.ok()) return status;
  return std::make_unique<ReferenceState>(shape, &memory_.state_bytes);
}

StatusOr<std::unique_ptr<State>> ReferenceBackend::Branch(const State& parent) {
  const ReferenceState& from = Cast(parent);
  if (from.step_rows != 0) return absl::InvalidArgumentError("a branch of a state in a step");
  if (memory_.state_bytes + from.bytes() > memory_.state_capacity_bytes) {
    return Exhausted(from.bytes(), memory_);
  }
  auto to = std::make_unique<ReferenceState>(from.shape(), &memory_.state_bytes);
  to->layers = from.layers;
  to->import = from.import;
  to->in_import = from.in_import;
  to->SetCounts(from.tokens(), from.first_raw());
  to->Charge(from.bytes());
  return to;
}

int64_t ReferenceBackend::BytesToGrow(const State& state, int64_t rows) const {
  return rows < 1 ? 0 : Cast(state).BytesToGrow(rows);
}

Status ReferenceBackend::BeginStep(Batch batch) {
  if (Status status = CheckBatch(batch); !status.ok()) return status;
  int64_t needed = 0;
  for (const BatchItem& item : batch) {
    if (dynamic_cast<const ReferenceState*>(item.state) == nullptr) {
      return absl::InvalidArgumentError("an object of another backend");
    }
    const ReferenceState& state = Cast(*item.state);
    if (state.step_rows != 0) return absl::InvalidArgumentError("a state is in a step already");
    needed += state.BytesToGrow(item.rows);
  }
  if (memory_.state_bytes + needed > memory_.state_capacity_bytes) {
    return Exhausted(needed, memory_);
  }
  for (const BatchItem& item : batch) {
    ReferenceState& state = Cast(*item.state);
    state.Charge(state.bytes() + state.BytesToGrow(item.rows));
    state.step_rows = item.rows;
  }
  return OkStatus();
}

void ReferenceBackend::CommitStep(Batch batch) {
  for (const BatchItem& item : batch) {
    ReferenceState& state = Cast(*item.state);
    const AttentionPolicy& policy = state.shape().policy;
    const int64_t tokens = state.tokens() + state.step_rows;
    const int64_t first_raw = std::max(state.first_raw(), policy.FirstRaw(tokens));
    const int64_t gone = (first_raw - state.first_raw()) * state.shape().kv_heads;
    for (int64_t l = 0; l < state.shape().layers; ++l) {
      ReferenceLayer& layer = state.OwnLayer(l);
      layer.raw_k.EraseFirst(gone);
      layer.raw_v.EraseFirst(gone);
    }
    state.SetCounts(tokens, first_raw);
    state.step_rows = 0;
    state.Charge(state.BytesOf(state.cores(), tokens - first_raw));
  }
}

void ReferenceBackend::AbortStep(Batch batch) {
  for (const BatchItem& item : batch) {
    ReferenceState& state = Cast(*item.state);
    for (int64_t l = 0; l < state.shape().layers; ++l) {
      if (!state.InImport(l)) state.Truncate(state.layers[static_cast<size_t>(l)]);
    }
    state.step_rows = 0;
    state.Charge(state.BytesOf(state.cores(), state.tokens() - state.first_raw()));
  }
}

Status ReferenceBackend::Export(const State& state, int64_t layer, StatePart part, int64_t first,
                                int64_t count, absl::Span<std::byte> out) {
  if (Status status = CheckRange(state, layer, part, first, count, out.size()); !status.ok()) {
    return status;
  }
  if (Status status = CheckLayerReady(state, layer); !status.ok()) return status;
  const Range range = RangeOf(Cast(state), part, first, count);
  const ReferenceLayer& from = Cast(state).Layer(layer);
  const bool core = part == StatePart::kCore;
  (core ? from.core_k : from.raw_k).Export(range.first, range.count, out.data());
  (core ? from.core_v : from.raw_v).Export(range.first, range.count, out.data() + range.bytes);
  return OkStatus();
}

Status ReferenceBackend::PrepareImport(State& state, int64_t tokens, int64_t first_raw) {
  if (Status status = CheckPrepareImport(state, tokens, first_raw); !status.ok()) return status;
  ReferenceState& to = Cast(state);
  if (to.step_rows != 0) return absl::InvalidArgumentError("import into a state in a step");
  const int64_t bytes = to.BytesOf(to.shape().policy.CoresAfter(tokens), tokens - first_raw);
  if (memory_.state_bytes + bytes > memory_.state_capacity_bytes) return Exhausted(bytes, memory_);
  to.SetCounts(tokens, first_raw);
  to.import = std::make_shared<ReferenceImport>(to.shape(), bytes / to.shape().layers);
  to.in_import.assign(to.import->layers.size(), true);
  to.imports = true;
  for (ReferenceLayer& layer : to.import->layers) to.Truncate(layer);  // grows: there was nothing
  to.Charge(bytes);
  return OkStatus();
}

Status ReferenceBackend::Import(State& state, int64_t layer, StatePart part, int64_t first,
                                int64_t count, absl::Span<const std::byte> in) {
  if (Status status = CheckRange(state, layer, part, first, count, in.size()); !status.ok()) {
    return status;
  }
  ReferenceState& to = Cast(state);
  const int64_t bytes = static_cast<int64_t>(in.size());
  if (!to.imports || !to.import->progress.Claim(layer, bytes)) {
    return absl::InvalidArgumentError("import of a range twice, or without PrepareImport");
  }
  const Range range = RangeOf(to, part, first, count);
  ReferenceLayer& into = to.import->layers[static_cast<size_t>(layer)];
  const bool core = part == StatePart::kCore;
  (core ? into.core_k : into.raw_k).Import(range.first, range.count, in.data());
  (core ? into.core_v : into.raw_v).Import(range.first, range.count, in.data() + range.bytes);
  to.import->progress.Written(layer, bytes);
  return OkStatus();
}

}  // namespace longleaf::kernels
