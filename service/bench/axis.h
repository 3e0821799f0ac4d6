// An axis of a plot: which range it shows, where its ticks are, where a value lies on it.
#ifndef LONGLEAF_SERVICE_BENCH_AXIS_H_
#define LONGLEAF_SERVICE_BENCH_AXIS_H_

#include <string>
#include <vector>

namespace longleaf::service::bench {

enum class Scale { kLinear, kLog };

class Axis {
 public:
  // Covers all `values`, from a round number to a round number. Values that are not positive are
  // left out of a logarithmic axis; a linear one begins at 0.
  Axis(const std::vector<double>& values, Scale scale);

  double least() const { return least_; }
  double most() const { return most_; }
  // Round numbers, increasing, the ends among them: 1-2-5 steps on a linear axis; on a logarithmic
  // one powers of ten, with 2 and 5 between them where there is room.
  const std::vector<double>& ticks() const { return ticks_; }
  // 0 at the least, 1 at the most; values outside are clamped.
  double Position(double value) const;

  // As short as it can be said: "0.5", "200", "20k", "1.5M".
  static std::string Label(double tick);

 private:
  void MakeLinear(double most);
  void MakeLog(double least, double most);

  const Scale scale_;
  double least_ = 0;
  double most_ = 1;
  std::vector<double> ticks_;
};

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_AXIS_H_
