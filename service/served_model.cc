#include "service/served_model.h"

#include <openssl/sha.h>

#include <algorithm>
#include <filesystem>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/device.h"
#include "kernels/state_rounding.h"
#include "model/config.h"
#include "model/core_state.h"
#include "model/fingerprint.h"
#include "model/fp8_check.h"
#include "service/machine_memory.h"

namespace longleaf::service {
namespace {

constexpr int64_t kQuestionReserve = 256;   // tokens kept free for a question
constexpr int64_t kStepsOfQuestions = 256;  // rows of a step beside a document's chunk

absl::StatusOr<kernels::WeightFormat> FormatOn(kernels::Device device, const Options& options) {
  absl::StatusOr<kernels::WeightFormat> format = kernels::ParseWeightFormat(
      options.weights.empty() ? DefaultsOf(device).weights : options.weights);
  if (format.ok()) {
    if (absl::Status status = kernels::CheckWeightFormat(device, *format); !status.ok()) {
      return status;
    }
  }
  return format;
}

// --state-memory, or half of what the weights leave. More than there is would be taken back by the
// kernel, with the process, in the middle of somebody's answer.
absl::StatusOr<int64_t> StateMemory(const Options& options, int64_t weights) {
  const int64_t machine = MachineMemory();
  const int64_t left = machine - weights;
  if (left <= 0 || options.state_memory_bytes > left) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the weights take ", weights, " bytes",
                     options.state_memory_bytes > 0
                         ? absl::StrCat(" and --state-memory ", options.state_memory_bytes)
                         : "",
                     ", this process may use ", machine));
  }
  return options.state_memory_bytes > 0 ? options.state_memory_bytes : left / 2;
}

absl::StatusOr<std::unique_ptr<kernels::Backend>> NewBackend(kernels::Device device,
                                                             const Options& options,
                                                             const model::Config& config) {
  absl::StatusOr<kernels::WeightFormat> format = FormatOn(device, options);
  if (device == kernels::Device::kCuda) {
    absl::StatusOr<std::unique_ptr<kernels::Backend>> backend =
        kernels::CreateCudaBackend({.state_capacity_bytes = options.state_memory_bytes});
    if (backend.ok() && !format.ok()) {
      return format.status();
    }
    return backend;
  }
  if (!format.ok()) {
    return format.status();
  }
  absl::StatusOr<int64_t> state_bytes = StateMemory(options, config.WeightBytes(*format));
  if (!state_bytes.ok()) {
    return state_bytes.status();
  }
  if (device == kernels::Device::kReference) {
    return kernels::CreateReferenceBackend(*state_bytes);
  }
  const int64_t threads = options.threads > 0
                              ? options.threads
                              : std::max<int64_t>(1, std::thread::hardware_concurrency());
  return kernels::CreateCpuBackend({.threads = threads, .state_capacity_bytes = *state_bytes});
}

// What --state-memory 0 means on a GPU is known when the weights are there; and what is asked for
// has to fit into what they leave.
absl::StatusOr<int64_t> StateCapacity(kernels::Device device, const Options& options,
                                      model::Transformer& transformer,
                                      const kernels::Backend& backend) {
  if (absl::Status status = transformer.NewState().status(); !status.ok()) {
    return status;
  }
  const int64_t capacity = backend.memory().state_capacity_bytes;
  if (device == kernels::Device::kCuda) {
    absl::StatusOr<kernels::CudaDevice> found = kernels::FindCudaDevice();
    if (!found.ok()) {
      return found.status();
    }
    if (capacity > found->free_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("--state-memory ", options.state_memory_bytes, ": the weights leave ",
                       found->free_bytes, " bytes of the GPU's memory"));
    }
  }
  return capacity;
}

absl::StatusOr<std::unique_ptr<model::Tokenizer>> LoadTokenizer(const Options& options,
                                                                const model::Config& config) {
  return model::Tokenizer::Load(
      options.model_path,
      {.bos_id = config.bos_id, .eos_ids = config.eos_ids, .model_vocab_size = config.vocab});
}

// A model in fp8 has to prove itself first: on a backend of its own, so that nothing of it is left.
absl::Status ProveFP8(kernels::Device device, const Options& options, const model::Config& config,
                      const model::TransformerOptions& transformer_options) {
  absl::StatusOr<std::unique_ptr<model::Tokenizer>> tokenizer = LoadTokenizer(options, config);
  if (!tokenizer.ok()) {
    return tokenizer.status();
  }
  absl::StatusOr<std::vector<int32_t>> tokens =
      (*tokenizer)->EncodeIds(model::FP8CheckText(), model::Start::kFirst);
  if (!tokens.ok()) {
    return tokens.status();
  }
  absl::StatusOr<std::unique_ptr<kernels::Backend>> backend = NewBackend(device, options, config);
  if (!backend.ok()) {
    return backend.status();
  }
  absl::StatusOr<model::FP8Accuracy> accuracy =
      model::MeasureFP8(options.model_path, backend->get(), transformer_options, *tokens);
  return accuracy.ok() ? model::CheckFP8(*accuracy) : accuracy.status();
}

// What stored tokens depend on: the tokenizer, and where the document's text stands in a sequence.
store::Digest TokenFingerprint(const model::Tokenizer& tokenizer, const model::Prompt& prompt) {
  const std::string text = absl::StrCat(
      tokenizer.digest(), prompt.document_start() == model::Start::kFirst ? " first" : " after");
  store::Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServedModel>> ServedModel::Load(const Options& options) {
  std::unique_ptr<ServedModel> served(new ServedModel);
  ServedModel& m = *served;
  absl::StatusOr<model::Config> wanted = model::Config::Load(options.model_path);
  if (!wanted.ok()) {
    return wanted.status();
  }
  absl::StatusOr<kernels::DType> state_dtype = kernels::ParseStateType(options.state_dtype);
  if (!state_dtype.ok()) {
    return state_dtype.status();
  }
  absl::StatusOr<kernels::DeviceBackend> made = kernels::MakeDeviceBackend(
      options.device, [&](kernels::Device device) { return NewBackend(device, options, *wanted); });
  if (!made.ok()) {
    return made.status();
  }
  absl::StatusOr<kernels::WeightFormat> weights = FormatOn(made->device, options);
  if (!weights.ok()) {
    return weights.status();
  }
  m.backend_ = std::move(made->backend);
  m.device_ = m.backend_->name();
  m.no_cuda_ = std::move(made->no_cuda);
  m.prefill_chunk_ =
      options.prefill_chunk > 0 ? options.prefill_chunk : DefaultsOf(made->device).prefill_chunk;

  model::TransformerOptions transformer_options;
  transformer_options.max_step_tokens = m.prefill_chunk_ + kStepsOfQuestions;
  transformer_options.max_step_outputs =
      std::min<int64_t>(options.max_questions, transformer_options.max_step_tokens);
  m.max_step_tokens_ = transformer_options.max_step_tokens;
  m.max_step_outputs_ = transformer_options.max_step_outputs;
  transformer_options.weights = *weights;
  transformer_options.state_dtype = *state_dtype;
  if (options.weight_cache != "off") {
    transformer_options.weight_cache.directory =
        options.weight_cache.empty() ? options.store_path + "/weights" : options.weight_cache;
  }
  if (!options.attention.empty()) {
    absl::StatusOr<kernels::AttentionPolicy> policy =
        kernels::AttentionPolicy::Parse(options.attention);
    if (!policy.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--attention: ", policy.status().message()));
    }
    transformer_options.attention = *policy;
  }
  if (*weights == kernels::WeightFormat::kFP8) {
    absl::Status proved = ProveFP8(made->device, options, *wanted, transformer_options);
    if (!proved.ok()) {
      return proved;
    }
  }
  absl::StatusOr<std::unique_ptr<model::Transformer>> transformer =
      model::Transformer::Load(options.model_path, m.backend_.get(), transformer_options);
  if (!transformer.ok()) {
    return transformer.status();
  }
  m.transformer_ = *std::move(transformer);
  absl::StatusOr<int64_t> capacity =
      StateCapacity(made->device, options, *m.transformer_, *m.backend_);
  if (!capacity.ok()) {
    return capacity.status();
  }
  m.state_capacity_bytes_ = *capacity;
  m.shape_ = m.transformer_->shape();
  m.attention_overridden_ = m.transformer_->attention_overridden();
  const model::Config& config = m.transformer_->config();
  m.context_length_ = config.context;

  absl::StatusOr<std::unique_ptr<model::Tokenizer>> tokenizer = LoadTokenizer(options, config);
  if (!tokenizer.ok()) {
    return tokenizer.status();
  }
  m.tokenizer_ = *std::move(tokenizer);
  absl::StatusOr<model::PromptFile> prompt_file = model::PromptFile::Load(options.model_path);
  if (!prompt_file.ok()) {
    return prompt_file.status();
  }
  absl::StatusOr<model::Prompt> prompt =
      model::Prompt::Create(*std::move(prompt_file), m.tokenizer_.get());
  if (!prompt.ok()) {
    return prompt.status();
  }
  m.prompt_ = std::make_unique<model::Prompt>(*std::move(prompt));

  const int64_t reserve = options.answer_reserve_tokens > 0
                              ? options.answer_reserve_tokens
                              : m.prompt_->file().max_answer_tokens + kQuestionReserve;
  m.max_document_tokens_ = m.context_length_ - m.prefix_tokens() - reserve;
  if (m.max_document_tokens_ <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("--answer-reserve: ", reserve,
                                                   " tokens for question and answer leave no room "
                                                   "in a context of ",
                                                   m.context_length_));
  }
  if (options.max_document_tokens > 0) {
    m.max_document_tokens_ = std::min(m.max_document_tokens_, options.max_document_tokens);
  }

  m.fingerprint_ = model::ComputeFingerprint({.weights = m.transformer_->WeightsDigest(),
                                              .tokenizer = m.tokenizer_->digest(),
                                              .prompt = m.prompt_->digest(),
                                              .config = config.Canonical(),
                                              .policy = m.shape_.policy,
                                              .weight_format = *weights,
                                              .state_dtype = m.shape_.dtype});
  m.token_fingerprint_ = TokenFingerprint(*m.tokenizer_, *m.prompt_);

  std::filesystem::path path(options.model_path);
  m.display_name_ = (path.has_filename() ? path : path.parent_path()).filename().string();
  return served;
}

std::unique_ptr<model::StreamingTokenizer> ServedModel::NewTokenizer(int64_t first_byte) const {
  return std::make_unique<model::StreamingTokenizer>(
      tokenizer_.get(), first_byte > 0 ? model::Start::kContinuation : prompt_->document_start(),
      first_byte);
}

int64_t ServedModel::MemoryForDocument(int64_t tokens) const {
  // Beside the state itself: the raw tokens of one step, and pages that are begun.
  const int64_t step = model::FullCacheBytes(shape_, max_step_tokens_ + 4 * 64);
  return model::StateBytes(shape_, tokens) + step;
}

std::string ServedModel::fingerprint_hex() const { return model::ToHex(fingerprint_); }

}  // namespace longleaf::service
