#include "model/sentencepiece_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_format.h"
#include "model/utf8.h"

namespace longleaf::model {
namespace {

using Piece = SentencePieceModel::Piece;
using PieceType = SentencePieceModel::PieceType;

absl::Status Bad(const std::string& what) { return absl::InvalidArgumentError(what); }

// ---- Protobuf's wire format, as far as ModelProto uses it ---------------------------------------

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint32_t number;
  uint32_t type;
  uint64_t value;          // kVarint, kFixed32, kFixed64
  std::string_view bytes;  // kBytes
};

bool ReadVarint(std::string_view* in, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (in->empty()) return false;
    const auto byte = static_cast<unsigned char>(in->front());
    in->remove_prefix(1);
    *value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool ReadFixed(std::string_view* in, size_t size, uint64_t* value) {
  if (in->size() < size) return false;
  *value = 0;
  for (size_t i = 0; i < size; ++i) {
    *value |= static_cast<uint64_t>(static_cast<unsigned char>((*in)[i])) << (8 * i);
  }
  in->remove_prefix(size);
  return true;
}

// Takes one field off the front of a message. Groups, which ModelProto has none of, are errors.
bool ReadField(std::string_view* in, Field* field) {
  uint64_t key;
  if (!ReadVarint(in, &key) || key >> 3 == 0 || key >> 3 > 0x1FFFFFFF) return false;
  *field = {static_cast<uint32_t>(key >> 3), static_cast<uint32_t>(key & 7), 0, {}};
  switch (field->type) {
    case kVarint:
      return ReadVarint(in, &field->value);
    case kFixed64:
      return ReadFixed(in, 8, &field->value);
    case kFixed32:
      return ReadFixed(in, 4, &field->value);
    case kBytes: {
      uint64_t size;
      if (!ReadVarint(in, &size) || size > in->size()) return false;
      field->bytes = in->substr(0, size);
      in->remove_prefix(size);
      return true;
    }
    default:
      return false;
  }
}

void WriteVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

void WriteNumber(uint32_t field, uint64_t value, std::string* out) {
  WriteVarint(field << 3 | kVarint, out);
  WriteVarint(value, out);
}

void WriteBytes(uint32_t field, std::string_view bytes, std::string* out) {
  WriteVarint(field << 3 | kBytes, out);
  WriteVarint(bytes.size(), out);
  out->append(bytes);
}

void WriteFloat(uint32_t field, float value, std::string* out) {
  WriteVarint(field << 3 | kFixed32, out);
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  for (int i = 0; i < 4; ++i) out->push_back(static_cast<char>(bits >> (8 * i)));
}

// ---- The messages; field numbers are those of sentencepiece_model.proto -------------------------

std::optional<Piece> ParsePiece(std::string_view in) {
  Piece piece;
  Field field;
  while (!in.empty()) {
    if (!ReadField(&in, &field)) return std::nullopt;
    if (field.number == 1 && field.type == kBytes) {
      piece.text = field.bytes;
    } else if (field.number == 2 && field.type == kFixed32) {
      const auto bits = static_cast<uint32_t>(field.value);
      std::memcpy(&piece.score, &bits, sizeof bits);
    } else if (field.number == 3 && field.type == kVarint) {
      if (field.value < 1 || field.value > 6) return std::nullopt;
      piece.type = static_cast<PieceType>(field.value);
    }
  }
  return piece;
}

absl::Status ParseTrainerSpec(std::string_view in, SentencePieceModel* model) {
  Field field;
  while (!in.empty()) {
    if (!ReadField(&in, &field)) return Bad("its trainer_spec is damaged");
    if (field.number == 3 && field.type == kVarint) {
      if (field.value != 1 && field.value != 2) {
        return Bad(absl::StrFormat(
            "model_type %d is not supported: only UNIGRAM (1) and BPE (2) are", field.value));
      }
      model->algorithm = static_cast<SentencePieceModel::Algorithm>(field.value);
    } else if (field.number == 24 && field.type == kVarint && field.value != 0) {
      return Bad("treat_whitespace_as_suffix is not supported");
    } else if (field.number == 35 && field.type == kVarint) {
      model->byte_fallback = field.value != 0;
    } else if (field.number == 44 && field.type == kBytes) {
      model->unknown_surface = field.bytes;
    } else if (field.number == 46 && field.type == kBytes && !field.bytes.empty()) {
      model->bos_name = field.bytes;
    } else if (field.number == 47 && field.type == kBytes && !field.bytes.empty()) {
      model->eos_name = field.bytes;
    }
  }
  if (!IsValidUtf8(model->unknown_surface)) return Bad("its unk_surface is not UTF-8");
  return absl::OkStatus();
}

absl::Status ParseNormalizerSpec(std::string_view in, SentencePieceModel* model) {
  Field field;
  while (!in.empty()) {
    if (!ReadField(&in, &field)) return Bad("its normalizer_spec is damaged");
    if (field.number == 2 && field.type == kBytes) {
      model->charsmap = field.bytes;
    } else if (field.number == 3 && field.type == kVarint) {
      model->add_dummy_prefix = field.value != 0;
    } else if (field.number == 4 && field.type == kVarint) {
      model->remove_extra_whitespaces = field.value != 0;
    } else if (field.number == 5 && field.type == kVarint) {
      model->escape_whitespaces = field.value != 0;
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPiece(size_t id, const Piece& piece) {
  if (piece.text.empty()) return Bad(absl::StrFormat("piece %d is empty", id));
  if (piece.text.size() > SentencePieceModel::kMaxPieceBytes) {
    return Bad(absl::StrFormat("piece %d has %d bytes; the limit is %d", id, piece.text.size(),
                               SentencePieceModel::kMaxPieceBytes));
  }
  // The library hands pieces on as C strings, and steps through them by lead bytes.
  if (piece.text.find('\0') != std::string::npos || !IsValidUtf8(piece.text)) {
    return Bad(absl::StrFormat("piece %d is not text (not UTF-8, or with a NUL in it)", id));
  }
  if (!std::isfinite(piece.score)) return Bad(absl::StrFormat("piece %d has no finite score", id));
  if (piece.type == PieceType::kByte && ByteOfPiece(piece.text) < 0) {
    return Bad(absl::StrFormat("piece %d has type BYTE but is not spelled <0xHH>", id));
  }
  return absl::OkStatus();
}

// The library finds the user-defined symbols that begin at a place in an array of 64, unchecked.
absl::Status CheckUserDefinedNesting(const SentencePieceModel& model) {
  std::vector<std::string_view> symbols;
  for (const Piece& piece : model.pieces) {
    if (piece.type == PieceType::kUserDefined) symbols.push_back(piece.text);
  }
  std::sort(symbols.begin(), symbols.end());
  std::vector<std::string_view> prefixes;  // of the symbol at hand, each a prefix of the next
  for (const std::string_view symbol : symbols) {
    while (!prefixes.empty() && !symbol.starts_with(prefixes.back())) prefixes.pop_back();
    prefixes.push_back(symbol);
    if (prefixes.size() > 64) {
      return Bad("more than 64 user-defined symbols are prefixes of one another");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPieces(const SentencePieceModel& model) {
  if (model.pieces.empty()) return Bad("it has no pieces");
  absl::flat_hash_set<absl::string_view> names;
  std::array<bool, 256> byte_seen = {};
  size_t unknown = 0;
  bool any_text = false;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    if (absl::Status status = CheckPiece(id, piece); !status.ok()) return status;
    if (!names.insert(piece.text).second) {
      return Bad(absl::StrFormat("piece %d repeats an earlier one", id));
    }
    unknown += piece.type == PieceType::kUnknown;
    any_text |= piece.type == PieceType::kNormal;
    if (piece.type == PieceType::kByte) {
      byte_seen[static_cast<size_t>(ByteOfPiece(piece.text))] = true;
    }
  }
  if (unknown != 1) return Bad(absl::StrFormat("it has %d pieces of type UNKNOWN, not 1", unknown));
  if (!any_text) return Bad("it has no piece of type NORMAL");
  const auto bytes = std::count(byte_seen.begin(), byte_seen.end(), true);
  if (bytes != (model.byte_fallback ? 256 : 0)) {
    return Bad(absl::StrFormat("byte_fallback is %s and there are byte pieces for %d bytes",
                               model.byte_fallback ? "on" : "off", bytes));
  }
  return CheckUserDefinedNesting(model);
}

}  // namespace

absl::StatusOr<SentencePieceModel> ParseSentencePieceModel(std::string_view bytes) {
  if (bytes.size() > SentencePieceModel::kMaxFileBytes) {
    return Bad(absl::StrFormat("it has %d bytes; the limit is %d", bytes.size(),
                               SentencePieceModel::kMaxFileBytes));
  }
  SentencePieceModel model;
  Field field;
  std::string_view in = bytes;
  while (!in.empty()) {
    const size_t offset = bytes.size() - in.size();
    absl::Status status;
    if (!ReadField(&in, &field)) {
      return Bad(absl::StrFormat("not a sentencepiece model, or damaged, at byte %d", offset));
    }
    if (field.number == 1 && field.type == kBytes) {
      std::optional<Piece> piece = ParsePiece(field.bytes);
      if (!piece) return Bad(absl::StrFormat("piece %d is damaged", model.pieces.size()));
      if (model.pieces.size() == SentencePieceModel::kMaxPieces) return Bad("too many pieces");
      model.pieces.push_back(*std::move(piece));
    } else if (field.number == 2 && field.type == kBytes) {
      status = ParseTrainerSpec(field.bytes, &model);
    } else if (field.number == 3 && field.type == kBytes) {
      status = ParseNormalizerSpec(field.bytes, &model);
    }
    if (!status.ok()) return status;
  }
  if (absl::Status status = CheckPieces(model); !status.ok()) return status;
  return model;
}

bool LooksLikeMarker(std::string_view piece) {
  while (piece.starts_with(kSpaceSymbol)) piece.remove_prefix(kSpaceSymbol.size());
  if (piece.size() < 3) return false;
  return (piece.front() == '<' && piece.back() == '>') ||
         (piece.front() == '[' && piece.back() == ']');
}

int ByteOfPiece(std::string_view piece) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  const size_t high = kHex.find(piece[3]);
  const size_t low = kHex.find(piece[4]);
  if (high == kHex.npos || low == kHex.npos) return -1;
  return static_cast<int>(high * 16 + low);
}

std::string SerializeForEncoder(const SentencePieceModel& model) {
  std::string out;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    std::string message;
    // 0xFF is in no UTF-8 text. Control pieces are looked up by name in the library, before others.
    const bool hidden = piece.type == PieceType::kControl || piece.type == PieceType::kUnknown;
    WriteBytes(1, hidden ? "\xFF" + std::to_string(id) : piece.text, &message);
    WriteFloat(2, piece.score, &message);
    WriteNumber(3, static_cast<uint64_t>(piece.type), &message);
    WriteBytes(1, message, &out);
  }
  std::string trainer;
  WriteNumber(3, static_cast<uint64_t>(model.algorithm), &trainer);
  WriteNumber(35, model.byte_fallback, &trainer);
  WriteBytes(2, trainer, &out);
  std::string normalizer;
  WriteNumber(3, 0, &normalizer);  // add_dummy_prefix
  WriteNumber(4, 0, &normalizer);  // remove_extra_whitespaces
  WriteNumber(5, 0, &normalizer);  // escape_whitespaces
  WriteBytes(3, normalizer, &out);
  return out;
}

}  // namespace longleaf::model
