// A page of heat maps side by side, as SVG: shares of right answers by length and depth, with their
// intervals.
#ifndef LONGLEAF_SERVICE_EVAL_HEAT_MAP_H_
#define LONGLEAF_SERVICE_EVAL_HEAT_MAP_H_

#include <string>
#include <vector>

#include "service/eval/clustered_mean.h"

namespace longleaf::service::eval {

struct HeatMapPanel {
  std::string title;
  std::vector<std::string> columns;               // names, from left to right
  std::vector<std::vector<std::string>> footers;  // [columns] lines below each
  std::vector<std::vector<Estimate>> cells;       // [rows][columns]; count 0: nothing was asked
};

struct HeatMapPage {
  std::string title;
  std::string subtitle;
  std::string column_axis;        // what the columns are
  std::string row_axis;           // what the rows are
  std::vector<std::string> rows;  // names, from above
  std::vector<HeatMapPanel> panels;
  std::vector<std::string> notes;  // lines at the end
};

// One SVG document on a ground of its own, so that it reads alike in light and dark viewers. All
// text is escaped.
std::string DrawHeatMaps(const HeatMapPage& page);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_HEAT_MAP_H_
