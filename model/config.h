// What a model directory says about its architecture: config.json as Hugging Face lays it out,
// generation_config.json's end-of-text ids, and the attention policy the checkpoint was tuned for.
//
// Supported: LlamaForCausalLM, and MistralForCausalLM without a sliding window. A setting that
// would change the result and is not computed here is refused, never skipped over.
#ifndef LONGLEAF_MODEL_CONFIG_H_
#define LONGLEAF_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/attention_policy.h"
#include "kernels/backend.h"

namespace longleaf::model {

// How rotary frequencies are stretched for contexts longer than those of pre-training.
struct RotaryScaling {
  enum class Kind { kNone, kLinear, kLlama3 };
  Kind kind = Kind::kNone;
  double factor = 1;             // linear, llama3
  double low_freq_factor = 1;    // llama3
  double high_freq_factor = 1;   // llama3, above low_freq_factor
  int64_t original_context = 0;  // llama3

  friend bool operator==(const RotaryScaling&, const RotaryScaling&) = default;
};

// A plain value, within the limits that Parse checks.
struct Config {
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t layers = 0;
  int64_t query_heads = 0;
  int64_t kv_heads = 0;  // divides query_heads
  int64_t head_dim = 0;  // even
  int64_t vocab = 0;
  int64_t context = 0;  // max_position_embeddings
  double norm_epsilon = 0;
  double rope_theta = 10000;
  RotaryScaling rope_scaling;
  bool tied_embeddings = false;  // the output matrix is the embedding
  int32_t bos_id = -1;           // -1: not stated
  std::vector<int32_t> eos_ids;  // ascending, no duplicates; may be empty
  kernels::AttentionPolicy policy;
  bool tuned_for_cca = false;             // config.json has a `cca` object
  std::vector<std::string> unknown_keys;  // keys this program has never heard of, for a warning

  static constexpr int64_t kMaxFileBytes = 1 << 20;

  // Reads DIRECTORY/config.json and, if there, generation_config.json, whose end-of-text ids are
  // added. NOT_FOUND without config.json; INVALID_ARGUMENT names file, key and what is supported.
  static absl::StatusOr<Config> Load(const std::string& directory);
  // The same from text; `name` stands for the file in errors.
  static absl::StatusOr<Config> Parse(std::string_view json, const std::string& name);
  // Adds the eos_token_id of a generation_config.json.
  absl::Status AddGenerationConfig(std::string_view json, const std::string& name);

  // The shape of this model's states under `policy`.
  kernels::StateShape StateShape(const kernels::AttentionPolicy& policy,
                                 kernels::DType dtype) const;

  // Bytes that the weights take in memory with the linear layers in `format`.
  int64_t WeightBytes(kernels::WeightFormat format) const;

  // One line with every value that a state depends on, and only those: part of the fingerprint.
  std::string Canonical() const;
};

// The format of the logits matrix beside linear layers in `format`: four bits are too few for it,
// as everybody's quantised checkpoints have it, and it is kept in bf16 beside fp8, for the same
// reason and because a vocabulary need not be a multiple of 16.
kernels::WeightFormat LogitsFormat(kernels::WeightFormat format);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_CONFIG_H_
