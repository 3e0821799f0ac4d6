// Which earlier positions a query sees. Core Context Aware attention is arXiv 2412.12465; the
// definitions here are those of its equations 1-5, with positions counted from 1.
#ifndef LONGLEAF_KERNELS_ATTENTION_POLICY_H_
#define LONGLEAF_KERNELS_ATTENTION_POLICY_H_

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace longleaf::kernels {

// Who pools a core token under grouped-query attention. With as many key heads as query heads the
// two are the same.
enum class CoreHeads {
  kQuery,     // every query head pools its own copy of the shared keys: cores have n_heads heads
  kKeyValue,  // one core per key head, importance = mean over its query heads: n_kv_heads heads
};

// A value type. Every policy is "an immutable past, then a window of raw tokens, one softmax over
// both"; they differ in what the past ("cores") is:
//   full       no cores; the window is everything
//   cca        core j (1-based) is the pooled group j of `group` tokens
//   streaming  core j is raw token j, for the first `sinks` tokens; everything else before the
//              window is forgotten
struct AttentionPolicy {
  enum class Kind { kFull, kCca, kStreaming };

  Kind kind = Kind::kFull;
  int64_t group = 0;                         // cca: tokens in a group, >= 1
  int64_t window = 0;                        // cca: a multiple of group, >= group; streaming: >= 1
  int64_t sinks = 0;                         // streaming: >= 0
  CoreHeads core_heads = CoreHeads::kQuery;  // cca

  static AttentionPolicy Full() { return {}; }
  static AttentionPolicy Cca(int64_t group, int64_t window, CoreHeads heads) {
    return {Kind::kCca, group, window, 0, heads};
  }
  static AttentionPolicy Streaming(int64_t sinks, int64_t window) {
    return {Kind::kStreaming, 0, window, sinks, CoreHeads::kKeyValue};
  }

  // Parses "full", "cca:g=16,w=1024,heads=query|kv", "streaming:sinks=4,w=1024" (all keys are
  // required but heads, whose default is query). INVALID_ARGUMENT says what is wrong.
  static absl::StatusOr<AttentionPolicy> Parse(absl::string_view text);
  // The inverse of Parse.
  std::string ToString() const;
  // INVALID_ARGUMENT unless the numbers fit together.
  absl::Status Validate() const;

  // Core tokens that query i (1-based) sees: cores 1..CoresVisible(i).
  constexpr int64_t CoresVisible(int64_t i) const {
    switch (kind) {
      case Kind::kFull:
        return 0;
      case Kind::kCca:
        return std::max<int64_t>(0, i - window) / group;
      case Kind::kStreaming:
        return std::min(sinks, std::max<int64_t>(0, i - window));
    }
    return 0;
  }
  // 0-based index of the first raw token that query i (1-based) sees: it sees raw tokens
  // FirstRaw(i) .. i-1 (0-based). Never decreases with i.
  constexpr int64_t FirstRaw(int64_t i) const {
    switch (kind) {
      case Kind::kFull:
        return 0;
      case Kind::kCca:
        return CoresVisible(i) * group;
      case Kind::kStreaming:
        return std::max<int64_t>(0, i - window);
    }
    return 0;
  }
  // Core tokens that exist once `tokens` tokens have been seen.
  constexpr int64_t CoresAfter(int64_t tokens) const {
    switch (kind) {
      case Kind::kFull:
        return 0;
      case Kind::kCca:
        return tokens / group;
      case Kind::kStreaming:
        return std::min(sinks, tokens);
    }
    return 0;
  }
  // Heads of a core token.
  constexpr int64_t CoreHeadCount(int64_t query_heads, int64_t kv_heads) const {
    return kind == Kind::kCca && core_heads == CoreHeads::kQuery ? query_heads : kv_heads;
  }

  friend bool operator==(const AttentionPolicy&, const AttentionPolicy&) = default;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_ATTENTION_POLICY_H_
