// Joins the unfinished results of blocks, for every instruction set.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/cpu/cca_attention_block.h"

// As in cca_attention_block.cc.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cca_attention_merge.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"
#include "kernels/cpu/cca_attention_softmax-inl.h"
#include "kernels/cpu/cca_attention_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels {
namespace HWY_NAMESPACE {

void Merge(const AttentionBlock& block, absl::Span<const PartialRows> sources,
           const float* partials, float* stats) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const int64_t padded = PaddedHeadDim(block.dims->head_dim);
  alignas(64) float result[PaddedHeadDim(kMaxHeadDim)];
  for (int64_t r = 0; r < block.rows(); ++r) {
    const int64_t head = block.head + r / block.tokens;
    const int64_t token = r % block.tokens;
    float top = -std::numeric_limits<float>::infinity(), total = 0;
    for (const bool adds : {false, true}) {
      if (adds) std::fill_n(result, padded, 0.0f);
      for (const PartialRows& source : sources) {
        if (head < source.head || head >= source.head + source.heads) continue;
        const int64_t rows = source.heads * source.tokens;
        const int64_t row = (head - source.head) * source.tokens + source.token + token;
        const float* values = partials + source.offset;
        const float reference = values[rows * padded + row];
        if (!adds) {
          top = std::max(top, reference);
          continue;
        }
        // A row that saw no key of the source has reference -infinity and zeros, or zeros times
        // the tiniest factor.
        const float factor = ScalarExp2(reference - top);
        total += factor * values[rows * (padded + 1) + row];
        const V scale = hn::Set(df, factor);
        for (int64_t c = 0; c < padded; c += lanes) {
          const V value = hn::Load(df, values + row * padded + c);
          hn::Store(hn::MulAdd(value, scale, hn::Load(df, result + c)), df, result + c);
        }
      }
    }
    WriteRow(block, r, result, top, total, stats);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

HWY_EXPORT(Merge);

void MergeBlock(const AttentionBlock& block, absl::Span<const PartialRows> sources,
                const float* partials, float* stats) {
  HWY_DYNAMIC_DISPATCH(Merge)(block, sources, partials, stats);
}

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
