// CUDA C++ as plain C++: the words in front of functions and variables, the vector types, and where
// a thread is.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_LANGUAGE_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_LANGUAGE_H_

#include <cstddef>
#include <cstdint>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) __attribute__((aligned(bytes)))

// Blocks run one after another, so one copy is enough. Where it can, the emulator fills the section
// with NaN between blocks; the address sanitizer watches the ends of variables only where they are
// in no section of ours.
#if defined(__SANITIZE_ADDRESS__)
#define LONGLEAF_EMULATOR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LONGLEAF_EMULATOR_ASAN 1
#endif
#endif
#ifdef LONGLEAF_EMULATOR_ASAN
#define __shared__ static
#else
#define __shared__ static __attribute__((section("longleaf_shared")))
#endif

// ---- Vector types: the same sizes and alignments ------------------------------------------------

#define LONGLEAF_VECTORS(T, name, align2, align4)                       \
  struct name##1 {                                                      \
    T x;                                                                \
  };                                                                    \
  struct alignas(align2) name##2 {                                      \
    T x, y;                                                             \
  };                                                                    \
  struct name##3 {                                                      \
    T x, y, z;                                                          \
  };                                                                    \
  struct alignas(align4) name##4 {                                      \
    T x, y, z, w;                                                       \
  };                                                                    \
  constexpr name##1 make_##name##1(T x) { return {x}; }                 \
  constexpr name##2 make_##name##2(T x, T y) { return {x, y}; }         \
  constexpr name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

LONGLEAF_VECTORS(signed char, char, 2, 4)
LONGLEAF_VECTORS(unsigned char, uchar, 2, 4)
LONGLEAF_VECTORS(short, short, 4, 8)
LONGLEAF_VECTORS(unsigned short, ushort, 4, 8)
LONGLEAF_VECTORS(int, int, 8, 16)
LONGLEAF_VECTORS(unsigned int, uint, 8, 16)
LONGLEAF_VECTORS(float, float, 8, 16)
LONGLEAF_VECTORS(double, double, 16, 16)
LONGLEAF_VECTORS(long long, longlong, 16, 16)
LONGLEAF_VECTORS(unsigned long long, ulonglong, 16, 16)
#undef LONGLEAF_VECTORS

struct dim3 {
  constexpr dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1)
      : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  unsigned int x, y, z;
};

// ---- Where the running thread is: set by the emulator at every switch ---------------------------

extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
inline constexpr int warpSize = 32;

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_LANGUAGE_H_
