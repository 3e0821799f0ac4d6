// Which tensors make which of the model's weights, and where each goes: the one list that packing
// and the files of packed weights go by.
#ifndef LONGLEAF_MODEL_WEIGHT_PLAN_H_
#define LONGLEAF_MODEL_WEIGHT_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "model/config.h"
#include "model/packed_weights.h"
#include "model/weights.h"

namespace longleaf::model {

// The tensor of token embeddings, which is used as it lies in its file.
inline constexpr const char* kEmbeddingTensor = "model.embed_tokens.weight";

struct PlannedWeight {
  std::vector<std::pair<std::string, int64_t>> parts;  // tensors, one below the other; their rows
  kernels::MatrixShape shape;                          // of a vector: [1, n], kNone, kF32
  std::unique_ptr<kernels::Matrix>* matrix = nullptr;  // where it goes: one of these two
  std::unique_ptr<kernels::Buffer>* vector = nullptr;

  std::string Name() const;  // the parts' names, joined by '+'
};

// Everything but the embedding, in the order of the computation. Gives `out` its layers; the plan
// points into `out`.
std::vector<PlannedWeight> PlanWeights(const Config& config, kernels::WeightFormat format,
                                       Weights& out);

// The same as the items of a file of packed weights, without places and checksums. INVALID_ARGUMENT
// when the backend has no such matrix.
absl::StatusOr<std::vector<PackedItem>> PackedItemsOf(const Config& config,
                                                      kernels::WeightFormat format,
                                                      const kernels::Backend& backend);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_WEIGHT_PLAN_H_
