// Rotary embedding, append and pooling over pages.
#include "kernels/cpu/rotary_append_pool.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/cpu/cpu_state.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/page_rows.h"
#include "kernels/cpu/pool_group.h"
#include "kernels/cpu/rounded_rows.h"

namespace longleaf::kernels {
namespace {

// Tokens of one append task at most. Tasks begin at multiples of it, so that two of them never
// write to one cache line of transposed keys.
constexpr int64_t kAppendTokens = 16;
static_assert(kPageTokens % kAppendTokens == 0);

struct AppendTask {
  const CpuState* state;
  int64_t token;  // first token index
  int64_t count;
  int64_t row;  // first row of the batch
};

// Consecutive groups of one item, complete with this step, for one key head and the core heads that
// pool its tokens.
struct PoolTask {
  const CpuState* state;
  int64_t kv_head;
  int64_t core;  // first core index
  int64_t count;
  int64_t row;  // first row of the item
};
// Cores of one pooling task at most. Tasks begin at multiples of it, so that no two of them write
// to one lane of a page.
constexpr int64_t kPoolCores = 4;
static_assert(kPageTokens % kPoolCores == 0 && kPoolCores % PagePacking(DType::kI8) == 0);

// Rows on their way into a page or out of it: rounded, in memory.
class RoundedRows {
 public:
  RoundedRows(const PageLayout& layout, int64_t most)
      : type_(layout.dtype),
        d_(layout.head_dim),
        elements_(static_cast<size_t>(most * d_ * SizeOf(type_))),
        scales_(static_cast<size_t>(most)) {}

  // Rounds x[count, d], rows `stride` floats apart; f32 is left where it lies.
  MemoryRows<const std::byte> Round(const float* x, int64_t stride, int64_t count) {
    if (type_ == DType::kF32) {
      const int64_t bytes = stride * int64_t{sizeof(float)};
      return {reinterpret_cast<const std::byte*>(x), bytes, nullptr, 0};
    }
    for (int64_t r = 0; r < count; ++r) {
      scales_[static_cast<size_t>(r)] =
          RoundRowFast(type_, x + r * stride, d_, elements_.data() + r * row_bytes());
    }
    return {elements_.data(), row_bytes(), scales(), sizeof(float)};
  }
  // Where rows can be put that Read will turn into x[count, d]: there at once under f32.
  MemoryRows<std::byte> Space(float* x) {
    if (type_ == DType::kF32) return {reinterpret_cast<std::byte*>(x), row_bytes(), nullptr, 0};
    return {elements_.data(), row_bytes(), scales(), sizeof(float)};
  }
  void Read(int64_t count, float* x) const {
    if (type_ == DType::kF32) return;
    for (int64_t r = 0; r < count; ++r) {
      ReadRowFast(type_, elements_.data() + r * row_bytes(), scales_[static_cast<size_t>(r)], d_,
                  x + r * d_);
    }
  }

 private:
  int64_t row_bytes() const { return d_ * SizeOf(type_); }
  std::byte* scales() {
    return type_ == DType::kI8 ? reinterpret_cast<std::byte*>(scales_.data()) : nullptr;
  }

  const DType type_;
  const int64_t d_;
  std::vector<std::byte> elements_;
  std::vector<float> scales_;
};

// Rounds rows of one head and writes them to a page.
// key, value: [count, stride], the first d of each row.
void WriteRows(const PageSlots& to, const float* key, const float* value, int64_t stride,
               RoundedRows& rows) {
  PutKeys(to, rows.Round(key, stride, to.count));
  PutValues(to, rows.Round(value, stride, to.count));
}

// Writes the keys and values of a task's rows into the page that covers token `token` of one part.
// key: [count, stride], the first heads * d of each row; values follow after heads * d.
void WritePage(const CpuState& state, StatePart part, int64_t layer, int64_t token, int64_t count,
               const float* key, int64_t stride) {
  const int64_t d = state.shape().head_dim, heads = state.shape().kv_heads;
  const PageLayout layout = state.layout(part);
  std::byte* page = state.pages(part, layer)[token / kPageTokens];
  RoundedRows rows(layout, count);
  for (int64_t h = 0; h < heads; ++h) {
    WriteRows({layout, page, h, token % kPageTokens, count}, key + h * d, key + (heads + h) * d,
              stride, rows);
  }
}

void RotateAndAppend(const AppendTask& task, int64_t layer, const RotaryTable& table, Tensor qkv) {
  const StateShape& shape = task.state->shape();
  const int64_t d = shape.head_dim;
  for (int64_t r = task.row; r < task.row + task.count; ++r) {
    for (int64_t h = 0; h < shape.query_heads + shape.kv_heads; ++h) {
      RotateHead(qkv.data + r * qkv.cols + h * d, table.cosine(r), table.sine(r), d / 2);
    }
  }
  const float* key = qkv.data + task.row * qkv.cols + shape.query_heads * d;
  WritePage(*task.state, StatePart::kRaw, layer, task.token, task.count, key, qkv.cols);
  if (shape.policy.kind == AttentionPolicy::Kind::kStreaming) {
    const int64_t sinks = std::min(task.count, shape.policy.sinks - task.token);
    if (sinks > 0) {
      WritePage(*task.state, StatePart::kCore, layer, task.token, sinks, key, qkv.cols);
    }
  }
}

// mean[d] over the query heads that one core head serves, of one row of queries q[H * d].
void PoolingQuery(const StateShape& shape, int64_t core_head, const float* q, float* mean) {
  const int64_t d = shape.head_dim, merged = shape.query_heads / shape.core_heads();
  const float* first = q + core_head * merged * d;
  std::copy_n(first, d, mean);
  for (int64_t h = 1; h < merged; ++h) {
    for (int64_t k = 0; k < d; ++k) mean[k] += first[h * d + k];
  }
  for (int64_t k = 0; k < d; ++k) mean[k] /= static_cast<float>(merged);
}

// A group's keys and values of one head as the state holds them: [tokens, d] each.
void ReadGroup(const CpuState& state, int64_t layer, int64_t kv_head, int64_t first, int64_t tokens,
               RoundedRows& rows, float* keys, float* values) {
  const int64_t d = state.shape().head_dim;
  std::byte* const* pages = state.pages(StatePart::kRaw, layer);
  for (int64_t token = first; token < first + tokens;) {
    const int64_t slot = token % kPageTokens;
    const int64_t count = std::min(kPageTokens - slot, first + tokens - token);
    const PageSlots slots = {state.layout(StatePart::kRaw), pages[token / kPageTokens], kv_head,
                             slot, count};
    float* const key = keys + (token - first) * d;
    float* const value = values + (token - first) * d;
    TakeKeys(slots, rows.Space(key));
    rows.Read(count, key);
    TakeValues(slots, rows.Space(value));
    rows.Read(count, value);
    token += count;
  }
}

void PoolCompleteGroups(const PoolTask& task, int64_t layer, const Tensor& qkv) {
  const CpuState& state = *task.state;
  const StateShape& shape = state.shape();
  const int64_t d = shape.head_dim, group = shape.policy.group;
  const int64_t share = shape.core_heads() / shape.kv_heads;  // core heads on one key head
  const PageLayout cores = state.layout(StatePart::kCore);
  RoundedRows rows(cores, std::min(group, kPageTokens));
  std::vector<float> scratch(static_cast<size_t>(2 * group * d + group + 3 * d));
  float* const keys = scratch.data();
  float* const values = keys + group * d;
  float* const query = values + group * d;
  float* const core_key = query + d;
  float* const core_value = core_key + d;
  float* const weights = core_value + d;
  for (int64_t core = task.core; core < task.core + task.count; ++core) {
    ReadGroup(state, layer, task.kv_head, core * group, group, rows, keys, values);
    const int64_t last_row = task.row + (core + 1) * group - 1 - state.tokens();
    std::byte* const page = state.pages(StatePart::kCore, layer)[core / kPageTokens];
    for (int64_t h = task.kv_head * share; h < (task.kv_head + 1) * share; ++h) {
      PoolingQuery(shape, h, qkv.data + last_row * qkv.cols, query);
      PoolGroup({keys, values, group, d, query, weights, core_key, core_value});
      WriteRows({cores, page, h, core % kPageTokens, 1}, core_key, core_value, d, rows);
    }
  }
}

}  // namespace

bool RotaryTable::Prepare(Batch batch, const Rotary& rotary, ThreadPool& pool) {
  std::vector<std::pair<int64_t, int64_t>> items;
  int64_t rows = 0;
  for (const BatchItem& item : batch) {
    items.emplace_back(item.state->tokens(), item.rows);
    rows += item.rows;
  }
  if (items == items_ && rotary.inverse_frequencies == frequencies_ &&
      rotary.first_position == first_position_) {
    return true;
  }
  items_.clear();
  half_ = static_cast<int64_t>(rotary.inverse_frequencies.size());
  if (rows * 2 * half_ > capacity_) {
    angles_ = AllocateFloats(rows * 2 * half_);
    capacity_ = angles_ == nullptr ? 0 : rows * 2 * half_;
    if (angles_ == nullptr) return false;
  }
  std::vector<int64_t> positions;
  positions.reserve(static_cast<size_t>(rows));
  for (const auto& [first, count] : items) {
    for (int64_t r = 0; r < count; ++r) positions.push_back(rotary.first_position + first + r);
  }
  constexpr int64_t kBlock = 32;
  pool.ParallelFor((rows + kBlock - 1) / kBlock, [&](int64_t block, int64_t) {
    for (int64_t r = block * kBlock; r < std::min(rows, (block + 1) * kBlock); ++r) {
      float* out = angles_.get() + r * 2 * half_;
      for (int64_t k = 0; k < half_; ++k) {
        const double angle = static_cast<double>(positions[static_cast<size_t>(r)]) *
                             rotary.inverse_frequencies[static_cast<size_t>(k)];
        out[k] = static_cast<float>(std::cos(angle));
        out[half_ + k] = static_cast<float>(std::sin(angle));
      }
    }
  });
  items_ = std::move(items);
  frequencies_ = rotary.inverse_frequencies;
  first_position_ = rotary.first_position;
  return true;
}

void RotaryAppendPool(int64_t layer, Batch batch, const RotaryTable& table, Tensor qkv,
                      ThreadPool& pool) {
  std::vector<AppendTask> appends;
  std::vector<PoolTask> pools;
  std::vector<CpuState*> copiers;
  int64_t row = 0;
  for (const BatchItem& item : batch) {
    auto* state = static_cast<CpuState*>(item.state);
    const StateShape& shape = state->shape();
    if (state->HasSharedPages(layer)) copiers.push_back(state);
    for (int64_t r = 0; r < item.rows;) {
      const int64_t token = state->tokens() + r;
      const int64_t count = std::min(item.rows - r, kAppendTokens - token % kAppendTokens);
      appends.push_back({state, token, count, row + r});
      r += count;
    }
    if (shape.policy.kind == AttentionPolicy::Kind::kCca &&
        shape.policy.CoresAfter(state->tokens() + item.rows) > state->cores()) {
      const int64_t end = shape.policy.CoresAfter(state->tokens() + item.rows);
      for (int64_t core = state->cores(); core < end;) {
        const int64_t count = std::min(end - core, kPoolCores - core % kPoolCores);
        for (int64_t h = 0; h < shape.kv_heads; ++h) pools.push_back({state, h, core, count, row});
        core += count;
      }
    }
    row += item.rows;
  }
  pool.ParallelFor(static_cast<int64_t>(copiers.size()), [&](int64_t task, int64_t) {
    copiers[static_cast<size_t>(task)]->CopySharedPages(layer);
  });
  pool.ParallelFor(static_cast<int64_t>(appends.size()), [&](int64_t task, int64_t) {
    RotateAndAppend(appends[static_cast<size_t>(task)], layer, table, qkv);
  });
  pool.ParallelFor(static_cast<int64_t>(pools.size()), [&](int64_t task, int64_t) {
    PoolCompleteGroups(pools[static_cast<size_t>(task)], layer, qkv);
  });
}

}  // namespace longleaf::kernels
