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

// Where a range of a layer of `state` lies, as canonical bytes are ordered: keys, then values.
struct Range {
  float* keys;    // [count, heads, d]
  float* values;  // [count, heads, d]
  size_t bytes;   // of each
};
Range RangeOf(const ReferenceState& state, ReferenceLayer& l, StatePart part, int64_t first,
              int64_t count) {
  if (part == StatePart::kCore) {
    const int64_t at = first * state.core_width();
    return {l.core_k.data() + at, l.core_v.data() + at,
            static_cast<size_t>(count * state.core_width()) * sizeof(float)};
  }
  const int64_t at = (first - state.first_raw()) * state.raw_width();
  return {l.raw_k.data() + at, l.raw_v.data() + at,
          static_cast<size_t>(count * state.raw_width()) * sizeof(float)};
}

}  // namespace

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
    const ptrdiff_t gone =
        static_cast<ptrdiff_t>((first_raw - state.first_raw()) * state.raw_width());
    for (int64_t l = 0; l < state.shape().layers; ++l) {
      ReferenceLayer& layer = state.OwnLayer(l);
      layer.raw_k.erase(layer.raw_k.begin(), layer.raw_k.begin() + gone);
      layer.raw_v.erase(layer.raw_v.begin(), layer.raw_v.begin() + gone);
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
  // The range is only read; one RangeOf serves both directions.
  const ReferenceState& from = Cast(state);
  const Range range =
      RangeOf(from, const_cast<ReferenceLayer&>(from.Layer(layer)), part, first, count);
  if (range.bytes == 0) return OkStatus();
  std::memcpy(out.data(), range.keys, range.bytes);
  std::memcpy(out.data() + range.bytes, range.values, range.bytes);
  return OkStatus();
}

Status ReferenceBackend::PrepareImport(State& state, int64_t tokens, int64_t first_raw) {
  if (Status status = CheckPrepareImport(state, tokens, first_raw); !status.ok()) return status;
  ReferenceState& to = Cast(state);
  if (to.step_rows != 0) return absl::InvalidArgumentError("import into a state in a step");
  const int64_t bytes = to.BytesOf(to.shape().policy.CoresAfter(tokens), tokens - first_raw);
  if (memory_.state_bytes + bytes > memory_.state_capacity_bytes) return Exhausted(bytes, memory_);
  to.SetCounts(tokens, first_raw);
  to.import = std::make_shared<ReferenceImport>(to.shape().layers,
                                                bytes / int64_t{sizeof(float)} / to.shape().layers);
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
  const int64_t floats = static_cast<int64_t>(in.size() / sizeof(float));
  if (!to.imports || !to.import->progress.Claim(layer, floats)) {
    return absl::InvalidArgumentError("import of a range twice, or without PrepareImport");
  }
  const Range range =
      RangeOf(to, to.import->layers[static_cast<size_t>(layer)], part, first, count);
  if (range.bytes == 0) return OkStatus();
  std::memcpy(range.keys, in.data(), range.bytes);
  std::memcpy(range.values, in.data() + range.bytes, range.bytes);
  to.import->progress.Written(layer, floats);
  return OkStatus();
}

}  // namespace longleaf::kernels
