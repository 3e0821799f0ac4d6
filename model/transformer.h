// A Llama decoder on a backend: one ragged batch of (tokens, state) in, logits out. The weights are
// read once a step for everybody in it. Weights are immutable, state is an argument, and a step
// commits on all layers of all its states or on none.
//
// It does not know documents or questions, choose tokens, or enforce the context length.
#ifndef LONGLEAF_MODEL_TRANSFORMER_H_
#define LONGLEAF_MODEL_TRANSFORMER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "model/config.h"
#include "model/weight_cache.h"
#include "model/weights.h"

namespace longleaf::model {

struct TransformerOptions {
  int64_t max_step_tokens = 512;   // rows of the largest step: sizes the activations, >= 1
  int64_t max_step_outputs = 256;  // rows of logits of a step, >= 1; more than the above is useless
  // Of the linear layers; the logits' matrix follows LogitsFormat (weights.h).
  kernels::WeightFormat weights = kernels::WeightFormat::kF32;
  WeightCacheOptions weight_cache;                    // off, unless it names a directory
  kernels::DType state_dtype = kernels::DType::kF32;  // of its states: f32, bf16, int8
  // Instead of the checkpoint's own policy.
  std::optional<kernels::AttentionPolicy> attention;
  // Rotary position of a state's token 0. For tests of precision far out; not in the fingerprint,
  // so states made with another value than 0 must not be stored.
  int64_t first_position = 0;
};

// Asked before each layer of a step with its number, and with the number of layers once all of them
// are done, before the step is committed. Anything but OK ends the step with it. It may wait: for
// the layer of a state that is still being restored, or for all of what it was restored from to be
// verified.
using LayerHook = std::function<absl::Status(int64_t layer)>;

// One member of a step. Needs 1 <= tokens.size(), 0 <= outputs <= tokens.size(), and no state
// twice in a step.
struct ForwardItem {
  kernels::State* state = nullptr;
  absl::Span<const int32_t> tokens;  // [rows] ids that the step adds to the state
  int64_t outputs = 0;               // logits wanted: of the last `outputs` tokens
  // Softmax weight that the LAST token gives to each position it sees, added up over all heads and
  // layers (so layers * query_heads in all): [cores visible | raw tokens visible], the caller
  // zeroes it. Null: not wanted. Needs outputs >= 1. After an error its content is undefined.
  float* attention_mass = nullptr;
};

// For one thread at a time, the backend's; weight_passes() for any. Must be destroyed before its
// backend, and after its states.
class Transformer {
 public:
  // Loads config.json and the weights of a model directory onto `backend`, which must outlive it.
  // NOT_FOUND, INVALID_ARGUMENT (naming file and key or tensor), RESOURCE_EXHAUSTED; DATA_LOSS for
  // a file, whichever, that is not as the directory's SHA256SUMS says (checksums.h).
  static absl::StatusOr<std::unique_ptr<Transformer>> Load(const std::string& directory,
                                                           kernels::Backend* backend,
                                                           const TransformerOptions& options = {});
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  const Config& config() const { return config_; }
  const TransformerOptions& options() const { return options_; }
  const WeightFiles& weight_files() const { return weights_.files; }
  // DigestWeights of them; reads them when neither the cache nor its writing knew it.
  std::string WeightsDigest() const;
  // Whether the directory's SHA256SUMS names all of them, and they are (or, when the cache of
  // packed weights was used, were when it was written) as it says.
  bool weights_checked() const { return weights_.checked; }
  // What became of the cache of packed weights.
  const WeightCacheReport& weight_cache() const { return weights_.cache; }
  // The operator's policy, else the checkpoint's.
  const kernels::AttentionPolicy& policy() const { return policy_; }
  // True when the operator's policy is not what the checkpoint was tuned for.
  bool attention_overridden() const { return policy_ != config_.policy; }
  kernels::StateShape shape() const { return config_.StateShape(policy_, options_.state_dtype); }

  // Empty states of its dtype, of the model's policy or another. (A branch: Backend::Branch.)
  absl::StatusOr<std::unique_ptr<kernels::State>> NewState();
  absl::StatusOr<std::unique_ptr<kernels::State>> NewState(const kernels::AttentionPolicy& policy);

  // Runs one step. Returns the logits [sum of outputs, vocab] of the wanted tokens, in order, in
  // backend memory, valid until the next call; no rows when nothing was wanted.
  //
  // After any error all states are as they were: that of `before_layer` (if not empty);
  // INVALID_ARGUMENT for a batch that breaks the rules above, more than max_step_tokens rows or
  // max_step_outputs outputs, or a token id outside the vocabulary; RESOURCE_EXHAUSTED when the
  // states' memory is spent; FAILED_PRECONDITION when a layer of a state has not been restored yet.
  absl::StatusOr<kernels::Tensor> Forward(absl::Span<const ForwardItem> items,
                                          const LayerHook& before_layer = nullptr);

  // Steps begun since Load = times the weights were read.
  int64_t weight_passes() const { return weight_passes_.load(std::memory_order_relaxed); }

 private:
  // Activations, preallocated. R <= max_step_tokens rows, O <= max_step_outputs.
  struct Activations {
    std::unique_ptr<kernels::Buffer> residual;  // [R, hidden]
    std::unique_ptr<kernels::Buffer> gathered;  // [O, hidden], the residual's wanted rows
    std::unique_ptr<kernels::Buffer> qkv;       // [R, (H + 2 Hkv) * d]
    std::unique_ptr<kernels::Buffer> attended;  // [R, H * d]
    std::unique_ptr<kernels::Buffer> logits;    // [O, vocab]
  };
  // A checked step.
  struct Step {
    std::vector<kernels::BatchItem> batch;
    std::vector<int32_t> tokens;  // [rows]
    std::vector<int64_t> wanted;  // [outputs] rows whose logits are wanted
    int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
    int64_t outputs() const { return static_cast<int64_t>(wanted.size()); }
  };

  Transformer(Config config, TransformerOptions options, kernels::AttentionPolicy policy,
              kernels::Backend* backend)
      : config_(std::move(config)), options_(options), policy_(policy), backend_(backend) {}

  absl::Status AllocateActivations();
  absl::StatusOr<Step> Check(absl::Span<const ForwardItem> items) const;
  absl::Status Run(const Step& step, const LayerHook& before_layer);
  absl::Status RunLayer(int64_t layer, const Step& step);
  absl::Status Logits(const Step& step);
  kernels::RmsNorm NormOf(const kernels::Buffer& weight) const;

  const Config config_;
  const TransformerOptions options_;
  const kernels::AttentionPolicy policy_;
  kernels::Backend* const backend_;
  kernels::Rotary rotary_;
  Weights weights_;
  Activations activations_;
  std::atomic<int64_t> weight_passes_{0};
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_TRANSFORMER_H_
