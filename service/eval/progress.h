// One line on a terminal that says how far a long run is; nothing where stderr is a file or a pipe,
// so that scripts see results only.
#ifndef LONGLEAF_SERVICE_EVAL_PROGRESS_H_
#define LONGLEAF_SERVICE_EVAL_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace longleaf::service::eval {

// Not thread-safe.
class Progress {
 public:
  // `total` units (tokens, tensors, ...) are to be done.
  Progress(std::string label, int64_t total);
  ~Progress();  // removes the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Redraws if a tenth of a second has passed.
  void Update(int64_t done);

 private:
  using Clock = std::chrono::steady_clock;
  const std::string label_;
  const int64_t total_;
  const bool terminal_;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point next_ = begin_;
  bool drawn_ = false;
};

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_PROGRESS_H_
