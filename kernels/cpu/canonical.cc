// Canonical bytes.
#include "kernels/cpu/canonical.h"

#include <algorithm>

#include "kernels/cpu/page_rows.h"

namespace longleaf::kernels {
namespace {

// Calls body(slots, keys, values) for every piece of a range: consecutive tokens in one page, one
// head, and where they lie in the canonical bytes at `bytes`.
template <typename Byte, typename Body>
void ForEachPiece(const CpuState& state, std::byte* const* pages, StatePart part, int64_t first,
                  int64_t count, Byte* bytes, const Body& body) {
  const int64_t heads = state.heads(part);
  const PageLayout layout = state.layout(part);
  const int64_t row = layout.head_dim * SizeOf(layout.dtype);
  const bool scaled = layout.dtype == DType::kI8;
  constexpr int64_t kScale = sizeof(float);
  const auto rows_at = [&](Byte* block, int64_t token, int64_t head) {
    const int64_t at = (token - first) * heads + head;
    MemoryRows<Byte> rows = {block + at * row, heads * row, nullptr, heads * kScale};
    if (scaled) rows.scales = block + count * heads * row + at * kScale;
    return rows;
  };
  Byte* const values = bytes + count * heads * state.shape().row_bytes();
  for (int64_t token = first; token < first + count;) {
    const int64_t slot = token % kPageTokens;
    const int64_t tokens = std::min(kPageTokens - slot, first + count - token);
    for (int64_t h = 0; h < heads; ++h) {
      body(PageSlots{layout, pages[token / kPageTokens], h, slot, tokens}, rows_at(bytes, token, h),
           rows_at(values, token, h));
    }
    token += tokens;
  }
}

}  // namespace

void ExportPages(const CpuState& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                 std::byte* bytes) {
  ForEachPiece(state, state.pages(part, layer), part, first, count, bytes,
               [](const PageSlots& slots, const auto& keys, const auto& values) {
                 TakeKeys(slots, keys);
                 TakeValues(slots, values);
               });
}

void ImportPages(const CpuState& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                 const std::byte* bytes) {
  ForEachPiece(state, state.import_pages(part, layer), part, first, count, bytes,
               [](const PageSlots& slots, const auto& keys, const auto& values) {
                 PutKeys(slots, keys);
                 PutValues(slots, values);
               });
}

}  // namespace longleaf::kernels
