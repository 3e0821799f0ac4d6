#include "model/state_codec.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "model/core_state.h"
#include "model/state_values.h"

namespace longleaf::model {
namespace {

using absl::Status;
using absl::StatusOr;
using kernels::StatePart;
using kernels::StateShape;

SegmentContent ContentOf(const SnapshotLayout& layout, int64_t segment) {
  const TokenSpan span = layout.span(segment);
  const kernels::AttentionPolicy& policy = layout.shape().policy;
  if (policy.kind == kernels::AttentionPolicy::Kind::kCca) {
    const int64_t first = span.begin / policy.group;
    return {{{StatePart::kCore, first, span.end / policy.group - first}, {StatePart::kRaw, 0, 0}}};
  }
  return {{{StatePart::kCore, 0, 0}, {StatePart::kRaw, span.begin, span.end - span.begin}}};
}

SegmentContent TailContent(const SnapshotLayout& layout) {
  const kernels::AttentionPolicy& policy = layout.shape().policy;
  const int64_t cores = policy.CoresAfter(layout.tokens());
  const int64_t first_core = policy.kind == kernels::AttentionPolicy::Kind::kCca
                                 ? layout.segments() * (layout.span_tokens() / policy.group)
                                 : 0;
  return {{{StatePart::kCore, first_core, cores - first_core},
           {StatePart::kRaw, layout.first_raw(), layout.tokens() - layout.first_raw()}}};
}

size_t BlockBytes(const StateShape& shape, StatePart part, int64_t count) {
  const int64_t heads = part == StatePart::kCore ? shape.core_heads() : shape.kv_heads;
  return static_cast<size_t>(2 * count * heads * shape.row_bytes());
}

// Calls body(part, first, count) for every block of a layer, in the order of the format.
template <typename Body>
Status ForEachBlock(const SegmentContent& content, const Body& body) {
  for (const StateRange& range : content) {
    for (int64_t done = 0; done < range.count; done += kBlockTokens) {
      const int64_t count = std::min(kBlockTokens, range.count - done);
      if (Status status = body(range.part, range.first + done, count); !status.ok()) {
        return status;
      }
    }
  }
  return absl::OkStatus();
}

Status Encode(kernels::Backend& backend, const kernels::State& state, const SegmentContent& content,
              WriteFn write) {
  const StateShape& shape = state.shape();
  std::vector<std::byte> block;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    Status status = ForEachBlock(content, [&](StatePart part, int64_t first, int64_t count) {
      block.resize(BlockBytes(shape, part, count));
      Status exported = backend.Export(state, layer, part, first, count, absl::MakeSpan(block));
      return exported.ok() ? write(block) : exported;
    });
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// The next `bytes` bytes of a source, in one piece: where they lie, or gathered in `scratch`.
StatusOr<absl::Span<const std::byte>> Gather(NextFn next, size_t bytes,
                                             std::vector<std::byte>& scratch) {
  StatusOr<absl::Span<const std::byte>> shown = next(bytes);
  if (!shown.ok() || shown->size() == bytes) return shown;
  scratch.resize(bytes);
  absl::Span<std::byte> to = absl::MakeSpan(scratch);
  while (true) {
    std::copy(shown->begin(), shown->end(), to.begin());
    to.remove_prefix(shown->size());
    if (to.empty()) return absl::MakeConstSpan(scratch);
    shown = next(to.size());
    if (!shown.ok()) return shown;
  }
}

// All layers of a decoder from a source that fills memory.
Status DecodeAll(StatusOr<SegmentDecoder> decoder, int64_t layers, ReadFn read) {
  if (!decoder.ok()) return decoder.status();
  std::vector<std::byte> block;
  std::vector<std::byte> scratch;  // not used: blocks come in one piece
  const auto next = [&](size_t most) -> StatusOr<absl::Span<const std::byte>> {
    block.resize(most);
    if (Status status = read(absl::MakeSpan(block)); !status.ok()) return status;
    return absl::MakeConstSpan(block);
  };
  Status status;
  while (status.ok() && decoder->next_layer() < layers) {
    status = decoder->DecodeNextLayer(next, scratch);
  }
  return status;
}

// `least`: tokens the state must have seen at least; `first_raw`: raw tokens it must still have.
Status CheckState(const kernels::State& state, const SnapshotLayout& layout, int64_t least,
                  int64_t first_raw) {
  if (state.shape() != layout.shape()) {
    return absl::InvalidArgumentError("state: of another shape than its layout");
  }
  if (state.tokens() < least || state.first_raw() > first_raw) {
    return absl::InvalidArgumentError(
        absl::StrCat("state: ", state.tokens(), " tokens with raw ones from ", state.first_raw(),
                     " where ", least, " with raw ones from ", first_raw, " are needed"));
  }
  return absl::OkStatus();
}

Status CheckSegment(const SnapshotLayout& layout, int64_t segment) {
  if (segment < 0 || segment >= layout.segments()) {
    return absl::InvalidArgumentError(
        absl::StrCat("state: segment ", segment, " of ", layout.segments()));
  }
  return absl::OkStatus();
}

}  // namespace

Status EncodeSegment(kernels::Backend& backend, const kernels::State& state,
                     const SnapshotLayout& layout, int64_t segment, WriteFn write) {
  Status status = CheckSegment(layout, segment);
  if (!status.ok()) return status;
  const SegmentContent content = ContentOf(layout, segment);
  const StateRange& raw = content[1];
  status = CheckState(state, layout, layout.span(segment).end,
                      raw.count > 0 ? raw.first : state.first_raw());
  return status.ok() ? Encode(backend, state, content, write) : status;
}

Status EncodeTail(kernels::Backend& backend, const kernels::State& state,
                  const SnapshotLayout& layout, WriteFn write) {
  Status status = CheckState(state, layout, layout.tokens(), layout.first_raw());
  if (status.ok() && state.tokens() != layout.tokens()) {
    status = absl::InvalidArgumentError(
        absl::StrCat("state: ", state.tokens(), " tokens where the layout has ", layout.tokens()));
  }
  return status.ok() ? Encode(backend, state, TailContent(layout), write) : status;
}

Status PrepareRestore(kernels::Backend& backend, const SnapshotLayout& layout,
                      kernels::State& state) {
  if (Status status = CheckState(state, layout, 0, 0); !status.ok()) return status;
  return backend.PrepareImport(state, layout.tokens(),
                               TailBegin(layout.shape().policy, layout.tokens()));
}

StatusOr<SegmentDecoder> SegmentDecoder::Create(kernels::Backend& backend,
                                                const SnapshotLayout& layout, int64_t segment,
                                                kernels::State& state) {
  const bool tail = segment == layout.segments();
  Status status = tail ? absl::OkStatus() : CheckSegment(layout, segment);
  if (status.ok()) status = CheckState(state, layout, layout.tokens(), layout.tokens());
  if (!status.ok()) return status;
  return SegmentDecoder(backend, tail ? TailContent(layout) : ContentOf(layout, segment), state);
}

int64_t SegmentDecoder::LayerBytes() const {
  int64_t bytes = 0;
  for (const StateRange& range : content_) {
    bytes += static_cast<int64_t>(BlockBytes(state_->shape(), range.part, range.count));
  }
  return bytes;
}

Status SegmentDecoder::DecodeNextLayer(NextFn next, std::vector<std::byte>& scratch) {
  const int64_t layer = next_layer_;
  if (layer >= state_->shape().layers) {
    return absl::InvalidArgumentError("state: a layer after the last");
  }
  Status status =
      ForEachBlock(content_, [&](StatePart part, int64_t first, int64_t count) -> Status {
        const StatusOr<absl::Span<const std::byte>> block =
            Gather(next, BlockBytes(state_->shape(), part, count), scratch);
        if (!block.ok()) return block.status();
        if (!AreStateValues(state_->shape(), *block)) {
          return absl::DataLossError(
              absl::StrCat("state: a value that is none of a state's in layer ", layer, ", ",
                           part == StatePart::kCore ? "core" : "raw", " tokens from ", first));
        }
        return backend_->Import(*state_, layer, part, first, count, *block);
      });
  if (status.ok()) ++next_layer_;
  return status;
}

Status DecodeSegment(kernels::Backend& backend, const SnapshotLayout& layout, int64_t segment,
                     ReadFn read, kernels::State& state) {
  if (Status status = CheckSegment(layout, segment); !status.ok()) return status;
  return DecodeAll(SegmentDecoder::Create(backend, layout, segment, state), layout.shape().layers,
                   read);
}

Status DecodeTail(kernels::Backend& backend, const SnapshotLayout& layout, ReadFn read,
                  kernels::State& state) {
  return DecodeAll(SegmentDecoder::Create(backend, layout, layout.segments(), state),
                   layout.shape().layers, read);
}

}  // namespace longleaf::model
