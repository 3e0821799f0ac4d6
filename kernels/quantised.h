// What weights of fewer than 32 bits mean: the rules that every backend follows, in scalar code.
//
// int8, int4: a row of weights is cut along its inputs into groups; a group is small integers and
// one scale. Activations are quantised too, at the moment of the product, each row by itself and in
// the same groups, with 8 bits. Within a group the product is of integers and so exact; the groups'
// results are scaled and added up in f32, first group first. So a row of activations gives the same
// bits whatever rows are beside it, and a document read in chunks of any size gives one state.
//
// bf16: weights and activations are rounded to the nearest, ties to even. fp8: both are e4m3, with
// one scale for a whole row. Products of two such numbers are exact in f32, and are added up in f32
// in whatever order is fast.
#ifndef LONGLEAF_KERNELS_QUANTISED_H_
#define LONGLEAF_KERNELS_QUANTISED_H_

#include <cstdint>

#include "kernels/backend.h"

namespace longleaf::kernels {

// Inputs that share a scale; 0 for a format without scales, and for fp8, where all of a row do.
constexpr int64_t GroupOf(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
    case WeightFormat::kBF16:
    case WeightFormat::kFP8:
      return 0;
    case WeightFormat::kI8:
      return 64;
    case WeightFormat::kI4:
      return 32;
  }
  return 0;
}
inline constexpr int64_t kMostGroup = 64;

// Groups of a row of `in_features`; the last may hold fewer, the others of it count as zero.
constexpr int64_t GroupsOf(WeightFormat format, int64_t in_features) {
  const int64_t group = GroupOf(format);
  return group == 0 ? 0 : (in_features + group - 1) / group;
}

// A group whose largest magnitude is below this counts as all zeros: the reciprocal of its scale
// would overflow.
inline constexpr float kSmallestGroup = 0x1p-100f;

// x[i] is about q[i] * scale, which is returned: scale = max|x| / 127, and q[i] the integer nearest
// to x[i] * (127 / max|x|), ties to even, in -127 .. 127. 0 for a group of zeros.
float QuantiseI8(const float* x,  // [count]
                 int64_t count,
                 int8_t* q);  // [count]

// x[i] is about (q[i] - 8) * scale, which is returned: a bfloat16, x of the largest magnitude
// divided by -8 (the side of the range that reaches further); q[i] the integer nearest to
// x[i] / scale + 8 in 0 .. 15. 0 for a group of zeros, whose q are 8.
float QuantiseI4(const float* x,  // [count]
                 int64_t count,
                 uint8_t* q);  // [count]

// The scale that QuantiseI4 chooses, given max|x|.
float ScaleOfI4(const float* x, int64_t count, float largest);

// The bits of the e4m3 number (4 bits of exponent, 3 of fraction, no infinity) nearest to x, ties
// to even; 448 for what is larger, by the sign; NaN for NaN.
uint8_t E4M3FromFloat(float x);
float FloatFromE4M3(uint8_t bits);

// x[i] is about FloatFromE4M3(q[i]) * scale, which is returned: scale = max|x| / 448, and q[i] the
// e4m3 nearest to x[i] * (448 / max|x|), all in f32. 0 for a row of zeros; NaN, and q of 0, for one
// with a NaN or an infinity, so that the damage shows.
float QuantiseFP8(const float* x,  // [count]
                  int64_t count,
                  uint8_t* q);  // [count]

// x[i] as the product sees it, x[0 .. count - 1] being a whole row: rounded to `format`, group
// by group, and back. Weights of a format, and activations beside them (as_weights false).
void RoundForProduct(WeightFormat format, bool as_weights, int64_t count, float* x);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_QUANTISED_H_
