#include "model/transformer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "model/checkpoint.h"
#include "model/fingerprint.h"
#include "model/rotary.h"

namespace longleaf::model {

using absl::Status;
using absl::StatusOr;
using kernels::Tensor;

StatusOr<std::unique_ptr<Transformer>> Transformer::Load(const std::string& directory,
                                                         kernels::Backend* backend,
                                                         const TransformerOptions& options) {
  if (options.max_step_tokens < 1 || options.max_step_outputs < 1) {
    return absl::InvalidArgumentError("max_step_tokens and max_step_outputs must be at least 1");
  }
  StatusOr<Checkpoint> checkpoint =
      Checkpoint::Open(directory, backend, options.weights, options.weight_cache);
  if (!checkpoint.ok()) return checkpoint.status();
  const Config& config = checkpoint->config();
  const kernels::AttentionPolicy policy = options.attention.value_or(config.policy);
  if (Status status = policy.Validate(); !status.ok()) return status;
  StatusOr<Weights> weights = checkpoint->LoadWeights();
  if (!weights.ok()) return weights.status();

  std::unique_ptr<Transformer> transformer(new Transformer(config, options, policy, backend));
  transformer->rotary_ = MakeRotary(transformer->config_, options.first_position);
  transformer->weights_ = *std::move(weights);
  if (Status status = transformer->AllocateActivations(); !status.ok()) return status;
  return transformer;
}

Status Transformer::AllocateActivations() {
  const Config& c = config_;
  const int64_t rows = options_.max_step_tokens;
  const int64_t outputs = std::min(options_.max_step_outputs, rows);
  const struct {
    std::unique_ptr<kernels::Buffer>* buffer;
    int64_t rows;
    int64_t cols;
  } wanted[] = {
      {&activations_.residual, rows, c.hidden},
      {&activations_.gathered, outputs, c.hidden},
      {&activations_.qkv, rows, (c.query_heads + 2 * c.kv_heads) * c.head_dim},
      {&activations_.attended, rows, c.query_heads * c.head_dim},
      {&activations_.logits, outputs, c.vocab},
  };
  for (const auto& [buffer, buffer_rows, cols] : wanted) {
    StatusOr<std::unique_ptr<kernels::Buffer>> allocated = backend_->Allocate(buffer_rows, cols);
    if (!allocated.ok()) return allocated.status();
    *buffer = *std::move(allocated);
  }
  return absl::OkStatus();
}

std::string Transformer::WeightsDigest() const {
  return weights_.digest.empty() ? DigestWeights(weights_.files) : weights_.digest;
}

StatusOr<std::unique_ptr<kernels::State>> Transformer::NewState() { return NewState(policy_); }

StatusOr<std::unique_ptr<kernels::State>> Transformer::NewState(
    const kernels::AttentionPolicy& policy) {
  return backend_->NewState(config_.StateShape(policy, options_.state_dtype));
}

StatusOr<Transformer::Step> Transformer::Check(absl::Span<const ForwardItem> items) const {
  const auto wrong = [](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat("step: ", what...));
  };
  Step step;
  if (items.empty()) return wrong("nothing to do");
  for (const ForwardItem& item : items) {
    const int64_t rows = static_cast<int64_t>(item.tokens.size());
    if (item.state == nullptr || rows == 0) return wrong("an item without state or tokens");
    if (rows > options_.max_step_tokens - step.rows()) {
      return wrong("more than max_step_tokens = ", options_.max_step_tokens, " tokens");
    }
    if (item.outputs < 0 || item.outputs > rows) {
      return wrong(item.outputs, " outputs of an item of ", rows, " tokens");
    }
    if (item.outputs > options_.max_step_outputs - step.outputs()) {
      return wrong("more than max_step_outputs = ", options_.max_step_outputs, " outputs");
    }
    if (item.attention_mass != nullptr && item.outputs == 0) {
      return wrong("attention_mass asked of an item without outputs");
    }
    const kernels::StateShape& shape = item.state->shape();
    if (shape != config_.StateShape(shape.policy, options_.state_dtype)) {
      return wrong("a state of another model");
    }
    for (const int32_t token : item.tokens) {
      if (token < 0 || token >= config_.vocab) {
        return wrong("token id ", token, " outside the vocabulary of ", config_.vocab);
      }
    }
    step.tokens.insert(step.tokens.end(), item.tokens.begin(), item.tokens.end());
    for (int64_t row = step.rows() - item.outputs; row < step.rows(); ++row) {
      step.wanted.push_back(row);
    }
    step.batch.push_back({item.state, rows, item.outputs, item.attention_mass});
  }
  return step;
}

StatusOr<Tensor> Transformer::Forward(absl::Span<const ForwardItem> items,
                                      const LayerHook& before_layer) {
  StatusOr<Step> step = Check(items);
  if (!step.ok()) return step.status();
  if (Status status = backend_->BeginStep(step->batch); !status.ok()) return status;
  absl::Cleanup abort = [this, &step] { backend_->AbortStep(step->batch); };
  weight_passes_.fetch_add(1, std::memory_order_relaxed);
  if (Status status = Run(*step, before_layer); !status.ok()) return status;
  std::move(abort).Cancel();
  backend_->CommitStep(step->batch);
  return activations_.logits->tensor().Rows(step->outputs());
}

Status Transformer::Run(const Step& step, const LayerHook& before_layer) {
  const Tensor residual = activations_.residual->tensor().Rows(step.rows());
  Status status = backend_->Embed(weights_.embedding, step.tokens, residual);
  for (int64_t layer = 0; layer < config_.layers && status.ok(); ++layer) {
    if (before_layer) status = before_layer(layer);
    if (status.ok()) status = RunLayer(layer, step);
  }
  if (status.ok() && step.outputs() > 0) status = Logits(step);
  if (status.ok() && before_layer) status = before_layer(config_.layers);
  return status;
}

// Adds a layer to the residual. In the last layer only the wanted rows go on after the keys and
// values are in the state, gathered: nothing reads the others any more.
Status Transformer::RunLayer(int64_t layer, const Step& step) {
  const LayerWeights& weights = weights_.layers[static_cast<size_t>(layer)];
  const bool last = layer + 1 == config_.layers;
  const int64_t rows = last ? step.outputs() : step.rows();

  Tensor residual = activations_.residual->tensor().Rows(step.rows());
  const Tensor qkv = activations_.qkv->tensor().Rows(step.rows());
  Status status = backend_->Linear(*weights.qkv, residual, NormOf(*weights.attention_norm), qkv);
  if (status.ok()) status = backend_->RotaryAppendPool(layer, step.batch, rotary_, qkv);
  if (!status.ok() || rows == 0) return status;

  const Tensor attended = activations_.attended->tensor().Rows(rows);
  status = backend_->Attention(layer, step.batch,
                               last ? kernels::Rows::kOutputs : kernels::Rows::kAll, qkv, attended);
  if (status.ok() && last) {
    const Tensor wanted = activations_.gathered->tensor().Rows(rows);
    status = backend_->GatherRows(residual, step.wanted, wanted);
    residual = wanted;
  }
  if (status.ok()) status = backend_->AddLinear(*weights.output, attended, residual);
  if (status.ok()) {
    status =
        backend_->FeedForward(residual, NormOf(*weights.ffn_norm), *weights.gate_up, *weights.down);
  }
  return status;
}

Status Transformer::Logits(const Step& step) {
  return backend_->Linear(*weights_.logits, activations_.gathered->tensor().Rows(step.outputs()),
                          NormOf(*weights_.final_norm),
                          activations_.logits->tensor().Rows(step.outputs()));
}

kernels::RmsNorm Transformer::NormOf(const kernels::Buffer& weight) const {
  return {weight.tensor(), static_cast<float>(config_.norm_epsilon)};
}

}  // namespace longleaf::model
