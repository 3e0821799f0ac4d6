// The file tokenizer.model: sentencepiece's ModelProto (sentencepiece_model.proto, proto2), read
// and checked here in full before the library sees any of it. The library trusts its input: it
// aborts, throws or reads past its buffers on some damaged files, and a damaged file must only be
// an error.
#ifndef LONGLEAF_MODEL_SENTENCEPIECE_MODEL_H_
#define LONGLEAF_MODEL_SENTENCEPIECE_MODEL_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longleaf::model {

// U+2581, which stands for a space inside pieces.
inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";
inline constexpr char32_t kSpaceCodePoint = 0x2581;

// A plain value; only fields that encoding and decoding depend on.
struct SentencePieceModel {
  // Numbers as in the file.
  enum class PieceType { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  enum class Algorithm { kUnigram = 1, kBpe = 2 };

  struct Piece {
    std::string text;  // valid UTF-8, no NUL
    float score = 0;
    PieceType type = PieceType::kNormal;
  };

  std::vector<Piece> pieces;  // [vocab_size], at their ids
  Algorithm algorithm = Algorithm::kUnigram;
  bool byte_fallback = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string
      charsmap;  // compiled normalization rules, see sentencepiece_normalizer.h; may be empty
  std::string unknown_surface = " \xE2\x81\x87 ";  // how <unk> reads in text
  std::string bos_name = "<s>";
  std::string eos_name = "</s>";

  static constexpr size_t kMaxFileBytes = 64 << 20;
  static constexpr size_t kMaxPieces = 4 << 20;
  static constexpr size_t kMaxPieceBytes = 1024;
};

// INVALID_ARGUMENT says what is wrong, without the file's name: not a ModelProto, no or repeated
// pieces, text that is not UTF-8, scores that are not finite, a WORD or CHAR model, spaces as
// suffixes.
absl::StatusOr<SentencePieceModel> ParseSentencePieceModel(std::string_view bytes);

// Whether a user-defined piece has the look of a control marker (<...> or [...], maybe behind a
// space symbol): chat templates define theirs so, and text must not be able to spell them. Runs of
// spaces, line ends, digits and the like, which some models define too, are ordinary text.
bool LooksLikeMarker(std::string_view piece);

// The byte that a piece of type kByte stands for, or -1 if it is not spelled "<0xHH>".
int ByteOfPiece(std::string_view piece);

// The model as a ModelProto for the library, with no normalization of its own: text comes to it
// normalized. Pieces that text must not become (control, and whatever types say otherwise has been
// changed by the caller) carry names that no UTF-8 text can contain.
std::string SerializeForEncoder(const SentencePieceModel& model);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_SENTENCEPIECE_MODEL_H_
