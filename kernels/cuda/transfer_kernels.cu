// Each thread moves one word, of 16 bytes where rows are multiples of that. In pages consecutive
// tokens of a head follow one another, packed consecutive heads of a token: a row is contiguous in
// both, so accesses are as wide as a row at the least.
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/transfer_kernels.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// Keys, values, or the scales of either: rows of `row_words` words.
struct Rows {
  int64_t in_page[2];    // bytes from a page's beginning to head 0: of keys, of values
  std::byte* packed[2];  // device: [tokens, heads, row_words]
  int64_t head_bytes;    // from one head to the next in a page
  int64_t row_words;
};

// Grid: (words of one array / kThreads, keys and values).
template <typename Word, bool kPack>
__global__ void __launch_bounds__(kThreads) MoveRows(const PagedRange range, const Rows rows) {
  const int64_t word = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t row = word / rows.row_words;
  const int64_t token = row / range.layout.heads;
  if (token < range.tokens) {
    const bool keys = blockIdx.y == 0;
    const int64_t in_page = keys ? rows.in_page[0] : rows.in_page[1];
    std::byte* const array = keys ? rows.packed[0] : rows.packed[1];
    const int64_t head = row - token * range.layout.heads;
    const int64_t slot = range.first_slot + token;
    Word* const page =
        reinterpret_cast<Word*>(range.pages[slot / kPageTokens] + in_page + head * rows.head_bytes);
    Word& paged = page[slot % kPageTokens * rows.row_words + (word - row * rows.row_words)];
    Word& packed = reinterpret_cast<Word*>(array)[word];
    if constexpr (kPack) {
      packed = paged;
    } else {
      paged = packed;
    }
  }
}

template <typename Word, bool kPack>
absl::Status LaunchMove(const PagedRange& range, Rows rows, int64_t row_bytes,
                        cudaStream_t stream) {
  rows.row_words = row_bytes / int64_t{sizeof(Word)};
  const int64_t words = range.tokens * range.layout.heads * rows.row_words;
  const dim3 grid(static_cast<unsigned>((words + kThreads - 1) / kThreads), 2);
  return Launch("moving a state", MoveRows<Word, kPack>, grid, dim3(kThreads), 0, stream, range,
                rows);
}

template <bool kPack>
absl::Status Move(const PagedRange& range, const PackedRange& packed, cudaStream_t stream) {
  const DevicePageLayout& layout = range.layout;
  const int64_t row_bytes = layout.row_bytes();
  const Rows rows = {{layout.keys(range.layer, 0), layout.values(range.layer, 0)},
                     {packed.keys, packed.values},
                     layout.head_bytes(),
                     0};
  absl::Status status =  // head_dim is even: 2 bytes always fit
      row_bytes % 16 == 0  ? LaunchMove<uint4, kPack>(range, rows, row_bytes, stream)
      : row_bytes % 4 == 0 ? LaunchMove<uint32_t, kPack>(range, rows, row_bytes, stream)
                           : LaunchMove<uint16_t, kPack>(range, rows, row_bytes, stream);
  if (!status.ok() || !layout.scaled()) return status;
  const Rows scales = {{layout.key_scales(range.layer, 0), layout.value_scales(range.layer, 0)},
                       {packed.key_scales, packed.value_scales},
                       layout.key_scales(range.layer, 1) - layout.key_scales(range.layer, 0),
                       0};
  return LaunchMove<uint32_t, kPack>(range, scales, sizeof(float), stream);
}

}  // namespace

absl::Status PackRange(const PagedRange& from, const PackedRange& to, cudaStream_t stream) {
  return Move<true>(from, to, stream);
}

absl::Status UnpackRange(const PackedRange& from, const PagedRange& to, cudaStream_t stream) {
  return Move<false>(to, from, stream);
}

}  // namespace longleaf::kernels::cuda
