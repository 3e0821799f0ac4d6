// Small steps as CUDA graphs. A decode step is some ten kernels a layer, each of microseconds: put
// into the stream one by one, the gaps between them cost as much as the work. Recorded once and
// replayed, they follow one another without the host.
//
// The operations of such a step are not run when they are called but kept; Run then knows the whole
// step. Steps with equal keys make the same launches with the same arguments, because whatever
// differs from step to step lies in device memory at fixed addresses (step_tables.h, attention.h).
// The first step of a key runs one operation after the other, the second is recorded, the others
// are replayed.
//
// For one thread at a time.
#ifndef LONGLEAF_KERNELS_CUDA_STEP_GRAPH_H_
#define LONGLEAF_KERNELS_CUDA_STEP_GRAPH_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace longleaf::kernels::cuda {

class StepGraph {
 public:
  // Everything that a launch of the step depends on, as numbers.
  using Key = std::vector<int64_t>;
  using Operation = std::function<absl::Status()>;

  StepGraph() = default;
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;
  ~StepGraph();

  // Opens a step; what an earlier one left is dropped.
  void Begin(Key key);
  bool open() const { return open_; }
  // Keeps an operation, which puts its work into the stream given to Run. `key` names it and what
  // it works on. Requires open().
  void Add(const Key& key, Operation operation);
  // Puts all of the step into `stream` and closes it. The first error of an operation or of CUDA.
  absl::Status Run(cudaStream_t stream);
  // Closes the step without running it.
  void Discard();

  int64_t replayed() const { return replayed_; }  // steps, since the beginning

 private:
  struct Recorded {
    Key key;
    cudaGraphExec_t graph = nullptr;  // null: seen once
  };
  // More keys than a server meets: batch sizes up to the running answers, and a few lengths.
  static constexpr size_t kMostGraphs = 64;

  absl::Status RunOperations();
  absl::Status Record(cudaStream_t stream, cudaGraphExec_t* graph);
  static void Destroy(Recorded& recorded);

  bool open_ = false;
  Key key_;
  std::vector<Operation> operations_;
  std::list<Recorded> recorded_;  // the last used first
  bool can_record_ = true;        // false once recording has failed
  int64_t replayed_ = 0;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_STEP_GRAPH_H_
