// What kernels call without a header of their own: barriers, shuffles, votes, atomics, arithmetic
// of a stated rounding.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_INTRINSICS_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_INTRINSICS_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/gpu/emulator/block.h"

// Some CUDA functions have names that the C library declares for itself; it defines none of them.
extern "C" {
float __expf(float x) noexcept;
float __logf(float x) noexcept;
float __log2f(float x) noexcept;
float __sinf(float x) noexcept;
float __cosf(float x) noexcept;
float __powf(float x, float y) noexcept;
}

namespace longleaf::emulator {

enum class Shuffle { kFrom, kUp, kDown, kXor };
// Every lane gives `value` (4 or 8 bytes); it becomes that of the lane that `how` and `by` name.
void ShuffleBits(unsigned mask, Shuffle how, int by, int width, uint64_t* value);
uint32_t BallotOf(unsigned mask, bool predicate);
void SyncWarp(unsigned mask);

template <typename T>
T Shuffled(unsigned mask, Shuffle how, T value, int by, int width) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  ShuffleBits(mask, how, by, width, &bits);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Blocks and threads take turns, so that reading and writing is atomic.
template <typename T>
T Replace(T* address, T value) {
  const T old = *address;
  *address = value;
  return old;
}

}  // namespace longleaf::emulator

// ---- Together ----------------------------------------------------------------------------------

inline void __syncthreads() {
  longleaf::emulator::Barrier(0, longleaf::emulator::ThreadsOfBlock());
}
inline void __syncwarp(unsigned mask = 0xffffffffu) { longleaf::emulator::SyncWarp(mask); }
template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return longleaf::emulator::Shuffled(mask, longleaf::emulator::Shuffle::kFrom, value, lane, width);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  return longleaf::emulator::Shuffled(mask, longleaf::emulator::Shuffle::kUp, value,
                                      static_cast<int>(by), width);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  return longleaf::emulator::Shuffled(mask, longleaf::emulator::Shuffle::kDown, value,
                                      static_cast<int>(by), width);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int by, int width = 32) {
  return longleaf::emulator::Shuffled(mask, longleaf::emulator::Shuffle::kXor, value, by, width);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return longleaf::emulator::BallotOf(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == 0xffffffffu;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- Memory ------------------------------------------------------------------------------------

template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return longleaf::emulator::Replace(address, static_cast<T>(*address + value));
}
template <typename T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return longleaf::emulator::Replace(address, *address < value ? value : *address);
}
template <typename T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return longleaf::emulator::Replace(address, value < *address ? value : *address);
}
template <typename T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return longleaf::emulator::Replace(address, value);
}
template <typename T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return longleaf::emulator::Replace(address, static_cast<T>(*address | value));
}
template <typename T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return longleaf::emulator::Replace(address, *address == expected ? value : *address);
}
template <typename T>
T __ldg(const T* address) {
  return *address;
}
template <typename T>
T __ldcs(const T* address) {
  return *address;
}
template <typename T>
T __ldcg(const T* address) {
  return *address;
}
template <typename T>
void __stcs(T* address, std::type_identity_t<T> value) {
  *address = value;
}

// ---- Bits --------------------------------------------------------------------------------------

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
unsigned __byte_perm(unsigned x, unsigned y, unsigned selector);

// ---- Arithmetic: compiled without contraction, so every operation rounds by itself --------------

inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fdividef(float x, float y) { return x / y; }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float __frsqrt_rn(float x) { return 1 / std::sqrt(x); }
inline void sincospi(double x, double* sine, double* cosine) {
  *sine = std::sin(x * 3.14159265358979323846);
  *cosine = std::cos(x * 3.14159265358979323846);
}
// To the nearest, ties to even; what does not fit becomes the nearest that does, NaN zero.
inline int __float2int_rn(float x) {
  return std::isnan(x)        ? 0
         : x >= 2147483648.0f ? 0x7fffffff
         : x < -2147483648.0f ? -0x7fffffff - 1
                              : static_cast<int>(std::nearbyint(x));
}
inline int __float2int_rz(float x) { return __float2int_rn(std::trunc(x)); }
inline int __float2int_rd(float x) { return __float2int_rn(std::floor(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

template <typename T, typename = std::enable_if_t<std::is_integral_v<T>>>
constexpr T min(T a, std::type_identity_t<T> b) {
  return b < a ? b : a;
}
template <typename T, typename = std::enable_if_t<std::is_integral_v<T>>>
constexpr T max(T a, std::type_identity_t<T> b) {
  return a < b ? b : a;
}

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_INTRINSICS_H_
