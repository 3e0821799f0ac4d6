// Any bytes as a safetensors file. Of what is accepted, every tensor lies in the file.
#include <cstddef>
#include <cstdint>

#include "model/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto header = longleaf::model::SafetensorsHeader::Parse(
      {reinterpret_cast<const std::byte*>(data), size}, static_cast<int64_t>(size), "fuzz");
  if (!header.ok()) return 0;
  int64_t bytes = 0;
  for (const auto& [name, tensor] : header->tensors) {
    if (tensor.begin < 0 || tensor.end < tensor.begin ||
        header->data_begin + tensor.end > static_cast<int64_t>(size)) {
      __builtin_trap();
    }
    bytes += tensor.end - tensor.begin;
  }
  if (header->data_begin + bytes != static_cast<int64_t>(size)) __builtin_trap();
  return 0;
}
