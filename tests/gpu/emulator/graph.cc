// Graphs: work that a stream recorded, done again in the order of its recording.
#include <vector>

#include "tests/gpu/emulator/device.h"

using longleaf::emulator::Queue;
using longleaf::emulator::QueueOf;
using longleaf::emulator::Recording;
using longleaf::emulator::Return;
using longleaf::emulator::Work;

struct CUgraph_st {
  std::vector<Work> work;
};

struct CUgraphExec_st {
  std::shared_ptr<const std::vector<Work>> work;
};

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  // Also when a test ordered it to fail: nothing can be done with a stream that records for ever.
  const auto lock = longleaf::emulator::Lock();
  const cudaError_t ordered = longleaf::emulator::Begin();
  *graph = nullptr;
  const std::shared_ptr<Queue> queue = QueueOf(stream);
  if (queue->recording == nullptr || !queue->records_itself) {
    return Return(cudaErrorInvalidValue);
  }
  const std::shared_ptr<Recording> recording = queue->recording;
  longleaf::emulator::EndRecording(recording);
  if (recording->invalid) return Return(cudaErrorStreamCaptureInvalidated);
  if (ordered != cudaSuccess) return Return(ordered);
  *graph = new CUgraph_st{std::move(recording->work)};
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  LONGLEAF_EMULATOR_BEGIN();
  *count = graph->work.size();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  LONGLEAF_EMULATOR_BEGIN();
  *exec = new CUgraphExec_st{std::make_shared<const std::vector<Work>>(graph->work)};
  return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo* info) {
  LONGLEAF_EMULATOR_BEGIN();
  bool same = exec->work->size() == graph->work.size();
  for (size_t i = 0; same && i < graph->work.size(); ++i) {
    same = (*exec->work)[i].function == graph->work[i].function;
  }
  *info = {};
  if (!same) {
    info->result = cudaGraphExecUpdateErrorTopologyChanged;
    return Return(cudaErrorGraphExecUpdateFailure);
  }
  exec->work = std::make_shared<const std::vector<Work>>(graph->work);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  LONGLEAF_EMULATOR_BEGIN();
  // One piece of work, which keeps what it runs.
  return Return(longleaf::emulator::Enqueue(*QueueOf(stream), {nullptr, [work = exec->work] {
                                                                 for (const Work& w : *work) {
                                                                   if (!w.run()) return false;
                                                                 }
                                                                 return true;
                                                               }}));
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  LONGLEAF_EMULATOR_BEGIN();
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
