// See id_counter.h.
#include "cache_store/id_counter.h"

#include <algorithm>
#include <optional>

#include "cache_store/coding.h"
#include "cache_store/message.h"

namespace longleaf::store::internal {
namespace {

constexpr uint8_t kVersion = 1;
constexpr int64_t kBlock = 256;
constexpr int64_t kBeyondUnseen = int64_t{1} << 32;

}  // namespace

absl::StatusOr<int64_t> DecodeCounter(std::string_view bytes, const std::string& name) {
  absl::StatusOr<Decoder> in = Decoder::Open(bytes, RecordKind::kCounter, kVersion, name);
  if (!in.ok()) return in.status();
  const int64_t value = in->NonNegative();
  LONGLEAF_STORE_RETURN_IF_ERROR(in->Finish(name));
  return value;
}

absl::Status IdCounter::Load(int64_t in_use) {
  absl::StatusOr<std::optional<std::string>> found = database_.Get(Family::kMeta, name_);
  if (!found.ok()) return found.status();
  int64_t next = 1;
  bool rebuild = in_use > 0;
  if (found->has_value()) {
    const absl::StatusOr<int64_t> stored = DecodeCounter(**found, name_);
    if (!stored.ok() && !absl::IsDataLoss(stored.status())) return stored.status();
    rebuild = !stored.ok() || *stored <= in_use;
    if (stored.ok()) next = *stored;
  }
  // Beyond numbers, too, that are only in what is damaged itself.
  if (rebuild) {
    next = std::max(next, in_use) + kBeyondUnseen;
    database_.NoteRebuiltCounter();
  }
  MutexLock lock(&mutex_);
  next_ = limit_ = next;
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
