#include "service/bench/axis.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longleaf::service::bench {
namespace {

constexpr std::array<double, 3> kRound = {1, 2, 5};
constexpr size_t kMostTicks = 8;
constexpr double kSlack = 1e-9;  // against rounding of logarithms and steps

}  // namespace

Axis::Axis(const std::vector<double>& values, Scale scale) : scale_(scale) {
  double least = 0;
  double most = 0;
  for (const double value : values) {
    if (!std::isfinite(value) || value <= 0) {
      continue;
    }
    least = least == 0 ? value : std::min(least, value);
    most = std::max(most, value);
  }
  if (most == 0) {
    least = most = 1;
  }
  if (scale == Scale::kLinear) {
    MakeLinear(most);
  } else {
    MakeLog(least, most);
  }
}

void Axis::MakeLinear(double most) {
  const double rough = most / 5;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double round : kRound) {
    if (round * power >= rough * (1 - kSlack)) {
      step = round * power;
      break;
    }
  }
  const double steps = std::ceil(most / step - kSlack);
  for (double i = 0; i <= steps; ++i) {
    ticks_.push_back(i * step);
  }
  least_ = 0;
  most_ = ticks_.back();
}

void Axis::MakeLog(double least, double most) {
  const int first = static_cast<int>(std::floor(std::log10(least) + kSlack));
  const int last = static_cast<int>(std::ceil(std::log10(most) - kSlack));
  std::vector<double> fine;
  std::vector<double> coarse;
  for (int power = first; power <= last; ++power) {
    for (const double round : kRound) {
      // Divided where the power is negative: 2e-3 is not 2 * 0.001 in the last bit.
      const double tick = power < 0 ? round / std::pow(10, -power) : round * std::pow(10, power);
      fine.push_back(tick);
      if (round == 1) {
        coarse.push_back(tick);
      }
    }
  }
  // Of the fine ones, only as far as the data go.
  const auto above =
      std::find_if(fine.begin(), fine.end(), [most](double t) { return t >= most * (1 - kSlack); });
  if (above != fine.end()) {
    fine.erase(above + 1, fine.end());
  }
  const auto inside = std::find_if(fine.begin(), fine.end(),
                                   [least](double t) { return t > least * (1 + kSlack); });
  if (inside != fine.begin()) {
    fine.erase(fine.begin(), inside - 1);
  }
  ticks_ = fine.size() <= kMostTicks ? fine : coarse;
  if (ticks_.size() == 1) {  // all values the same round number
    ticks_ = {ticks_[0] / 2, ticks_[0], ticks_[0] * 2};
  }
  least_ = ticks_.front();
  most_ = ticks_.back();
}

double Axis::Position(double value) const {
  double position = 0;
  if (scale_ == Scale::kLinear) {
    position = (value - least_) / (most_ - least_);
  } else if (value > 0) {
    position = std::log(value / least_) / std::log(most_ / least_);
  }
  return std::clamp(position, 0.0, 1.0);
}

std::string Axis::Label(double tick) {
  for (const auto& [unit, letter] : {std::pair{1e9, "G"}, {1e6, "M"}, {1e4, "k"}}) {
    if (std::abs(tick) >= unit) {
      return absl::StrCat(absl::StrFormat("%g", tick / (unit == 1e4 ? 1e3 : unit)), letter);
    }
  }
  return absl::StrFormat("%g", tick);
}

}  // namespace longleaf::service::bench
