// Weights and products on the device, element by element: conversion of what lies in a file, and
// the scales of an fp8 product where the library does not apply them.
#ifndef LONGLEAF_KERNELS_CUDA_WEIGHT_KERNELS_H_
#define LONGLEAF_KERNELS_CUDA_WEIGHT_KERNELS_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/backend.h"

namespace longleaf::kernels::cuda {

// `count` elements of f32, bf16 or f16, aligned, to f32 or bf16 (to the nearest, ties to even). All
// in device memory; `to` is not `from`.
absl::Status ConvertWeights(const void* from, DType from_type, int64_t count, void* to,
                            DType to_type, cudaStream_t stream);

// Rows of f32, bf16 or f16 to e4m3 with a scale each, by the rule of quantised.h. In device memory.
absl::Status QuantiseWeights(const void* from, DType from_type,  // [rows, cols], aligned
                             int64_t rows, int64_t cols,
                             uint8_t* to,    // [rows, cols]
                             float* scales,  // [rows]
                             cudaStream_t stream);

// out[r, c] = sums[r, c] * (row_scales[r] * column_scales[c]), or that added to f32 `out`.
struct ScaledSums {
  const float* sums = nullptr;           // [rows, columns]
  const float* row_scales = nullptr;     // [rows]
  const float* column_scales = nullptr;  // [columns]
  int64_t rows = 0;
  int64_t columns = 0;
  void* out = nullptr;  // [rows, columns], f32 or bf16
  bool bf16_out = false;
  bool add = false;
};
absl::Status ScaleSums(const ScaledSums& product, cudaStream_t stream);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_WEIGHT_KERNELS_H_
