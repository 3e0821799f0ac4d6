// The first 104 bytes as the meta of a snapshot, the rest as its segments and tail. What decodes
// encodes back to the same bytes.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "kernels/reference.h"
#include "model/state_codec.h"

namespace {

constexpr size_t kMetaBytes = 104;

using longleaf::kernels::AttentionPolicy;
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
  absl::Status Compare(absl::Span<const std::byte> bytes) {
    if (bytes.size() > left || std::memcmp(data, bytes.data(), bytes.size()) != 0) __builtin_trap();
    data += bytes.size();
    left -= bytes.size();
    return absl::OkStatus();
  }
};

void TryPolicy(const AttentionPolicy& policy, const uint8_t* data, size_t size) {
  const auto layout = SnapshotLayout::FromMeta(
      {reinterpret_cast<const char*>(data), kMetaBytes},
      {.layers = 1, .query_heads = 2, .kv_heads = 1, .head_dim = 2, .policy = policy});
  if (!layout.ok()) return;
  if (layout->SegmentBytes() < 0 || layout->TailBytes() < 0 || layout->TotalBytes() < 0) {
    __builtin_trap();
  }
  longleaf::kernels::ReferenceBackend backend(1 << 16);
  auto state = backend.NewState(layout->shape());
  if (!state.ok() || !PrepareRestore(backend, *layout, **state).ok()) return;
  Source source = {data + kMetaBytes, size - kMetaBytes};
  const auto read = [&source](absl::Span<std::byte> out) { return source.Read(out); };
  for (int64_t segment = 0; segment < layout->segments(); ++segment) {
    if (!DecodeSegment(backend, *layout, segment, read, **state).ok()) return;
  }
  if (!DecodeTail(backend, *layout, read, **state).ok()) return;
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
  TryPolicy(AttentionPolicy::Full(), data, size);
  TryPolicy(AttentionPolicy::Cca(2, 4, longleaf::kernels::CoreHeads::kQuery), data, size);
  TryPolicy(AttentionPolicy::Streaming(2, 4), data, size);
  return 0;
}
