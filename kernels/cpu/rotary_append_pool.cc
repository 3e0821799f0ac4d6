// Rotary embedding, append and pooling over pages.
#include "kernels/cpu/rotary_append_pool.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/cpu/cpu_state.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/page.h"
#include "kernels/cpu/pool_group.h"

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

// All complete groups of one item, for one core head.
struct PoolTask {
  const CpuState* state;
  int64_t core_head;
  int64_t row;  // first row of the item
};

// Writes the keys and values of a task's rows into the page that covers token `token` of one part.
// key: [count, stride], the first heads * d of each row; values follow after heads * d.
void WritePage(const CpuState& state, StatePart part, int64_t layer, int64_t token, int64_t count,
               const float* key, int64_t stride) {
  const int64_t d = state.shape().head_dim, heads = state.shape().kv_heads;
  const PageLayout layout = state.layout(part);
  std::byte* page = state.pages(part, layer)[token / kPageTokens];
  const int64_t slot = token % kPageTokens;
  for (int64_t h = 0; h < heads; ++h) {
    auto* keys = reinterpret_cast<float*>(page + layout.keys(h)) + slot;
    for (int64_t k = 0; k < d; ++k) {
      for (int64_t r = 0; r < count; ++r) {
        keys[k * kPageTokens + r] = key[r * stride + h * d + k];
      }
    }
    auto* values = reinterpret_cast<float*>(page + layout.values(h)) + slot * d;
    for (int64_t r = 0; r < count; ++r) {
      std::copy_n(key + r * stride + (heads + h) * d, d, values + r * d);
    }
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

void PoolCompleteGroups(const PoolTask& task, int64_t layer, const Tensor& qkv) {
  const CpuState& state = *task.state;
  const StateShape& shape = state.shape();
  const int64_t d = shape.head_dim, group = shape.policy.group;
  const int64_t kv_head = task.core_head / (shape.core_heads() / shape.kv_heads);
  const PageLayout raw = state.layout(StatePart::kRaw), cores = state.layout(StatePart::kCore);
  std::byte* const* raw_pages = state.pages(StatePart::kRaw, layer);
  std::byte* const* core_pages = state.pages(StatePart::kCore, layer);
  std::vector<float> scratch(static_cast<size_t>(group + d));
  std::vector<GroupSpan> spans;
  GroupPooling pooling;
  pooling.head_dim = d;
  pooling.weights = scratch.data();
  float* const query = scratch.data() + group;
  pooling.query = query;
  const int64_t end = shape.policy.CoresAfter(state.tokens() + state.step_rows());
  for (int64_t core = state.cores(); core < end; ++core) {
    const int64_t last_row = task.row + (core + 1) * group - 1 - state.tokens();
    PoolingQuery(shape, task.core_head, qkv.data + last_row * qkv.cols, query);
    spans.clear();
    for (int64_t token = core * group; token < (core + 1) * group;) {
      const int64_t slot = token % kPageTokens;
      const int64_t count = std::min(kPageTokens - slot, (core + 1) * group - token);
      const std::byte* page = raw_pages[token / kPageTokens];
      spans.push_back({reinterpret_cast<const float*>(page + raw.keys(kv_head)) + slot,
                       reinterpret_cast<const float*>(page + raw.values(kv_head)) + slot * d,
                       count});
      token += count;
    }
    pooling.spans = spans;
    std::byte* page = core_pages[core / kPageTokens];
    const int64_t slot = core % kPageTokens;
    pooling.core_key = reinterpret_cast<float*>(page + cores.keys(task.core_head)) + slot;
    pooling.core_value = reinterpret_cast<float*>(page + cores.values(task.core_head)) + slot * d;
    PoolGroup(pooling);
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
      for (int64_t h = 0; h < shape.core_heads(); ++h) pools.push_back({state, h, row});
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
