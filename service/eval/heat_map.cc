#include "service/eval/heat_map.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace longleaf::service::eval {
namespace {

// Pixels.
constexpr double kMargin = 24;
constexpr double kCellWidth = 104;
constexpr double kCellHeight = 46;
constexpr double kRowNames = 78;   // to the left of the cells
constexpr double kPanelHead = 48;  // above them: title and column names
constexpr double kFooterLine = 15;
constexpr double kPanelGap = 36;
constexpr double kPageHead = 61;  // to the subtitle
constexpr double kLegendWidth = 300;
constexpr double kLegendHeight = 12;
constexpr double kSubtitleLine = 18;
constexpr double kSubtitleCharacter = 6.9;  // about, its type
constexpr double kNoteLine = 16;
constexpr double kNoteCharacter = 6.1;  // about, of the notes' type

constexpr char kStyle[] =
    "text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}"
    ".title{font-size:19px;font-weight:600}.sub{font-size:13px;fill:#57606a}"
    ".panel{font-size:14px;font-weight:600}.name{font-size:12px}"
    ".foot{font-size:11.5px;fill:#57606a}.big{font-size:16px;font-weight:600}"
    ".small{font-size:10.5px}.note{font-size:11.5px;fill:#57606a}";

struct Colour {
  double red = 0, green = 0, blue = 0;  // 0..255
};

// From few to all right. Lightness falls all the way, so the order shows without colours too, and
// no step is between red and green.
constexpr std::array<Colour, 6> kScale = {{{253, 231, 200},
                                           {250, 190, 130},
                                           {226, 137, 115},
                                           {170, 91, 128},
                                           {98, 62, 128},
                                           {30, 42, 94}}};

Colour ColourOf(double share) {
  const double at = std::clamp(share, 0.0, 1.0) * (kScale.size() - 1);
  const auto i = std::min(static_cast<size_t>(at), kScale.size() - 2);
  const double part = at - static_cast<double>(i);
  const auto mix = [part](double from, double to) { return from + part * (to - from); };
  return {mix(kScale[i].red, kScale[i + 1].red), mix(kScale[i].green, kScale[i + 1].green),
          mix(kScale[i].blue, kScale[i + 1].blue)};
}

std::string Hex(const Colour& colour) {
  return absl::StrFormat("#%02x%02x%02x", std::lround(colour.red), std::lround(colour.green),
                         std::lround(colour.blue));
}

// Of text that stands on `colour`.
const char* Ink(const Colour& colour) {
  return 0.299 * colour.red + 0.587 * colour.green + 0.114 * colour.blue < 150 ? "#ffffff"
                                                                               : "#1f2328";
}

std::string Escape(const std::string& text) {
  std::string clean;
  for (const char c : text) clean += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return absl::StrReplaceAll(clean,
                             {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

std::string Text(double x, double y, const char* type, const char* anchor, const std::string& text,
                 const char* ink = nullptr) {
  return absl::StrFormat(
      "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\"%s>%s</text>\n", x, y, type,
      anchor, ink == nullptr ? "" : absl::StrCat(" style=\"fill:", ink, "\""), Escape(text));
}

// 97, 99.6, 100: a tenth only where rounding would hide that something was wrong.
std::string Percent(double share) {
  const double percent = 100 * share;
  return percent > 99 && percent < 100 ? absl::StrFormat("%.1f", std::min(percent, 99.9))
                                       : absl::StrFormat("%.0f", percent);
}

std::string DrawCell(double x, double y, const Estimate& estimate) {
  if (estimate.count == 0) {
    return absl::StrFormat(
               "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
               "fill=\"#eaeef2\"/>\n",
               x, y, kCellWidth - 2, kCellHeight - 2) +
           Text(x + kCellWidth / 2, y + kCellHeight / 2 + 4, "small", "middle", "not asked");
  }
  const Colour colour = ColourOf(estimate.mean);
  const char* ink = Ink(colour);
  const double middle = x + kCellWidth / 2 - 1;
  return absl::StrFormat(
             "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"3\" fill=\"%s\"/>\n",
             x, y, kCellWidth - 2, kCellHeight - 2, Hex(colour)) +
         Text(middle, y + 20, "big", "middle", Percent(estimate.mean) + "%", ink) +
         Text(middle, y + 36, "small", "middle",
              absl::StrFormat("%s–%s, n=%d", Percent(estimate.low), Percent(estimate.high),
                              estimate.count),
              ink);
}

double PanelWidth(const HeatMapPanel& panel) {
  return kRowNames + static_cast<double>(panel.columns.size()) * kCellWidth;
}

double PanelHeight(const HeatMapPage& page, const HeatMapPanel& panel) {
  size_t lines = 0;
  for (const auto& footer : panel.footers) lines = std::max(lines, footer.size());
  return kPanelHead + static_cast<double>(page.rows.size()) * kCellHeight + 8 +
         static_cast<double>(lines) * kFooterLine;
}

std::string DrawPanel(const HeatMapPage& page, const HeatMapPanel& panel, double left, double top) {
  std::string svg = Text(left, top + 12, "panel", "start", panel.title);
  const double first = left + kRowNames;
  svg += Text(first - 10, top + 36, "foot", "end", page.column_axis);
  for (size_t c = 0; c < panel.columns.size(); ++c) {
    const double middle = first + (static_cast<double>(c) + 0.5) * kCellWidth - 1;
    svg += Text(middle, top + 36, "name", "middle", panel.columns[c]);
    double y = top + kPanelHead + static_cast<double>(page.rows.size()) * kCellHeight + 6;
    for (const std::string& line : panel.footers[c]) {
      svg += Text(middle, y += kFooterLine, "foot", "middle", line);
    }
  }
  for (size_t r = 0; r < page.rows.size(); ++r) {
    const double y = top + kPanelHead + static_cast<double>(r) * kCellHeight;
    svg += Text(first - 10, y + kCellHeight / 2 + 3, "name", "end", page.rows[r]);
    for (size_t c = 0; c < panel.columns.size(); ++c) {
      svg += DrawCell(first + static_cast<double>(c) * kCellWidth, y, panel.cells[r][c]);
    }
  }
  return svg;
}

std::string DrawLegend(double left, double top) {
  std::string svg = "<defs><linearGradient id=\"scale\">";
  for (size_t i = 0; i < kScale.size(); ++i) {
    absl::StrAppendFormat(&svg, "<stop offset=\"%d%%\" stop-color=\"%s\"/>",
                          100 * i / (kScale.size() - 1), Hex(kScale[i]));
  }
  absl::StrAppendFormat(&svg,
                        "</linearGradient></defs>\n<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                        "height=\"%.1f\" rx=\"2\" fill=\"url(#scale)\"/>\n",
                        left, top, kLegendWidth, kLegendHeight);
  for (const int percent : {0, 25, 50, 75, 100}) {
    svg += Text(left + kLegendWidth * percent / 100, top + kLegendHeight + 15, "foot", "middle",
                absl::StrCat(percent, "%"));
  }
  svg += Text(left + kLegendWidth + 24, top + 11, "foot", "start", "right answers");
  return svg;
}

// `line` in lines that are no wider than `width` at so much for a character.
std::vector<std::string> Fold(const std::string& line, double width, double character) {
  const auto most = static_cast<size_t>(width / character);
  std::vector<std::string> lines;
  std::string rest = line;
  while (rest.size() > most) {
    size_t cut = rest.rfind(' ', most);
    if (cut == std::string::npos || cut == 0) break;
    lines.push_back(rest.substr(0, cut));
    rest = rest.substr(cut + 1);
  }
  lines.push_back(rest);
  return lines;
}

}  // namespace

std::string DrawHeatMaps(const HeatMapPage& page) {
  const size_t across = std::min<size_t>(2, std::max<size_t>(1, page.panels.size()));
  double panel_width = 0;
  double panel_height = 0;
  for (const HeatMapPanel& panel : page.panels) {
    panel_width = std::max(panel_width, PanelWidth(panel));
    panel_height = std::max(panel_height, PanelHeight(page, panel));
  }
  // Title and legend need as much.
  const double width =
      2 * kMargin + std::max(static_cast<double>(across) * (panel_width + kPanelGap) - kPanelGap,
                             kLegendWidth + 380);
  std::string body = Text(kMargin, kMargin + 16, "title", "start", page.title);
  double y = kPageHead;
  for (const std::string& line : Fold(page.subtitle, width - 2 * kMargin, kSubtitleCharacter)) {
    body += Text(kMargin, y, "sub", "start", line);
    y += kSubtitleLine;
  }
  y += kMargin / 2;
  for (size_t i = 0; i < page.panels.size(); ++i) {
    const auto column = static_cast<double>(i % across);
    body += DrawPanel(page, page.panels[i], kMargin + column * (panel_width + kPanelGap), y);
    if (i % across == across - 1 || i + 1 == page.panels.size()) y += panel_height + kPanelGap;
  }
  body += DrawLegend(kMargin + 8, y);
  y += kLegendHeight + 38;
  std::vector<std::string> notes = page.notes;
  notes.insert(
      notes.begin(),
      absl::StrCat("Rows: ", page.row_axis,
                   ". Below each share its 95% interval in percent and the number asked."));
  for (const std::string& note : notes) {
    for (const std::string& line : Fold(note, width - 2 * kMargin, kNoteCharacter)) {
      body += Text(kMargin, y, "note", "start", line);
      y += kNoteLine;
    }
  }
  const double height = y + kMargin - kNoteLine / 2;
  return absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
      "viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n<title>%s</title>\n<style>%s</style>\n"
      "<rect x=\"0.5\" y=\"0.5\" width=\"%.0f\" height=\"%.0f\" rx=\"8\" fill=\"#ffffff\" "
      "stroke=\"#d0d7de\"/>\n%s</svg>\n",
      width, height, width, height, Escape(page.title), kStyle, width - 1, height - 1, body);
}

}  // namespace longleaf::service::eval
