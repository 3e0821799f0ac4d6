#include "service/eval/session.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/state_rounding.h"
#include "service/eval/machine.h"

namespace longleaf::service::eval {
namespace {

constexpr int64_t kKeptWeights = 8;  // files of --weight-cache: several models, several formats

absl::StatusOr<std::unique_ptr<kernels::Backend>> MakeBackend(kernels::Device device,
                                                              int64_t threads) {
  // Weights and activations need room beside the states.
  const int64_t state_bytes = MemoryBytes() / 2;
  switch (device) {
    case kernels::Device::kReference:
      return kernels::CreateReferenceBackend(state_bytes);
    case kernels::Device::kCuda:
      return kernels::CreateCudaBackend({});
    case kernels::Device::kCpu:
      break;
  }
  return kernels::CreateCpuBackend({.threads = threads, .state_capacity_bytes = state_bytes});
}

}  // namespace

void AddSessionFlags(CLI::App& command, SessionOptions& options) {
  command.add_option("--model", options.model, "Model directory, as Hugging Face lays it out")
      ->required();
  command
      .add_option("--device", options.device,
                  "What computes; auto: cuda where there is a GPU, else cpu")
      ->check(CLI::IsMember({"auto", "cpu", "cuda", "reference"}))
      ->capture_default_str();
  command.add_option("--weights", options.weights, "How weights are held")
      ->check(CLI::IsMember({"f32", "bf16", "fp8", "int8", "int4"}))
      ->capture_default_str();
  command
      .add_option("--state-dtype", options.state_dtype, "How keys and values of states are held")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}))
      ->capture_default_str();
  command.add_option("--weight-cache", options.weight_cache,
                     "Directory that keeps weights as they are held, for a quick next start");
  command.add_option("--threads", options.threads, "0: one for each processor")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--chunk", options.chunk,
                  "Tokens read in one step; 0: 512 on the CPU, 2048 on a GPU")
      ->check(CLI::Range(int64_t{0}, int64_t{65536}))
      ->capture_default_str();
}

void AddAttentionFlag(CLI::App& command, std::vector<std::string>& policies) {
  command
      .add_option("--attention", policies,
                  "Attention policy; may be given several times. Default: the model's own")
      ->allow_extra_args(false);
}

absl::StatusOr<std::unique_ptr<Session>> Session::Open(const SessionOptions& options,
                                                       int64_t wanted_outputs) {
  std::unique_ptr<Session> session(new Session(options));
  auto made = kernels::MakeDeviceBackend(options.device, [&options](kernels::Device device) {
    return MakeBackend(device, options.threads);
  });
  if (!made.ok()) return made.status();
  session->device_ = made->device;
  session->backend_ = std::move(made->backend);
  int64_t& chunk = session->options_.chunk;
  if (chunk == 0) chunk = made->device == kernels::Device::kCuda ? kCudaChunk : kCpuChunk;
  model::TransformerOptions transformer_options;
  transformer_options.max_step_tokens = chunk;
  transformer_options.max_step_outputs = wanted_outputs > 0 ? wanted_outputs : chunk;
  transformer_options.first_position = options.first_position;
  auto weights = kernels::ParseWeightFormat(options.weights);
  if (!weights.ok()) return weights.status();
  if (absl::Status status = kernels::CheckWeightFormat(made->device, *weights); !status.ok()) {
    return status;
  }
  transformer_options.weights = *weights;
  auto state_dtype = kernels::ParseStateType(options.state_dtype);
  if (!state_dtype.ok()) return state_dtype.status();
  transformer_options.state_dtype = *state_dtype;
  transformer_options.weight_cache.directory = options.weight_cache;
  transformer_options.weight_cache.keep = kKeptWeights;
  auto transformer =
      model::Transformer::Load(options.model, session->backend_.get(), transformer_options);
  if (!transformer.ok()) return transformer.status();
  session->transformer_ = *std::move(transformer);
  return session;
}

absl::StatusOr<std::vector<kernels::AttentionPolicy>> Session::Policies(
    const std::vector<std::string>& flags) const {
  if (flags.empty()) return std::vector<kernels::AttentionPolicy>{transformer_->policy()};
  std::vector<kernels::AttentionPolicy> policies;
  for (const std::string& flag : flags) {
    auto policy = kernels::AttentionPolicy::Parse(flag);
    if (!policy.ok()) return policy.status();
    policies.push_back(*policy);
  }
  return policies;
}

ModelSize Session::Size(const kernels::AttentionPolicy& policy) const {
  return {config().StateShape(policy, transformer_->options().state_dtype), config().hidden,
          config().intermediate, config().vocab};
}

absl::Status Session::Read(kernels::State& state, absl::Span<const int32_t> tokens, int64_t outputs,
                           const StepDone& step_done) {
  const auto count = static_cast<int64_t>(tokens.size());
  for (int64_t at = 0; at < count;) {
    const int64_t rows = std::min(options_.chunk, count - at);
    // Of this step's rows, those that lie in the last `outputs` of all tokens.
    const int64_t wanted = std::clamp<int64_t>(at + rows - (count - outputs), 0, rows);
    const model::ForwardItem item{
        .state = &state,
        .tokens = tokens.subspan(static_cast<size_t>(at), static_cast<size_t>(rows)),
        .outputs = wanted};
    auto logits = transformer_->Forward({&item, 1});
    if (!logits.ok()) return logits.status();
    at += rows;
    if (absl::Status status = step_done(at, *logits); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> Session::NextTokens(absl::Span<const model::ForwardItem> items,
                                                         const kernels::SampleRequest& sampling) {
  auto logits = transformer_->Forward(items);
  if (!logits.ok()) return logits.status();
  const std::vector<kernels::SampleRequest> requests(items.size(), sampling);
  auto samples = backend_->Sample(*logits, requests);
  if (!samples.ok()) return samples.status();
  std::vector<int32_t> tokens;
  for (const kernels::SampleResult& sample : *samples) tokens.push_back(sample.token);
  return tokens;
}

absl::StatusOr<int32_t> Session::NextToken(kernels::State& state,
                                           absl::Span<const int32_t> tokens) {
  int32_t token = 0;
  const auto sample = [&](int64_t, const kernels::Tensor& logits) -> absl::Status {
    if (logits.rows == 0) return absl::OkStatus();
    const kernels::SampleRequest greedy;
    auto samples = backend_->Sample(logits, {&greedy, 1});
    if (!samples.ok()) return samples.status();
    token = samples->front().token;
    return absl::OkStatus();
  };
  if (absl::Status status = Read(state, tokens, 1, sample); !status.ok()) return status;
  return token;
}

}  // namespace longleaf::service::eval
