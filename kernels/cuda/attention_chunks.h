// The chunks of pages that decode items see, and which of them several items see alike. Branches of
// one state hold the same pages for the document; whatever shares a page shares what is in it, so
// the addresses alone tell.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_CHUNKS_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_CHUNKS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/step.h"

namespace longleaf::kernels::cuda {

// Rows first .. first+rows-1 of an item: at most kMostDecodeRows.
struct DecodeItem {
  int32_t item = 0;
  int32_t first = 0;
  int32_t rows = 0;
};

// Pages begin .. end-1 of one part, and the items that see them, or some of them.
struct ChunkGroup {
  bool raw = false;
  int64_t begin = 0;
  int64_t end = 0;
  int32_t leader = 0;  // the item that has all the pages
  std::vector<DecodeItem> members;
  bool whole = true;  // no member sees anything else
};

// All chunks of all items. Depends on which pages are equal, not on their addresses.
std::vector<ChunkGroup> GroupChunks(const StepShape& shape, absl::Span<const PlanItem> items,
                                    absl::Span<const DecodeItem> decode);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_CHUNKS_H_
