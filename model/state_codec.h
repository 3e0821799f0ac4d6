// The canonical bytes of a core state (STATE_FORMAT.md): the same for every backend, cut so that
// snapshots of one document share what cannot change any more.
//
// A snapshot is segments, one for each complete span of tokens [k*S, (k+1)*S), and one tail with
// the rest. Everything is streamed in blocks of kBlockTokens, layer after layer: memory is bounded
// by one block, whatever the document.
//
// To store: SnapshotLayout::For(shape, tokens); segments from SharedSegments(base) on, and the
// tail, are new; Meta() goes into the manifest. To restore: FromMeta, PrepareRestore on an empty
// state (the backend's thread), then all segments in any order and the tail (any thread, see
// Backend on Import); then the state is ready.
#ifndef LONGLEAF_MODEL_STATE_CODEC_H_
#define LONGLEAF_MODEL_STATE_CODEC_H_

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
  kernels::DType dtype() const { return kernels::DType::kF32; }
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
// Reads exactly SegmentBytes() or TailBytes() bytes into a prepared state. DATA_LOSS when a value
// is not finite: no state holds such, so the bytes are not one. After an error the state is of no
// use. Segments of one state may be decoded one after another only.
absl::Status DecodeSegment(kernels::Backend& backend, const SnapshotLayout& layout, int64_t segment,
                           ReadFn read, kernels::State& state);
absl::Status DecodeTail(kernels::Backend& backend, const SnapshotLayout& layout, ReadFn read,
                        kernels::State& state);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_STATE_CODEC_H_
