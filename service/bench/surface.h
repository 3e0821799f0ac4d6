// Where a run says something, and when it is to stop. Given from outside, so that tests can run
// everything in their own process.
#ifndef LONGLEAF_SERVICE_BENCH_SURFACE_H_
#define LONGLEAF_SERVICE_BENCH_SURFACE_H_

#include <functional>
#include <string>
#include <string_view>

namespace longleaf::service::bench {

struct Surface {
  std::function<bool(std::string_view)> output;   // results; false when they cannot be written
  std::function<void(std::string_view)> message;  // progress and errors
  std::function<bool()> interrupted;              // from any thread
  bool terminal = false;                          // messages may redraw their line
  std::function<int()> width;                     // columns of the terminal
};

// The line that shows how far a run is. On a terminal it redraws itself; elsewhere only Say is
// seen. Not thread-safe.
class ProgressLine {
 public:
  ProgressLine(const Surface* surface, bool quiet) : surface_(surface), quiet_(quiet) {}
  ~ProgressLine() { Clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Draw(const std::string& text);
  void Clear();
  // A line that stays.
  void Say(const std::string& line);

 private:
  const Surface* const surface_;
  const bool quiet_;
  bool drawn_ = false;
};

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_SURFACE_H_
