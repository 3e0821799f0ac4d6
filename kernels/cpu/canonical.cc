// Canonical bytes.
#include "kernels/cpu/canonical.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/cpu/page.h"

namespace longleaf::kernels {
namespace {

static_assert(std::endian::native == std::endian::little, "canonical bytes are copied as they lie");
constexpr int64_t kFloat = sizeof(float);

// One piece of a range: consecutive tokens in one page, one head.
struct Piece {
  float* keys;       // [d, kPageTokens], from the piece's first token on
  float* values;     // [count, d]
  int64_t count;     // tokens
  int64_t key_at;    // byte offset of the piece's first key in the canonical bytes
  int64_t value_at;  // the same of its first value
};

template <class Body>
void ForEachPiece(const CpuState& state, float* const* pages, StatePart part, int64_t first,
                  int64_t count, const Body& body) {
  const int64_t d = state.shape().head_dim, heads = state.heads(part);
  for (int64_t token = first; token < first + count;) {
    const int64_t slot = token % kPageTokens;
    const int64_t tokens = std::min(kPageTokens - slot, first + count - token);
    float* page = pages[token / kPageTokens];
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t key_at = ((token - first) * heads + h) * d * kFloat;
      body(Piece{page + PageKeyOffset(h, d) + slot, page + PageValueOffset(heads, h, d) + slot * d,
                 tokens, key_at, key_at + count * heads * d * kFloat});
    }
    token += tokens;
  }
}

}  // namespace

void ExportPages(const CpuState& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                 std::byte* bytes) {
  const int64_t d = state.shape().head_dim, stride = state.heads(part) * d * kFloat;
  ForEachPiece(state, state.pages(part, layer), part, first, count, [&](const Piece& p) {
    for (int64_t t = 0; t < p.count; ++t) {
      std::byte* to = bytes + p.key_at + t * stride;
      for (int64_t k = 0; k < d; ++k) {
        std::memcpy(to + k * kFloat, p.keys + k * kPageTokens + t, sizeof(float));
      }
      std::memcpy(bytes + p.value_at + t * stride, p.values + t * d,
                  static_cast<size_t>(d) * sizeof(float));
    }
  });
}

void ImportPages(const CpuState& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                 const std::byte* bytes) {
  const int64_t d = state.shape().head_dim, stride = state.heads(part) * d * kFloat;
  ForEachPiece(state, state.import_pages(part, layer), part, first, count, [&](const Piece& p) {
    for (int64_t k = 0; k < d; ++k) {
      const std::byte* from = bytes + p.key_at + k * kFloat;
      for (int64_t t = 0; t < p.count; ++t) {
        std::memcpy(p.keys + k * kPageTokens + t, from + t * stride, sizeof(float));
      }
    }
    for (int64_t t = 0; t < p.count; ++t) {
      std::memcpy(p.values + t * d, bytes + p.value_at + t * stride,
                  static_cast<size_t>(d) * sizeof(float));
    }
  });
}

}  // namespace longleaf::kernels
