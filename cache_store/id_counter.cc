// See id_counter.h.
#include "cache_store/id_counter.h"

#include <optional>

#include "cache_store/coding.h"
#include "cache_store/message.h"

namespace longleaf::store::internal {
namespace {

constexpr uint8_t kVersion = 1;
constexpr int64_t kBlock = 256;

}  // namespace

absl::Status IdCounter::Load() {
  absl::StatusOr<std::optional<std::string>> found = database_.Get(Family::kMeta, name_);
  if (!found.ok()) return found.status();
  if (!found->has_value()) return absl::OkStatus();
  absl::StatusOr<Decoder> in = Decoder::Open(**found, RecordKind::kCounter, kVersion, name_);
  if (!in.ok()) return in.status();
  const int64_t value = in->NonNegative();
  LONGLEAF_STORE_RETURN_IF_ERROR(in->Finish(name_));
  MutexLock lock(&mutex_);
  next_ = limit_ = value;
  return absl::OkStatus();
}

absl::StatusOr<int64_t> IdCounter::Next() {
  MutexLock lock(&mutex_);
  if (next_ == limit_) {
    Encoder out(RecordKind::kCounter, kVersion);
    out.I64(limit_ + kBlock);
    Batch batch(database_);
    batch.Put(Family::kMeta, name_, out.Seal());
    LONGLEAF_STORE_RETURN_IF_ERROR(database_.Write(batch, Durability::kSynced));
    limit_ += kBlock;
  }
  return next_++;
}

}  // namespace longleaf::store::internal
