#include "service/scheduler/step_budget.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace longleaf::service {
namespace {

// Steps without reading that are remembered of each class. Some are disturbed (and then only
// slower): the fastest of them count.
constexpr size_t kAlone = 5;
constexpr size_t kFastest = 3;
// A probe (0 tokens although more would fit) comes at most so often.
constexpr int64_t kProbeEvery = 32;
// What is older than so many observed steps counts only when there is nothing newer.
constexpr int64_t kFaded = 4096;
// How fast the allowance follows: at most this factor a step, downwards faster than up.
constexpr double kMostUp = 1.15;
constexpr double kMostDown = 0.75;
constexpr double kGain = 0.15;
// How fast it is believed that steps vary more, and less.
constexpr double kMoreVaried = 0.06;
constexpr double kLessVaried = 0.03;
// A reading step that took less of a step without (which are measured to about 10%).
constexpr double kImpossible = 0.85;
// Reading steps in a row that are far too slow although next to nothing is read, after which the
// time without reading is doubted.
constexpr int64_t kContradictions = 3;

// Classes of answers: one each up to 15, then eight to an octave.
size_t ClassOf(int64_t answers) {
  size_t octave = 0;
  while ((answers >> octave) >= 16) {
    ++octave;
  }
  return 8 * octave + static_cast<size_t>(answers >> octave);
}

// How many answers stand for a class: its middle.
double AnswersOf(size_t of) {
  const size_t octave = of < 16 ? 0 : of / 8 - 1;
  const double width = static_cast<double>(int64_t{1} << octave);
  return static_cast<double>(of - 8 * octave) * width + (width - 1) / 2;
}

double FastestMean(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const size_t count = std::min(kFastest, (seconds.size() + 1) / 2 + seconds.size() / 4);
  return std::accumulate(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(count),
                         0.0) /
         static_cast<double>(count);
}

StepBudgetOptions Valid(StepBudgetOptions options) {
  options.max_tokens = std::max<int64_t>(1, options.max_tokens);
  options.min_tokens = std::clamp<int64_t>(options.min_tokens, 1, options.max_tokens);
  options.max_slowdown = std::max(1.01, options.max_slowdown);
  return options;
}

}  // namespace

StepBudget::StepBudget(const StepBudgetOptions& options)
    : options_(Valid(options)), reading_since_probe_(kProbeEvery * 3 / 4) {}

int64_t StepBudget::PromptTokens(int64_t answers) {
  if (answers <= 0) {
    return options_.max_tokens;
  }
  const size_t of = ClassOf(answers);
  const auto known = classes_.find(of);
  const bool never_seen = known == classes_.end() || known->second.alone.empty();
  const bool stale = never_seen || contradictions_ >= kContradictions ||
                     observed_ - known->second.alone_at >= kProbeEvery;
  if (stale && reading_since_probe_ + 1 >= kProbeEvery) {
    reading_since_probe_ = 0;
    return 0;
  }
  ++reading_since_probe_;
  return std::clamp(static_cast<int64_t>(Allowance(of)), options_.min_tokens, options_.max_tokens);
}

double StepBudget::Allowance(size_t of) const {
  double nearest = static_cast<double>(options_.min_tokens);
  double distance = std::numeric_limits<double>::max();
  for (const auto& [other, answers] : classes_) {
    const double away = std::abs(AnswersOf(other) - AnswersOf(of));
    if (answers.tokens > 0 && away < distance) {
      nearest = answers.tokens;
      distance = away;
    }
  }
  return nearest;
}

double StepBudget::AnswerStepSeconds(int64_t answers) const {
  if (answers <= 0) {
    return 0;
  }
  // The nearest known on both sides; what has faded only if nothing else is known.
  for (const int64_t oldest : {observed_ - kFaded, int64_t{-1}}) {
    double below = 0;
    double below_seconds = 0;
    double above = 0;
    double above_seconds = 0;
    const double at = AnswersOf(ClassOf(answers));
    for (const auto& [other, known] : classes_) {
      if (known.alone.empty() || known.alone_at < oldest) {
        continue;
      }
      const double seconds = FastestMean(known.alone);
      if (AnswersOf(other) <= at) {
        below = AnswersOf(other);
        below_seconds = seconds;
      } else if (above == 0) {
        above = AnswersOf(other);
        above_seconds = seconds;
      }
    }
    if (below > 0 && above > 0) {
      return below_seconds + (above_seconds - below_seconds) * (at - below) / (above - below);
    }
    if (below > 0) {
      return below_seconds;  // more answers take longer: less is read until they are known
    }
    if (above > 0) {
      // Of what a step takes, part does not depend on the answers: between both extremes.
      return above_seconds * (1 + at / above) / 2;
    }
  }
  return 0;
}

double StepBudget::PromptTokenSeconds() const { return prompt_token_seconds_; }

double StepBudget::Aim() const {
  // What steps vary by has to fit below the limit as well, or half of them would be above it. But
  // where they vary without end, reading goes on all the same.
  const double spread = mean_slowdown_ > 0 ? std::max(0.02, deviation_ / mean_slowdown_) : 0.1;
  const double room = options_.max_slowdown - 1;
  return std::max(1 + room / 3, options_.max_slowdown / (1 + 3 * spread));
}

void StepBudget::Observe(int64_t answers, int64_t prompt_tokens, double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || answers < 0 || prompt_tokens < 0) {
    return;
  }
  ++observed_;
  if (answers == 0) {
    return;
  }
  if (prompt_tokens == 0) {
    ObserveAlone(classes_[ClassOf(answers)], seconds);
  } else {
    ObserveReading(ClassOf(answers), answers, prompt_tokens, seconds);
  }
}

void StepBudget::ObserveAlone(Class& answers, double seconds) {
  if (!answers.alone.empty()) {
    const double known = FastestMean(answers.alone);
    // Nothing makes a step faster by chance. And where reading steps said already that the machine
    // has become slower, there is no need to wait until the old measurements are outnumbered.
    const bool faster = seconds < 0.75 * known;
    const bool slower = contradictions_ >= kContradictions && seconds > 1.3 * known;
    if (faster || slower) {
      answers.alone.clear();
    }
  }
  contradictions_ = 0;
  if (answers.alone.size() == kAlone) {
    answers.alone.erase(answers.alone.begin());
  }
  answers.alone.push_back(seconds);
  answers.alone_at = observed_;
}

void StepBudget::ObserveReading(size_t of, int64_t answers, int64_t prompt_tokens, double seconds) {
  const double alone = AnswerStepSeconds(answers);
  if (alone <= 0) {
    return;
  }
  const double slowdown = seconds / alone;
  const double read = static_cast<double>(prompt_tokens);
  const double allowance = std::max(Allowance(of), static_cast<double>(options_.min_tokens));
  if (slowdown < kImpossible) {
    // With reading it cannot be faster than without: the machine has become faster. By how much,
    // the next probe shows.
    contradictions_ = kContradictions;
    return;
  }
  if (slowdown > options_.max_slowdown && prompt_tokens <= 2 * options_.min_tokens) {
    ++contradictions_;
  } else if (contradictions_ < kContradictions) {
    contradictions_ = 0;
  }

  const double shown = std::min(slowdown, 2 * options_.max_slowdown);  // the rest is an outlier
  if (mean_slowdown_ == 0) {
    mean_slowdown_ = shown;
    deviation_ = 0.1 * shown;
  }
  const double off = std::min(std::abs(shown - mean_slowdown_), 4 * deviation_ + 0.01);
  deviation_ += (off > deviation_ ? kMoreVaried : kLessVaried) * (off - deviation_);
  mean_slowdown_ += 0.1 * (shown - mean_slowdown_);

  const double token_seconds = std::max(0.0, seconds - alone) / read;
  prompt_token_seconds_ =
      prompt_token_seconds_ == 0
          ? token_seconds
          : prompt_token_seconds_ +
                0.1 * (std::min(token_seconds, 2 * prompt_token_seconds_) - prompt_token_seconds_);

  // How much of the room above `alone` the step took: 1 is what is aimed at.
  const double used = (shown - 1) / (Aim() - 1);
  const double factor = std::clamp(1 + kGain * (1 - used), kMostDown, kMostUp);
  double& tokens = classes_[of].tokens;
  tokens = allowance;
  // A step that read less than it might have says nothing about reading more.
  if (factor < 1 || read + 1 >= std::min(allowance, static_cast<double>(options_.max_tokens))) {
    tokens = std::clamp(allowance * factor, static_cast<double>(options_.min_tokens),
                        static_cast<double>(options_.max_tokens));
  }
}

}  // namespace longleaf::service
