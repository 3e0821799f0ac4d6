// A model on a backend, and the few things that all commands do with it.
#ifndef LONGLEAF_SERVICE_EVAL_SESSION_H_
#define LONGLEAF_SERVICE_EVAL_SESSION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/device.h"
#include "model/config.h"
#include "model/transformer.h"
#include "service/eval/cost.h"

namespace longleaf::service::eval {

struct SessionOptions {
  std::string model;            // directory
  std::string device = "auto";  // auto, cpu, cuda, reference
  std::string weights = "f32";
  std::string state_dtype = "f32";
  std::string weight_cache;  // directory of packed weights; empty: none
  int64_t threads = 0;       // 0: one for each processor
  int64_t chunk = 0;         // tokens of a step while a text is read; 0: as kCpuChunk, kCudaChunk
  int64_t first_position = 0;
};

inline constexpr int64_t kCpuChunk = 512;
inline constexpr int64_t kCudaChunk = 2048;

// Declares the flags for the above but first_position.
void AddSessionFlags(CLI::App& command, SessionOptions& options);
// Declares --attention, which may be given several times.
void AddAttentionFlag(CLI::App& command, std::vector<std::string>& policies);

// Not thread-safe.
class Session {
 public:
  // Loads the model. `wanted_outputs`: the most rows of one step whose logits will be wanted, 0 for
  // all of them.
  static absl::StatusOr<std::unique_ptr<Session>> Open(const SessionOptions& options,
                                                       int64_t wanted_outputs = 1);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const std::string& model_directory() const { return options_.model; }
  const SessionOptions& options() const { return options_; }  // the chunk as it was chosen
  kernels::Device device() const { return device_; }
  const model::Config& config() const { return transformer_->config(); }
  kernels::Backend& backend() { return *backend_; }

  // The policies that --attention named, or the model's own when it named none.
  absl::StatusOr<std::vector<kernels::AttentionPolicy>> Policies(
      const std::vector<std::string>& flags) const;
  ModelSize Size(const kernels::AttentionPolicy& policy) const;

  absl::StatusOr<std::unique_ptr<kernels::State>> NewState(const kernels::AttentionPolicy& policy) {
    return transformer_->NewState(policy);
  }

  // Called after each step of Read: tokens done so far of those given, and the logits of the last
  // `outputs` rows of the step.
  using StepDone = std::function<absl::Status(int64_t done, const kernels::Tensor& logits)>;
  // Takes `tokens` into `state`, options().chunk at a time. Each step gives the logits of those of
  // its rows that are among the last `outputs` of all.
  absl::Status Read(kernels::State& state, absl::Span<const int32_t> tokens, int64_t outputs,
                    const StepDone& step_done);
  // One step of all `items`, each with one output; the token after each, sampled as `sampling`
  // says.
  absl::StatusOr<std::vector<int32_t>> NextTokens(absl::Span<const model::ForwardItem> items,
                                                  const kernels::SampleRequest& sampling);
  // Takes `tokens` and gives the likeliest token after them.
  absl::StatusOr<int32_t> NextToken(kernels::State& state, absl::Span<const int32_t> tokens);

 private:
  explicit Session(SessionOptions options) : options_(std::move(options)) {}

  SessionOptions options_;
  kernels::Device device_ = kernels::Device::kCpu;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<model::Transformer> transformer_;
};

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_SESSION_H_
