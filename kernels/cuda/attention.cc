// Planning the attention of a step, and starting its kernels.
#include "kernels/cuda/attention.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/status/statusor.h"

namespace longleaf::kernels::cuda {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

namespace {

bool Same(const StepShape& a, const StepShape& b) {
  return a.query_heads == b.query_heads && a.kv_heads == b.kv_heads &&
         a.core_heads == b.core_heads && a.head_dim == b.head_dim && a.policy == b.policy &&
         a.raw.dtype == b.raw.dtype && a.raw.layers == b.raw.layers;
}

std::vector<PlanItem> PlanItems(absl::Span<const HostStepItem> items, Batch batch) {
  std::vector<PlanItem> out;
  out.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    const HostStepItem& item = items[i];
    out.push_back({item.first_token, item.first_row, item.rows,
                   static_cast<int32_t>(batch[i].outputs), item.trunk_tokens, item.first_core_page,
                   item.first_raw_page, item.core_pages, item.raw_pages});
  }
  return out;
}

}  // namespace

Status CudaAttention::Prepare(const StepShape& shape) {
  for (const StepShape& prepared : prepared_) {
    if (Same(prepared, shape)) return OkStatus();
  }
  Status status = MmaTakes(shape) ? PrepareAttentionMma(shape) : PrepareAttentionF32(shape);
  if (status.ok() && hopper_ &&
      WgmmaTakes(shape, {0, 1, 1, kUnitSlots, true}, compute_capability_)) {
    status = PrepareAttentionWgmma(shape);
  }
  if (status.ok()) prepared_.push_back(shape);
  return status;
}

Status CudaAttention::ReservePartials(const StepShape& shape, int64_t partials,
                                      cudaStream_t stream) {
  const int64_t row =
      shape.query_heads * (shape.head_dim * int64_t{sizeof(float)} + int64_t{sizeof(float2)});
  const int64_t bytes = partials * row;
  if (bytes <= partials_.bytes()) return OkStatus();
  const auto room = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(bytes)));
  StatusOr<DeviceMemory> memory = DeviceMemory::Allocate(room);
  if (!memory.ok()) memory = DeviceMemory::Allocate(bytes);
  if (!memory.ok()) return memory.status();
  // Steps that are queued use the old one.
  Status status = Check(cudaStreamSynchronize(stream), "waiting for the device");
  if (!status.ok()) return status;
  partials_ = *std::move(memory);
  ++generation_;
  return OkStatus();
}

Status CudaAttention::Begin(const StepShape& shape, absl::Span<const HostStepItem> items,
                            Batch batch, cudaStream_t stream) {
  for (Planned& planned : planned_) planned = Planned();
  if (Status status = Prepare(shape); !status.ok()) return status;
  const std::vector<PlanItem> plan_items = PlanItems(items, batch);
  const bool equal = std::all_of(batch.begin(), batch.end(),
                                 [](const BatchItem& item) { return item.outputs == item.rows; });
  std::vector<AttentionPlan> plans;
  plans.push_back(PlanAttention(shape, Rows::kAll, plan_items, multiprocessors_));
  if (!equal) {
    plans.push_back(PlanAttention(shape, Rows::kOutputs, plan_items, multiprocessors_));
  }
  int64_t partials = 0;
  for (const AttentionPlan& plan : plans) partials = std::max<int64_t>(partials, plan.partials);
  if (Status status = ReservePartials(shape, partials, stream); !status.ok()) return status;

  std::array<AttentionArguments, 2> arguments;
  Status status = upload_.Send(plans, absl::MakeSpan(arguments).first(plans.size()), stream);
  if (!status.ok()) return status;
  // The places of largest scores and sums do not depend on how many partial results there are.
  const int64_t row_bytes = shape.head_dim * int64_t{sizeof(float)} + int64_t{sizeof(float2)};
  const int64_t room = partials_.bytes() / row_bytes;  // of a row and head
  for (size_t p = 0; p < plans.size(); ++p) {
    arguments[p].partial_out = partials_.as<float>();
    arguments[p].partial_max_sum =
        reinterpret_cast<float2*>(partials_.as<float>() + room * shape.head_dim);
    arguments[p].shape = shape;
    planned_[p] = {std::move(plans[p].launches), static_cast<int32_t>(plans[p].merges.size()),
                   arguments[p]};
  }
  if (equal) planned_[1] = planned_[0];
  return OkStatus();
}

Status CudaAttention::Start(const AttentionLaunch& launch, const AttentionArguments& arguments,
                            cudaStream_t stream) const {
  if (hopper_ && WgmmaTakes(arguments.shape, launch, compute_capability_)) {
    return LaunchAttentionWgmma(launch, arguments, stream);
  }
  return MmaTakes(arguments.shape) ? LaunchAttentionMma(launch, arguments, stream)
                                   : LaunchAttentionF32(launch, arguments, stream);
}

Status CudaAttention::Run(int64_t layer, Rows rows, const StepView& view, const Tensor& qkv,
                          Tensor out, cudaStream_t stream) const {
  const Planned& planned = planned_[rows == Rows::kAll ? 0 : 1];
  AttentionArguments arguments = planned.arguments;
  arguments.items = view.items;
  arguments.qkv = qkv.data;
  arguments.out = out.data;
  arguments.layer = layer;
  for (const AttentionLaunch& launch : planned.launches) {
    if (Status status = Start(launch, arguments, stream); !status.ok()) return status;
  }
  return LaunchAttentionCombine(planned.merges, arguments, stream);
}

void CudaAttention::AppendKey(std::vector<int64_t>* key) const {
  key->push_back(generation_);
  key->push_back(upload_.generation());
  for (const Planned& planned : planned_) {
    key->push_back(static_cast<int64_t>(planned.launches.size()));
    for (const AttentionLaunch& launch : planned.launches) {
      key->insert(key->end(), {launch.first_unit, launch.units, launch.pack, launch.tile,
                               launch.prefill ? 1 : 0});
    }
    key->push_back(planned.merges);
  }
}

}  // namespace longleaf::kernels::cuda
