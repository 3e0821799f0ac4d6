#include "service/state/stored_state.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace longleaf::service {
namespace {

// `encode` is called with where the segment's bytes go.
template <typename Encode>
absl::StatusOr<store::SegmentPtr> WriteSegment(store::Store& store, const store::SegmentSpec& spec,
                                               const Encode& encode) {
  absl::StatusOr<std::unique_ptr<store::SegmentWriter>> writer = store.NewSegment(spec);
  if (!writer.ok()) {
    return writer.status();
  }
  const absl::Status status =
      encode([&writer](absl::Span<const std::byte> data) { return (*writer)->Append(data); });
  if (!status.ok()) {
    return status;
  }
  return (*writer)->Finish();
}

// Reads a segment from its first byte to its last, a verified value at a time.
class SegmentCursor {
 public:
  SegmentCursor(store::Store& store, const store::Snapshot& snapshot, int64_t segment,
                store::ValueBuffer& buffer)
      : store_(store), snapshot_(snapshot), segment_(segment), buffer_(buffer) {}

  absl::Status Read(absl::Span<std::byte> out) {
    while (!out.empty()) {
      if (rest_.empty()) {
        const auto& info = snapshot_.segments()[static_cast<size_t>(segment_)]->info();
        if (next_value_ >= info.value_count()) {
          return absl::DataLossError("a stored state is shorter than its meta says");
        }
        absl::StatusOr<absl::Span<const std::byte>> value =
            store_.ReadValue(snapshot_, segment_, next_value_++, buffer_);
        if (!value.ok()) {
          return value.status();
        }
        rest_ = *value;
      }
      const size_t n = std::min(out.size(), rest_.size());
      std::memcpy(out.data(), rest_.data(), n);
      out.remove_prefix(n);
      rest_.remove_prefix(n);
    }
    return absl::OkStatus();
  }

 private:
  store::Store& store_;
  const store::Snapshot& snapshot_;
  const int64_t segment_;
  int64_t next_value_ = 0;
  store::ValueBuffer& buffer_;
  absl::Span<const std::byte> rest_;
};

}  // namespace

absl::StatusOr<store::SnapshotPtr> WriteState(store::Store& store, kernels::Backend& backend,
                                              const kernels::State& state,
                                              const model::SnapshotLayout& layout,
                                              store::CommitSpec commit) {
  const auto spec = [&commit](store::SegmentKind kind, model::TokenSpan span, int64_t bytes) {
    return store::SegmentSpec{commit.key.tenant, kind, span.begin, span.end, bytes};
  };
  for (auto i = static_cast<int64_t>(commit.segments.size()); i < layout.segments(); ++i) {
    absl::StatusOr<store::SegmentPtr> segment =
        WriteSegment(store, spec(store::SegmentKind::kCore, layout.span(i), layout.SegmentBytes()),
                     [&](model::WriteFn write) {
                       return model::EncodeSegment(backend, state, layout, i, write);
                     });
    if (!segment.ok()) {
      return segment.status();
    }
    commit.segments.push_back(*std::move(segment));
  }
  absl::StatusOr<store::SegmentPtr> tail = WriteSegment(
      store, spec(store::SegmentKind::kTail, layout.tail_span(), layout.TailBytes()),
      [&](model::WriteFn write) { return model::EncodeTail(backend, state, layout, write); });
  if (!tail.ok()) {
    return tail.status();
  }
  commit.segments.push_back(*std::move(tail));
  return store.CommitSnapshot(commit);
}

absl::Status ReadState(store::Store& store, kernels::Backend& backend,
                       const store::Snapshot& snapshot, const model::SnapshotLayout& layout,
                       kernels::State& state) {
  store::ValueBuffer buffer;
  for (int64_t i = 0; i <= layout.segments(); ++i) {
    SegmentCursor cursor(store, snapshot, i, buffer);
    const auto read = [&cursor](absl::Span<std::byte> out) { return cursor.Read(out); };
    const absl::Status status = i < layout.segments()
                                    ? model::DecodeSegment(backend, layout, i, read, state)
                                    : model::DecodeTail(backend, layout, read, state);
    if (!status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace longleaf::service
