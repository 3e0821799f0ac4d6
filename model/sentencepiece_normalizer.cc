#include "model/sentencepiece_normalizer.h"

#include <algorithm>
#include <functional>
#include <set>

#include "model/utf8.h"

namespace longleaf::model {
namespace {

// One unit of a darts-clone double array (github.com/s-yata/darts-clone, darts.h): bits 0-7 and 31
// the label, bit 8 "has a leaf", bit 9 "offset is scaled by 256", bits 10-30 the offset; a leaf has
// bit 31 and the value below it.
uint32_t LabelOf(uint32_t unit) { return unit & ((1u << 31) | 0xFF); }
uint32_t OffsetOf(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }
bool HasLeaf(uint32_t unit) { return ((unit >> 8) & 1) != 0; }
uint32_t ValueOf(uint32_t unit) { return unit & ((1u << 31) - 1); }

uint32_t LittleEndian32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SentencePieceNormalizer>> SentencePieceNormalizer::Create(
    const SentencePieceModel& model) {
  std::unique_ptr<SentencePieceNormalizer> made(new SentencePieceNormalizer);
  // precompiled_charsmap: size of the double array in bytes, the array, the replacements.
  std::string_view map = model.charsmap;
  if (!map.empty()) {
    if (map.size() < 4) return absl::InvalidArgumentError("its precompiled_charsmap is damaged");
    const uint32_t trie_bytes = LittleEndian32(map);
    map.remove_prefix(4);
    if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes >= map.size() || map.back() != '\0') {
      return absl::InvalidArgumentError("its precompiled_charsmap is damaged");
    }
    made->trie_.resize(trie_bytes / 4);
    for (size_t i = 0; i < made->trie_.size(); ++i) {
      made->trie_[i] = LittleEndian32(map.substr(4 * i, 4));
    }
    made->replacements_ = map.substr(trie_bytes);
    made->look_ahead_ = kMaxRuleBytes;
  }
  std::set<size_t, std::greater<>> sizes;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    if (piece.type != SentencePieceModel::PieceType::kUserDefined) continue;
    made->symbols_.insert(piece.text);
    made->symbol_begins_[static_cast<unsigned char>(piece.text[0])] = true;
    sizes.insert(piece.text.size());
  }
  made->symbol_sizes_.assign(sizes.begin(), sizes.end());
  // Without rules a symbol that stays as it is differs from its characters doing so only in that
  // spaces inside it are not taken for repeated ones.
  made->identity_ =
      made->trie_.empty() && (made->symbols_.empty() || !model.remove_extra_whitespaces);
  if (!made->identity_ && !sizes.empty()) {
    made->look_ahead_ = std::max(made->look_ahead_, *sizes.begin());
  }
  return made;
}

size_t SentencePieceNormalizer::LongestSymbol(std::string_view input) const {
  if (!symbol_begins_[static_cast<unsigned char>(input[0])]) return 0;
  for (const size_t size : symbol_sizes_) {
    if (size <= input.size() && symbols_.contains(absl::string_view(input.data(), size)))
      return size;
  }
  return 0;
}

SentencePieceNormalizer::Match SentencePieceNormalizer::LongestRule(std::string_view input) const {
  Match best = {0, {}};
  if (trie_.empty()) return best;
  // Every step is checked: a damaged array finds no or other rules, but stays inside.
  size_t node = OffsetOf(trie_[0]);
  const size_t limit = std::min(input.size(), kMaxRuleBytes);
  for (size_t i = 0; i < limit; ++i) {
    const auto byte = static_cast<unsigned char>(input[i]);
    node ^= byte;
    if (node >= trie_.size() || LabelOf(trie_[node]) != byte) break;
    const uint32_t unit = trie_[node];
    node ^= OffsetOf(unit);
    if (node >= trie_.size()) break;
    if (!HasLeaf(unit)) continue;
    const size_t value = ValueOf(trie_[node]);
    const std::string_view rest = input.substr(i + 1);
    const bool whole = rest.empty() || (static_cast<unsigned char>(rest[0]) & 0xC0) != 0x80;
    if (value >= replacements_.size() || !whole) continue;
    const char* out = replacements_.c_str() + value;  // its last byte is NUL, see Create
    if (IsValidUtf8(out)) best = {i + 1, out};
  }
  return best;
}

SentencePieceNormalizer::Match SentencePieceNormalizer::Next(std::string_view input) const {
  if (const size_t size = LongestSymbol(input); size > 0) return {size, input.substr(0, size)};
  if (const Match rule = LongestRule(input); rule.consumed > 0) return rule;
  const size_t size = DecodeUtf8(input).size;
  return {size, input.substr(0, size)};
}

}  // namespace longleaf::model
