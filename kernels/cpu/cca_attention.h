// Attention over paged state on the CPU: cores, then raw window, one running softmax. Policies
// full, cca and streaming are the same two loops (attention_policy.h says which positions a query
// sees).
#ifndef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_H_
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/attention_policy.h"
#include "kernels/backend.h"

namespace longleaf::kernels {

class ThreadPool;

// How dot products are computed. kFastest: over bf16 and i8 pages with the processor's products of
// such numbers, if it has them: queries and softmax weights are rounded for it, alike for any
// number of rows, and sums are f32 or exact. Else in f32.
enum class Products : uint8_t { kFastest, kF32 };

struct AttentionDims {
  int64_t query_heads = 0;    // H
  int64_t kv_heads = 0;       // Hkv, divides H
  int64_t core_heads = 0;     // H or Hkv
  int64_t head_dim = 0;       // d
  DType dtype = DType::kF32;  // of the pages: kF32, kBF16, kI8
  Products products = Products::kFastest;
};

// One member of the batch: consecutive queries of one state, one layer.
struct AttentionItem {
  int64_t first_token = 0;  // 0-based token index of query row 0
  int64_t rows = 0;
  const float* query = nullptr;  // [rows, query_stride], the first H * d of each row; rotated
  float* out = nullptr;          // [rows, H * d]
  // Page p holds tokens p * kPageTokens ..; layout in page.h. Pages that no query of this item can
  // see may be null. Keys and values of the rows themselves are already in the raw pages.
  const std::byte* const* core_pages = nullptr;
  const std::byte* const* raw_pages = nullptr;
  // See BatchItem::attention_mass; nullptr when not wanted.
  float* attention_mass = nullptr;
};

// Splits the work (item x key head x query block; a single long query also over its keys, merged by
// running maximum and sum) over `pool`. Deterministic for equal inputs and any number of threads.
void CcaAttention(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
                  absl::Span<const AttentionItem> items, ThreadPool& pool);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_H_
