// Embedding through pinned memory.
#include "kernels/cuda/embed.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/statusor.h"
#include "kernels/cuda/elementwise.h"

namespace longleaf::kernels::cuda {

using absl::Status;
using absl::StatusOr;

namespace {

// Of each half: some hundred rows, so that gathering the next ones hides behind copying these.
constexpr int64_t kHalfBytes = int64_t{2} << 20;

}  // namespace

Status Embedder::Fit(int64_t bytes) {
  for (Half& half : halves_) {
    if (half.host.bytes() >= bytes) continue;
    if (half.used) {
      if (Status status = half.done.Synchronize(); !status.ok()) return status;
    }
    StatusOr<PinnedMemory> host = PinnedMemory::Allocate(bytes);
    if (!host.ok()) return host.status();
    StatusOr<DeviceMemory> device = DeviceMemory::Allocate(bytes);
    if (!device.ok()) return device.status();
    StatusOr<Event> done = Event::Create();
    if (!done.ok()) return done.status();
    half = {*std::move(host), *std::move(device), *std::move(done)};
  }
  return absl::OkStatus();
}

Status Embedder::Send(Half& half, const WeightView& table, absl::Span<const int32_t> tokens,
                      float* out, cudaStream_t stream) {
  if (half.used) {
    if (Status status = half.done.Synchronize(); !status.ok()) return status;
  }
  const int64_t row_bytes = table.cols * SizeOf(table.type);
  const auto* const from = static_cast<const std::byte*>(table.data);
  std::byte* to = half.host.data();
  for (int32_t token : tokens) {
    std::memcpy(to, from + token * row_bytes, static_cast<size_t>(row_bytes));
    to += row_bytes;
  }
  const int64_t rows = static_cast<int64_t>(tokens.size());
  const bool wide = table.type == DType::kF32;
  Status status = Copy(wide ? reinterpret_cast<std::byte*>(out) : half.device.data(),
                       half.host.data(), rows * row_bytes, stream);
  if (status.ok() && !wide) {
    status = Widen(table.type, half.device.data(), rows * table.cols, out, stream);
  }
  // Also after an error: part of it may be on its way.
  Status recorded = half.done.Record(stream);
  half.used = true;
  return status.ok() ? recorded : status;
}

Status Embedder::Embed(const WeightView& table, absl::Span<const int32_t> tokens, Tensor out,
                       cudaStream_t stream) {
  const int64_t row_bytes = table.cols * SizeOf(table.type);
  if (Status status = Fit(std::max(kHalfBytes, row_bytes)); !status.ok()) return status;
  const size_t most = static_cast<size_t>(halves_[0].host.bytes() / row_bytes);
  for (size_t first = 0; first < tokens.size(); first += most) {
    Half& half = halves_[next_];
    next_ = 1 - next_;
    Status status = Send(half, table, tokens.subspan(first, most),
                         out.data + static_cast<int64_t>(first) * table.cols, stream);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace longleaf::kernels::cuda
