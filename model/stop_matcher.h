// Ends an answer before the first stop string, and holds back text that could begin one, so that no
// part of a stop string is ever shown.
#ifndef LONGLEAF_MODEL_STOP_MATCHER_H_
#define LONGLEAF_MODEL_STOP_MATCHER_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longleaf::model {

// Not thread-safe; one per answer. The result depends only on the text, not on how it is cut into
// deltas: the stop string that is complete first ends the answer (of several complete at once, the
// longest), and the text is cut exactly before it.
class StopMatcher {
 public:
  static constexpr size_t kMaxStops = 32;  // 16 of a request beside those of the prompt file
  static constexpr size_t kMaxStopBytes = 256;

  // INVALID_ARGUMENT for an empty stop string, one that is not UTF-8 or longer than kMaxStopBytes,
  // and for more than kMaxStops. No stop strings: everything passes through.
  static absl::StatusOr<StopMatcher> Create(std::vector<std::string> stops);

  // The text that may be shown now. After a match nothing more comes out.
  std::string Push(std::string_view delta);
  // The end of the answer: what was held back, unless stopped.
  std::string Flush();

  bool stopped() const { return matched_ >= 0; }
  // Index in `stops` of the one that matched, or -1.
  int matched() const { return matched_; }

 private:
  explicit StopMatcher(std::vector<std::string> stops);

  std::vector<std::string> stops_;
  std::string held_;  // shorter than the longest stop string between calls
  int matched_ = -1;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_STOP_MATCHER_H_
