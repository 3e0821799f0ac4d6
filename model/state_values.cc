#include "model/state_values.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "kernels/state_rounding.h"

namespace longleaf::model {
namespace {

// Whether no element, an unsigned integer of little-endian bytes, satisfies `wrong`. Without a
// branch in the loop, so that it runs at the speed of memory.
template <typename Element, typename Wrong>
bool None(absl::Span<const std::byte> bytes, const Wrong& wrong) {
  Element found = 0;
  for (size_t i = 0; i + sizeof(Element) <= bytes.size(); i += sizeof(Element)) {
    Element bits;
    std::memcpy(&bits, bytes.data() + i, sizeof(bits));
    found = static_cast<Element>(found | static_cast<Element>(wrong(bits)));
  }
  return found == 0;
}

}  // namespace

bool AreStateValues(const kernels::StateShape& shape, absl::Span<const std::byte> block) {
  switch (shape.dtype) {
    case kernels::DType::kF32:
      return None<uint32_t>(block, [](uint32_t x) { return (x & 0x7F800000) == 0x7F800000; });
    case kernels::DType::kBF16:
      return None<uint16_t>(block, [](uint16_t x) { return (x & 0x7F80) == 0x7F80; });
    case kernels::DType::kI8: {
      const size_t half = block.size() / 2;  // keys, values
      const auto rows = half / static_cast<size_t>(shape.row_bytes());
      const size_t elements = rows * static_cast<size_t>(shape.head_dim);
      constexpr auto kLimit = std::bit_cast<uint32_t>(kernels::kScaleLimit);
      for (const size_t begin : {size_t{0}, half}) {
        // As integers, negative numbers and NaN come after every scale that may be.
        if (!None<uint8_t>(block.subspan(begin, elements), [](uint8_t x) { return x == 0x80; }) ||
            !None<uint32_t>(block.subspan(begin + elements, half - elements),
                            [](uint32_t x) { return x >= kLimit; })) {
          return false;
        }
      }
      return true;
    }
    default:
      return false;
  }
}

}  // namespace longleaf::model
