#include "model/state_codec.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "model/core_state.h"

namespace longleaf::model {
namespace {

using absl::Status;
using kernels::StatePart;
using kernels::StateShape;

// Cores or raw tokens first .. first+count-1 of every layer.
struct Range {
  StatePart part;
  int64_t first;
  int64_t count;
};

// What a segment or the tail holds, in the order in which each layer has it.
struct Content {
  Range cores;
  Range raw;
};

Content SegmentContent(const SnapshotLayout& layout, int64_t segment) {
  const TokenSpan span = layout.span(segment);
  const kernels::AttentionPolicy& policy = layout.shape().policy;
  if (policy.kind == kernels::AttentionPolicy::Kind::kCca) {
    const int64_t first = span.begin / policy.group;
    return {{StatePart::kCore, first, span.end / policy.group - first}, {StatePart::kRaw, 0, 0}};
  }
  return {{StatePart::kCore, 0, 0}, {StatePart::kRaw, span.begin, span.end - span.begin}};
}

Content TailContent(const SnapshotLayout& layout) {
  const kernels::AttentionPolicy& policy = layout.shape().policy;
  const int64_t cores = policy.CoresAfter(layout.tokens());
  const int64_t first_core = policy.kind == kernels::AttentionPolicy::Kind::kCca
                                 ? layout.segments() * (layout.span_tokens() / policy.group)
                                 : 0;
  return {{StatePart::kCore, first_core, cores - first_core},
          {StatePart::kRaw, layout.first_raw(), layout.tokens() - layout.first_raw()}};
}

size_t BlockBytes(const StateShape& shape, StatePart part, int64_t count) {
  const int64_t heads = part == StatePart::kCore ? shape.core_heads() : shape.kv_heads;
  return static_cast<size_t>(2 * count * heads * shape.head_dim *
                             kernels::SizeOf(kernels::DType::kF32));
}

// Calls body(layer, part, first, count) for every block of `content`, in the order of the format.
template <typename Body>
Status ForEachBlock(const StateShape& shape, const Content& content, const Body& body) {
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (const Range& range : {content.cores, content.raw}) {
      for (int64_t done = 0; done < range.count; done += kBlockTokens) {
        const int64_t count = std::min(kBlockTokens, range.count - done);
        if (Status status = body(layer, range.part, range.first + done, count); !status.ok()) {
          return status;
        }
      }
    }
  }
  return absl::OkStatus();
}

Status Encode(kernels::Backend& backend, const kernels::State& state, const Content& content,
              WriteFn write) {
  const StateShape& shape = state.shape();
  std::vector<std::byte> block;
  return ForEachBlock(
      shape, content, [&](int64_t layer, StatePart part, int64_t first, int64_t count) {
        block.resize(BlockBytes(shape, part, count));
        Status status = backend.Export(state, layer, part, first, count, absl::MakeSpan(block));
        return status.ok() ? write(block) : status;
      });
}

bool AllFinite(absl::Span<const std::byte> bytes) {
  constexpr uint32_t kExponent = 0x7F800000;
  uint32_t found = 0;
  for (size_t i = 0; i + sizeof(uint32_t) <= bytes.size(); i += sizeof(uint32_t)) {
    uint32_t bits;
    std::memcpy(&bits, bytes.data() + i, sizeof(bits));
    found |= static_cast<uint32_t>((bits & kExponent) == kExponent);
  }
  return found == 0;
}

Status Decode(kernels::Backend& backend, const Content& content, ReadFn read,
              kernels::State& state) {
  const StateShape& shape = state.shape();
  std::vector<std::byte> block;
  return ForEachBlock(
      shape, content, [&](int64_t layer, StatePart part, int64_t first, int64_t count) -> Status {
        block.resize(BlockBytes(shape, part, count));
        if (Status status = read(absl::MakeSpan(block)); !status.ok()) return status;
        if (!AllFinite(block)) {
          return absl::DataLossError(
              absl::StrCat("state: a value that is not finite in layer ", layer, ", ",
                           part == StatePart::kCore ? "core" : "raw", " tokens from ", first));
        }
        return backend.Import(state, layer, part, first, count, block);
      });
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
  const Content content = SegmentContent(layout, segment);
  const bool raw = content.raw.count > 0;
  status = CheckState(state, layout, layout.span(segment).end,
                      raw ? content.raw.first : state.first_raw());
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

Status DecodeSegment(kernels::Backend& backend, const SnapshotLayout& layout, int64_t segment,
                     ReadFn read, kernels::State& state) {
  Status status = CheckSegment(layout, segment);
  if (status.ok()) {
    status = CheckState(state, layout, layout.tokens(), layout.tokens());
  }
  return status.ok() ? Decode(backend, SegmentContent(layout, segment), read, state) : status;
}

Status DecodeTail(kernels::Backend& backend, const SnapshotLayout& layout, ReadFn read,
                  kernels::State& state) {
  Status status = CheckState(state, layout, layout.tokens(), layout.tokens());
  return status.ok() ? Decode(backend, TailContent(layout), read, state) : status;
}

}  // namespace longleaf::model
