// Any bytes as a SHA256SUMS.
#include <cstdint>
#include <string_view>

#include "model/checksums.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto sums = longleaf::model::ParseChecksums(text, "fuzz");
  if (!sums.ok()) return 0;
  for (const auto& [file, sum] : *sums) {
    // Nothing that is accepted leads out of the directory.
    const std::string path = "/" + file + "/";
    if (sum.size() != 64 || path.find("/../") != std::string::npos ||
        path.find("//") != std::string::npos || path.find('\0') != std::string::npos) {
      __builtin_trap();
    }
  }
  return 0;
}
