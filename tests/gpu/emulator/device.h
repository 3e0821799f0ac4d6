// The state of the emulated device that its API's files share. One lock over all of it.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_DEVICE_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_DEVICE_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace longleaf::emulator {

// Held during every call of the API and while work runs.
std::unique_lock<std::recursive_mutex> Lock();

// An error for cudaGetLastError, handed through.
cudaError_t Return(cudaError_t error);

// To be asked first by every call that can fail: what a test ordered (FailCall), or success.
cudaError_t Begin();
#define LONGLEAF_EMULATOR_BEGIN()                                                        \
  const auto lock = ::longleaf::emulator::Lock();                                        \
  if (const cudaError_t ordered = ::longleaf::emulator::Begin(); ordered != cudaSuccess) \
  return ::longleaf::emulator::Return(ordered)

// ---- Work --------------------------------------------------------------------------------------

struct Work {
  const void* function = nullptr;  // what it is, for the update of a graph
  std::function<bool()> run;       // false: the launch failed
};

struct Recording {
  std::vector<Work> work;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool invalid = false;
};

// A stream's work that has not been done yet.
struct Queue {
  std::deque<Work> work;
  uint64_t done = 0;                // how much before `work`
  cudaError_t error = cudaSuccess;  // of what was done; told once
  std::shared_ptr<Recording> recording;
  bool records_itself = false;  // cudaStreamBeginCapture; else it joined by an event
  uint64_t enqueued() const { return done + work.size(); }
};

// That of a handle; null is the default stream.
std::shared_ptr<Queue> QueueOf(cudaStream_t stream);
// Adds to the queue, or to what it records.
cudaError_t Enqueue(Queue& queue, Work work);
// Does work until `upto` of it are done.
void Drain(Queue& queue, uint64_t upto);
// Drains it wholly. Its error, which is thereby told.
cudaError_t Finish(Queue& queue);
cudaError_t FinishAll();
// Whether this thread records in a mode that forbids calls like cudaMalloc; the recording is then
// invalid.
bool SpoilsRecording();

// The streams that took part in it work again; this thread may do everything again.
void EndRecording(const std::shared_ptr<Recording>& recording);

// ---- Memory ------------------------------------------------------------------------------------

enum class Home { kPageable, kPinned, kDevice, kBroken };
// Where [data, data + bytes) lies; kBroken when it leaves an allocation of ours.
Home HomeOf(const void* data, size_t bytes);

void CountFailedLaunch();

}  // namespace longleaf::emulator

struct CUstream_st {
  std::shared_ptr<longleaf::emulator::Queue> queue;
};

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_DEVICE_H_
