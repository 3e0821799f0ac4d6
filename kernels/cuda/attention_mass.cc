// Who asks for attention mass, and where it is summed.
#include "kernels/cuda/attention_mass.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_tile.h"

namespace longleaf::kernels::cuda {
namespace {

using absl::OkStatus;
using absl::Status;

// Sizes grow in steps of an eighth or less, so that one recorded step serves many lengths.
int64_t RoundUp(int64_t n) {
  const int64_t step =
      std::max<int64_t>(1024, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n)) / 8));
  return (n + step - 1) / step * step;
}

template <typename Memory>
Status Grow(int64_t bytes, Memory& memory) {
  if (memory.bytes() >= bytes) return OkStatus();
  memory = Memory();  // the old one goes first: both need not fit
  absl::StatusOr<Memory> bigger =
      Memory::Allocate(static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(bytes))));
  if (!bigger.ok()) return bigger.status();
  memory = *std::move(bigger);
  return OkStatus();
}

int64_t Address(const void* pointer) {
  return static_cast<int64_t>(reinterpret_cast<intptr_t>(pointer));
}

}  // namespace

Status AttentionMass::MakeRoom(int32_t rows, int64_t positions, int32_t heads,
                               cudaStream_t stream) {
  const int64_t row_bytes = rows * static_cast<int64_t>(sizeof(AttentionMassRow));
  const int64_t sum_bytes = int64_t{rows} * heads * kMassParts * int64_t{sizeof(float2)};
  const int64_t mass_bytes = positions * int64_t{sizeof(float)};
  const bool enough = host_rows_.bytes() >= row_bytes && device_rows_.bytes() >= row_bytes &&
                      max_sum_.bytes() >= sum_bytes && mass_.bytes() >= mass_bytes &&
                      host_mass_.bytes() >= mass_bytes;
  Status status;
  if (queued_) status = Check(cudaStreamSynchronize(stream), "attention mass");
  if (!status.ok() || enough) return status;
  status = Grow(row_bytes, host_rows_);
  if (status.ok()) status = Grow(row_bytes, device_rows_);
  if (status.ok()) status = Grow(sum_bytes, max_sum_);
  if (status.ok()) status = Grow(mass_bytes, mass_);
  if (status.ok()) status = Grow(mass_bytes, host_mass_);
  return status;
}

Status AttentionMass::Begin(const StepShape& shape, Batch batch, cudaStream_t stream) {
  wanted_.clear();
  shape_ = shape;
  std::vector<AttentionMassRow> rows;
  int64_t first_row = 0, longest = 0;
  positions_ = 0;
  for (size_t i = 0; i < batch.size(); ++i) {
    const BatchItem& item = batch[i];
    first_row += item.rows;
    if (item.attention_mass == nullptr) continue;
    const int64_t token = item.state->tokens() + item.rows - 1;
    const Sight sight = SeenBy(shape.policy, token);
    const int64_t seen = sight.cores + sight.raw_end - sight.raw_begin;
    rows.push_back(
        {token, positions_, static_cast<int32_t>(i), static_cast<int32_t>(first_row - 1)});
    wanted_.push_back({item.attention_mass, seen, positions_});
    positions_ += seen;
    longest = std::max(longest, seen);
  }
  if (rows.empty()) return OkStatus();
  rows.resize(std::bit_ceil(rows.size()), {-1, 0, 0, 0});
  rows_ = static_cast<int32_t>(rows.size());
  longest_ = RoundUp(longest);
  Status status = MakeRoom(rows_, positions_, shape.query_heads, stream);
  if (status.ok()) {
    queued_ = true;
    std::copy(rows.begin(), rows.end(), host_rows_.as<AttentionMassRow>());
    status = Copy(device_rows_.data(), host_rows_.data(),
                  rows_ * static_cast<int64_t>(sizeof(AttentionMassRow)), stream);
  }
  if (status.ok()) {
    status = Check(
        cudaMemsetAsync(mass_.data(), 0, static_cast<size_t>(positions_) * sizeof(float), stream),
        "attention mass");
  }
  if (!status.ok()) wanted_.clear();
  return status;
}

void AttentionMass::AppendKey(std::vector<int64_t>* key) const {
  if (!wanted()) return;
  key->insert(key->end(), {rows_, longest_, Address(device_rows_.data()), Address(max_sum_.data()),
                           Address(mass_.data())});
}

Status AttentionMass::Add(int64_t layer, const StepView& view, const Tensor& qkv,
                          cudaStream_t stream) {
  if (!wanted()) return OkStatus();
  AttentionArguments arguments;
  arguments.items = view.items;
  arguments.qkv = qkv.data;
  arguments.shape = shape_;
  arguments.layer = layer;
  return LaunchAttentionMass(device_rows_.as<AttentionMassRow>(), rows_, longest_, arguments,
                             max_sum_.as<float2>(), mass_.as<float>(), stream);
}

Status AttentionMass::Finish(cudaStream_t stream) {
  if (!wanted()) return OkStatus();
  const std::vector<Wanted> wanted = std::exchange(wanted_, {});
  Status status =
      Copy(host_mass_.data(), mass_.data(), positions_ * int64_t{sizeof(float)}, stream);
  if (status.ok()) status = Check(cudaStreamSynchronize(stream), "attention mass");
  if (!status.ok()) return status;
  queued_ = false;
  const float* sums = host_mass_.as<float>();
  for (const Wanted& one : wanted) {
    for (int64_t n = 0; n < one.positions; ++n) one.mass[n] += sums[one.first + n];
  }
  return OkStatus();
}

}  // namespace longleaf::kernels::cuda
