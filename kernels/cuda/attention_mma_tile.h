// One page of keys and values against the query slots of one warp, by mma.sync: what
// attention_mma_kernel.h does with a page once it is in shared memory.
//
// A warp has 16 * kMTiles query slots. In shared memory rows are kPad bytes longer than their
// elements, an odd number of 16 bytes: so the eight rows that ldmatrix reads at a time lie in
// different banks, and every address is the lane's own plus a constant.
//
// i8 elements become bf16 in registers, which is exact. A lane's 32 bits of a key are the elements
// 4t .. 4t+3 of 16; those of even place serve as the fragment's elements 2t, 2t+1 and the odd ones
// as 2t+8, 2t+9, and the query is stored in the same order (QueryPlace). Of the values a lane gets
// columns 2g, 2g+1 of 16, so that the even and the odd columns are sums of their own.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_TILE_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_TILE_H_

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device_page.h"
#include "kernels/cuda/ptx.h"

namespace longleaf::kernels::cuda {

template <DType kType, int kD>
struct MmaLayout {
  static constexpr bool kScaled = kType == DType::kI8;
  static constexpr int kPad = 16;
  static constexpr int kKeys = static_cast<int>(kPageTokens);
  static constexpr int kRowBytes = kD * (kScaled ? 1 : 2);  // of a key or value
  static constexpr int kRow = kRowBytes + kPad;
  // Where in a stage of keys their scales begin, and those of the values.
  static constexpr int kKeyScales = kKeys * kRow;
  static constexpr int kValueScales = kKeyScales + kKeys * 4;
  static constexpr int kStage = kKeyScales + (kScaled ? 2 * kKeys * 4 : 0);
  static constexpr int kQueryRow = kD * 2 + kPad;
  // log2(e) / sqrt(kD): from a product to the power of 2 that its weight is.
  static_assert(kD == 64 || kD == 96 || kD == 128);
  static constexpr float kFactor = 1.4426950408889634f * (kD == 64   ? 0.125f
                                                          : kD == 96 ? 0.10206207261596575f
                                                                     : 0.08838834764831845f);

  // Where element k of a query is stored.
  static constexpr int QueryPlace(int k) {
    if (!kScaled) return k;
    const int in16 = k % 16, t = in16 / 4, place = in16 % 4;
    return k - in16 + 2 * t + place / 2 + place % 2 * 8;
  }
};

// Bytes 0 and 2 of `bytes`, s8, as bf16: byte 0 in the lower half. 128 + the lower 7 bits of a byte
// is a bf16 with these bits at the end; what is too much is 128, or 256 where the sign is set.
__device__ __forceinline__ uint32_t Bf16OfBytes02(uint32_t bytes) {
  return SubtractBf16x2(AndOr(bytes, 0x007f007fu, 0x43004300u),
                        AndOr(bytes, 0x00800080u, 0x43004300u));
}

// Columns `begin` .. `end` - 1 of a page are seen.
struct SeenColumns {
  int begin = 0;
  int end = static_cast<int>(kPageTokens);
};

// The running softmax of one lane: rows g and g + 8 of each of the warp's fragments.
template <DType kType, int kD, int kMTiles>
struct MmaTile {
  using Layout = MmaLayout<kType, kD>;
  static constexpr int kColumns = Layout::kKeys / 8;  // fragments of 8 keys

  float sums[kMTiles][kD / 8][4];                    // of values
  float scores[kMTiles][kColumns][4];                // of the newest page, then its weights
  uint32_t weights[kMTiles][Layout::kKeys / 16][4];  // in bf16
  float largest[kMTiles][2];                         // score
  float total[kMTiles][2];                           // this lane's part of the sum of the weights

  __device__ __forceinline__ void Clear() {
#pragma unroll
    for (int m = 0; m < kMTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kD / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[m][n][i] = 0.0f;
      }
      largest[m][0] = largest[m][1] = -INFINITY;
      total[m][0] = total[m][1] = 0.0f;
    }
  }

  // scores = queries times keys. `query`: the warp's first slot, `keys`: a stage.
  __device__ __forceinline__ void Score(const std::byte* query, const std::byte* keys, int lane) {
    const std::byte* const q = query + lane % 16 * Layout::kQueryRow + lane / 16 * 16;
    const std::byte* const k =
        Layout::kScaled ? keys + lane * Layout::kRow
                        : keys + (lane / 16 * 8 + lane % 8) * Layout::kRow + lane / 8 % 2 * 16;
#pragma unroll
    for (int m = 0; m < kMTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kColumns; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) scores[m][n][i] = 0.0f;
      }
    }
    // Unrolled whole, expanding the i8 keys would take more registers than there are.
#pragma unroll(Layout::kScaled ? 2 : kD / 16)
    for (int step = 0; step < kD / 16; ++step) {
      uint32_t a[kMTiles][4];
#pragma unroll
      for (int m = 0; m < kMTiles; ++m) {
        LdMatrixX4(a[m], q + m * 16 * Layout::kQueryRow + step * 32);
      }
      if constexpr (Layout::kScaled) {
#pragma unroll
        for (int four = 0; four < kColumns / 4; ++four) {
          uint32_t b[4];
          LdMatrixX4(b, k + four * 32 * Layout::kRow + step * 16);
#pragma unroll
          for (int n = 0; n < 4; ++n) {
            const uint32_t even = Bf16OfBytes02(b[n]), odd = Bf16OfBytes02(b[n] >> 8);
#pragma unroll
            for (int m = 0; m < kMTiles; ++m) MmaBf16(scores[m][4 * four + n], a[m], even, odd);
          }
        }
      } else {
#pragma unroll
        for (int two = 0; two < kColumns / 2; ++two) {
          uint32_t b[4];
          LdMatrixX4(b, k + two * 16 * Layout::kRow + step * 32);
#pragma unroll
          for (int m = 0; m < kMTiles; ++m) {
            MmaBf16(scores[m][2 * two], a[m], b[0], b[1]);
            MmaBf16(scores[m][2 * two + 1], a[m], b[2], b[3]);
          }
        }
      }
    }
    if constexpr (Layout::kScaled) Scale(keys + Layout::kKeyScales, lane);
  }

  // Leaves out the keys that row g + 8 * half of fragment m does not see.
  __device__ __forceinline__ void Mask(int m, int half, SeenColumns seen, int lane) {
#pragma unroll
    for (int n = 0; n < kColumns; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int column = 8 * n + lane % 4 * 2 + i;
        float& score = scores[m][n][2 * half + i];
        if (column < seen.begin || column >= seen.end) score = -INFINITY;
      }
    }
  }

  // Weights of the page, and what they do to the sums so far. All lanes of the warp.
  __device__ __forceinline__ void Soften() {
    bool grew = false;
    float shrink[kMTiles][2];
#pragma unroll
    for (int m = 0; m < kMTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = largest[m][half];
#pragma unroll
        for (int n = 0; n < kColumns; ++n) {
          most = fmaxf(most, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
        }
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        // A row may see nothing yet.
        const float base = most == -INFINITY ? 0.0f : __fmul_rn(most, Layout::kFactor);
        grew = grew || most != largest[m][half];
        // Exactly 1 where nothing has grown: whether other rows have must not show.
        shrink[m][half] = Exp2Approximate(__fmul_rn(largest[m][half], Layout::kFactor) - base);
        largest[m][half] = most;
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < kColumns; ++n) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            float& score = scores[m][n][2 * half + i];
            score = Exp2Approximate(fmaf(score, Layout::kFactor, -base));
            sum += score;
          }
        }
        total[m][half] = fmaf(total[m][half], shrink[m][half], sum);
      }
    }
    if (!__any_sync(0xffffffffu, grew)) return;
#pragma unroll
    for (int m = 0; m < kMTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kD / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[m][n][i] *= shrink[m][i / 2];
      }
    }
  }

  // The weights, each times the scale of its value, in bf16 as Add wants them. `keys`: the stage.
  __device__ __forceinline__ void Pack(const std::byte* keys, int lane) {
    if constexpr (Layout::kScaled) Scale(keys + Layout::kValueScales, lane);
#pragma unroll
    for (int m = 0; m < kMTiles; ++m) {
#pragma unroll
      for (int step = 0; step < Layout::kKeys / 16; ++step) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float* const pair = scores[m][2 * step + i / 2] + i % 2 * 2;
          weights[m][step][i] = PackBf16(pair[0], pair[1]);
        }
      }
    }
  }

  // sums += weights times values, a stage.
  __device__ __forceinline__ void Add(const std::byte* values, int lane) {
    const std::byte* const v = values + lane % 16 * Layout::kRow + lane / 16 * 16;
#pragma unroll
    for (int step = 0; step < Layout::kKeys / 16; ++step) {
#pragma unroll
      for (int n = 0; n < Layout::kRowBytes / 32; ++n) {
        uint32_t b[4];
        LdMatrixX4Trans(b, v + step * 16 * Layout::kRow + n * 32);
        if constexpr (Layout::kScaled) {
#pragma unroll
          for (int block = 0; block < 2; ++block) {
            const uint32_t b0 = b[2 * block], b1 = b[2 * block + 1];
            const uint32_t even0 = Bf16OfBytes02(b0), even1 = Bf16OfBytes02(b1);
            const uint32_t odd0 = Bf16OfBytes02(b0 >> 8), odd1 = Bf16OfBytes02(b1 >> 8);
#pragma unroll
            for (int m = 0; m < kMTiles; ++m) {
              MmaBf16(sums[m][4 * n + 2 * block], weights[m][step], even0, even1);
              MmaBf16(sums[m][4 * n + 2 * block + 1], weights[m][step], odd0, odd1);
            }
          }
        } else {
#pragma unroll
          for (int m = 0; m < kMTiles; ++m) {
            MmaBf16(sums[m][2 * n], weights[m][step], b[0], b[1]);
            MmaBf16(sums[m][2 * n + 1], weights[m][step], b[2], b[3]);
          }
        }
      }
    }
  }

  // After the last page: the whole sum of the weights of row g + 8 * half. All lanes.
  __device__ __forceinline__ float Total(int m, int half) const {
    float sum = total[m][half];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    return sum;
  }

  // Writes the sums of row g + 8 * half times `factor` to row[kD]; the four lanes of a row
  // together.
  __device__ __forceinline__ void Store(int m, int half, float factor, int lane, float* row) const {
    const int t = lane % 4;
    if constexpr (Layout::kScaled) {
#pragma unroll
      for (int n = 0; n < kD / 16; ++n) {
        const float* const even = sums[m][2 * n] + 2 * half;
        const float* const odd = sums[m][2 * n + 1] + 2 * half;
        *reinterpret_cast<float4*>(row + 16 * n + 4 * t) =
            make_float4(even[0] * factor, odd[0] * factor, even[1] * factor, odd[1] * factor);
      }
    } else {
#pragma unroll
      for (int n = 0; n < kD / 8; ++n) {
        const float* const pair = sums[m][n] + 2 * half;
        *reinterpret_cast<float2*>(row + 8 * n + 2 * t) =
            make_float2(pair[0] * factor, pair[1] * factor);
      }
    }
  }

 private:
  // Multiplies each column by its scale. (A product by itself: whether the compiler would join it
  // with a later sum must not decide over bits.)
  __device__ __forceinline__ void Scale(const std::byte* scales, int lane) {
#pragma unroll
    for (int n = 0; n < kColumns; ++n) {
      const float2 scale = *reinterpret_cast<const float2*>(scales + (8 * n + lane % 4 * 2) * 4);
#pragma unroll
      for (int m = 0; m < kMTiles; ++m) {
        scores[m][n][0] = __fmul_rn(scores[m][n][0], scale.x);
        scores[m][n][1] = __fmul_rn(scores[m][n][1], scale.y);
        scores[m][n][2] = __fmul_rn(scores[m][n][2], scale.x);
        scores[m][n][3] = __fmul_rn(scores[m][n][3], scale.y);
      }
    }
  }
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_TILE_H_
