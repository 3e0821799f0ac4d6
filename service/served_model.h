// What a server serves: backend, model, tokenizer and prompt, loaded together, with the numbers
// that follow from them.
#ifndef LONGLEAF_SERVICE_SERVED_MODEL_H_
#define LONGLEAF_SERVICE_SERVED_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cache_store/record.h"
#include "kernels/attention_policy.h"
#include "kernels/backend.h"
#include "model/prompt.h"
#include "model/streaming_tokenizer.h"
#include "model/tokenizer.h"
#include "model/transformer.h"
#include "service/options.h"

namespace longleaf::service {

// Immutable after Load but for the backend and the transformer, which belong to the engine's
// thread. Everything else is thread-safe.
class ServedModel {
 public:
  // NOT_FOUND, INVALID_ARGUMENT or RESOURCE_EXHAUSTED with a message that names the file or flag.
  static absl::StatusOr<std::unique_ptr<ServedModel>> Load(const Options& options);

  // ---- the engine's
  kernels::Backend& backend() { return *backend_; }
  model::Transformer& transformer() { return *transformer_; }
  int64_t prefill_chunk() const { return prefill_chunk_; }  // --prefill-chunk, or the device's
  int64_t max_step_tokens() const { return max_step_tokens_; }
  int64_t max_step_outputs() const { return max_step_outputs_; }

  // ---- everybody's
  const model::Tokenizer& tokenizer() const { return *tokenizer_; }
  const model::Prompt& prompt() const { return *prompt_; }
  const model::Config& config() const { return transformer_->config(); }
  const kernels::AttentionPolicy& policy() const { return shape_.policy; }
  const kernels::StateShape& shape() const { return shape_; }
  bool attention_overridden() const { return attention_overridden_; }
  kernels::WeightFormat weight_format() const { return transformer_->options().weights; }
  bool weights_checked() const { return transformer_->weights_checked(); }
  const model::WeightCacheReport& weight_cache() const { return transformer_->weight_cache(); }

  // For text that comes after `first_byte` bytes of the same document.
  std::unique_ptr<model::StreamingTokenizer> NewTokenizer(int64_t first_byte) const;

  int64_t weight_passes() const { return transformer_->weight_passes(); }

  int64_t context_length() const { return context_length_; }
  int64_t prefix_tokens() const { return static_cast<int64_t>(prompt_->prefix_ids().size()); }
  int64_t max_document_tokens() const { return max_document_tokens_; }
  // Memory that reading a sequence of `tokens` tokens takes at most, in bytes.
  int64_t MemoryForDocument(int64_t tokens) const;
  int64_t state_capacity_bytes() const { return state_capacity_bytes_; }

  // What a stored state is valid for, and what stored tokens are valid for.
  const store::Digest& fingerprint() const { return fingerprint_; }
  const store::Digest& token_fingerprint() const { return token_fingerprint_; }
  std::string fingerprint_hex() const;
  const std::string& display_name() const { return display_name_; }
  const std::string& device() const { return device_; }
  // Why the CPU computes, when --device left the choice and there is no GPU to be had.
  const std::string& no_cuda() const { return no_cuda_; }

 private:
  ServedModel() = default;

  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::Transformer> transformer_;
  std::unique_ptr<model::Tokenizer> tokenizer_;
  std::unique_ptr<model::Prompt> prompt_;
  kernels::StateShape shape_;
  bool attention_overridden_ = false;
  int64_t prefill_chunk_ = 0;
  int64_t max_step_tokens_ = 0;
  int64_t max_step_outputs_ = 0;
  int64_t context_length_ = 0;
  int64_t max_document_tokens_ = 0;
  int64_t state_capacity_bytes_ = 0;
  store::Digest fingerprint_ = {};
  store::Digest token_fingerprint_ = {};
  std::string display_name_;
  std::string device_;
  std::string no_cuda_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_SERVED_MODEL_H_
