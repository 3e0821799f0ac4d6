#include "service/state/stored_state.h"

#include <thread>
#include <utility>
#include <vector>

#include "service/state/state_restore.h"

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

absl::Status ReadState(store::Store& store, kernels::Backend& backend, store::SnapshotPtr snapshot,
                       const model::SnapshotLayout& layout, int readers, kernels::State& state) {
  absl::StatusOr<std::shared_ptr<StateRestore>> restore =
      StateRestore::Create(store, backend, std::move(snapshot), layout, state);
  if (!restore.ok()) {
    return restore.status();
  }
  std::vector<std::thread> helpers;
  for (int i = 1; i < readers; ++i) {
    helpers.emplace_back([&restore] { (*restore)->Read(); });
  }
  const absl::Status status = (*restore)->Finish();
  for (std::thread& helper : helpers) {
    helper.join();
  }
  return status;
}

}  // namespace longleaf::service
