#include "model/sampler.h"

#include <random>

#include "absl/strings/str_cat.h"

namespace longleaf::model {
namespace {

constexpr uint64_t kGoldenGamma = 0x9E3779B97F4A7C15;

uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

uint64_t DrawSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

}  // namespace

std::optional<SamplingParams::Violation> SamplingParams::FindViolation() const {
  const auto violation = [](const char* field, auto value, const std::string& rule) {
    return Violation{field, absl::StrCat("is ", value, "; it must be ", rule)};
  };
  // Comparisons are written so that NaN fails them.
  if (max_tokens < 1) {
    return violation("max_tokens", max_tokens, "at least 1");
  }
  if (!(temperature >= 0 && temperature <= kMaxTemperature)) {
    return violation("temperature", temperature, absl::StrCat("from 0 to ", kMaxTemperature));
  }
  if (top_k < 0) {
    return violation("top_k", top_k, "at least 0");
  }
  if (!(top_p > 0 && top_p <= 1)) {
    return violation("top_p", top_p, "above 0 and at most 1");
  }
  if (!(min_p >= 0 && min_p < 1)) {
    return violation("min_p", min_p, "at least 0 and below 1");
  }
  if (!(repetition_penalty > 0 && repetition_penalty <= kMaxRepetitionPenalty)) {
    return violation("repetition_penalty", repetition_penalty,
                     absl::StrCat("above 0 and at most ", kMaxRepetitionPenalty));
  }
  if (logprobs.has_value() && (*logprobs < 0 || *logprobs > kMaxTopLogprobs)) {
    return violation("logprobs", *logprobs, absl::StrCat("from 0 to ", kMaxTopLogprobs));
  }
  return std::nullopt;
}

absl::Status SamplingParams::Validate() const {
  if (const std::optional<Violation> violation = FindViolation(); violation.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(violation->field, " ", violation->description));
  }
  return absl::OkStatus();
}

double UniformOf(uint64_t seed, int64_t index) {
  const uint64_t step = static_cast<uint64_t>(index) + 1;
  return static_cast<double>(Mix(Mix(seed) + step * kGoldenGamma) >> 11) * 0x1p-53;
}

Sampler::Sampler(const SamplingParams& params)
    : params_(params), seed_(params.seed.has_value() ? *params.seed : DrawSeed()) {}

kernels::SampleRequest Sampler::Next() const {
  kernels::SampleRequest request;
  request.temperature = params_.temperature;
  request.top_k = params_.top_k;
  request.top_p = params_.top_p;
  request.min_p = params_.min_p;
  request.repetition_penalty = params_.repetition_penalty;
  request.penalised = penalised_;
  request.uniform = UniformOf(seed_, accepted_);
  request.top_logprobs = params_.logprobs.value_or(0);
  return request;
}

void Sampler::Accept(int32_t token) {
  ++accepted_;
  if (params_.repetition_penalty != 1) {
    penalised_.push_back(token);
  }
}

}  // namespace longleaf::model
