// Loads and products of matrix fragments, from the layouts in kernels/cuda/ptx.h.
#include "tests/gpu/emulator/matrix_ops.h"

#include <cuda_bf16.h>

#include <cstring>

#include "tests/gpu/emulator/block.h"

namespace longleaf::emulator {
namespace {

constexpr int kLanes = 32;

struct LoadArgument {
  const void* row;
  uint32_t* r;
};

template <bool kTransposed>
void LoadTogether(void* const* arguments) {
  for (int m = 0; m < 4; ++m) {
    uint16_t matrix[8][8];
    for (int row = 0; row < 8; ++row) {
      std::memcpy(matrix[row], static_cast<LoadArgument*>(arguments[m * 8 + row])->row, 16);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const int g = lane / 4, t = lane % 4;
      const uint32_t low = kTransposed ? matrix[2 * t][g] : matrix[g][2 * t];
      const uint32_t high = kTransposed ? matrix[2 * t + 1][g] : matrix[g][2 * t + 1];
      static_cast<LoadArgument*>(arguments[lane])->r[m] = high << 16 | low;
    }
  }
}

template <typename Sum>
struct ProductArgument {
  Sum* c;
  const uint32_t* a;
  uint32_t b[2];
};

// Element `i` of a register that holds several.
float Bf16At(uint32_t bits, int i) { return FromBf16(static_cast<uint16_t>(bits >> (16 * i))); }

// [16, 2 * half] times [2 * half, 8]: a register has `kIn` elements of type T along the middle.
template <typename T, int kIn, T (*kAt)(uint32_t, int)>
void MultiplyTogether(void* const* arguments) {
  constexpr int kHalf = 4 * kIn, kDepth = 2 * kHalf;
  T a[16][kDepth], b[kDepth][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto& self = *static_cast<ProductArgument<T>*>(arguments[lane]);
    const int g = lane / 4, first = lane % 4 * kIn;
    for (int i = 0; i < kIn; ++i) {
      a[g][first + i] = kAt(self.a[0], i);
      a[g + 8][first + i] = kAt(self.a[1], i);
      a[g][first + kHalf + i] = kAt(self.a[2], i);
      a[g + 8][first + kHalf + i] = kAt(self.a[3], i);
      b[first + i][g] = kAt(self.b[0], i);
      b[first + kHalf + i][g] = kAt(self.b[1], i);
    }
  }
  for (int row = 0; row < 16; ++row) {
    T sums[8] = {};
    for (int k = 0; k < kDepth; ++k) {
      for (int col = 0; col < 8; ++col) sums[col] += a[row][k] * b[k][col];
    }
    for (int t = 0; t < 4; ++t) {
      T* c = static_cast<ProductArgument<T>*>(arguments[row % 8 * 4 + t])->c + row / 8 * 2;
      c[0] += sums[2 * t];
      c[1] += sums[2 * t + 1];
    }
  }
}

}  // namespace

void LoadMatrices(uint32_t (&r)[4], const void* row, bool transposed) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) Fault("a row of a matrix is not aligned");
  LoadArgument argument{row, r};
  WarpTogether(transposed ? LoadTogether<true> : LoadTogether<false>, &argument);
}

void MultiplyBf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  ProductArgument<float> argument{c, a, {b0, b1}};
  WarpTogether(MultiplyTogether<float, 2, Bf16At>, &argument);
}

}  // namespace longleaf::emulator
