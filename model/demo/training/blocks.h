// What the rows of a training sequence see: blocks of query rows, and for each
// the ranges of keys that any of its rows sees.
#ifndef LONGLEAF_MODEL_DEMO_TRAINING_BLOCKS_H_
#define LONGLEAF_MODEL_DEMO_TRAINING_BLOCKS_H_

#include <algorithm>
#include <cstdint>

inline constexpr int kRows = 32;        // query rows of a block
inline constexpr int kChunk = 64;       // keys taken at a time
inline constexpr int kKeyMultiple = 8;  // keys are computed in multiples of this

inline constexpr int64_t RoundUp(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// A range of keys that a block visits: cores, or raw tokens. Row r sees low[r]
// <= key < high[r].
struct Segment {
  int64_t base;   // where key 0 lies among the rows of the key buffers
  int64_t first;  // even
  int64_t last;   // one past
  int32_t low_max, high_min;
  alignas(64) int32_t low[kRows], high[kRows];
};

// Rows of one sequence that are all of its document, or all of its branches.
struct Block {
  int64_t first, rows;
  int segments;
  Segment segment[3];
};

// One sequence, as AttentionCall has it; `raw` is where its tokens begin in the
// key buffers.
struct Sequence {
  int64_t tokens, document, group, raw;
  const int32_t* cores_visible;
  const int32_t* branch_start;
};

// Row r of `block` sees the keys from low(r) to below high(r), all of them in
// [first, last).
template <typename Low, typename High>
inline void AddSegment(int64_t base, int64_t first, int64_t last, const Low& low, const High& high,
                       Block* block) {
  if (first >= last) return;
  Segment& segment = block->segment[block->segments++];
  segment.base = base;
  segment.first = first - first % 2;
  segment.last = last;
  const int32_t rows = static_cast<int32_t>(block->rows);
  int32_t low_max = 0, high_min = INT32_MAX;
  for (int32_t row = 0; row < kRows; ++row) {
    const int32_t from = row < rows ? low(row) : 0, to = row < rows ? high(row) : 0;
    segment.low[row] = from;
    segment.high[row] = to;
    low_max = std::max(low_max, from);
    high_min = std::min(high_min, row < rows ? to : INT32_MAX);
  }
  segment.low_max = low_max;
  segment.high_min = high_min;
}

inline void SetSegments(const Sequence& sequence, Block* block) {
  const bool document = block->first < sequence.document;
  const int32_t rows = static_cast<int32_t>(block->rows);
  const int32_t past_first = static_cast<int32_t>(block->first) + 1, past = past_first - 1 + rows;
  const int32_t document_end = static_cast<int32_t>(sequence.document);
  const int32_t group = static_cast<int32_t>(sequence.group);
  int32_t cores[kRows], starts[kRows];
  int32_t fewest = INT32_MAX, most = 0, first_start = INT32_MAX;
  for (int32_t row = 0; row < kRows; ++row) {
    const int64_t at = block->first + std::min(row, rows - 1);
    cores[row] = sequence.cores_visible[at];
    starts[row] = sequence.branch_start[at];
    fewest = std::min(fewest, cores[row]);
    most = std::max(most, cores[row]);
    first_start = std::min(first_start, starts[row]);
  }
  const auto none = [](int32_t) { return 0; };
  const auto seen_cores = [&](int32_t row) { return cores[row]; };
  const auto window = [&](int32_t row) { return cores[row] * group; };
  const auto start = [&](int32_t row) { return starts[row]; };
  const auto past_row = [&](int32_t row) { return past_first + row; };
  const auto whole_document = [&](int32_t) { return document_end; };
  block->segments = 0;
  AddSegment(0, 0, most, none, seen_cores, block);
  if (document) {
    AddSegment(sequence.raw, fewest * group, past, window, past_row, block);
  } else {
    AddSegment(sequence.raw, fewest * group, document_end, window, whole_document, block);
    AddSegment(sequence.raw, first_start, past, start, past_row, block);
  }
}

// Calls work(block) for every block of the sequence.
template <typename Work>
inline void ForEachBlock(const Sequence& sequence, const Work& work) {
  Block block;
  for (block.first = 0; block.first < sequence.tokens; block.first += block.rows) {
    const int64_t end = block.first < sequence.document ? sequence.document : sequence.tokens;
    block.rows = std::min<int64_t>(kRows, end - block.first);
    SetSegments(sequence, &block);
    work(block);
  }
}

// Calls work(segment, first key, keys) for chunks of at most kChunk keys;
// `keys` may reach past the end of the segment, to a multiple of kKeyMultiple:
// such keys are hidden from every row.
template <typename Work>
inline void ForEachChunk(const Block& block, const Work& work) {
  for (int i = 0; i < block.segments; ++i) {
    const Segment& segment = block.segment[i];
    for (int64_t key = segment.first; key < segment.last; key += kChunk) {
      work(segment, key, RoundUp(std::min<int64_t>(kChunk, segment.last - key), kKeyMultiple));
    }
  }
}

#endif  // LONGLEAF_MODEL_DEMO_TRAINING_BLOCKS_H_
