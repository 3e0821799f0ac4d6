#include "service/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>

namespace longleaf::service::log {
namespace {

constexpr char kJsonLogger[] = "longleaf-json";

std::string Quoted(absl::string_view text) {
  return nlohmann::json(std::string(text))
      .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

bool NeedsQuotes(absl::string_view text) {
  if (text.empty()) {
    return true;
  }
  for (const char c : text) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c > '~') {
      return true;
    }
  }
  return false;
}

void Write(spdlog::level::level_enum level, absl::string_view event, Fields fields) {
  const std::shared_ptr<spdlog::logger> logger = spdlog::default_logger();
  if (!logger->should_log(level)) {
    return;
  }
  std::string line;
  if (logger->name() == kJsonLogger) {
    line = "\"event\":" + Quoted(event);
    for (const Field& field : fields) {
      line += "," + Quoted(field.name) + ":" + Quoted(field.value);
    }
  } else {
    line = std::string(event);
    for (const Field& field : fields) {
      line += " " + std::string(field.name) + "=" +
              (NeedsQuotes(field.value) ? Quoted(field.value) : field.value);
    }
  }
  logger->log(level, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace

void Configure(const std::string& level, const std::string& format) {
  const bool json = format == "json";
  auto logger = std::make_shared<spdlog::logger>(json ? kJsonLogger : "longleaf",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::from_str(level));
  logger->set_pattern(
      json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})" : "%Y-%m-%dT%H:%M:%S.%eZ %L %v",
      spdlog::pattern_time_type::utc);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

void Debug(absl::string_view event, Fields fields) { Write(spdlog::level::debug, event, fields); }
void Info(absl::string_view event, Fields fields) { Write(spdlog::level::info, event, fields); }
void Warn(absl::string_view event, Fields fields) { Write(spdlog::level::warn, event, fields); }
void Error(absl::string_view event, Fields fields) { Write(spdlog::level::err, event, fields); }

}  // namespace longleaf::service::log
