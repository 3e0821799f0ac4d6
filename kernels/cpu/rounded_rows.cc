// Rounding of rows in Highway.
#include "kernels/cpu/rounded_rows.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "kernels/state_rounding.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rounded_rows.cc"
#include "hwy/foreach_target.h"

#include "hwy/highway.h"
#include "kernels/cpu/for_each-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

HWY_ATTR void ToBF16(const float* x, int64_t count, uint16_t* to) {
  ForEach(count, [&](auto df, int64_t i) HWY_ATTR {
    const hn::RebindToUnsigned<decltype(df)> du;
    const hn::RebindToSigned<decltype(df)> di;
    const hn::Rebind<uint16_t, decltype(df)> du16;
    const auto value = hn::LoadU(df, x + i);
    const auto bits = hn::BitCast(du, value);
    const auto high = hn::ShiftRight<16>(bits);
    const auto half = hn::Add(hn::Set(du, 0x7fff), hn::And(high, hn::Set(du, 1)));
    const auto nearest = hn::ShiftRight<16>(hn::Add(bits, half));
    const auto quiet = hn::Or(high, hn::Set(du, 0x40));
    const auto is_nan = hn::RebindMask(du, hn::IsNaN(value));
    const auto rounded = hn::BitCast(di, hn::IfThenElse(is_nan, quiet, nearest));
    hn::StoreU(hn::DemoteTo(du16, rounded), du16, to + i);
  });
}

HWY_ATTR void FromBF16(const uint16_t* from, int64_t count, float* x) {
  ForEach(count, [&](auto df, int64_t i) HWY_ATTR {
    const hn::RebindToUnsigned<decltype(df)> du;
    const hn::Rebind<uint16_t, decltype(df)> du16;
    const auto bits = hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(du16, from + i)));
    hn::StoreU(hn::BitCast(df, bits), df, x + i);
  });
}

// The bits of max |x|: as integers NaN comes after infinity, and that after all numbers.
HWY_ATTR uint32_t LargestBits(const float* x, int64_t count) {
  const hn::ScalableTag<int32_t> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto* bits = reinterpret_cast<const int32_t*>(x);
  const auto magnitude = hn::Set(d, 0x7fffffff);
  auto largest = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    largest = hn::Max(largest, hn::And(hn::LoadU(d, bits + i), magnitude));
  }
  int32_t result = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; i < count; ++i) {
    result = std::max(result, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
  }
  return static_cast<uint32_t>(result);
}

HWY_ATTR float ToI8(const float* x, int64_t count, int8_t* to) {
  const float largest = std::bit_cast<float>(LargestBits(x, count));
  if (!(largest >= kSmallestRow && largest < kLargestRow)) {
    std::fill_n(to, count, int8_t{0});
    return largest < kSmallestRow ? 0 : std::numeric_limits<float>::quiet_NaN();
  }
  const float inverse = 127.0f / largest;
  ForEach(count, [&](auto df, int64_t i) HWY_ATTR {
    const hn::Rebind<int8_t, decltype(df)> di8;
    const auto nearest = hn::NearestInt(hn::Mul(hn::LoadU(df, x + i), hn::Set(df, inverse)));
    hn::StoreU(hn::DemoteTo(di8, nearest), di8, to + i);
  });
  return largest / 127.0f;
}

HWY_ATTR void FromI8(const int8_t* from, float scale, int64_t count, float* x) {
  ForEach(count, [&](auto df, int64_t i) HWY_ATTR {
    const hn::RebindToSigned<decltype(df)> di;
    const hn::Rebind<int8_t, decltype(df)> di8;
    const auto element = hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(di8, from + i)));
    hn::StoreU(hn::Mul(element, hn::Set(df, scale)), df, x + i);
  });
}

}  // namespace longleaf::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

HWY_EXPORT(ToBF16);
HWY_EXPORT(FromBF16);
HWY_EXPORT(ToI8);
HWY_EXPORT(FromI8);

float RoundRowFast(DType type, const float* x, int64_t d, std::byte* elements) {
  if (type == DType::kI8) {
    return HWY_DYNAMIC_DISPATCH(ToI8)(x, d, reinterpret_cast<int8_t*>(elements));
  }
  HWY_DYNAMIC_DISPATCH(ToBF16)(x, d, reinterpret_cast<uint16_t*>(elements));
  return 1;
}

void ReadRowFast(DType type, const std::byte* elements, float scale, int64_t d, float* x) {
  if (type == DType::kI8) {
    HWY_DYNAMIC_DISPATCH(FromI8)(reinterpret_cast<const int8_t*>(elements), scale, d, x);
  } else {
    HWY_DYNAMIC_DISPATCH(FromBF16)(reinterpret_cast<const uint16_t*>(elements), d, x);
  }
}

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
