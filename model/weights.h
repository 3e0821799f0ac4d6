// The weights of a Llama decoder in a backend's own layout.
#ifndef LONGLEAF_MODEL_WEIGHTS_H_
#define LONGLEAF_MODEL_WEIGHTS_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "model/config.h"
#include "model/packed_weights_file.h"
#include "model/safetensors.h"
#include "model/weight_cache.h"

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

// Immutable once loaded. Must be destroyed before its backend.
struct Weights {
  WeightFiles files;                            // keeps `embedding` mapped
  kernels::WeightView embedding;                // [vocab, hidden], in the mapped file
  std::vector<LayerWeights> layers;             // [layers]
  std::unique_ptr<kernels::Buffer> final_norm;  // [1, hidden]
  std::unique_ptr<kernels::Matrix> logits;      // [vocab, hidden]; tied: the embedding, packed

  // Set by Checkpoint::LoadWeights.
  std::string digest;       // DigestWeights of the files, where it is known already; else empty
  bool checked = false;     // a SHA256SUMS names all the files, and they were as it says
  WeightCacheReport cache;  // what the cache of packed weights had to do with it
};

// Told of each weight as soon as it is packed: its number in the list of PackedItemsOf, and its
// bytes as a file of packed weights has them.
using PackedSink = std::function<void(size_t item, absl::Span<const std::byte> bytes)>;

// Checks and packs the weights in `files`, the linear layers in `format` and the logits in
// LogitsFormat of it. Every tensor is checked by name, type (F32, BF16, F16), shape and for values
// that are not finite; a tensor that the model has no use for is an error too (a bias left out
// would change the answers), but for rotary_emb.inv_freq, and lm_head.weight beside tied embeddings
// when it is the same matrix. NOT_FOUND or INVALID_ARGUMENT name file and tensor.
absl::StatusOr<Weights> LoadWeights(WeightFiles files, const Config& config,
                                    kernels::WeightFormat format, kernels::Backend& backend,
                                    const PackedSink& sink = nullptr);

// The same from what was packed before, used where it lies in the mapped file. Of `files` only the
// embedding is looked up and nothing is read. INVALID_ARGUMENT when the backend cannot use it.
absl::StatusOr<Weights> AdoptWeights(WeightFiles files, const Config& config,
                                     kernels::WeightFormat format, kernels::Backend& backend,
                                     std::shared_ptr<const PackedWeightsFile> packed);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_WEIGHTS_H_
