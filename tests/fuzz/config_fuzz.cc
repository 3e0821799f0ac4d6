// Any bytes as config.json, then as generation_config.json.
#include <cstdint>
#include <string_view>

#include "model/config.h"
#include "model/core_state.h"
#include "model/rotary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto config = longleaf::model::Config::Parse(text, "fuzz");
  if (!config.ok()) return 0;
  // What is accepted can be computed with.
  if (config->head_dim % 2 != 0 || config->query_heads % config->kv_heads != 0 ||
      !config->policy.Validate().ok()) {
    __builtin_trap();
  }
  const auto rotary = longleaf::model::MakeRotary(*config);
  for (const double frequency : rotary.inverse_frequencies) {
    if (!(frequency >= 0 && frequency <= 1)) __builtin_trap();
  }
  if (longleaf::model::StateBytes(
          config->StateShape(config->policy, longleaf::kernels::DType::kF32), config->context) <
      0) {
    __builtin_trap();
  }
  config->AddGenerationConfig(text, "fuzz").IgnoreError();
  return 0;
}
