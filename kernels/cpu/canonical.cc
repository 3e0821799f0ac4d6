// Canonical bytes.
#include "kernels/cpu/canonical.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "hwy/highway.h"
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
void ForEachPiece(const CpuState& state, std::byte* const* pages, StatePart part, int64_t first,
                  int64_t count, const Body& body) {
  const int64_t d = state.shape().head_dim, heads = state.heads(part);
  const PageLayout layout = state.layout(part);
  for (int64_t token = first; token < first + count;) {
    const int64_t slot = token % kPageTokens;
    const int64_t tokens = std::min(kPageTokens - slot, first + count - token);
    std::byte* page = pages[token / kPageTokens];
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t key_at = ((token - first) * heads + h) * d * kFloat;
      body(Piece{reinterpret_cast<float*>(page + layout.keys(h)) + slot,
                 reinterpret_cast<float*>(page + layout.values(h)) + slot * d, tokens, key_at,
                 key_at + count * heads * d * kFloat});
    }
    token += tokens;
  }
}

namespace hn = hwy::HWY_NAMESPACE;

// A matrix of f32 by bytes: rows may be unaligned.
struct Bytes2D {
  std::byte* data;
  int64_t stride;  // bytes
  std::byte* at(int64_t row, int64_t column) const { return data + row * stride + column * kFloat; }
};

// to[c][r] = from[r][c], for 4 x 4 elements. (hwy's baseline is enough: this waits for memory.)
void TransposeFour(const Bytes2D& from, int64_t row, int64_t column, const Bytes2D& to) {
  const hn::Full128<float> d;
  const auto load = [&](int64_t r) {
    return hn::LoadU(d, reinterpret_cast<const float*>(from.at(row + r, column)));
  };
  const auto store = [&](int64_t c, auto v) {
    hn::StoreU(v, d, reinterpret_cast<float*>(to.at(column + c, row)));
  };
  const auto a = load(0), b = load(1), e = load(2), f = load(3);
  const auto ab_low = hn::InterleaveLower(d, a, b), ab_high = hn::InterleaveUpper(d, a, b);
  const auto ef_low = hn::InterleaveLower(d, e, f), ef_high = hn::InterleaveUpper(d, e, f);
  store(0, hn::ConcatLowerLower(d, ef_low, ab_low));
  store(1, hn::ConcatUpperUpper(d, ef_low, ab_low));
  store(2, hn::ConcatLowerLower(d, ef_high, ab_high));
  store(3, hn::ConcatUpperUpper(d, ef_high, ab_high));
}

// to[c][r] = from[r][c]. Four rows of `from` are read at a time, from left to right: tokens of one
// head lie a power of two apart, and more than a few such lines do not fit into the first cache
// together. Writes nothing but those elements.
void Transpose(const Bytes2D& from, int64_t rows, int64_t columns, const Bytes2D& to) {
  const auto copy = [&](int64_t r, int64_t c) {
    std::memcpy(to.at(c, r), from.at(r, c), sizeof(float));
  };
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    int64_t c = 0;
    for (; c + 4 <= columns; c += 4) TransposeFour(from, r, c, to);
    for (; c < columns; ++c) {
      for (int64_t i = 0; i < 4; ++i) copy(r + i, c);
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) copy(r, c);
  }
}

// A piece's keys as they lie in its page: [d, count].
Bytes2D KeysOf(const Piece& p) {
  return {reinterpret_cast<std::byte*>(p.keys), kPageTokens * kFloat};
}

}  // namespace

void ExportPages(const CpuState& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                 std::byte* bytes) {
  const int64_t d = state.shape().head_dim, stride = state.heads(part) * d * kFloat;
  ForEachPiece(state, state.pages(part, layer), part, first, count, [&](const Piece& p) {
    Transpose(KeysOf(p), d, p.count, {bytes + p.key_at, stride});
    for (int64_t t = 0; t < p.count; ++t) {
      std::memcpy(bytes + p.value_at + t * stride, p.values + t * d,
                  static_cast<size_t>(d) * sizeof(float));
    }
  });
}

void ImportPages(const CpuState& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                 const std::byte* bytes) {
  const int64_t d = state.shape().head_dim, stride = state.heads(part) * d * kFloat;
  ForEachPiece(state, state.import_pages(part, layer), part, first, count, [&](const Piece& p) {
    // Only read, though Bytes2D can do both.
    Transpose({const_cast<std::byte*>(bytes) + p.key_at, stride}, p.count, d, KeysOf(p));
    for (int64_t t = 0; t < p.count; ++t) {
      std::memcpy(p.values + t * d, bytes + p.value_at + t * stride,
                  static_cast<size_t>(d) * sizeof(float));
    }
  });
}

}  // namespace longleaf::kernels
