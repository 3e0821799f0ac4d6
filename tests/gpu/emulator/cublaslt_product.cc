// The emulator's matrix products by plain loops, and the rules of NVIDIA's documentation that say
// which ones there are.
#include "tests/gpu/emulator/cublaslt_product.h"

#include <bit>
#include <cstdio>
#include <cstring>
#include <vector>

#include "kernels/float_types.h"
#include "kernels/quantised.h"
#include "tests/gpu/emulator/device.h"
#include "tests/gpu/emulator/emulator.h"

namespace longleaf::emulator {

int64_t Bytes(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : type == CUDA_R_16BF ? 2 : 1; }

bool IsFP8(const Layout& layout) { return layout.type == CUDA_R_8F_E4M3; }

bool HasVectorScales(const Operation& p) {
  return p.a_mode == CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
}

cublasStatus_t Check(const Operation* p, const Layouts& l) {
  if (p == nullptr || l.a == nullptr || l.b == nullptr || l.c == nullptr || l.d == nullptr) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  for (const Layout* layout : {l.a, l.b, l.c, l.d}) {
    if (layout->rows < 1 || layout->columns < 1 || layout->stride < layout->rows) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
  }
  const bool ta = p->transpose_a == CUBLAS_OP_T, tb = p->transpose_b == CUBLAS_OP_T;
  const int64_t m = ta ? l.a->columns : l.a->rows, k = ta ? l.a->rows : l.a->columns;
  const int64_t n = tb ? l.b->rows : l.b->columns;
  if ((tb ? l.b->columns : l.b->rows) != k || l.d->rows != m || l.d->columns != n ||
      l.c->rows != m || l.c->columns != n) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  // Scales are for fp8 alone, and of one mode on both sides.
  const bool scaled = p->a_scale != nullptr || p->b_scale != nullptr;
  if ((scaled || HasVectorScales(*p)) && !(IsFP8(*l.a) && IsFP8(*l.b))) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (HasVectorScales(*p) && (p->a_scale == nullptr || p->b_scale == nullptr)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (p->a_mode != p->b_mode) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (HasVectorScales(*p) && ComputeCapability() != 90) return CUBLAS_STATUS_NOT_SUPPORTED;
  // The library has single scales too; nobody here asks for them.
  if (scaled && !HasVectorScales(*p)) return CUBLAS_STATUS_NOT_SUPPORTED;

  const bool f32_out = l.d->type == CUDA_R_32F, bf16_out = l.d->type == CUDA_R_16BF;
  if (l.a->type != l.b->type || l.c->type != l.d->type || !(f32_out || bf16_out)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (l.a->type == CUDA_R_32F && !f32_out) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (!ta || tb) return CUBLAS_STATUS_NOT_SUPPORTED;  // real for fp8; here nobody asks for others
  if (IsFP8(*l.a)) {
    if (ComputeCapability() < 89) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (k % 16 != 0 || m % 16 != 0 || l.a->stride % 16 != 0 || l.b->stride % 16 != 0) {
      return CUBLAS_STATUS_NOT_SUPPORTED;
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

bool IsFor(const Algorithm& algorithm, const Operation& p, const Layouts& l) {
  return algorithm.pieces != 0 && algorithm.input_type == l.a->type &&
         algorithm.output_type == l.d->type && (algorithm.vector_scales != 0) == HasVectorScales(p);
}

Algorithm AlgorithmFor(const Operation& p, const Layouts& l) {
  Algorithm algorithm = {};
  algorithm.pieces =
      l.d->columns <= 64
          ? 1
          : static_cast<uint32_t>(std::bit_width(static_cast<uint64_t>(l.d->columns) - 1)) - 5;
  algorithm.input_type = l.a->type;
  algorithm.output_type = l.d->type;
  algorithm.vector_scales = HasVectorScales(p) ? 1 : 0;
  algorithm.workspace = algorithm.pieces > 1 ? 4096 : 0;
  return algorithm;
}

namespace {

float Load(const void* data, cudaDataType_t type, int64_t index) {
  if (type == CUDA_R_8F_E4M3) {
    return kernels::FloatFromE4M3(static_cast<const uint8_t*>(data)[index]);
  }
  return kernels::LoadElement(
      data, type == CUDA_R_16BF ? kernels::DType::kBF16 : kernels::DType::kF32, index);
}

void Store(float value, cudaDataType_t type, void* data, int64_t index) {
  if (type == CUDA_R_16BF) {
    static_cast<uint16_t*>(data)[index] = kernels::BF16FromFloat(value);
  } else {
    static_cast<float*>(data)[index] = value;
  }
}

// [columns of `layout`, its rows] as f32.
std::vector<float> Expanded(const void* data, const Layout& layout) {
  std::vector<float> out(static_cast<size_t>(layout.rows * layout.columns));
  float* to = out.data();
  for (int64_t c = 0; c < layout.columns; ++c) {
    for (int64_t r = 0; r < layout.rows; ++r) {
      *to++ = Load(data, layout.type, c * layout.stride + r);
    }
  }
  return out;
}

// In lanes, which a compiler turns into vectors.
float Dot(const float* a, const float* b, int64_t count) {
  constexpr int64_t kLanes = 16;
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < count; ++i) lanes[i % kLanes] += a[i] * b[i];
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

// Whether a matrix lies in device memory.
bool IsThere(const char* name, const void* data, const Layout& layout) {
  const int64_t elements = (layout.columns - 1) * layout.stride + layout.rows;
  if (HomeOf(data, static_cast<size_t>(elements * Bytes(layout.type))) == Home::kDevice) {
    return true;
  }
  std::fprintf(stderr, "emulator: cublasLtMatmul, %s is not in device memory\n", name);
  return false;
}

}  // namespace

bool Multiply(const Launched& l) {
  if (!IsThere("A", l.a, l.a_layout) || !IsThere("B", l.b, l.b_layout) ||
      !IsThere("D", l.d, l.d_layout) || (l.beta != 0 && !IsThere("C", l.c, l.c_layout))) {
    return false;
  }
  std::memset(l.workspace, 0xff, l.algorithm.workspace);
  const std::vector<float> a = Expanded(l.a, l.a_layout), b = Expanded(l.b, l.b_layout);
  const int64_t depth = l.a_layout.rows, pieces = l.algorithm.pieces;
  for (int64_t n = 0; n < l.d_layout.columns; ++n) {
    for (int64_t m = 0; m < l.d_layout.rows; ++m) {
      float sum = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) {
        const int64_t begin = depth * piece / pieces, end = depth * (piece + 1) / pieces;
        sum += Dot(a.data() + m * depth + begin, b.data() + n * depth + begin, end - begin);
      }
      float value = l.alpha * sum;
      if (HasVectorScales(l.product)) {
        value *= l.product.a_scale[m] * l.product.b_scale[n];
      }
      // Under a beta of 0 C is not read.
      if (l.beta != 0) {
        value += l.beta * Load(l.c, l.c_layout.type, n * l.c_layout.stride + m);
      }
      Store(value, l.d_layout.type, l.d, n * l.d_layout.stride + m);
    }
  }
  return true;
}

}  // namespace longleaf::emulator
