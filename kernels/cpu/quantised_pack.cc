// Packing of quantised panels and quantising of activations (Highway, dispatched at run time), to
// the bits of the scalar rules in quantised.h.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/quantised_panels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/quantised_pack.cc"
#include "hwy/foreach_target.h"

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;
using VF = hn::Vec<DF>;
using DI = hn::RebindToSigned<DF>;
using VI = hn::Vec<DI>;

// max|x|; count is a multiple of the vectors' lanes, here and below.
float LargestOfGroup(const float* x, int64_t count) {
  const DF df;
  VF most = hn::Zero(df);
  for (int64_t i = 0; i < count; i += static_cast<int64_t>(hn::Lanes(df))) {
    most = hn::Max(most, hn::Abs(hn::LoadU(df, x + i)));
  }
  return hn::GetLane(hn::MaxOfLanes(df, most));
}

// QuantiseI8 of quantised.h with vectors: the same operations, so the same bits. Returns the sum of
// the numbers too. count is a multiple of the vectors' lanes.
ActivationScale QuantiseGroup(const float* x, int64_t count, int8_t* q) {
  const DF df;
  const DI di;
  const hn::Rebind<int8_t, DF> d8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const float largest = LargestOfGroup(x, count);
  if (!(largest >= kSmallestGroup)) {
    std::fill_n(q, count, int8_t{0});
    return {0, 0};
  }
  const VF inverse = hn::Set(df, 127.0f / largest);
  VI sum = hn::Zero(di);
  for (int64_t i = 0; i < count; i += lanes) {
    VI number = hn::NearestInt(hn::Mul(hn::LoadU(df, x + i), inverse));
    number = hn::Max(hn::Min(number, hn::Set(di, 127)), hn::Set(di, -127));
    sum = hn::Add(sum, number);
    hn::StoreU(hn::DemoteTo(d8, number), d8, q + i);
  }
  return {largest / 127.0f, hn::GetLane(hn::SumOfLanes(di, sum))};
}

void QuantiseRow(WeightFormat format, const float* in, int64_t in_features, int8_t* numbers,
                 ActivationScale* scales) {
  const int64_t group = GroupOf(format);
  const int32_t offset = format == WeightFormat::kI8 ? 128 : 8;
  for (int64_t begin = 0; begin < in_features; begin += group, ++scales) {
    const float* x = in + begin;
    float rest[kMostGroup];
    if (in_features - begin < group) {
      std::fill_n(rest, kMostGroup, 0.0f);
      x = std::copy_n(x, in_features - begin, rest) - (in_features - begin);
    }
    *scales = QuantiseGroup(x, group, numbers + begin);
    scales->correction *= -offset;
  }
}

// QuantiseI4 of quantised.h with vectors: the same operations, so the same bits.
float QuantiseGroupI4(const float* x, int64_t count, uint8_t* q) {
  const DF df;
  const DI di;
  const hn::Rebind<uint8_t, DF> d8;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const float largest = LargestOfGroup(x, count);
  const float scale = ScaleOfI4(x, count, largest);
  if (scale == 0) {
    std::fill_n(q, count, uint8_t{8});
    return 0;
  }
  for (int64_t i = 0; i < count; i += lanes) {
    const VF place = hn::Add(hn::Div(hn::LoadU(df, x + i), hn::Set(df, scale)), hn::Set(df, 8.0f));
    const VI number = hn::Max(hn::Min(hn::NearestInt(place), hn::Set(di, 15)), hn::Zero(di));
    hn::StoreU(hn::DemoteTo(d8, number), d8, q + i);
  }
  return scale;
}

// One group of one output into its places in the panel. x: GroupOf(format) floats.
void PackGroup(WeightFormat format, const float* x, int64_t column, uint8_t* panel_group) {
  const int64_t group = GroupOf(format);
  uint8_t* const scales = panel_group + NumberBytes(format);
  if (format == WeightFormat::kI8) {
    int8_t q[kMostGroup];
    const float scale = QuantiseGroup(x, group, q).scale;
    for (int64_t i = 0; i < group; i += 4) {
      uint32_t quad;
      std::memcpy(&quad, q + i, sizeof(quad));
      quad ^= 0x80808080;  // + 128 in each byte
      std::memcpy(panel_group + (i / 4 * kPanelColumns + column) * 4, &quad, sizeof(quad));
    }
    std::memcpy(scales + column * 4, &scale, sizeof(scale));
    return;
  }
  uint8_t q[kMostGroup];
  const float scale = QuantiseGroupI4(x, group, q);
  for (int64_t i = 0; i < group; i += 8) {
    uint32_t low, high;
    std::memcpy(&low, q + i, sizeof(low));
    std::memcpy(&high, q + i + 4, sizeof(high));
    low |= high << 4;
    std::memcpy(panel_group + (i / 8 * kPanelColumns + column) * 4, &low, sizeof(low));
  }
  uint32_t bits;
  std::memcpy(&bits, &scale, sizeof(bits));
  const uint16_t half = static_cast<uint16_t>(bits >> 16);
  std::memcpy(scales + column * 2, &half, sizeof(half));
}

void PackPanel(const PanelSource& source, WeightFormat format, uint8_t* panel) {
  const int64_t group = GroupOf(format), depth = source.in_features;
  for (int64_t begin = 0; begin < depth; begin += group, panel += GroupBytes(format)) {
    const int64_t count = std::min(group, depth - begin);
    for (int64_t n = 0; n < kPanelColumns; ++n) {
      float x[kMostGroup] = {};
      if (n < source.columns) {
        const char* from =
            static_cast<const char*>(source.rows[n]) + begin * SizeOf(source.types[n]);
        ToFloat(from, source.types[n], count, x);
      }
      PackGroup(format, x, n, panel);
    }
  }
}

}  // namespace longleaf::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

HWY_EXPORT(PackPanel);
HWY_EXPORT(QuantiseRow);

void QuantiseActivations(WeightFormat format, const float* in, int64_t in_features, int8_t* numbers,
                         ActivationScale* scales) {
  HWY_DYNAMIC_DISPATCH(QuantiseRow)(format, in, in_features, numbers, scales);
}

void PackQuantisedPanel(const PanelSource& source, WeightFormat format, uint8_t* panel) {
  HWY_DYNAMIC_DISPATCH(PackPanel)(source, format, panel);
}

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
