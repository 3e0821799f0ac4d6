#include "service/eval/stored_state.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "model/fingerprint.h"
#include "model/state_codec.h"

namespace longleaf::service::eval {
namespace {

constexpr char kTenant[] = "eval";

store::SnapshotKey KeyOf(const Session& session, const kernels::AttentionPolicy& policy,
                         absl::Span<const int32_t> tokens) {
  // Without a digest of the weights, which would read them all: these stores serve one run.
  model::FingerprintInputs inputs;
  inputs.config = session.config().Canonical();
  inputs.policy = policy;
  store::SnapshotKey key;
  key.tenant = kTenant;
  key.fingerprint = model::ComputeFingerprint(inputs);
  key.token_count = static_cast<int64_t>(tokens.size());
  key.digest = store::DigestTokens(tokens);
  return key;
}

// Writes one segment: `encode` is called with where its bytes go.
template <typename Encode>
absl::StatusOr<store::SegmentPtr> WriteSegment(store::Store& store, store::SegmentKind kind,
                                               model::TokenSpan span, int64_t bytes,
                                               const Encode& encode) {
  store::SegmentSpec spec;
  spec.tenant = kTenant;
  spec.kind = kind;
  spec.first_token = span.begin;
  spec.last_token = span.end;
  spec.expected_bytes = bytes;
  auto writer = store.NewSegment(spec);
  if (!writer.ok()) return writer.status();
  const absl::Status status =
      encode([&writer](absl::Span<const std::byte> part) { return (*writer)->Append(part); });
  if (!status.ok()) return status;
  return (*writer)->Finish();
}

// The bytes of one segment in order, each value read and verified once.
class SegmentReader {
 public:
  SegmentReader(store::Store& store, const store::Snapshot& snapshot, int64_t segment,
                store::ValueBuffer& buffer)
      : store_(store), snapshot_(snapshot), segment_(segment), buffer_(buffer) {}

  absl::Status Read(absl::Span<std::byte> out) {
    while (!out.empty()) {
      if (rest_.empty()) {
        const auto& info = snapshot_.segments()[static_cast<size_t>(segment_)]->info();
        if (next_value_ == info.value_count()) {
          return absl::DataLossError("a stored segment is shorter than the state's layout says");
        }
        auto value = store_.ReadValue(snapshot_, segment_, next_value_++, buffer_);
        if (!value.ok()) return value.status();
        rest_ = *value;
      }
      const size_t part = std::min(out.size(), rest_.size());
      std::memcpy(out.data(), rest_.data(), part);
      rest_.remove_prefix(part);
      out.remove_prefix(part);
    }
    return absl::OkStatus();
  }

 private:
  store::Store& store_;
  const store::Snapshot& snapshot_;
  const int64_t segment_;
  store::ValueBuffer& buffer_;
  int64_t next_value_ = 0;
  absl::Span<const std::byte> rest_;  // of the last value
};

}  // namespace

absl::StatusOr<store::SnapshotPtr> SaveState(store::Store& store, Session& session,
                                             const kernels::State& state,
                                             absl::Span<const int32_t> tokens) {
  auto layout = model::SnapshotLayout::For(state.shape(), state.tokens());
  if (!layout.ok()) return layout.status();
  store::CommitSpec commit;
  commit.key = KeyOf(session, state.shape().policy, tokens);
  commit.meta = layout->Meta();
  for (int64_t i = 0; i < layout->segments(); ++i) {
    auto segment =
        WriteSegment(store, store::SegmentKind::kCore, layout->span(i), layout->SegmentBytes(),
                     [&](model::WriteFn write) {
                       return model::EncodeSegment(session.backend(), state, *layout, i, write);
                     });
    if (!segment.ok()) return segment.status();
    commit.segments.push_back(*std::move(segment));
  }
  auto tail = WriteSegment(store, store::SegmentKind::kTail, layout->tail_span(),
                           layout->TailBytes(), [&](model::WriteFn write) {
                             return model::EncodeTail(session.backend(), state, *layout, write);
                           });
  if (!tail.ok()) return tail.status();
  commit.segments.push_back(*std::move(tail));
  return store.CommitSnapshot(commit);
}

absl::StatusOr<std::unique_ptr<kernels::State>> RestoreState(store::Store& store, Session& session,
                                                             const kernels::AttentionPolicy& policy,
                                                             absl::Span<const int32_t> tokens) {
  auto snapshot = store.FindSnapshot(KeyOf(session, policy, tokens));
  if (!snapshot.ok()) return snapshot.status();
  auto state = session.NewState(policy);
  if (!state.ok()) return state.status();
  auto layout = model::SnapshotLayout::FromMeta((*snapshot)->meta(), (*state)->shape());
  if (!layout.ok()) return layout.status();
  kernels::Backend& backend = session.backend();
  if (absl::Status status = model::PrepareRestore(backend, *layout, **state); !status.ok()) {
    return status;
  }
  store::ValueBuffer buffer;
  for (int64_t i = 0; i <= layout->segments(); ++i) {
    SegmentReader reader(store, **snapshot, i, buffer);
    const auto read = [&reader](absl::Span<std::byte> out) { return reader.Read(out); };
    const absl::Status status = i < layout->segments()
                                    ? model::DecodeSegment(backend, *layout, i, read, **state)
                                    : model::DecodeTail(backend, *layout, read, **state);
    if (!status.ok()) return status;
  }
  return state;
}

}  // namespace longleaf::service::eval
