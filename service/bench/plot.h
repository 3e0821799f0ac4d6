// A page of line charts side by side, as SVG.
#ifndef LONGLEAF_SERVICE_BENCH_PLOT_H_
#define LONGLEAF_SERVICE_BENCH_PLOT_H_

#include <string>
#include <utility>
#include <vector>

namespace longleaf::service::bench {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x, y; by increasing x
};

struct Panel {
  std::string title;
  std::string unit;  // of y
  bool log_y = false;
  std::vector<Series> series;
};

// One SVG document. x is logarithmic where it spans more than a factor of four. All text is
// escaped. Points whose y is not positive are left out of a logarithmic panel.
std::string DrawPage(const std::string& title, const std::string& x_name,
                     const std::vector<Panel>& panels);

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_PLOT_H_
