// The canonical bytes of a core state (STATE_FORMAT.md): the same for every backend, cut so that
// snapshots of one document share what cannot change any more.
//
// A snapshot is segments, one for each complete span of tokens [k*S, (k+1)*S), and one tail with
// the rest. Everything is streamed in blocks of kBlockTokens, layer after layer: memory is bounded
// by one block, whatever the document.
//
// To store: SnapshotLayout::For(shape, tokens); segments from SharedSegments(base) on, and the
// tail, are new; Meta() goes into the manifest. To restore: FromMeta, PrepareRestore on an empty
// state (the backend's thread), then all segments and the tail, in any order, whole or a layer at a
// time, by any threads at once (Backend says more on Import). A layer that all of them have brought
// can be used.
#ifndef LONGLEAF_MODEL_STATE_CODEC_H_
#define LONGLEAF_MODEL_STATE_CODEC_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"

namespace longleaf::model {

// In every meta and every fingerprint. Raised whenever the bytes change meaning; never reused.
inline constexpr uint32_t kStateCodecVersion = 1;
// Core or raw tokens that are written together, keys then values. Part of the format.
inline constexpr int64_t kBlockTokens = 64;

// Takes the next bytes; valid during the call only.
using WriteFn = absl::FunctionRef<absl::Status(absl::Span<const std::byte>)>;
// Fills `out` whole with the next bytes, or fails.
using ReadFn = absl::FunctionRef<absl::Status(absl::Span<std::byte>)>;
// Shows at least one and at most `most` of the next bytes, valid until the next call, or fails: for
// sources that have the bytes in memory already.
using NextFn = absl::FunctionRef<absl::StatusOr<absl::Span<const std::byte>>(size_t most)>;

struct TokenSpan {
  int64_t begin = 0;
  int64_t end = 0;  // exclusive

  friend bool operator==(const TokenSpan&, const TokenSpan&) = default;
};

// Tokens of a segment: 4096 rounded down to whole groups, at least one group.
int64_t DefaultSpanTokens(const kernels::AttentionPolicy& policy);

// Which bytes a snapshot consists of: arithmetic alone, checked for overflow. Immutable.
class SnapshotLayout {
 public:
  // INVALID_ARGUMENT when the numbers do not fit together or the bytes overflow. span_tokens 0:
  // the default; otherwise a multiple of the group.
  static absl::StatusOr<SnapshotLayout> For(const kernels::StateShape& shape, int64_t tokens,
                                            int64_t span_tokens = 0);
  // What Meta() wrote. INVALID_ARGUMENT says what is wrong: not a meta, another version, or not a
  // state of `expected` (both values are named).
  static absl::StatusOr<SnapshotLayout> FromMeta(std::string_view meta,
                                                 const kernels::StateShape& expected);
  // At most 256 bytes.
  std::string Meta() const;

  const kernels::StateShape& shape() const { return shape_; }
  kernels::DType dtype() const { return shape_.dtype; }
  int64_t tokens() const { return tokens_; }
  int64_t first_raw() const { return first_raw_; }  // the tail's raw tokens: first_raw .. tokens-1
  int64_t span_tokens() const { return span_tokens_; }

  int64_t segments() const { return segments_; }
  TokenSpan span(int64_t segment) const;  // 0 <= segment < segments()
  TokenSpan tail_span() const;            // the tokens after the last segment; may be empty
  int64_t SegmentBytes() const { return segment_bytes_; }  // of each
  int64_t TailBytes() const { return tail_bytes_; }
  int64_t TotalBytes() const { return segments_ * segment_bytes_ + tail_bytes_; }

  // How many of this snapshot's first segments have the same bytes in a snapshot `base` of a prefix
  // of the same tokens.
  int64_t SharedSegments(const SnapshotLayout& base) const;

  friend bool operator==(const SnapshotLayout&, const SnapshotLayout&);

 private:
  SnapshotLayout() = default;

  kernels::StateShape shape_;
  int64_t tokens_ = 0;
  int64_t first_raw_ = 0;
  int64_t span_tokens_ = 0;
  int64_t segments_ = 0;
  int64_t segment_bytes_ = 0;
  int64_t tail_bytes_ = 0;
};

// Writes exactly SegmentBytes() or TailBytes() bytes of `state`, which must be one of
// layout.tokens() tokens (a segment: of at least the tokens of its span). Errors of `write` end it.
absl::Status EncodeSegment(kernels::Backend& backend, const kernels::State& state,
                           const SnapshotLayout& layout, int64_t segment, WriteFn write);
absl::Status EncodeTail(kernels::Backend& backend, const kernels::State& state,
                        const SnapshotLayout& layout, WriteFn write);

// Takes the memory for `layout` in an EMPTY state of the same shape. RESOURCE_EXHAUSTED.
absl::Status PrepareRestore(kernels::Backend& backend, const SnapshotLayout& layout,
                            kernels::State& state);
// Cores or raw tokens first .. first+count-1 of every layer.
struct StateRange {
  kernels::StatePart part = kernels::StatePart::kCore;
  int64_t first = 0;
  int64_t count = 0;
};
// What a segment or the tail holds, in the order in which each layer has it.
using SegmentContent = std::array<StateRange, 2>;

// Decodes one segment, or the tail, from its first byte to its last, a layer at a time. One thread
// at a time; the decoders of one state's segments and tail are independent of each other.
class SegmentDecoder {
 public:
  // `segment` in [0, layout.segments()], the last being the tail. `state` has been prepared for
  // `layout`; it and the backend outlive the decoder. INVALID_ARGUMENT when these do not fit.
  static absl::StatusOr<SegmentDecoder> Create(kernels::Backend& backend,
                                               const SnapshotLayout& layout, int64_t segment,
                                               kernels::State& state);
  SegmentDecoder(SegmentDecoder&&) = default;

  // The layer that comes next; shape().layers when all are done.
  int64_t next_layer() const { return next_layer_; }
  // Takes in the next layer, next_layer() < layers: LayerBytes() bytes, in blocks. `scratch` is
  // memory for a block that `next` does not show in one piece, kept for the next one. DATA_LOSS
  // when a value is not finite: no state holds such, so the bytes are not one. After an error the
  // decoder is of no use, and the layer never becomes ready.
  absl::Status DecodeNextLayer(NextFn next, std::vector<std::byte>& scratch);
  int64_t LayerBytes() const;  // of each layer

 private:
  SegmentDecoder(kernels::Backend& backend, const SegmentContent& content, kernels::State& state)
      : backend_(&backend), state_(&state), content_(content) {}

  kernels::Backend* backend_;
  kernels::State* state_;
  SegmentContent content_;
  int64_t next_layer_ = 0;
};

// All layers of a segment or of the tail: exactly SegmentBytes() or TailBytes() bytes.
absl::Status DecodeSegment(kernels::Backend& backend, const SnapshotLayout& layout, int64_t segment,
                           ReadFn read, kernels::State& state);
absl::Status DecodeTail(kernels::Backend& backend, const SnapshotLayout& layout, ReadFn read,
                        kernels::State& state);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_STATE_CODEC_H_
