#include "service/bench/plot.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "service/bench/axis.h"

namespace longleaf::service::bench {
namespace {

// Pixels.
constexpr double kPanelWidth = 400;
constexpr double kPageHeight = 330;
constexpr double kLeft = 62;  // of a panel's drawing area, within the panel
constexpr double kRight = 18;
constexpr double kTop = 74;
constexpr double kBottom = 52;
constexpr double kWidth = kPanelWidth - kLeft - kRight;
constexpr double kHeight = kPageHeight - kTop - kBottom;

// Told apart also by those who do not see red and green (Okabe and Ito).
constexpr std::array<const char*, 4> kColours = {"#0072b2", "#e69f00", "#d55e00", "#009e73"};

std::string Escape(const std::string& text) {
  std::string clean;
  for (const char c : text) {
    clean += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;  // XML has no control characters
  }
  return absl::StrReplaceAll(clean,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

std::string Text(double x, double y, const char* style, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, style, Escape(text));
}

std::string Segment(double x1, double y1, double x2, double y2, const char* style) {
  return absl::StrFormat("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2,
                         y2, style);
}

Axis MakeX(const Panel& panel) {
  std::vector<double> xs;
  for (const Series& series : panel.series) {
    for (const auto& [x, y] : series.points) {
      xs.push_back(x);
    }
  }
  const auto [least, most] = std::minmax_element(xs.begin(), xs.end());
  const bool wide = !xs.empty() && *least > 0 && *most > 4 * *least;
  return {xs, wide ? Scale::kLog : Scale::kLinear};
}

Axis MakeY(const Panel& panel) {
  std::vector<double> ys;
  for (const Series& series : panel.series) {
    for (const auto& [x, y] : series.points) {
      ys.push_back(y);
    }
  }
  return {ys, panel.log_y ? Scale::kLog : Scale::kLinear};
}

class PanelDrawing {
 public:
  PanelDrawing(const Panel& panel, const std::string& x_name, double left)
      : panel_(panel), x_name_(x_name), left_(left + kLeft), x_(MakeX(panel)), y_(MakeY(panel)) {}

  std::string Draw() {
    svg_ +=
        Text(left_, kTop - 14, "class=\"panel\"", absl::StrCat(panel_.title, ", ", panel_.unit));
    DrawAxes();
    for (size_t i = 0; i < panel_.series.size(); ++i) {
      DrawSeries(panel_.series[i], kColours[i % kColours.size()]);
    }
    if (panel_.series.size() > 1) {
      DrawLegend();
    }
    return svg_;
  }

 private:
  double X(double value) const { return left_ + kWidth * x_.Position(value); }
  double Y(double value) const { return kTop + kHeight * (1 - y_.Position(value)); }

  void DrawAxes() {
    for (const double tick : y_.ticks()) {
      svg_ += Segment(left_, Y(tick), left_ + kWidth, Y(tick), "class=\"grid\"");
      svg_ += Text(left_ - 7, Y(tick) + 4, "class=\"tick\" text-anchor=\"end\"", Axis::Label(tick));
    }
    for (const double tick : x_.ticks()) {
      svg_ += Segment(X(tick), kTop + kHeight, X(tick), kTop + kHeight + 4, "class=\"axis\"");
      svg_ += Text(X(tick), kTop + kHeight + 17, "class=\"tick\" text-anchor=\"middle\"",
                   Axis::Label(tick));
    }
    svg_ += Segment(left_, kTop + kHeight, left_ + kWidth, kTop + kHeight, "class=\"axis\"");
    svg_ += Text(left_ + kWidth / 2, kTop + kHeight + 38, "class=\"name\" text-anchor=\"middle\"",
                 x_name_);
  }

  void DrawSeries(const Series& series, const char* colour) {
    std::string path;
    std::string marks;
    for (const auto& [x, y] : series.points) {
      if (!std::isfinite(y) || (panel_.log_y && y <= 0)) {
        continue;
      }
      absl::StrAppendFormat(&path, "%s%.1f,%.1f", path.empty() ? "" : " ", X(x), Y(y));
      absl::StrAppendFormat(&marks,
                            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\" fill=\"%s\"><title>%s: %s, "
                            "%g: %.4g %s</title></circle>\n",
                            X(x), Y(y), colour, Escape(series.name), Escape(x_name_), x, y,
                            Escape(panel_.unit));
    }
    absl::StrAppendFormat(&svg_,
                          "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" "
                          "stroke-width=\"2\" stroke-linejoin=\"round\"/>\n%s",
                          path, colour, marks);
  }

  // In the panel's title line, at its right end.
  void DrawLegend() {
    double x = left_ + kWidth;
    for (size_t i = panel_.series.size(); i-- > 0;) {
      const std::string& name = panel_.series[i].name;
      x -= 7.0 * static_cast<double>(name.size());
      svg_ += Text(x, kTop - 14, "class=\"tick\"", name);
      const std::string style =
          absl::StrFormat("stroke=\"%s\" stroke-width=\"3\"", kColours[i % kColours.size()]);
      svg_ += Segment(x - 16, kTop - 18, x - 4, kTop - 18, style.c_str());
      x -= 24;
    }
  }

  const Panel& panel_;
  const std::string& x_name_;
  const double left_;
  const Axis x_;
  const Axis y_;
  std::string svg_;
};

}  // namespace

std::string DrawPage(const std::string& title, const std::string& x_name,
                     const std::vector<Panel>& panels) {
  const double width = kPanelWidth * static_cast<double>(panels.size());
  std::string svg = absl::StrFormat(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
      "viewBox=\"0 0 %.0f %.0f\" font-family=\"system-ui, sans-serif\">\n"
      "<style>text { fill: #222 } .title { font-size: 16px; font-weight: 600 } "
      ".panel { font-size: 13px; font-weight: 600 } .tick { font-size: 11px; fill: #555 } "
      ".name { font-size: 12px } .grid { stroke: #e4e4e4 } .axis { stroke: #777 }</style>\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
      width, kPageHeight, width, kPageHeight);
  svg += Text(kLeft - 40, 28, "class=\"title\"", title);
  for (size_t i = 0; i < panels.size(); ++i) {
    svg += PanelDrawing(panels[i], x_name, kPanelWidth * static_cast<double>(i)).Draw();
  }
  return svg + "</svg>\n";
}

}  // namespace longleaf::service::bench
