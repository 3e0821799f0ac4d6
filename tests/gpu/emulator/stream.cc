// Streams and events. Work waits in its stream until someone waits for it.
#include <utility>
#include <vector>

#include "tests/gpu/emulator/device.h"
#include "tests/gpu/emulator/emulator.h"
#include "tests/gpu/emulator/launch.h"

struct CUevent_st {
  std::shared_ptr<longleaf::emulator::Queue> queue;  // null: never recorded
  uint64_t position = 0;
  std::shared_ptr<longleaf::emulator::Recording> recording;  // of the point, if that was recorded
};

namespace longleaf::emulator {
namespace {

bool eager = false;

std::vector<std::shared_ptr<Queue>>& Queues() {
  static std::vector<std::shared_ptr<Queue>> queues = {std::make_shared<Queue>()};
  return queues;
}

// What this thread records, if it has to keep to what can be recorded.
thread_local std::shared_ptr<Recording> recording_here;

cudaError_t CreateStream(cudaStream_t* stream) {
  auto queue = std::make_shared<Queue>();
  Queues().push_back(queue);
  *stream = new CUstream_st{std::move(queue)};
  return cudaSuccess;
}

}  // namespace

void SetEager(bool now) {
  const auto lock = Lock();
  eager = now;
}

std::shared_ptr<Queue> QueueOf(cudaStream_t stream) {
  return stream == nullptr ? Queues()[0] : stream->queue;
}

cudaError_t Enqueue(Queue& queue, Work work) {
  if (queue.recording != nullptr) {
    if (queue.recording->invalid) return cudaErrorStreamCaptureInvalidated;
    queue.recording->work.push_back(std::move(work));
    return cudaSuccess;
  }
  queue.work.push_back(std::move(work));
  if (eager) Drain(queue, queue.enqueued());
  return cudaSuccess;
}

void Drain(Queue& queue, uint64_t upto) {
  while (queue.done < upto && !queue.work.empty()) {
    const Work work = std::move(queue.work.front());
    queue.work.pop_front();
    ++queue.done;
    // What follows a failure does not run.
    if (queue.error == cudaSuccess && !work.run()) {
      queue.error = cudaErrorLaunchFailure;
      CountFailedLaunch();
    }
  }
}

cudaError_t Finish(Queue& queue) {
  Drain(queue, queue.enqueued());
  return std::exchange(queue.error, cudaSuccess);
}

cudaError_t FinishAll() {
  cudaError_t error = cudaSuccess;
  const std::vector<std::shared_ptr<Queue>> queues = Queues();
  for (const auto& queue : queues) {
    const cudaError_t one = Finish(*queue);
    if (error == cudaSuccess) error = one;
  }
  return error;
}

bool SpoilsRecording() {
  if (recording_here == nullptr || recording_here->mode == cudaStreamCaptureModeRelaxed) {
    return false;
  }
  recording_here->invalid = true;
  return true;
}

void EndRecording(const std::shared_ptr<Recording>& recording) {
  for (const auto& queue : Queues()) {
    if (queue->recording != recording) continue;
    queue->recording = nullptr;
    queue->records_itself = false;
  }
  if (recording_here == recording) recording_here = nullptr;
}

}  // namespace longleaf::emulator

using longleaf::emulator::Drain;
using longleaf::emulator::Finish;
using longleaf::emulator::Queue;
using longleaf::emulator::QueueOf;
using longleaf::emulator::Recording;
using longleaf::emulator::Return;

cudaError_t cudaDeviceSynchronize() {
  LONGLEAF_EMULATOR_BEGIN();
  if (longleaf::emulator::SpoilsRecording()) return Return(cudaErrorStreamCaptureUnsupported);
  return Return(longleaf::emulator::FinishAll());
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  LONGLEAF_EMULATOR_BEGIN();
  return longleaf::emulator::CreateStream(stream);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int) {
  return cudaStreamCreate(stream);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned int, int) {
  return cudaStreamCreate(stream);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const auto lock = longleaf::emulator::Lock();
  if (stream == nullptr) return Return(cudaErrorInvalidResourceHandle);
  Finish(*stream->queue);  // what was enqueued is still done
  std::erase(longleaf::emulator::Queues(), stream->queue);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  LONGLEAF_EMULATOR_BEGIN();
  const std::shared_ptr<Queue> queue = QueueOf(stream);
  if (queue->recording != nullptr) {
    queue->recording->invalid = true;
    return Return(cudaErrorStreamCaptureUnsupported);
  }
  return Return(Finish(*queue));
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  LONGLEAF_EMULATOR_BEGIN();
  const std::shared_ptr<Queue> queue = QueueOf(stream);
  if (queue->work.empty()) return Return(Finish(*queue));
  Drain(*queue, queue->done + 1);  // who asks again and again sees it come
  return cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int) {
  LONGLEAF_EMULATOR_BEGIN();
  if (event == nullptr) return Return(cudaErrorInvalidResourceHandle);
  const std::shared_ptr<Queue> queue = QueueOf(stream);
  if (event->recording != nullptr) {
    // The stream joins the recording; its work follows what is there.
    queue->recording = event->recording;
    return cudaSuccess;
  }
  if (event->queue == nullptr) return cudaSuccess;
  if (queue->recording != nullptr) {
    queue->recording->invalid = true;  // it would wait for what is outside of the graph
    return Return(cudaErrorStreamCaptureUnsupported);
  }
  return Return(longleaf::emulator::Enqueue(
      *queue, {nullptr, [before = event->queue, position = event->position] {
                 Drain(*before, position);
                 return true;
               }}));
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  LONGLEAF_EMULATOR_BEGIN();
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int) {
  return cudaEventCreate(event);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (event == nullptr) return Return(cudaErrorInvalidResourceHandle);
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  LONGLEAF_EMULATOR_BEGIN();
  if (event == nullptr) return Return(cudaErrorInvalidResourceHandle);
  const std::shared_ptr<Queue> queue = QueueOf(stream);
  event->queue = queue;
  event->position = queue->enqueued();
  event->recording = queue->recording;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  LONGLEAF_EMULATOR_BEGIN();
  if (event == nullptr) return Return(cudaErrorInvalidResourceHandle);
  if (event->recording != nullptr) return Return(cudaErrorStreamCaptureUnsupported);
  if (event->queue == nullptr) return cudaSuccess;
  Drain(*event->queue, event->position);
  return Return(std::exchange(event->queue->error, cudaSuccess));
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  LONGLEAF_EMULATOR_BEGIN();
  if (event == nullptr) return Return(cudaErrorInvalidResourceHandle);
  if (event->queue == nullptr || event->queue->done >= event->position) return cudaSuccess;
  Drain(*event->queue, event->queue->done + 1);
  return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  LONGLEAF_EMULATOR_BEGIN();
  *milliseconds = 1;  // the emulated device has no clock
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return longleaf::emulator::EnqueueWork(stream, [function, data] {
    function(data);
    return true;
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  LONGLEAF_EMULATOR_BEGIN();
  const std::shared_ptr<Queue> queue = QueueOf(stream);
  if (stream == nullptr || queue->recording != nullptr) {
    return Return(cudaErrorStreamCaptureUnsupported);
  }
  queue->recording = std::make_shared<Recording>();
  queue->recording->mode = mode;
  queue->records_itself = true;
  longleaf::emulator::recording_here = queue->recording;
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  LONGLEAF_EMULATOR_BEGIN();
  const std::shared_ptr<Queue> queue = QueueOf(stream);
  *status = queue->recording == nullptr ? cudaStreamCaptureStatusNone
            : queue->recording->invalid ? cudaStreamCaptureStatusInvalidated
                                        : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
