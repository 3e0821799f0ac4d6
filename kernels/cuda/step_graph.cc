// Recording and replaying of small steps.
#include "kernels/cuda/step_graph.h"

#include <algorithm>

#include "absl/cleanup/cleanup.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {

using absl::Status;

StepGraph::~StepGraph() {
  for (Recorded& recorded : recorded_) Destroy(recorded);
}

void StepGraph::Destroy(Recorded& recorded) {
  if (recorded.graph != nullptr) cudaGraphExecDestroy(recorded.graph);
}

void StepGraph::Begin(Key key) {
  open_ = true;
  key_ = std::move(key);
  operations_.clear();
}

void StepGraph::Add(const Key& key, Operation operation) {
  key_.push_back(static_cast<int64_t>(key.size()));
  key_.insert(key_.end(), key.begin(), key.end());
  operations_.push_back(std::move(operation));
}

void StepGraph::Discard() {
  open_ = false;
  operations_.clear();
}

Status StepGraph::RunOperations() {
  for (const Operation& operation : operations_) {
    if (Status status = operation(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

Status StepGraph::Run(cudaStream_t stream) {
  const absl::Cleanup close = [this] { Discard(); };
  const auto found = std::find_if(recorded_.begin(), recorded_.end(),
                                  [this](const Recorded& r) { return r.key == key_; });
  if (found == recorded_.end()) {
    if (recorded_.size() == kMostGraphs) {
      Destroy(recorded_.back());
      recorded_.pop_back();
    }
    recorded_.push_front({std::move(key_), nullptr});
    return RunOperations();
  }
  recorded_.splice(recorded_.begin(), recorded_, found);
  Recorded& recorded = recorded_.front();
  if (recorded.graph == nullptr) {
    if (!can_record_) return RunOperations();
    if (!Record(stream, &recorded.graph).ok()) {
      // Nothing has run. The step is as good without a graph.
      can_record_ = false;
      return RunOperations();
    }
  } else {
    ++replayed_;
  }
  return Check(cudaGraphLaunch(recorded.graph, stream), "launching a recorded step");
}

Status StepGraph::Record(cudaStream_t stream, cudaGraphExec_t* graph) {
  // Other threads export and import meanwhile: only this one must keep to what can be recorded.
  Status status =
      Check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "recording a step");
  if (!status.ok()) return status;
  const Status ran = RunOperations();
  cudaGraph_t recorded = nullptr;
  status = Check(cudaStreamEndCapture(stream, &recorded), "recording a step");
  const absl::Cleanup destroy = [&recorded] {
    if (recorded != nullptr) cudaGraphDestroy(recorded);
  };
  if (!ran.ok()) return ran;
  if (!status.ok()) return status;
  return Check(cudaGraphInstantiate(graph, recorded, 0), "recording a step");
}

}  // namespace longleaf::kernels::cuda
