// The CUDA runtime as the rest of this folder uses it: errors as Status, memory, streams and events
// that free themselves, and one way to launch a kernel.
//
// Nothing here knows what a tensor is. Objects belong to the device that was current when they were
// made (cuda_backend.h chooses it). Memory may be used by any thread; streams and events, by one at
// a time.
#ifndef LONGLEAF_KERNELS_CUDA_RUNTIME_H_
#define LONGLEAF_KERNELS_CUDA_RUNTIME_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace longleaf::kernels::cuda {

// OK, or what went wrong in `what`: RESOURCE_EXHAUSTED when the device's memory is spent,
// UNAVAILABLE when there is no device or driver, else INTERNAL. Clears an error that the next call
// can live with.
absl::Status Check(cudaError_t error, absl::string_view what);

// Device memory, freed with the object. Its content is undefined. Zero bytes: null.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // RESOURCE_EXHAUSTED.
  static absl::StatusOr<DeviceMemory> Allocate(int64_t bytes);
  DeviceMemory(DeviceMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceMemory();

  std::byte* data() const { return data_; }  // [bytes], aligned to 256
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Host memory that the device reads and writes at the full speed of the link.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  // RESOURCE_EXHAUSTED.
  static absl::StatusOr<PinnedMemory> Allocate(int64_t bytes);
  PinnedMemory(PinnedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PinnedMemory();

  std::byte* data() const { return data_; }  // [bytes]
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }
  int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

// A queue of device work.
class Stream {
 public:
  Stream() = default;
  static absl::StatusOr<Stream> Create();
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~Stream();

  cudaStream_t get() const { return stream_; }
  // Waits until all its work is done; says what failed in it.
  absl::Status Synchronize() const;

 private:
  cudaStream_t stream_ = nullptr;
};

// A point in a stream.
class Event {
 public:
  Event() = default;
  static absl::StatusOr<Event> Create();
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~Event();

  // The point is where `stream` is now.
  absl::Status Record(cudaStream_t stream);
  // `stream` goes on only when the point has been reached.
  absl::Status Wait(cudaStream_t stream) const;
  // The calling thread does.
  absl::Status Synchronize() const;

 private:
  cudaEvent_t event_ = nullptr;
};

// Copies `bytes` in `stream`'s order; either side may be host or device memory. Asynchronous only
// where host memory is pinned.
absl::Status Copy(void* to, const void* from, int64_t bytes, cudaStream_t stream);

// Puts a kernel into `stream`. `shared_bytes` of dynamic shared memory: above 48 KB the kernel must
// have been allowed it (AllowShared). An empty grid is no launch.
template <typename... Parameters, typename... Arguments>
absl::Status Launch(absl::string_view what, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                    int64_t shared_bytes, cudaStream_t stream, Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return absl::OkStatus();
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.stream = stream;
  return Check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), what);
}

// Lets `kernel` use up to `bytes` of dynamic shared memory. Idempotent.
template <typename... Parameters>
absl::Status AllowShared(void (*kernel)(Parameters...), int64_t bytes) {
  return Check(
      cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                           cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
      "dynamic shared memory");
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_RUNTIME_H_
