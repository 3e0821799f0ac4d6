// Device and pinned memory: separate blocks of the heap, full of NaN; and copies.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "tests/gpu/emulator/device.h"
#include "tests/gpu/emulator/emulator.h"

namespace longleaf::emulator {
namespace {

constexpr size_t kAlignment = 256;
// The address sanitizer watches what follows a block; without it, bytes that cudaFree looks at.
#ifdef LONGLEAF_EMULATOR_ASAN
constexpr size_t kRedzone = 0;
#else
constexpr size_t kRedzone = 256;
#endif
constexpr unsigned char kNan = 0xff, kRedzoneByte = 0xa5;
// Of more than this, only the two ends are filled.
constexpr size_t kFilled = size_t{128} << 20;

struct Allocation {
  size_t bytes = 0;
  bool pinned = false;
};

struct Memory {
  std::map<const std::byte*, Allocation> allocations;
  int64_t total = int64_t{4} << 30;
  int64_t used = 0;
};

Memory& Get() {
  static Memory memory;
  return memory;
}

cudaError_t Allocate(void** data, size_t bytes, bool pinned) {
  *data = nullptr;
  if (SpoilsRecording()) return cudaErrorStreamCaptureUnsupported;
  if (bytes == 0) return cudaSuccess;
  Memory& memory = Get();
  if (!pinned && static_cast<int64_t>(bytes) > memory.total - memory.used) {
    return cudaErrorMemoryAllocation;
  }
  void* block = nullptr;
  const size_t room = bytes + kRedzone;
  if (posix_memalign(&block, kAlignment, room) != 0) return cudaErrorMemoryAllocation;
  auto* at = static_cast<std::byte*>(block);
  if (bytes <= kFilled) {
    std::memset(at, kNan, bytes);
  } else {
    std::memset(at, kNan, kFilled / 2);
    std::memset(at + bytes - kFilled / 2, kNan, kFilled / 2);
  }
  std::memset(at + bytes, kRedzoneByte, room - bytes);
  memory.allocations[at] = {bytes, pinned};
  if (!pinned) memory.used += static_cast<int64_t>(bytes);
  *data = block;
  return cudaSuccess;
}

cudaError_t Free(void* data, bool pinned) {
  if (data == nullptr) return cudaSuccess;
  if (SpoilsRecording()) return cudaErrorStreamCaptureUnsupported;
  Memory& memory = Get();
  const auto found = memory.allocations.find(static_cast<std::byte*>(data));
  if (found == memory.allocations.end() || found->second.pinned != pinned) {
    return cudaErrorInvalidValue;
  }
  // Freeing waits for the device.
  cudaError_t error = FinishAll();
  const size_t bytes = found->second.bytes;
  for (size_t i = 0; i < kRedzone; ++i) {
    if (std::to_integer<int>(static_cast<std::byte*>(data)[bytes + i]) == kRedzoneByte) continue;
    std::fprintf(stderr, "emulator: an allocation of %zu bytes was written past its end\n", bytes);
    CountFailedLaunch();
    error = cudaErrorIllegalAddress;
    break;
  }
  memory.allocations.erase(found);
  if (!pinned) memory.used -= static_cast<int64_t>(bytes);
  std::free(data);
  return error;
}

struct Copy2D {
  std::byte* to;
  size_t to_pitch;
  const std::byte* from;
  size_t from_pitch, width, height;
  void Do() const {
    for (size_t y = 0; y < height; ++y)
      std::memcpy(to + y * to_pitch, from + y * from_pitch, width);
  }
};

cudaError_t EnqueueCopy(Copy2D copy, cudaStream_t stream) {
  if (copy.width == 0 || copy.height == 0) return cudaSuccess;
  if (copy.to_pitch < copy.width || copy.from_pitch < copy.width) return cudaErrorInvalidValue;
  const Home to = HomeOf(copy.to, copy.to_pitch * (copy.height - 1) + copy.width);
  const Home from = HomeOf(copy.from, copy.from_pitch * (copy.height - 1) + copy.width);
  if (to == Home::kBroken || from == Home::kBroken) return cudaErrorInvalidValue;
  const std::shared_ptr<Queue> queue = QueueOf(stream);
  if (queue->recording != nullptr) {
    return Enqueue(*queue, {nullptr, [copy] { return copy.Do(), true; }});
  }
  if (from == Home::kPageable && to != Home::kPageable) {
    // Read before the call returns.
    auto staged = std::make_shared<std::vector<std::byte>>(copy.width * copy.height);
    Copy2D in = copy;
    in.to = staged->data();
    in.to_pitch = copy.width;
    in.Do();
    copy.from = staged->data();
    copy.from_pitch = copy.width;
    return Enqueue(*queue, {nullptr, [copy, staged] { return copy.Do(), true; }});
  }
  if (const cudaError_t error = Enqueue(*queue, {nullptr, [copy] { return copy.Do(), true; }});
      error != cudaSuccess) {
    return error;
  }
  // Pageable memory has been written when the call returns.
  return to == Home::kPageable ? Finish(*queue) : cudaSuccess;
}

}  // namespace

Home HomeOf(const void* data, size_t bytes) {
  const auto* at = static_cast<const std::byte*>(data);
  const auto& allocations = Get().allocations;
  auto found = allocations.upper_bound(at);
  if (found == allocations.begin()) return Home::kPageable;
  --found;
  const std::byte* end = found->first + found->second.bytes;
  if (at >= end) return Home::kPageable;
  if (at + bytes > end) return Home::kBroken;
  return found->second.pinned ? Home::kPinned : Home::kDevice;
}

void SetDeviceMemory(int64_t bytes) {
  const auto lock = Lock();
  Get().total = bytes;
}

int64_t DeviceMemoryInUse() {
  const auto lock = Lock();
  return Get().used;
}

}  // namespace longleaf::emulator

using longleaf::emulator::Return;

cudaError_t cudaMalloc(void** data, size_t bytes) {
  LONGLEAF_EMULATOR_BEGIN();
  return Return(longleaf::emulator::Allocate(data, bytes, false));
}

cudaError_t cudaFree(void* data) {
  const auto lock = longleaf::emulator::Lock();
  return Return(longleaf::emulator::Free(data, false));
}

cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned int) {
  LONGLEAF_EMULATOR_BEGIN();
  return Return(longleaf::emulator::Allocate(data, bytes, true));
}

cudaError_t cudaFreeHost(void* data) {
  const auto lock = longleaf::emulator::Lock();
  return Return(longleaf::emulator::Free(data, true));
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  LONGLEAF_EMULATOR_BEGIN();
  const auto& memory = longleaf::emulator::Get();
  *total = static_cast<size_t>(memory.total);
  *free = static_cast<size_t>(memory.used < memory.total ? memory.total - memory.used : 0);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  LONGLEAF_EMULATOR_BEGIN();
  return Return(longleaf::emulator::EnqueueCopy(
      {static_cast<std::byte*>(to), bytes, static_cast<const std::byte*>(from), bytes, bytes, 1},
      stream));
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind, cudaStream_t stream) {
  LONGLEAF_EMULATOR_BEGIN();
  return Return(longleaf::emulator::EnqueueCopy(
      {static_cast<std::byte*>(to), to_pitch, static_cast<const std::byte*>(from), from_pitch,
       width, height},
      stream));
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return error != cudaSuccess ? error : cudaStreamSynchronize(nullptr);
}

cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  LONGLEAF_EMULATOR_BEGIN();
  if (bytes == 0) return cudaSuccess;
  if (longleaf::emulator::HomeOf(data, bytes) == longleaf::emulator::Home::kBroken) {
    return Return(cudaErrorInvalidValue);
  }
  return Return(longleaf::emulator::Enqueue(*longleaf::emulator::QueueOf(stream),
                                            {nullptr, [data, value, bytes] {
                                               std::memset(data, value, bytes);
                                               return true;
                                             }}));
}

cudaError_t cudaMemset(void* data, int value, size_t bytes) {
  const cudaError_t error = cudaMemsetAsync(data, value, bytes, nullptr);
  return error != cudaSuccess ? error : cudaStreamSynchronize(nullptr);
}
