// A model's next-token distributions in bf16 and in fp8.
#include "model/fp8_check.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "absl/strings/str_format.h"

namespace longleaf::model {
namespace {

using absl::Status;
using absl::StatusOr;

constexpr int64_t kStep = 64;  // tokens, and so rows of logits, at a time

// log(sum of exp(x))
double LogSumExp(absl::Span<const float> x) {
  const double largest = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (const float v : x) sum += std::exp(double{v} - largest);
  return largest + std::log(sum);
}

double Divergence(absl::Span<const float> p, absl::Span<const float> q) {
  const double log_p = LogSumExp(p), log_q = LogSumExp(q);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double lp = double{p[i]} - log_p;
    sum += std::exp(lp) * (lp - (double{q[i]} - log_q));
  }
  return sum;
}

ptrdiff_t Best(absl::Span<const float> x) {
  return std::max_element(x.begin(), x.end()) - x.begin();
}

// Logits after each of `tokens`, [tokens, vocab].
StatusOr<std::vector<float>> Read(const std::string& directory, kernels::Backend* backend,
                                  const TransformerOptions& options,
                                  absl::Span<const int32_t> tokens) {
  StatusOr<std::unique_ptr<Transformer>> transformer =
      Transformer::Load(directory, backend, options);
  if (!transformer.ok()) return transformer.status();
  const Config& config = (*transformer)->config();
  tokens = tokens.subspan(0, static_cast<size_t>(config.context));
  StatusOr<std::unique_ptr<kernels::State>> state = (*transformer)->NewState();
  if (!state.ok()) return state.status();
  std::vector<float> logits(tokens.size() * static_cast<size_t>(config.vocab));
  float* to = logits.data();
  for (size_t at = 0; at < tokens.size(); at += kStep) {
    const auto some = tokens.subspan(at, kStep);
    const ForwardItem item{
        .state = state->get(), .tokens = some, .outputs = static_cast<int64_t>(some.size())};
    StatusOr<kernels::Tensor> rows = (*transformer)->Forward({&item, 1});
    if (!rows.ok()) return rows.status();
    if (Status status = backend->ToHost(*rows, to); !status.ok()) return status;
    to += rows->rows * rows->cols;
  }
  return logits;
}

}  // namespace

std::string FP8Accuracy::ToString() const {
  return absl::StrFormat(
      "fp8 against bf16 over %d tokens: mean divergence %.4f, worst %.4f nats, same likeliest "
      "token "
      "%.1f%%",
      positions, mean_divergence, worst_divergence, 100 * same_choice);
}

std::string_view FP8CheckText() {
  return "The library of a small town keeps more than books. In its cellar stand the minutes of "
         "every council since 1874, bound in grey cloth, and beside them the harvest tables that "
         "the farmers once filled in by hand: so many bushels of wheat, so many days of rain. A "
         "reader who wants to know how the bridge came to be built will find the answer in three "
         "places. First the letter of the miller, who asked for it because his carts could not "
         "cross when the river rose. Then the estimate of the engineer, with a drawing of two "
         "arches and a price of 4,200 crowns. Last the vote, which was close: seven for, six "
         "against, and one member absent with a fever. Nothing in these papers was written for "
         "history. The miller wanted flour to reach the market; the engineer wanted to be paid; "
         "the "
         "clerk wanted to go home to his supper. Yet together they tell more of the place than the "
         "stone over the door, which says only that the bridge was opened by the mayor in the "
         "spring of 1881, and that it was a fine day. Whoever reads them slowly begins to hear the "
         "voices in the room.";
}

FP8Accuracy CompareLogits(absl::Span<const float> bf16, absl::Span<const float> fp8,
                          int64_t vocab) {
  FP8Accuracy accuracy;
  const size_t width = static_cast<size_t>(vocab);
  int64_t same = 0;
  for (size_t at = 0; at + width <= bf16.size(); at += width) {
    const auto p = bf16.subspan(at, width), q = fp8.subspan(at, width);
    const double divergence = Divergence(p, q);
    ++accuracy.positions;
    accuracy.mean_divergence += divergence;
    // A NaN stays.
    if (!(divergence <= accuracy.worst_divergence) && !std::isnan(accuracy.worst_divergence)) {
      accuracy.worst_divergence = divergence;
    }
    same += Best(p) == Best(q) ? 1 : 0;
  }
  const double count = static_cast<double>(std::max<int64_t>(accuracy.positions, 1));
  accuracy.mean_divergence /= count;
  accuracy.same_choice = static_cast<double>(same) / count;
  return accuracy;
}

StatusOr<FP8Accuracy> MeasureFP8(const std::string& directory, kernels::Backend* backend,
                                 const TransformerOptions& options,
                                 absl::Span<const int32_t> tokens) {
  if (tokens.empty()) return absl::InvalidArgumentError("no tokens to compare fp8 and bf16 over");
  TransformerOptions ours;
  ours.max_step_tokens = ours.max_step_outputs = kStep;
  ours.state_dtype = options.state_dtype;
  ours.attention = options.attention;
  ours.weights = kernels::WeightFormat::kBF16;
  const StatusOr<std::vector<float>> bf16 = Read(directory, backend, ours, tokens);
  if (!bf16.ok()) return bf16.status();
  ours.weights = kernels::WeightFormat::kFP8;
  const StatusOr<std::vector<float>> fp8 = Read(directory, backend, ours, tokens);
  if (!fp8.ok()) return fp8.status();
  const StatusOr<Config> config = Config::Load(directory);
  if (!config.ok()) return config.status();
  return CompareLogits(*bf16, *fp8, config->vocab);
}

Status CheckFP8(const FP8Accuracy& accuracy) {
  // Written so that a NaN fails.
  if (accuracy.positions > 0 && accuracy.mean_divergence <= kMostMeanDivergence &&
      accuracy.worst_divergence <= kMostWorstDivergence) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrFormat(
      "this model is not accurate enough in fp8; %s; allowed are a mean of %.2f and a worst of "
      "%.2f: serve it in bf16",
      accuracy.ToString(), kMostMeanDivergence, kMostWorstDivergence));
}

}  // namespace longleaf::model
