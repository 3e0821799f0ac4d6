// Sending plans: pinned memory, one copy for each array.
#include "kernels/cuda/attention_upload.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/status/statusor.h"

namespace longleaf::kernels::cuda {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

namespace {

constexpr int64_t kSmallest = 4 << 10;

struct HostArray {
  const void* data;
  int64_t bytes;
};

template <typename T>
HostArray ArrayOf(const std::vector<T>& values) {
  return {values.data(), static_cast<int64_t>(values.size() * sizeof(T))};
}

}  // namespace

Status AttentionUpload::Reserve(const Sizes& needed, cudaStream_t stream) {
  Sizes room = room_;
  for (size_t i = 0; i < kArrays; ++i) {
    if (needed[i] <= room[i]) continue;
    const auto bytes = static_cast<uint64_t>(std::max(needed[i], kSmallest));
    room[i] = static_cast<int64_t>(std::bit_ceil(bytes));
  }
  const int64_t bytes = std::accumulate(room.begin(), room.end(), int64_t{0});
  Staging& staging = staging_[next_];
  if (!staging.copied.has_value()) {
    StatusOr<Event> event = Event::Create();
    if (!event.ok()) return event.status();
    staging.copied = *std::move(event);
  } else if (Status status = staging.copied->Synchronize(); !status.ok()) {
    return status;
  }
  if (staging.memory.bytes() < bytes) {
    StatusOr<PinnedMemory> memory = PinnedMemory::Allocate(bytes);
    if (!memory.ok()) return memory.status();
    staging.memory = *std::move(memory);
  }
  if (room == room_) return OkStatus();
  StatusOr<DeviceMemory> memory = DeviceMemory::Allocate(bytes);
  if (!memory.ok()) return memory.status();
  // Steps that are queued read the old one.
  Status status = Check(cudaStreamSynchronize(stream), "waiting for the device");
  if (!status.ok()) return status;
  device_ = *std::move(memory);
  room_ = room;
  ++generation_;
  return OkStatus();
}

Status AttentionUpload::Send(absl::Span<const AttentionPlan> plans,
                             absl::Span<AttentionArguments> arguments, cudaStream_t stream) {
  std::array<HostArray, kArrays> arrays = {};
  for (size_t p = 0; p < plans.size(); ++p) {
    const AttentionPlan& plan = plans[p];
    const size_t at = p * kArrays / 2;
    arrays[at] = ArrayOf(plan.units);
    arrays[at + 1] = ArrayOf(plan.rows);
    arrays[at + 2] = ArrayOf(plan.merges);
    arrays[at + 3] = ArrayOf(plan.merge_partials);
  }
  Sizes needed;
  for (size_t i = 0; i < kArrays; ++i) needed[i] = arrays[i].bytes;
  if (Status status = Reserve(needed, stream); !status.ok()) return status;

  Staging& staging = staging_[next_];
  std::array<std::byte*, kArrays> to;
  int64_t offset = 0;
  for (size_t i = 0; i < kArrays; offset += room_[i], ++i) {
    to[i] = device_.data() + offset;
    if (arrays[i].bytes == 0) continue;
    std::byte* const host = staging.memory.data() + offset;
    std::memcpy(host, arrays[i].data, static_cast<size_t>(arrays[i].bytes));
    if (Status status = Copy(to[i], host, arrays[i].bytes, stream); !status.ok()) return status;
  }
  if (Status status = staging.copied->Record(stream); !status.ok()) return status;
  next_ = 1 - next_;
  for (size_t p = 0; p < plans.size(); ++p) {
    const size_t at = p * kArrays / 2;
    arguments[p].units = reinterpret_cast<const AttentionUnit*>(to[at]);
    arguments[p].rows = reinterpret_cast<const AttentionRow*>(to[at + 1]);
    arguments[p].merges = reinterpret_cast<const AttentionMerge*>(to[at + 2]);
    arguments[p].merge_partials = reinterpret_cast<const int32_t*>(to[at + 3]);
  }
  return OkStatus();
}

}  // namespace longleaf::kernels::cuda
