// The reference backend's attention: rotary embedding, pooling of core tokens, softmax over cores
// and raw window. Formulas: arXiv 2412.12465, equations 1-5.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/checks.h"
#include "kernels/reference.h"
#include "kernels/reference_state.h"

namespace longleaf::kernels {
namespace {

using absl::OkStatus;
using absl::Status;

// Rotates one head x[d] to `position`: pairs (k, k + d/2) turn by position * frequency k.
void Rotate(const Rotary& rotary, int64_t position, float* x) {
  const size_t half = rotary.inverse_frequencies.size();
  for (size_t k = 0; k < half; ++k) {
    const double angle = static_cast<double>(position) * rotary.inverse_frequencies[k];
    const double a = x[k], b = x[k + half];
    x[k] = static_cast<float>(a * std::cos(angle) - b * std::sin(angle));
    x[k + half] = static_cast<float>(b * std::cos(angle) + a * std::sin(angle));
  }
}

double Dot(const double* a, const float* b, int64_t d) {
  double sum = 0;
  for (int64_t k = 0; k < d; ++k) sum += a[k] * double{b[k]};
  return sum;
}

// In place; returns nothing: weights sum to 1.
void Softmax(std::vector<double>& scores) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& s : scores) sum += (s = std::exp(s - largest));
  for (double& s : scores) s /= sum;
}

// The query that judges the tokens of a group for one core head: that head's own, or under kv cores
// the mean over the query heads that share the key head.
std::vector<double> PoolingQuery(const StateShape& shape, int64_t core_head, const float* q) {
  const int64_t d = shape.head_dim;
  const int64_t merged = shape.query_heads / shape.core_heads();
  std::vector<double> mean(static_cast<size_t>(d), 0.0);
  for (int64_t h = core_head * merged; h < (core_head + 1) * merged; ++h) {
    for (int64_t k = 0; k < d; ++k) mean[static_cast<size_t>(k)] += double{q[h * d + k]};
  }
  for (double& m : mean) m /= static_cast<double>(merged);
  return mean;
}

// Appends the core token of the group whose last token, with rotated query q[H * d], is the newest
// raw token of the layer.
void Pool(const ReferenceState& state, const float* q, ReferenceLayer& layer) {
  const StateShape& shape = state.shape();
  const int64_t d = shape.head_dim, group = shape.policy.group;
  const int64_t share = shape.core_heads() / shape.kv_heads;          // core heads on one key head
  const int64_t first = layer.raw_k.rows() - group * shape.kv_heads;  // row of the group's first
  for (int64_t c = 0; c < shape.core_heads(); ++c) {
    const std::vector<double> query = PoolingQuery(shape, c, q);
    const auto row = [&](int64_t t) { return first + t * shape.kv_heads + c / share; };
    std::vector<double> a(static_cast<size_t>(group));
    for (int64_t t = 0; t < group; ++t) {
      a[static_cast<size_t>(t)] =
          Dot(query.data(), layer.raw_k.Row(row(t)), d) / std::sqrt(static_cast<double>(d));
    }
    Softmax(a);
    std::vector<float> core_k(static_cast<size_t>(d)), core_v(static_cast<size_t>(d));
    for (size_t k = 0; k < core_k.size(); ++k) {
      double key = 0, value = 0;
      for (int64_t t = 0; t < group; ++t) {
        key += a[static_cast<size_t>(t)] * double{layer.raw_k.Row(row(t))[k]};
        value += a[static_cast<size_t>(t)] * double{layer.raw_v.Row(row(t))[k]};
      }
      core_k[k] = static_cast<float>(key);
      core_v[k] = static_cast<float>(value);
    }
    layer.core_k.Append(core_k.data(), 1);
    layer.core_v.Append(core_v.data(), 1);
  }
}

// One query row of all heads at 0-based token index `token`. q, out: [H * d]. `mass` may be null.
void Attend(const ReferenceState& state, const ReferenceLayer& layer, int64_t token, const float* q,
            float* out, float* mass) {
  const StateShape& shape = state.shape();
  const int64_t d = shape.head_dim;
  const int64_t cores = shape.policy.CoresVisible(token + 1);
  const int64_t first_raw = shape.policy.FirstRaw(token + 1);
  const int64_t visible = cores + token + 1 - first_raw;
  for (int64_t h = 0; h < shape.query_heads; ++h) {
    const int64_t core_head = h / (shape.query_heads / shape.core_heads());
    const int64_t raw_head = h / (shape.query_heads / shape.kv_heads);
    // Where key or value n of the visible positions lies: cores first, then raw tokens.
    const auto at = [&](const ReferenceRows& core, const ReferenceRows& raw, int64_t n) {
      if (n < cores) return core.Row(n * shape.core_heads() + core_head);
      const int64_t t = first_raw + n - cores - state.first_raw();
      return raw.Row(t * shape.kv_heads + raw_head);
    };
    const std::vector<double> query(q + h * d, q + (h + 1) * d);
    std::vector<double> p(static_cast<size_t>(visible));
    for (int64_t n = 0; n < visible; ++n) {
      p[static_cast<size_t>(n)] = Dot(query.data(), at(layer.core_k, layer.raw_k, n), d) /
                                  std::sqrt(static_cast<double>(d));
    }
    Softmax(p);
    std::vector<double> sum(static_cast<size_t>(d), 0.0);
    for (int64_t n = 0; n < visible; ++n) {
      const float* value = at(layer.core_v, layer.raw_v, n);
      for (int64_t k = 0; k < d; ++k) {
        sum[static_cast<size_t>(k)] += p[static_cast<size_t>(n)] * double{value[k]};
      }
      if (mass != nullptr) mass[n] += static_cast<float>(p[static_cast<size_t>(n)]);
    }
    for (int64_t k = 0; k < d; ++k)
      out[h * d + k] = static_cast<float>(sum[static_cast<size_t>(k)]);
  }
}

// RotaryAppendPool and Attention belong inside a step with the same items.
Status CheckStep(Batch batch) {
  for (const BatchItem& item : batch) {
    if (static_cast<const ReferenceState*>(item.state)->step_rows != item.rows) {
      return absl::InvalidArgumentError("the batch is not the one of BeginStep");
    }
  }
  return OkStatus();
}

}  // namespace

Status ReferenceBackend::RotaryAppendPool(int64_t layer, Batch batch, const Rotary& rotary,
                                          Tensor qkv) {
  Status status = CheckRotaryAppendPool(layer, batch, rotary, qkv);
  if (status.ok()) status = CheckStep(batch);
  if (status.ok()) status = CheckLayerReady(batch, layer);
  if (!status.ok()) return status;
  float* row = qkv.data;
  for (const BatchItem& item : batch) {
    auto& state = static_cast<ReferenceState&>(*item.state);
    const StateShape& shape = state.shape();
    const int64_t d = shape.head_dim;
    ReferenceLayer& to = state.OwnLayer(layer);
    state.Truncate(to);
    for (int64_t r = 0; r < item.rows; ++r, row += qkv.cols) {
      const int64_t token = state.tokens() + r;
      for (int64_t h = 0; h < shape.query_heads + shape.kv_heads; ++h) {
        Rotate(rotary, rotary.first_position + token, row + h * d);
      }
      const float* key = row + shape.query_heads * d;  // [Hkv, d]
      const float* value = key + shape.kv_heads * d;   // [Hkv, d]
      to.raw_k.Append(key, shape.kv_heads);
      to.raw_v.Append(value, shape.kv_heads);
      switch (shape.policy.kind) {
        case AttentionPolicy::Kind::kFull:
          break;
        case AttentionPolicy::Kind::kCca:
          if ((token + 1) % shape.policy.group == 0) Pool(state, row, to);
          break;
        case AttentionPolicy::Kind::kStreaming:
          if (token < shape.policy.sinks) {
            to.core_k.Append(key, shape.kv_heads);
            to.core_v.Append(value, shape.kv_heads);
          }
          break;
      }
    }
  }
  return OkStatus();
}

Status ReferenceBackend::Attention(int64_t layer, Batch batch, Rows rows, const Tensor& qkv,
                                   Tensor out) {
  Status status = CheckAttention(layer, batch, rows, qkv, out);
  if (status.ok()) status = CheckStep(batch);
  if (status.ok()) status = CheckLayerReady(batch, layer);
  if (!status.ok()) return status;
  const float* row = qkv.data;
  float* to = out.data;
  for (const BatchItem& item : batch) {
    auto& state = static_cast<ReferenceState&>(*item.state);
    const ReferenceLayer& from = state.OwnLayer(layer);
    for (int64_t r = 0; r < item.rows; ++r, row += qkv.cols) {
      if (rows == Rows::kOutputs && r < item.rows - item.outputs) continue;
      float* mass = r == item.rows - 1 ? item.attention_mass : nullptr;
      Attend(state, from, state.tokens() + r, row, to, mass);
      to += out.cols;
    }
  }
  return OkStatus();
}

}  // namespace longleaf::kernels
