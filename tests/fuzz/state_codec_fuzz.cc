// The first 104 bytes as the meta of a snapshot, the rest as its segments and tail. What decodes
// encodes back to the same bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "kernels/reference.h"
#include "model/state_codec.h"

namespace {

constexpr size_t kMetaBytes = 104;

using longleaf::kernels::AttentionPolicy;
using longleaf::kernels::DType;
using longleaf::model::SegmentDecoder;
using longleaf::model::SnapshotLayout;

// Bytes taken one after another.
struct Source {
  const uint8_t* data;
  size_t left;

  absl::Status Read(absl::Span<std::byte> out) {
    if (out.size() > left) return absl::OutOfRangeError("cut");
    std::memcpy(out.data(), data, out.size());
    data += out.size();
    left -= out.size();
    return absl::OkStatus();
  }
  absl::StatusOr<absl::Span<const std::byte>> Next(size_t most) {
    if (left == 0) return absl::OutOfRangeError("cut");
    const size_t count = std::min({most, left, size_t{20}});
    data += count;
    left -= count;
    return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(data) - count, count);
  }
  absl::Status Compare(absl::Span<const std::byte> bytes) {
    if (bytes.size() > left || std::memcmp(data, bytes.data(), bytes.size()) != 0) __builtin_trap();
    data += bytes.size();
    left -= bytes.size();
    return absl::OkStatus();
  }
};

void TryPolicy(const AttentionPolicy& policy, DType dtype, const uint8_t* data, size_t size) {
  const auto layout =
      SnapshotLayout::FromMeta({reinterpret_cast<const char*>(data), kMetaBytes}, {.layers = 1,
                                                                                   .query_heads = 2,
                                                                                   .kv_heads = 1,
                                                                                   .head_dim = 2,
                                                                                   .policy = policy,
                                                                                   .dtype = dtype});
  if (!layout.ok()) return;
  if (layout->SegmentBytes() < 0 || layout->TailBytes() < 0 || layout->TotalBytes() < 0) {
    __builtin_trap();
  }
  longleaf::kernels::ReferenceBackend backend(1 << 16);
  auto state = backend.NewState(layout->shape());
  if (!state.ok() || !PrepareRestore(backend, *layout, **state).ok()) return;
  Source source = {data + kMetaBytes, size - kMetaBytes};
  const auto read = [&source](absl::Span<std::byte> out) { return source.Read(out); };
  // Every second segment from memory, in pieces that are not its blocks.
  const auto next = [&source](size_t most) { return source.Next(most); };
  std::vector<std::byte> scratch;
  for (int64_t segment = 0; segment < layout->segments(); ++segment) {
    if (segment % 2 == 0) {
      if (!DecodeSegment(backend, *layout, segment, read, **state).ok()) return;
      continue;
    }
    auto decoder = SegmentDecoder::Create(backend, *layout, segment, **state);
    if (!decoder.ok()) __builtin_trap();
    while (decoder->next_layer() < layout->shape().layers) {
      if (!decoder->DecodeNextLayer(next, scratch).ok()) return;
    }
  }
  if (!DecodeTail(backend, *layout, read, **state).ok()) return;
  if (!(*state)->LayerReady(0)) __builtin_trap();
  Source expected = {data + kMetaBytes, size - kMetaBytes};
  const auto compare = [&expected](absl::Span<const std::byte> bytes) {
    return expected.Compare(bytes);
  };
  for (int64_t segment = 0; segment < layout->segments(); ++segment) {
    if (!EncodeSegment(backend, **state, *layout, segment, compare).ok()) __builtin_trap();
  }
  if (!EncodeTail(backend, **state, *layout, compare).ok() || expected.left != source.left) {
    __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kMetaBytes) return 0;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    TryPolicy(AttentionPolicy::Full(), dtype, data, size);
    TryPolicy(AttentionPolicy::Cca(2, 4, longleaf::kernels::CoreHeads::kQuery), dtype, data, size);
    TryPolicy(AttentionPolicy::Streaming(2, 4), dtype, data, size);
  }
  return 0;
}
