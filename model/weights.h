// The weights of a Llama decoder in a backend's own layout.
#ifndef LONGLEAF_MODEL_WEIGHTS_H_
#define LONGLEAF_MODEL_WEIGHTS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "model/config.h"
#include "model/safetensors.h"

namespace longleaf::model {

// H, Hkv: query and key heads; d: head_dim.
struct LayerWeights {
  std::unique_ptr<kernels::Buffer> attention_norm;  // [1, hidden]
  std::unique_ptr<kernels::Matrix> qkv;             // [(H + 2 Hkv) * d, hidden], q then k then v
  std::unique_ptr<kernels::Matrix> output;          // [hidden, H * d]
  std::unique_ptr<kernels::Buffer> ffn_norm;        // [1, hidden]
  std::unique_ptr<kernels::Matrix> gate_up;         // [2 * intermediate, hidden], kSiluGate
  std::unique_ptr<kernels::Matrix> down;            // [hidden, intermediate]
};

// Immutable after LoadWeights. Must be destroyed before its backend.
struct Weights {
  WeightFiles files;                            // keeps `embedding` mapped
  kernels::WeightView embedding;                // [vocab, hidden], in the mapped file
  std::vector<LayerWeights> layers;             // [layers]
  std::unique_ptr<kernels::Buffer> final_norm;  // [1, hidden]
  std::unique_ptr<kernels::Matrix> logits;      // [vocab, hidden]; tied: the embedding, packed
};

// Maps, checks and packs the weights in `directory`, the linear layers in `format`. Every tensor is
// checked by name, type (F32, BF16, F16), shape and for values that are not finite; a tensor that
// the model has no use for is an error too (a bias left out would change the answers), but for
// rotary_emb.inv_freq, and lm_head.weight beside tied embeddings when it is the same matrix.
// NOT_FOUND or INVALID_ARGUMENT name file and tensor.
absl::StatusOr<Weights> LoadWeights(const std::string& directory, const Config& config,
                                    kernels::WeightFormat format, kernels::Backend& backend);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_WEIGHTS_H_
