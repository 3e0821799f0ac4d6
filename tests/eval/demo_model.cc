#include "demo_model.h"

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace longleaf::testing {

DemoModel ReadDemoModel() {
  const auto config = nlohmann::json::parse(ReadText("model/demo/config.json"), nullptr, false);
  DemoModel model;
  if (!config.is_object() || !config.contains("cca")) return model;
  const auto& cca = config["cca"];
  const auto window = cca.value("window", int64_t{0});
  model.context = config.value("max_position_embeddings", int64_t{0});
  model.attention = absl::StrCat("cca:g=", cca.value("group_size", int64_t{0}), ",w=", window,
                                 ",heads=", cca.value("core_heads", ""));
  model.window_only = absl::StrCat("streaming:sinks=0,w=", window);
  return model;
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace longleaf::testing
