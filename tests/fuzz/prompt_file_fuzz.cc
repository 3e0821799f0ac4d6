// Any bytes as prompt.json.
#include <cstdint>
#include <string_view>

#include "model/prompt.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = longleaf::model::PromptFile::Parse(
      std::string_view(reinterpret_cast<const char*>(data), size), "fuzz");
  if (file.ok() && (file->max_answer_tokens < 1 || file->stop.size() > 16)) __builtin_trap();
  return 0;
}
