// The shapes of well-known checkpoints, for measuring without a download.
#ifndef LONGLEAF_SERVICE_EVAL_MODEL_SHAPE_H_
#define LONGLEAF_SERVICE_EVAL_MODEL_SHAPE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "service/eval/tensor_file.h"

namespace longleaf::service::eval {

struct ModelShape {
  std::string name;
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab = 0;
  double rope_theta = 10000;
  // llama3 scaling of the rotary frequencies; 0: none.
  double rope_factor = 0;
  bool tied_embeddings = false;
  std::string model_type = "llama";  // or "mistral"

  // All weights in file order, by their Hugging Face names.
  std::vector<TensorSpec> Tensors(const std::string& dtype) const;
  int64_t Parameters() const;
};

absl::Span<const ModelShape> KnownShapes();
// INVALID_ARGUMENT names the known ones.
absl::StatusOr<ModelShape> FindShape(const std::string& name);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_MODEL_SHAPE_H_
