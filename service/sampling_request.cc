#include "service/sampling_request.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "service/errors.h"

namespace longleaf::service {
namespace {

constexpr int kMostStops = 16;

}  // namespace

absl::Status ReadSampling(const longleaf::v1::Sampling& message, absl::string_view path,
                          const ServedModel& model, QuestionRequest* question) {
  model::SamplingParams& params = question->sampling;
  params.max_tokens = model.prompt().file().max_answer_tokens;
  if (message.has_max_tokens()) {
    params.max_tokens = message.max_tokens();
  }
  if (message.has_temperature()) {
    params.temperature = message.temperature();
  }
  if (message.has_top_k()) {
    params.top_k = message.top_k();
  }
  if (message.has_top_p()) {
    params.top_p = message.top_p();
  }
  if (message.has_min_p()) {
    params.min_p = message.min_p();
  }
  if (message.has_repetition_penalty()) {
    params.repetition_penalty = message.repetition_penalty();
  }
  if (message.has_seed()) {
    params.seed = message.seed();
  }
  if (message.has_logprobs()) {
    params.logprobs = message.logprobs();
  }
  if (const auto violation = params.FindViolation()) {
    return InvalidField(absl::StrCat(path, ".", violation->field), violation->description);
  }
  // The prompt file's own come on top.
  if (message.stop_size() > kMostStops) {
    return InvalidField(absl::StrCat(path, ".stop"),
                        absl::StrCat("at most ", kMostStops, " strings"));
  }
  std::vector<std::string> stop = model.prompt().file().stop;
  stop.insert(stop.end(), message.stop().begin(), message.stop().end());
  absl::StatusOr<model::StopMatcher> matcher = model::StopMatcher::Create(std::move(stop));
  if (!matcher.ok()) {
    return InvalidField(absl::StrCat(path, ".stop"), matcher.status().message());
  }
  question->stop = *std::move(matcher);
  return absl::OkStatus();
}

}  // namespace longleaf::service
