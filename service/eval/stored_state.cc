#include "service/eval/stored_state.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "model/fingerprint.h"
#include "model/state_codec.h"
#include "service/state/stored_state.h"

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

}  // namespace

absl::StatusOr<store::SnapshotPtr> SaveState(store::Store& store, Session& session,
                                             const kernels::State& state,
                                             absl::Span<const int32_t> tokens) {
  auto layout = model::SnapshotLayout::For(state.shape(), state.tokens());
  if (!layout.ok()) return layout.status();
  store::CommitSpec commit;
  commit.key = KeyOf(session, state.shape().policy, tokens);
  commit.meta = layout->Meta();
  return WriteState(store, session.backend(), state, *layout, std::move(commit));
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
  const int readers = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 4u));
  if (absl::Status status = ReadState(store, backend, *snapshot, *layout, readers, **state);
      !status.ok()) {
    return status;
  }
  return state;
}

}  // namespace longleaf::service::eval
