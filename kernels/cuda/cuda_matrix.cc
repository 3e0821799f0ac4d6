// Device matrices and their loading.
#include "kernels/cuda/cuda_matrix.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cuda/weight_kernels.h"

namespace longleaf::kernels::cuda {
namespace {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

// Large enough that neither the link nor the copy out of the file's pages waits on the other.
constexpr int64_t kPieceBytes = int64_t{16} << 20;

}  // namespace

CudaMatrix::CudaMatrix(const MatrixShape& shape, DeviceMemory weights, DeviceMemory scales,
                       int64_t* weight_bytes)
    : shape_(shape),
      weights_(std::move(weights)),
      scales_(std::move(scales)),
      weight_bytes_(weight_bytes) {
  *weight_bytes_ += bytes();
}

StatusOr<std::unique_ptr<CudaMatrix>> CudaMatrix::Allocate(const MatrixShape& shape,
                                                           int64_t* weight_bytes) {
  const int64_t numbers = shape.out_features * shape.in_features;
  StatusOr<DeviceMemory> weights =
      DeviceMemory::Allocate(numbers * SizeOf(OperandOf(shape.format)));
  if (!weights.ok()) return weights.status();
  StatusOr<DeviceMemory> scales = DeviceMemory::Allocate(
      shape.format == WeightFormat::kFP8 ? shape.out_features * int64_t{sizeof(float)} : 0);
  if (!scales.ok()) return scales.status();
  return std::unique_ptr<CudaMatrix>(
      new CudaMatrix(shape, *std::move(weights), *std::move(scales), weight_bytes));
}

Status MatrixLoader::Reserve(int64_t bytes) {
  if (bytes <= piece_bytes_) return OkStatus();
  Release();
  for (Piece& piece : pieces_) {
    StatusOr<PinnedMemory> host = PinnedMemory::Allocate(bytes);
    if (!host.ok()) return host.status();
    StatusOr<DeviceMemory> device = DeviceMemory::Allocate(bytes);
    if (!device.ok()) return device.status();
    StatusOr<Event> done = Event::Create();
    if (!done.ok()) return done.status();
    piece = {*std::move(host), *std::move(device), *std::move(done), false};
  }
  piece_bytes_ = bytes;
  return OkStatus();
}

void MatrixLoader::Release() {
  for (Piece& piece : pieces_) {
    // Pinned memory must outlive the copy that reads it. An error shows at the stream's next call.
    if (piece.used) piece.done.Synchronize().IgnoreError();
    piece = {};
  }
  piece_bytes_ = 0;
}

StatusOr<MatrixLoader::Piece*> MatrixLoader::Send(const std::byte* from, int64_t bytes,
                                                  std::byte* to, cudaStream_t stream) {
  Piece& piece = pieces_[next_];
  next_ = 1 - next_;
  if (piece.used) {
    if (Status status = piece.done.Synchronize(); !status.ok()) return status;
  }
  std::memcpy(piece.host.data(), from, static_cast<size_t>(bytes));
  piece.used = true;
  if (Status status =
          Copy(to == nullptr ? piece.device.data() : to, piece.host.data(), bytes, stream);
      !status.ok()) {
    return status;
  }
  return &piece;
}

Status MatrixLoader::LoadPart(const WeightView& part, int64_t first_row, const CudaMatrix& to,
                              cudaStream_t stream) {
  const WeightFormat format = to.shape().format;
  const DType type = format == WeightFormat::kBF16 ? DType::kBF16 : DType::kF32;
  const bool quantise = format == WeightFormat::kFP8;
  const bool as_it_is = !quantise && part.type == type;
  // A unit is not cut: a row that gets one scale, else one element.
  const int64_t unit = quantise ? part.cols : 1;
  const int64_t units = part.rows * part.cols / unit;
  const int64_t unit_bytes = unit * SizeOf(part.type);
  if (Status status = Reserve(std::max(kPieceBytes, unit_bytes)); !status.ok()) return status;
  const int64_t most = piece_bytes_ / unit_bytes;
  const auto* const from = static_cast<const std::byte*>(part.data);
  for (int64_t at = 0; at < units; at += most) {
    const int64_t count = std::min(most, units - at);
    const int64_t first = first_row * part.cols + at * unit;  // element of the matrix
    std::byte* const out = to.weights() + first * SizeOf(to.operand());
    StatusOr<Piece*> piece =
        Send(from + at * unit_bytes, count * unit_bytes, as_it_is ? out : nullptr, stream);
    if (!piece.ok()) return piece.status();
    Status status;
    if (quantise) {
      status =
          QuantiseWeights((*piece)->device.data(), part.type, count, part.cols,
                          reinterpret_cast<uint8_t*>(out), to.scales() + first_row + at, stream);
    } else if (!as_it_is) {
      status = ConvertWeights((*piece)->device.data(), part.type, count, out, type, stream);
    }
    if (status.ok()) status = (*piece)->done.Record(stream);
    if (!status.ok()) return status;
  }
  return OkStatus();
}

Status MatrixLoader::Load(absl::Span<const WeightView> parts, const CudaMatrix& to,
                          cudaStream_t stream) {
  int64_t row = 0;
  for (const WeightView& part : parts) {
    if (Status status = LoadPart(part, row, to, stream); !status.ok()) return status;
    row += part.rows;
  }
  return OkStatus();
}

}  // namespace longleaf::kernels::cuda
