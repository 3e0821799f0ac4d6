#include "model/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "model/utf8.h"

namespace longleaf::model {

absl::StatusOr<StopMatcher> StopMatcher::Create(std::vector<std::string> stops) {
  if (stops.size() > kMaxStops) {
    return absl::InvalidArgumentError("more than " + std::to_string(kMaxStops) + " stop strings");
  }
  for (size_t i = 0; i < stops.size(); ++i) {
    const std::string which = "stop string " + std::to_string(i);
    if (stops[i].empty()) return absl::InvalidArgumentError(which + " is empty");
    if (stops[i].size() > kMaxStopBytes) {
      return absl::InvalidArgumentError(which + " has more than " + std::to_string(kMaxStopBytes) +
                                        " bytes");
    }
    if (!IsValidUtf8(stops[i])) return absl::InvalidArgumentError(which + " is not UTF-8");
  }
  return StopMatcher(std::move(stops));
}

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

std::string StopMatcher::Push(std::string_view delta) {
  if (stopped()) return "";
  if (stops_.empty()) return std::string(delta);
  // Byte by byte, so that the outcome cannot depend on how the text is cut.
  for (const char byte : delta) {
    held_.push_back(byte);
    for (size_t i = 0; i < stops_.size(); ++i) {
      if (!held_.ends_with(stops_[i])) continue;
      if (!stopped() || stops_[i].size() > stops_[static_cast<size_t>(matched_)].size()) {
        matched_ = static_cast<int>(i);
      }
    }
    if (stopped()) {
      std::string out = std::exchange(held_, "");
      out.resize(out.size() - stops_[static_cast<size_t>(matched_)].size());
      return out;
    }
  }
  // Keep the longest end of the text that some stop string begins with.
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (size_t size = std::min(stop.size() - 1, held_.size()); size > keep; --size) {
      if (held_.ends_with(std::string_view(stop).substr(0, size))) {
        keep = size;
        break;
      }
    }
  }
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return out;
}

std::string StopMatcher::Flush() { return std::exchange(held_, ""); }

}  // namespace longleaf::model
