#include "service/bench/plot.h"

#include <gtest/gtest.h>

#include <cmath>

namespace longleaf::service::bench {
namespace {

// Whether every element is closed, in order, and every attribute quoted: what an XML parser asks of
// a document without comments and CDATA. Says what is wrong, or nothing.
std::string WhatIsWrong(const std::string& xml) {
  std::vector<std::string> open;
  for (size_t at = xml.find('<'); at != std::string::npos; at = xml.find('<', at + 1)) {
    const size_t end = xml.find('>', at);
    if (end == std::string::npos) {
      return "an element without end";
    }
    const std::string element = xml.substr(at + 1, end - at - 1);
    if (std::count(element.begin(), element.end(), '"') % 2 != 0) {
      return "a quote is missing: " + element;
    }
    const std::string name = element.substr(0, element.find_first_of(" /"));
    if (element.front() == '?') {
      continue;
    }
    if (element.front() == '/') {
      if (open.empty() || "/" + open.back() != element) {
        return "closed, but not open: " + element;
      }
      open.pop_back();
    } else if (element.back() != '/') {
      open.push_back(name);
    }
  }
  for (size_t at = xml.find('&'); at != std::string::npos; at = xml.find('&', at + 1)) {
    if (xml.compare(at, 5, "&amp;") != 0 && xml.compare(at, 4, "&lt;") != 0 &&
        xml.compare(at, 4, "&gt;") != 0 && xml.compare(at, 6, "&quot;") != 0) {
      return "a bare ampersand";
    }
  }
  return open.empty() ? "" : "not closed: " + open.back();
}

size_t CountOf(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

TEST(PlotTest, APageIsWellFormedAndShowsEveryPoint) {
  const std::vector<Panel> panels = {
      {.title = "TTFT & <more>",
       .unit = "ms",
       .log_y = true,
       .series = {{.name = "p50", .points = {{1, 2}, {4, 8}, {64, 90}}},
                  {.name = "p99", .points = {{1, 20}, {4, 80}, {64, 0}}}}},
      {.title = "Throughput",
       .unit = "tokens/s",
       .log_y = false,
       .series = {{.name = "tokens/s", .points = {{1, 0}, {4, 30}, {64, 400}}}}}};
  const std::string svg = DrawPage("a \"title\" \x01", "clients", panels);
  EXPECT_EQ(WhatIsWrong(svg), "");
  EXPECT_EQ(CountOf(svg, "<polyline "), 3);
  EXPECT_EQ(CountOf(svg, "<circle "), 8);  // but the one that has no logarithm
  EXPECT_EQ(CountOf(svg, "TTFT &amp; &lt;more&gt;, ms"), 1);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  EXPECT_EQ(svg.find('\x01'), std::string::npos);
}

TEST(PlotTest, NothingToShowIsStillAPage) {
  const std::string svg = DrawPage("", "x",
                                   {{.title = "", .unit = "", .log_y = true, .series = {}},
                                    {.title = "",
                                     .unit = "",
                                     .log_y = true,
                                     .series = {{.name = "n", .points = {{0, std::nan("")}}}}}});
  EXPECT_EQ(WhatIsWrong(svg), "");
  EXPECT_EQ(CountOf(svg, "<circle "), 0);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

}  // namespace
}  // namespace longleaf::service::bench
