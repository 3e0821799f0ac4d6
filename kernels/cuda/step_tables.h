// What a step tells the device before its first kernel: its items, which item each row belongs to,
// and the page tables of its states. One copy from pinned memory, once a step, for all layers.
//
// Of a table only the pages from the first readable one on are sent: after 128K tokens a window of
// 1K is 17 pointers, not 2K. A kernel indexes it from the state's beginning all the same (step.h).
//
// For one thread at a time.
#ifndef LONGLEAF_KERNELS_CUDA_STEP_TABLES_H_
#define LONGLEAF_KERNELS_CUDA_STEP_TABLES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/step.h"

namespace longleaf::kernels::cuda {

// A StepItem for the host: equal pointers are equal pages.
struct HostStepItem {
  int64_t first_token = 0;
  int32_t first_row = 0;
  int32_t rows = 0;
  int64_t trunk_tokens = 0;     // CudaState::trunk_tokens()
  int64_t first_core_page = 0;  // that core_pages[0] is; 0
  int64_t first_raw_page = 0;
  absl::Span<std::byte* const> core_pages;  // device pointers, in host memory
  absl::Span<std::byte* const> raw_pages;

  // A page of the state by its index from the beginning; null where none is readable.
  std::byte* core_page(int64_t index) const { return At(core_pages, index - first_core_page); }
  std::byte* raw_page(int64_t index) const { return At(raw_pages, index - first_raw_page); }

 private:
  static std::byte* At(absl::Span<std::byte* const> pages, int64_t i) {
    return i < 0 || i >= static_cast<int64_t>(pages.size()) ? nullptr
                                                            : pages[static_cast<size_t>(i)];
  }
};

class StepTables {
 public:
  StepTables() = default;
  StepTables(const StepTables&) = delete;
  StepTables& operator=(const StepTables&) = delete;

  // Sends the tables of a step that all states of `batch`, CudaStates, are in (after Grow). Always
  // the same `stream`, the main one. Work of the step before may still be queued: the copy comes
  // behind it. RESOURCE_EXHAUSTED changes nothing.
  absl::Status Begin(Batch batch, cudaStream_t stream);
  // Whether the last Begin was for the same states and rows. Two steps may be open at a time: who
  // goes on with one begins its tables again.
  bool Holds(Batch batch) const;

  // Of the last Begin. Steps of equally many items and rows have equal views as long as
  // generation() is the same; where the page tables lie, the items say in device memory.
  StepView view() const { return view_; }
  // Changes when device addresses change.
  int64_t generation() const { return generation_; }
  // For planning on the host. Valid until the next Begin.
  absl::Span<const HostStepItem> items() const { return items_; }

 private:
  struct Staging {
    PinnedMemory memory;
    std::optional<Event> copied;  // the copy out of it
  };

  absl::Status Reserve(int64_t bytes, cudaStream_t stream);

  std::array<Staging, 2> staging_;
  size_t next_ = 0;  // the one that the next Begin fills
  DeviceMemory device_;
  int64_t generation_ = 0;
  StepView view_;
  std::vector<HostStepItem> items_;
  std::vector<const State*> states_;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_STEP_TABLES_H_
