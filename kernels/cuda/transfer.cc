// Chunks of canonical bytes between the host and pages.
#include "kernels/cuda/transfer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cuda/transfer_kernels.h"

namespace longleaf::kernels::cuda {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

namespace {

// Long enough that the link is busy most of the time, short enough that the two chunks of a
// snapshot's block of 64 tokens overlap.
constexpr int64_t kChunkBytes = 512 << 10;
constexpr int64_t kAlignment = 256;

// The canonical bytes of a range are up to four arrays, each of so many bytes a token.
struct Arrays {
  explicit Arrays(const DevicePageLayout& layout)
      : elements(layout.heads * layout.row_bytes()),
        scales(layout.scaled() ? layout.heads * int64_t{sizeof(float)} : 0) {}

  int64_t token_bytes() const { return 2 * (elements + scales); }
  std::array<int64_t, 4> each() const { return {elements, scales, elements, scales}; }

  int64_t elements;  // of keys, or values
  int64_t scales;    // likewise
};

int64_t Aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// In staging the arrays of a chunk follow one another, each aligned.
int64_t StagedBytes(const Arrays& arrays, int64_t tokens) {
  return 2 * (Aligned(arrays.elements * tokens) + Aligned(arrays.scales * tokens));
}

int64_t ChunkTokens(const Arrays& arrays, int64_t first) {
  const int64_t in_pages = kMostRangePages * kPageTokens - first % kPageTokens;
  return std::clamp<int64_t>(kChunkBytes / arrays.token_bytes(), 1, in_pages);
}

PackedRange PackedAt(std::byte* staging, const Arrays& arrays, int64_t tokens) {
  PackedRange packed;
  packed.keys = staging;
  packed.key_scales = packed.keys + Aligned(arrays.elements * tokens);
  packed.values = packed.key_scales + Aligned(arrays.scales * tokens);
  packed.value_scales = packed.values + Aligned(arrays.elements * tokens);
  return packed;
}

// Calls body(staged, canonical, bytes) for each array of a chunk: where it lies in staging and in
// the canonical bytes of the whole range of `count` tokens, of which the chunk skips `skipped`.
template <typename Body>
void ForEachArray(const Arrays& arrays, int64_t count, int64_t skipped, int64_t tokens,
                  const Body& body) {
  int64_t staged = 0, canonical = 0;
  for (const int64_t token_bytes : arrays.each()) {
    if (token_bytes > 0) body(staged, canonical + skipped * token_bytes, tokens * token_bytes);
    staged += Aligned(tokens * token_bytes);
    canonical += count * token_bytes;
  }
}

template <typename PageAt>
PagedRange PagesOf(const DevicePageLayout& layout, int64_t layer, int64_t first, int64_t tokens,
                   const PageAt& page_at) {
  PagedRange range{};
  range.layout = layout;
  range.layer = layer;
  range.first_slot = first % kPageTokens;
  range.tokens = tokens;
  const int64_t first_page = first / kPageTokens;
  for (int64_t p = first_page; p * kPageTokens < first + tokens; ++p) {
    range.pages[p - first_page] = page_at(p)->data;
  }
  return range;
}

}  // namespace

StatusOr<std::unique_ptr<Transfer>> Transfer::Create(StreamPoints* points) {
  int device = 0;
  if (Status status = Check(cudaGetDevice(&device), "the current device"); !status.ok()) {
    return status;
  }
  std::unique_ptr<Transfer> transfer(new Transfer(points, device));
  // One lane there has to be, also when memory is short later.
  StatusOr<std::unique_ptr<Lane>> lane = transfer->TakeLane();
  if (!lane.ok()) return lane.status();
  transfer->GiveBack(*std::move(lane));
  return transfer;
}

Status Transfer::Slot::Reserve(int64_t bytes) {
  if (pinned.bytes() >= bytes) return OkStatus();
  StatusOr<DeviceMemory> new_device = DeviceMemory::Allocate(bytes);
  if (!new_device.ok()) return new_device.status();
  StatusOr<PinnedMemory> new_pinned = PinnedMemory::Allocate(bytes);
  if (!new_pinned.ok()) return new_pinned.status();
  device = *std::move(new_device);
  pinned = *std::move(new_pinned);
  return OkStatus();
}

StatusOr<std::unique_ptr<Transfer::Lane>> Transfer::MakeLane() {
  auto lane = std::make_unique<Lane>();
  for (Slot& slot : *lane) {
    StatusOr<Stream> stream = Stream::Create();
    if (!stream.ok()) return stream.status();
    slot.stream = *std::move(stream);
    if (Status status = slot.Reserve(kChunkBytes + 4 * kAlignment); !status.ok()) return status;
  }
  return lane;
}

StatusOr<std::unique_ptr<Transfer::Lane>> Transfer::TakeLane() {
  MutexLock lock(&mutex_);
  while (idle_.empty()) {
    if (lanes_ < most_lanes_) {
      StatusOr<std::unique_ptr<Lane>> lane = MakeLane();
      if (lane.ok()) ++lanes_;
      if (lane.ok() || lanes_ == 0) return lane;
      most_lanes_ = lanes_;  // as many as there is memory for
    }
    given_back_.Wait(&mutex_);
  }
  std::unique_ptr<Lane> lane = std::move(idle_.back());
  idle_.pop_back();
  return lane;
}

void Transfer::GiveBack(std::unique_ptr<Lane> lane) {
  MutexLock lock(&mutex_);
  idle_.push_back(std::move(lane));
  given_back_.NotifyOne();
}

template <typename Body>
Status Transfer::WithLane(int64_t point, const Body& body) {
  // Which device is the current one is the calling thread's own matter.
  Status status = Check(cudaSetDevice(device_), "choosing the device");
  if (!status.ok()) return status;
  StatusOr<std::unique_ptr<Lane>> lane = TakeLane();
  if (!lane.ok()) return lane.status();
  for (const Slot& slot : **lane) {
    if (status.ok()) status = points_->Wait(point, slot.stream.get());
  }
  if (status.ok()) status = body(**lane);
  for (const Slot& slot : **lane) status.Update(slot.stream.Synchronize());
  GiveBack(*std::move(lane));
  return status;
}

Status Transfer::Export(const CudaState& state, int64_t layer, StatePart part, int64_t first,
                        int64_t count, absl::Span<std::byte> out) {
  if (count == 0) return OkStatus();
  const DevicePageLayout layout = state.layout(part);
  const Arrays arrays(layout);
  struct Chunk {
    int64_t skipped = 0;
    int64_t tokens = 0;
  };
  return WithLane(state.written(), [&](Lane& lane) {
    std::array<Chunk, 2> under_way;
    // Waits for a slot's chunk and brings it to its place.
    const auto finish = [&](size_t s) {
      const Chunk chunk = std::exchange(under_way[s], {});
      if (chunk.tokens == 0) return OkStatus();
      Status status = lane[s].stream.Synchronize();
      if (!status.ok()) return status;
      ForEachArray(arrays, count, chunk.skipped, chunk.tokens,
                   [&](int64_t staged, int64_t canonical, int64_t bytes) {
                     std::memcpy(out.data() + canonical, lane[s].pinned.data() + staged,
                                 static_cast<size_t>(bytes));
                   });
      return OkStatus();
    };
    size_t s = 0;
    for (int64_t done = 0; done < count; s = 1 - s) {
      if (Status status = finish(s); !status.ok()) return status;
      Slot& slot = lane[s];
      const int64_t tokens = std::min(ChunkTokens(arrays, first + done), count - done);
      const int64_t bytes = StagedBytes(arrays, tokens);
      const PagedRange range = PagesOf(layout, layer, first + done, tokens,
                                       [&](int64_t p) { return state.committed_page(part, p); });
      Status status = slot.Reserve(bytes);
      if (status.ok()) {
        status = PackRange(range, PackedAt(slot.device.data(), arrays, tokens), slot.stream.get());
      }
      if (status.ok()) {
        status = Copy(slot.pinned.data(), slot.device.data(), bytes, slot.stream.get());
      }
      if (!status.ok()) return status;
      under_way[s] = {done, tokens};
      done += tokens;
    }
    Status status = finish(s);  // the older one first
    return status.ok() ? finish(1 - s) : status;
  });
}

Status Transfer::Import(const CudaState& state, int64_t layer, StatePart part, int64_t first,
                        int64_t count, absl::Span<const std::byte> in) {
  if (count == 0) return OkStatus();
  const DevicePageLayout layout = state.layout(part);
  const Arrays arrays(layout);
  return WithLane(state.prepared(), [&](Lane& lane) {
    size_t s = 0;
    for (int64_t done = 0; done < count; s = 1 - s) {
      Slot& slot = lane[s];
      const int64_t tokens = std::min(ChunkTokens(arrays, first + done), count - done);
      const int64_t bytes = StagedBytes(arrays, tokens);
      Status status = slot.stream.Synchronize();  // the copy out of `pinned`
      if (status.ok()) status = slot.Reserve(bytes);
      if (!status.ok()) return status;
      ForEachArray(arrays, count, done, tokens,
                   [&](int64_t staged, int64_t canonical, int64_t array_bytes) {
                     std::memcpy(slot.pinned.data() + staged, in.data() + canonical,
                                 static_cast<size_t>(array_bytes));
                   });
      const PagedRange range = PagesOf(layout, layer, first + done, tokens,
                                       [&](int64_t p) { return state.import_page(part, p); });
      status = Copy(slot.device.data(), slot.pinned.data(), bytes, slot.stream.get());
      if (status.ok()) {
        status =
            UnpackRange(PackedAt(slot.device.data(), arrays, tokens), range, slot.stream.get());
      }
      if (!status.ok()) return status;
      done += tokens;
    }
    return OkStatus();  // WithLane waits
  });
}

}  // namespace longleaf::kernels::cuda
