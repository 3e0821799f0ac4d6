// SnapshotLayout: which bytes a snapshot consists of, and the few that its manifest keeps.
#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "model/core_state.h"
#include "model/state_codec.h"

namespace longleaf::model {
namespace {

using absl::Status;
using absl::StatusOr;
using kernels::AttentionPolicy;
using kernels::StateShape;

// Meta: these fields, little-endian, in this order (STATE_FORMAT.md). The numbers of kinds and
// heads are the format's own: never renumbered.
constexpr char kMagic[8] = {'L', 'L', 'S', 'T', 'A', 'T', 'E', '\0'};
constexpr uint8_t kKindFull = 1;
constexpr uint8_t kKindCca = 2;
constexpr uint8_t kKindStreaming = 3;
constexpr uint8_t kHeadsQuery = 1;
constexpr uint8_t kHeadsKeyValue = 2;
constexpr size_t kMetaBytes = sizeof(kMagic) + 4 + 4 + 11 * 8;

constexpr int64_t kTargetSpanTokens = 4096;
// Far above any model; products of several of them are checked for overflow all the same.
constexpr int64_t kMaxDimension = int64_t{1} << 20;
constexpr int64_t kMaxTokens = int64_t{1} << 40;

template <typename T>
void Put(std::string& out, T value) {
  using Bits = std::make_unsigned_t<T>;
  for (size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<char>(static_cast<Bits>(value) >> (8 * i)));
  }
}

// Requires sizeof(T) bytes; takes them off the front.
template <typename T>
T Get(std::string_view& in) {
  std::make_unsigned_t<T> value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<decltype(value)>(static_cast<uint8_t>(in[i])) << (8 * i);
  }
  in.remove_prefix(sizeof(T));
  return static_cast<T>(value);
}

uint8_t KindNumber(const AttentionPolicy& policy) {
  switch (policy.kind) {
    case AttentionPolicy::Kind::kFull:
      return kKindFull;
    case AttentionPolicy::Kind::kCca:
      return kKindCca;
    case AttentionPolicy::Kind::kStreaming:
      break;
  }
  return kKindStreaming;
}

StatusOr<AttentionPolicy> ReadPolicy(uint8_t kind, uint8_t heads, int64_t group, int64_t window,
                                     int64_t sinks) {
  AttentionPolicy policy;
  switch (kind) {
    case kKindFull:
      break;
    case kKindCca:
      policy.kind = AttentionPolicy::Kind::kCca;
      break;
    case kKindStreaming:
      policy.kind = AttentionPolicy::Kind::kStreaming;
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat("state: attention kind ", int{kind}));
  }
  if (heads != kHeadsQuery && heads != kHeadsKeyValue) {
    return absl::InvalidArgumentError(absl::StrCat("state: core heads kind ", int{heads}));
  }
  policy.core_heads =
      heads == kHeadsQuery ? kernels::CoreHeads::kQuery : kernels::CoreHeads::kKeyValue;
  policy.group = group;
  policy.window = window;
  policy.sinks = sinks;
  if (Status status = policy.Validate(); !status.ok()) return status;
  return policy;
}

StatusOr<kernels::DType> ReadType(uint8_t number) {
  for (const kernels::DType type :
       {kernels::DType::kF32, kernels::DType::kBF16, kernels::DType::kI8}) {
    if (number == static_cast<uint8_t>(type)) return type;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("state: element type ", int{number}, "; this program reads f32, bf16 and int8"));
}

Status CheckShape(const StateShape& shape) {
  if (Status status = ReadType(static_cast<uint8_t>(shape.dtype)).status(); !status.ok()) {
    return status;
  }
  if (Status status = shape.policy.Validate(); !status.ok()) return status;
  for (const int64_t extent : {shape.layers, shape.query_heads, shape.kv_heads, shape.head_dim}) {
    if (extent < 1 || extent > kMaxDimension) {
      return absl::InvalidArgumentError(absl::StrCat("state: a shape with the extent ", extent));
    }
  }
  if (shape.query_heads % shape.kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "state: ", shape.query_heads, " query heads over ", shape.kv_heads, " key heads"));
  }
  return absl::OkStatus();
}

std::string Describe(const StateShape& shape) {
  return absl::StrCat(shape.layers, " layers, ", shape.query_heads, " query heads, ",
                      shape.kv_heads, " key heads of ", shape.head_dim, ", ",
                      shape.policy.ToString(), ", ", kernels::NameOf(shape.dtype));
}

// out = layers * 2 * (cores * core_heads + raw * kv_heads) * row_bytes. False on overflow.
bool BytesOf(const StateShape& shape, int64_t cores, int64_t raw, int64_t* out) {
  int64_t core_rows = 0;
  int64_t raw_rows = 0;
  if (__builtin_mul_overflow(cores, shape.core_heads(), &core_rows) ||
      __builtin_mul_overflow(raw, shape.kv_heads, &raw_rows) ||
      __builtin_add_overflow(core_rows, raw_rows, out)) {
    return false;
  }
  for (const int64_t factor : {int64_t{2}, shape.layers, shape.row_bytes()}) {
    if (__builtin_mul_overflow(*out, factor, out)) return false;
  }
  return true;
}

}  // namespace

int64_t DefaultSpanTokens(const AttentionPolicy& policy) {
  if (policy.kind != AttentionPolicy::Kind::kCca) return kTargetSpanTokens;
  return std::max(policy.group, kTargetSpanTokens / policy.group * policy.group);
}

StatusOr<SnapshotLayout> SnapshotLayout::For(const StateShape& shape, int64_t tokens,
                                             int64_t span_tokens) {
  if (Status status = CheckShape(shape); !status.ok()) return status;
  const AttentionPolicy& policy = shape.policy;
  if (span_tokens == 0) span_tokens = DefaultSpanTokens(policy);
  const bool cca = policy.kind == AttentionPolicy::Kind::kCca;
  if (tokens < 0 || tokens > kMaxTokens || span_tokens < 1 || span_tokens > kMaxTokens ||
      (cca && span_tokens % policy.group != 0)) {
    return absl::InvalidArgumentError(absl::StrCat("state: ", tokens, " tokens in spans of ",
                                                   span_tokens, " under ", policy.ToString()));
  }
  SnapshotLayout layout;
  layout.shape_ = shape;
  layout.tokens_ = tokens;
  layout.first_raw_ = TailBegin(policy, tokens);
  layout.span_tokens_ = span_tokens;
  int64_t segment_cores = 0;
  int64_t segment_raw = 0;
  if (cca) {
    layout.segments_ = tokens / span_tokens;
    segment_cores = span_tokens / policy.group;
  } else if (policy.kind == AttentionPolicy::Kind::kFull) {
    layout.segments_ = tokens / span_tokens;
    segment_raw = span_tokens;
    layout.first_raw_ = layout.segments_ * span_tokens;
  }  // streaming: its past is a few sinks, which go with the tail
  const int64_t tail_cores = policy.CoresAfter(tokens) - layout.segments_ * segment_cores;
  int64_t all_segments = 0;
  int64_t total = 0;
  if (!BytesOf(shape, segment_cores, segment_raw, &layout.segment_bytes_) ||
      !BytesOf(shape, tail_cores, tokens - layout.first_raw_, &layout.tail_bytes_) ||
      __builtin_mul_overflow(layout.segments_, layout.segment_bytes_, &all_segments) ||
      __builtin_add_overflow(all_segments, layout.tail_bytes_, &total)) {
    return absl::InvalidArgumentError(
        absl::StrCat("state: ", tokens, " tokens are beyond what can be addressed"));
  }
  return layout;
}

std::string SnapshotLayout::Meta() const {
  const AttentionPolicy& policy = shape_.policy;
  std::string out(kMagic, sizeof(kMagic));
  Put(out, kStateCodecVersion);
  Put(out, static_cast<uint8_t>(dtype()));
  Put(out, KindNumber(policy));
  Put(out, policy.core_heads == kernels::CoreHeads::kQuery ? kHeadsQuery : kHeadsKeyValue);
  Put(out, uint8_t{0});
  for (const int64_t field :
       {policy.group, policy.window, policy.sinks, shape_.layers, shape_.query_heads,
        shape_.kv_heads, shape_.head_dim, tokens_, first_raw_, span_tokens_, kBlockTokens}) {
    Put(out, field);
  }
  return out;
}

StatusOr<SnapshotLayout> SnapshotLayout::FromMeta(std::string_view meta,
                                                  const StateShape& expected) {
  const auto wrong = [](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat("state: ", what...));
  };
  if (meta.size() < sizeof(kMagic) + 4 || std::memcmp(meta.data(), kMagic, sizeof(kMagic)) != 0) {
    return wrong("not the description of a state");
  }
  std::string_view in = meta.substr(sizeof(kMagic));
  if (const uint32_t version = Get<uint32_t>(in); version != kStateCodecVersion) {
    return wrong("codec version ", version, "; this program reads ", kStateCodecVersion);
  }
  if (meta.size() != kMetaBytes) {
    return wrong("a description of ", meta.size(), " bytes instead of ", kMetaBytes);
  }
  const uint8_t dtype = Get<uint8_t>(in);
  const uint8_t kind = Get<uint8_t>(in);
  const uint8_t heads = Get<uint8_t>(in);
  const uint8_t reserved = Get<uint8_t>(in);
  std::array<int64_t, 11> fields;
  for (int64_t& field : fields) field = Get<int64_t>(in);
  const auto [group, window, sinks, layers, query_heads, kv_heads, head_dim, tokens, first_raw,
              span_tokens, block_tokens] = fields;
  StatusOr<kernels::DType> type = ReadType(dtype);
  if (!type.ok()) return type.status();
  if (reserved != 0 || block_tokens != kBlockTokens) {
    return wrong("blocks of ", block_tokens, " tokens; this program reads ", kBlockTokens);
  }
  StatusOr<AttentionPolicy> policy = ReadPolicy(kind, heads, group, window, sinks);
  if (!policy.ok()) return policy.status();
  const StateShape shape = {layers, query_heads, kv_heads, head_dim, *policy, *type};
  if (shape != expected) {
    return wrong("stored with ", Describe(shape), "; this model has ", Describe(expected));
  }
  if (span_tokens == 0) return wrong("spans of 0 tokens");
  StatusOr<SnapshotLayout> layout = For(shape, tokens, span_tokens);
  if (!layout.ok()) return layout.status();
  if (layout->first_raw_ != first_raw) {
    return wrong("raw tokens from ", first_raw, "; ", tokens, " tokens have them from ",
                 layout->first_raw_);
  }
  return layout;
}

TokenSpan SnapshotLayout::span(int64_t segment) const {
  return {segment * span_tokens_, (segment + 1) * span_tokens_};
}

TokenSpan SnapshotLayout::tail_span() const { return {segments_ * span_tokens_, tokens_}; }

int64_t SnapshotLayout::SharedSegments(const SnapshotLayout& base) const {
  if (base.shape_ != shape_ || base.span_tokens_ != span_tokens_) return 0;
  return std::min(base.segments_, segments_);
}

bool operator==(const SnapshotLayout& a, const SnapshotLayout& b) { return a.Meta() == b.Meta(); }

}  // namespace longleaf::model
