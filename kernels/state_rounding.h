// How keys and values are rounded when they enter a state: the rules, in scalar code. Whatever else
// writes states (vectors on the CPU, a GPU) gives the same bits.
//
// What is rounded is one row: the key or the value of one token and one head, [d] f32. A state is
// only ever read as rounded, by attention, by pooling and by whoever stores it, so that a restored
// state goes on exactly like the live one.
//
// bf16: each element to the nearest, ties to even, beyond the largest to infinity as IEEE 754 has
// it; NaN stays NaN.
//
// i8: a scale of the row's own, and elements of -127..127 that stand for element * scale, a product
// rounded to f32:
//   m = max |x|;  scale = m / 127;  element = x * (127 / m) to the nearest integer, ties to even,
// all in f32. A row whose m is below kSmallestRow is zero, with scale 0. One with a NaN, or with an
// m of kLargestRow or more, cannot be kept: its scale is NaN and its elements are 0, so that the
// damage shows.
#ifndef LONGLEAF_KERNELS_STATE_ROUNDING_H_
#define LONGLEAF_KERNELS_STATE_ROUNDING_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"

namespace longleaf::kernels {

inline constexpr float kSmallestRow = 0x1p-100f;  // below, 127 / m comes near overflow
inline constexpr float kLargestRow = 0x1p127f;    // from here on, 127 * scale may overflow
// Every scale that the rule gives is in [0, kScaleLimit), or NaN. Within it, no element overflows.
inline constexpr float kScaleLimit = 0x1p121f;

// Rounds x[d] into `elements`, d * SizeOf(type) bytes, and returns the scale; 1 for types without.
// Types: f32 (a copy), bf16, i8.
float RoundRow(DType type, const float* x, int64_t d, std::byte* elements);
// What a rounded row stands for. x[d].
void ReadRow(DType type, const std::byte* elements, float scale, int64_t d, float* x);

// "f32", "bf16" or "int8", the types of states. INVALID_ARGUMENT.
absl::StatusOr<DType> ParseStateType(absl::string_view name);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_STATE_ROUNDING_H_
