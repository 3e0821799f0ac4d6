// The CUDA runtime behind Status and RAII.
#include "kernels/cuda/runtime.h"

#include "absl/strings/str_cat.h"

namespace longleaf::kernels::cuda {

using absl::Status;
using absl::StatusOr;

Status Check(cudaError_t error, absl::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // an error that is not sticky is not met again by the next call
  const std::string message = absl::StrCat("CUDA, ", what, ": ", cudaGetErrorString(error), " (",
                                           cudaGetErrorName(error), ")");
  switch (error) {
    case cudaErrorMemoryAllocation:
      return absl::ResourceExhaustedError(message);
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorInitializationError:
      return absl::UnavailableError(message);
    default:
      return absl::InternalError(message);
  }
}

StatusOr<DeviceMemory> DeviceMemory::Allocate(int64_t bytes) {
  DeviceMemory memory;
  if (bytes == 0) return memory;
  void* data = nullptr;
  Status status = Check(cudaMalloc(&data, static_cast<size_t>(bytes)),
                        absl::StrCat("allocating ", bytes, " bytes"));
  if (!status.ok()) return status;
  memory.data_ = static_cast<std::byte*>(data);
  memory.bytes_ = bytes;
  return memory;
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) cudaFree(data_);
}

StatusOr<PinnedMemory> PinnedMemory::Allocate(int64_t bytes) {
  PinnedMemory memory;
  if (bytes == 0) return memory;
  void* data = nullptr;
  Status status = Check(cudaHostAlloc(&data, static_cast<size_t>(bytes), cudaHostAllocDefault),
                        absl::StrCat("pinning ", bytes, " bytes"));
  if (!status.ok()) return status;
  memory.data_ = static_cast<std::byte*>(data);
  memory.bytes_ = bytes;
  return memory;
}

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

StatusOr<Stream> Stream::Create() {
  Stream stream;
  Status status =
      Check(cudaStreamCreateWithFlags(&stream.stream_, cudaStreamNonBlocking), "making a stream");
  if (!status.ok()) return status;
  return stream;
}

Stream::~Stream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

Status Stream::Synchronize() const {
  return Check(cudaStreamSynchronize(stream_), "waiting for the device");
}

StatusOr<Event> Event::Create() {
  Event event;
  Status status =
      Check(cudaEventCreateWithFlags(&event.event_, cudaEventDisableTiming), "making an event");
  if (!status.ok()) return status;
  return event;
}

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

Status Event::Record(cudaStream_t stream) {
  return Check(cudaEventRecord(event_, stream), "recording an event");
}

Status Event::Wait(cudaStream_t stream) const {
  return Check(cudaStreamWaitEvent(stream, event_, 0), "waiting for an event");
}

Status Event::Synchronize() const {
  return Check(cudaEventSynchronize(event_), "waiting for the device");
}

Status Copy(void* to, const void* from, int64_t bytes, cudaStream_t stream) {
  if (bytes == 0) return absl::OkStatus();
  return Check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream),
               "copying");
}

}  // namespace longleaf::kernels::cuda
