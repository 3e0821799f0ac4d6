// How the Hopper kernel lays out keys and values in shared memory, and how many it keeps there:
// index arithmetic, for host and device.
//
// A tile is the 64 keys, or values, of one page and head. It lies in blocks of 64 columns (32, when
// the head's are not a multiple of 64), a block's rows one after another, 128 (or 64) bytes each,
// and within a row the 16-byte pieces are permuted with the row, so that products read 8 rows of
// one column without two of them in one memory bank. That is the one order of Hopper's products
// (hopper_ptx.h) that serves a row-major matrix and, as it lies there, its transpose.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_WGMMA_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_WGMMA_H_

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/device_page.h"

namespace longleaf::kernels::cuda {

template <int kHeadDim>
struct WgmmaTile {
  static_assert(kHeadDim % 32 == 0);
  static constexpr int kBlockColumns = kHeadDim % 64 == 0 ? 64 : 32;
  static constexpr int kRowBytes = kBlockColumns * 2;  // of a block
  static constexpr int kBlockBytes = static_cast<int>(kPageTokens) * kRowBytes;
  static constexpr int kBlocks = kHeadDim / kBlockColumns;
  static constexpr int kBytes = kBlocks * kBlockBytes;
  static constexpr int kGroupBytes = 8 * kRowBytes;       // from 8 rows to the next 8
  static constexpr int kRowPieces = kHeadDim / 8;         // 16-byte pieces of a row, of all blocks
  static constexpr int kPieces = kBytes / 16;             // of the tile
  static constexpr int kBlockPieces = kBlockColumns / 8;  // of a block's row

  // Where piece `piece` of row `row` lies, in bytes. A tile begins at a multiple of 1024.
  static constexpr int Offset(int row, int piece) {
    const int turn = kRowBytes == 128 ? row % 8 : row / 2 % 4;
    return piece / kBlockPieces * kBlockBytes + row * kRowBytes +
           ((piece % kBlockPieces) ^ turn) * 16;
  }
};

// Which indices of a sequence of pages are pages that are seen whole: 0 .. core_end-1 and
// raw_begin .. raw_end-1.
struct WholePages {
  int32_t core_end = 0;
  int32_t raw_begin = 0;
  int32_t raw_end = 0;

  constexpr bool Has(int32_t index) const {
    return index < core_end || (raw_begin <= index && index < raw_end);
  }
};
constexpr WholePages WholePagesOf(const Sight& sight, const PageSequence& pages) {
  const int64_t first_raw = pages.first_raw - pages.cores;  // the page that index 0 would be
  return {static_cast<int32_t>(
              std::clamp<int64_t>(sight.cores / kPageTokens - pages.first_core, 0, pages.cores)),
          static_cast<int32_t>(
              std::clamp<int64_t>(PagesOf(sight.raw_begin) - first_raw, pages.cores, pages.size())),
          static_cast<int32_t>(std::clamp<int64_t>(sight.raw_end / kPageTokens - first_raw,
                                                   pages.cores, pages.size()))};
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_WGMMA_H_
