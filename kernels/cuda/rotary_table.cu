// The angles of a step.
#include "kernels/cuda/rotary_table.h"

#include <algorithm>
#include <utility>

namespace longleaf::kernels::cuda {
namespace {

using absl::Status;
using absl::StatusOr;

constexpr int kThreads = 256;

// A thread for each angle.
__global__ void __launch_bounds__(kThreads) AnglesKernel(StepView step,
                                                         const double* frequencies,  // [half]
                                                         int32_t half, int64_t first_position,
                                                         float* angles) {  // [R, 2, half]
  const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t row = at / half;
  const int64_t k = at - row * half;
  if (row < step.rows) {
    const StepItem& item = step.items[step.row_items[row]];
    const int64_t position = first_position + item.first_token + row - item.first_row;
    double sine, cosine;
    sincos(static_cast<double>(position) * frequencies[k], &sine, &cosine);
    float* const to = angles + row * 2 * half + k;
    to[0] = static_cast<float>(cosine);
    to[half] = static_cast<float>(sine);
  }
}

}  // namespace

Status RotaryTable::Fit(int64_t rows, const Rotary& rotary, cudaStream_t stream) {
  const int64_t half = static_cast<int64_t>(rotary.inverse_frequencies.size());
  const int64_t needed = rows * 2 * half * int64_t{sizeof(float)};
  if (needed > angles_.bytes()) {
    // Twice what was there: a few steps of growing length do not each move it.
    StatusOr<DeviceMemory> angles = DeviceMemory::Allocate(std::max(needed, 2 * angles_.bytes()));
    if (!angles.ok()) return angles.status();
    // Earlier work may still read the old ones.
    Status idle = Check(cudaStreamSynchronize(stream), "waiting for the device");
    if (!idle.ok()) return idle;
    angles_ = *std::move(angles);
    ++generation_;
  }
  if (rotary.inverse_frequencies == known_frequencies_) return absl::OkStatus();
  known_frequencies_.clear();  // what lies there is unknown until the copy is enqueued
  const int64_t bytes = half * int64_t{sizeof(double)};
  if (bytes > frequencies_.bytes()) {
    StatusOr<DeviceMemory> frequencies = DeviceMemory::Allocate(bytes);
    if (!frequencies.ok()) return frequencies.status();
    Status idle = Check(cudaStreamSynchronize(stream), "waiting for the device");
    if (!idle.ok()) return idle;
    frequencies_ = *std::move(frequencies);
  }
  ++generation_;
  // From memory that is not pinned: read when the call returns.
  Status status = Copy(frequencies_.data(), rotary.inverse_frequencies.data(), bytes, stream);
  if (status.ok()) known_frequencies_ = rotary.inverse_frequencies;
  return status;
}

Status RotaryTable::Prepare(const StepView& step, const Rotary& rotary, int64_t head_dim,
                            cudaStream_t stream) {
  const int64_t half = head_dim / 2;
  if (Status status = Fit(step.rows, rotary, stream); !status.ok()) return status;
  if (rotary.first_position != first_position_) ++generation_;
  first_position_ = rotary.first_position;
  const int64_t blocks = (step.rows * half + kThreads - 1) / kThreads;
  return Launch("rotary angles", AnglesKernel, dim3(static_cast<unsigned>(blocks)), dim3(kThreads),
                0, stream, step, frequencies_.as<double>(), static_cast<int32_t>(half),
                first_position_, angles_.as<float>());
}

}  // namespace longleaf::kernels::cuda
