// Rows into pages and out of them. hwy's baseline is enough: this waits for memory.
#include "kernels/cpu/page_rows.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "hwy/highway.h"

namespace longleaf::kernels {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

static_assert(std::endian::native == std::endian::little, "canonical bytes are copied as they lie");
constexpr int64_t kLane = 4;  // bytes: what a dot product adds up in one

// A matrix of lanes by bytes: rows may be unaligned.
template <typename Byte>
struct Lanes2D {
  Byte* data;
  int64_t stride;  // bytes
  Byte* at(int64_t row, int64_t column) const { return data + row * stride + column * kLane; }
};

// to[c][r] = from[r][c], for 4 x 4 lanes.
void TransposeFour(const Lanes2D<const std::byte>& from, int64_t row, int64_t column,
                   const Lanes2D<std::byte>& to) {
  const hn::Full128<float> d;
  const auto load = [&](int64_t r) {
    return hn::LoadU(d, reinterpret_cast<const float*>(from.at(row + r, column)));
  };
  const auto store = [&](int64_t c, auto v) {
    hn::StoreU(v, d, reinterpret_cast<float*>(to.at(column + c, row)));
  };
  const auto a = load(0), b = load(1), e = load(2), f = load(3);
  const auto ab_low = hn::InterleaveLower(d, a, b), ab_high = hn::InterleaveUpper(d, a, b);
  const auto ef_low = hn::InterleaveLower(d, e, f), ef_high = hn::InterleaveUpper(d, e, f);
  store(0, hn::ConcatLowerLower(d, ef_low, ab_low));
  store(1, hn::ConcatUpperUpper(d, ef_low, ab_low));
  store(2, hn::ConcatLowerLower(d, ef_high, ab_high));
  store(3, hn::ConcatUpperUpper(d, ef_high, ab_high));
}

// to[c][r] = from[r][c]. Four rows of `from` are read at a time, from left to right: tokens of one
// head lie a power of two apart, and more than a few such lines do not fit into the first cache
// together. Writes nothing but those lanes.
void Transpose(const Lanes2D<const std::byte>& from, int64_t rows, int64_t columns,
               const Lanes2D<std::byte>& to) {
  const auto copy = [&](int64_t r, int64_t c) { std::memcpy(to.at(c, r), from.at(r, c), kLane); };
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    int64_t c = 0;
    for (; c + 4 <= columns; c += 4) TransposeFour(from, r, c, to);
    for (; c < columns; ++c) {
      for (int64_t i = 0; i < 4; ++i) copy(r + i, c);
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) copy(r, c);
  }
}

// The first slot's lane of a head's keys: [lanes of a key, kPageTokens].
std::byte* Keys(const PageSlots& s) { return s.page + s.layout.keys(s.head) + s.slot * kLane; }
int64_t RowBytes(const PageLayout& layout) { return layout.head_dim * SizeOf(layout.dtype); }

void CopyScales(const std::byte* from, int64_t from_stride, int64_t count, std::byte* to,
                int64_t to_stride) {
  for (int64_t r = 0; r < count; ++r) {
    std::memcpy(to + r * to_stride, from + r * from_stride, sizeof(float));
  }
}

// Values of the slots that share lanes: [d, packing] elements of `Element`.
template <typename Element>
struct ValueLanes {
  static constexpr int64_t kPacking = kLane / int64_t{sizeof(Element)};
  explicit ValueLanes(const PageSlots& s)
      : first(reinterpret_cast<Element*>(s.page + s.layout.values(s.head))), d(s.layout.head_dim) {}
  Element* lanes(int64_t slot) const { return first + slot / kPacking * kPacking * d; }

  Element* const first;
  const int64_t d;
};

// One slot's values, an element from every lane.
template <typename Element>
void PutOne(const std::byte* row, int64_t d, int64_t place, Element* lanes) {
  constexpr int64_t kPacking = ValueLanes<Element>::kPacking;
  for (int64_t k = 0; k < d; ++k) {
    std::memcpy(lanes + k * kPacking + place, row + k * int64_t{sizeof(Element)}, sizeof(Element));
  }
}
template <typename Element>
void TakeOne(const Element* lanes, int64_t d, int64_t place, std::byte* row) {
  constexpr int64_t kPacking = ValueLanes<Element>::kPacking;
  for (int64_t k = 0; k < d; ++k) {
    std::memcpy(row + k * int64_t{sizeof(Element)}, lanes + k * kPacking + place, sizeof(Element));
  }
}

// All slots of the lanes at once, as far as whole vectors go: how many elements of each row.
int64_t PutAll(const std::byte* rows, int64_t stride, int64_t d, uint16_t* lanes) {
  const hn::Full128<uint16_t> d16;
  int64_t k = 0;
  for (; k + 8 <= d; k += 8) {
    const auto row = [&](int64_t r) {
      return hn::LoadU(d16, reinterpret_cast<const uint16_t*>(rows + r * stride) + k);
    };
    hn::StoreInterleaved2(row(0), row(1), d16, lanes + 2 * k);
  }
  return k;
}
int64_t PutAll(const std::byte* rows, int64_t stride, int64_t d, uint8_t* lanes) {
  const hn::Full128<uint8_t> d8;
  int64_t k = 0;
  for (; k + 16 <= d; k += 16) {
    const auto row = [&](int64_t r) {
      return hn::LoadU(d8, reinterpret_cast<const uint8_t*>(rows + r * stride) + k);
    };
    hn::StoreInterleaved4(row(0), row(1), row(2), row(3), d8, lanes + 4 * k);
  }
  return k;
}
int64_t TakeAll(const uint16_t* lanes, int64_t d, std::byte* rows, int64_t stride) {
  const hn::Full128<uint16_t> d16;
  int64_t k = 0;
  for (; k + 8 <= d; k += 8) {
    hn::Vec<decltype(d16)> a, b;
    hn::LoadInterleaved2(d16, lanes + 2 * k, a, b);
    hn::StoreU(a, d16, reinterpret_cast<uint16_t*>(rows) + k);
    hn::StoreU(b, d16, reinterpret_cast<uint16_t*>(rows + stride) + k);
  }
  return k;
}
int64_t TakeAll(const uint8_t* lanes, int64_t d, std::byte* rows, int64_t stride) {
  const hn::Full128<uint8_t> d8;
  int64_t k = 0;
  for (; k + 16 <= d; k += 16) {
    hn::Vec<decltype(d8)> a, b, c, e;
    hn::LoadInterleaved4(d8, lanes + 4 * k, a, b, c, e);
    hn::StoreU(a, d8, reinterpret_cast<uint8_t*>(rows) + k);
    hn::StoreU(b, d8, reinterpret_cast<uint8_t*>(rows + stride) + k);
    hn::StoreU(c, d8, reinterpret_cast<uint8_t*>(rows + 2 * stride) + k);
    hn::StoreU(e, d8, reinterpret_cast<uint8_t*>(rows + 3 * stride) + k);
  }
  return k;
}

template <typename Element>
void PutPacked(const PageSlots& to, const MemoryRows<const std::byte>& from) {
  constexpr int64_t kPacking = ValueLanes<Element>::kPacking, kSize = sizeof(Element);
  const ValueLanes<Element> values(to);
  for (int64_t r = 0; r < to.count;) {
    const int64_t slot = to.slot + r, place = slot % kPacking;
    const int64_t rows = std::min(to.count - r, kPacking - place);
    const std::byte* row = from.elements + r * from.stride;
    Element* lanes = values.lanes(slot);
    const int64_t done = rows == kPacking ? PutAll(row, from.stride, values.d, lanes) : 0;
    for (int64_t i = 0; i < rows; ++i, row += from.stride) {
      PutOne(row + done * kSize, values.d - done, place + i, lanes + done * kPacking);
    }
    r += rows;
  }
}

template <typename Element>
void TakePacked(const PageSlots& from, const MemoryRows<std::byte>& to) {
  constexpr int64_t kPacking = ValueLanes<Element>::kPacking, kSize = sizeof(Element);
  const ValueLanes<Element> values(from);
  for (int64_t r = 0; r < from.count;) {
    const int64_t slot = from.slot + r, place = slot % kPacking;
    const int64_t rows = std::min(from.count - r, kPacking - place);
    std::byte* row = to.elements + r * to.stride;
    const Element* lanes = values.lanes(slot);
    const int64_t done = rows == kPacking ? TakeAll(lanes, values.d, row, to.stride) : 0;
    for (int64_t i = 0; i < rows; ++i, row += to.stride) {
      TakeOne(lanes + done * kPacking, values.d - done, place + i, row + done * kSize);
    }
    r += rows;
  }
}

}  // namespace

void PutKeys(const PageSlots& to, const MemoryRows<const std::byte>& from) {
  const int64_t bytes = RowBytes(to.layout), lanes = bytes / kLane, rest = bytes % kLane;
  Transpose({from.elements, from.stride}, to.count, lanes, {Keys(to), kPageTokens * kLane});
  if (rest > 0) {
    std::byte* last = Keys(to) + lanes * kPageTokens * kLane;
    for (int64_t r = 0; r < to.count; ++r) {
      std::byte lane[kLane] = {};
      std::memcpy(lane, from.elements + r * from.stride + lanes * kLane, static_cast<size_t>(rest));
      std::memcpy(last + r * kLane, lane, kLane);
    }
  }
  if (from.scales != nullptr) {
    CopyScales(from.scales, from.scale_stride, to.count,
               to.page + to.layout.key_scales(to.head) + to.slot * kLane, kLane);
  }
}

void TakeKeys(const PageSlots& from, const MemoryRows<std::byte>& to) {
  const int64_t bytes = RowBytes(from.layout), lanes = bytes / kLane, rest = bytes % kLane;
  Transpose({Keys(from), kPageTokens * kLane}, lanes, from.count, {to.elements, to.stride});
  if (rest > 0) {
    const std::byte* last = Keys(from) + lanes * kPageTokens * kLane;
    for (int64_t r = 0; r < from.count; ++r) {
      std::memcpy(to.elements + r * to.stride + lanes * kLane, last + r * kLane,
                  static_cast<size_t>(rest));
    }
  }
  if (to.scales != nullptr) {
    CopyScales(from.page + from.layout.key_scales(from.head) + from.slot * kLane, kLane, from.count,
               to.scales, to.scale_stride);
  }
}

void PutValues(const PageSlots& to, const MemoryRows<const std::byte>& from) {
  switch (PagePacking(to.layout.dtype)) {
    case 2:
      PutPacked<uint16_t>(to, from);
      break;
    case 4:
      PutPacked<uint8_t>(to, from);
      break;
    default:
      for (int64_t r = 0; r < to.count; ++r) {
        std::memcpy(to.page + to.layout.values(to.head) + (to.slot + r) * RowBytes(to.layout),
                    from.elements + r * from.stride, static_cast<size_t>(RowBytes(to.layout)));
      }
  }
  if (from.scales != nullptr) {
    CopyScales(from.scales, from.scale_stride, to.count,
               to.page + to.layout.value_scales(to.head) + to.slot * kLane, kLane);
  }
}

void TakeValues(const PageSlots& from, const MemoryRows<std::byte>& to) {
  switch (PagePacking(from.layout.dtype)) {
    case 2:
      TakePacked<uint16_t>(from, to);
      break;
    case 4:
      TakePacked<uint8_t>(from, to);
      break;
    default:
      for (int64_t r = 0; r < from.count; ++r) {
        std::memcpy(
            to.elements + r * to.stride,
            from.page + from.layout.values(from.head) + (from.slot + r) * RowBytes(from.layout),
            static_cast<size_t>(RowBytes(from.layout)));
      }
  }
  if (to.scales != nullptr) {
    CopyScales(from.page + from.layout.value_scales(from.head) + from.slot * kLane, kLane,
               from.count, to.scales, to.scale_stride);
  }
}

}  // namespace longleaf::kernels
