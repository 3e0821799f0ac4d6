// Text to token ids with byte offsets, and the vocabulary that turns ids back into text. Reads
// sentencepiece's tokenizer.model (BPE and unigram). What differs from a plain call of the library:
//
// - Long texts. A text is cut into segments where tokens cannot change (text_splitter.h), so memory
//   is bounded, the result does not depend on how the text arrived, and reading may go on at a cut
//   after a restart. See streaming_tokenizer.h; Encode is that, on the whole text at once.
// - Seams. Only the first text of a sequence gets sentencepiece's dummy space (Start).
// - Safety. Text never yields a control token: not "<s>" typed in a document, not an end-of-text id
//   of config.json, not a user-defined symbol with the look of a control marker. The file is
//   checked here, whole, before the library sees any of it.
//
// Byte-level BPE (tokenizer.json) is not read here.
#ifndef LONGLEAF_MODEL_TOKENIZER_H_
#define LONGLEAF_MODEL_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longleaf::model {

class SentencePieceEncoder;
class SentencePieceNormalizer;
class TextSplitter;
struct SentencePieceModel;

// One token of a text. Tokens of a text cover it: token i is the bytes [end of token i-1,
// end_byte). A character spelled in byte tokens belongs to its last one; the others before it are
// empty, as is a dummy space that stands alone.
struct Token {
  int32_t id;
  int64_t end_byte;  // offset in the text given, exclusive; never falls

  friend bool operator==(const Token&, const Token&) = default;
};

// Whether text precedes in the same sequence (BOS does not count as text).
enum class Start {
  kFirst,         // no: sentencepiece's dummy space goes before it, if the model has one
  kContinuation,  // yes: encoded as it stands
};

struct TokenizerOptions {
  // From config.json. bos_id < 0: the tokenizer's own (which may have none). eos_ids empty: the
  // tokenizer's own. None of these ids is ever produced from text.
  int32_t bos_id = -1;
  std::vector<int32_t> eos_ids;
  // Rows of the embedding. A tokenizer with more pieces is refused; 0 means unknown, not checked.
  int64_t model_vocab_size = 0;
};

// Immutable after Load and thread-safe.
class Tokenizer {
 public:
  // Reads DIRECTORY/tokenizer.model. NOT_FOUND without the file; INVALID_ARGUMENT, naming the file
  // and what is wrong with it, for one that is damaged, of a kind not supported, or at odds with
  // the options.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& directory,
                                                         const TokenizerOptions& options = {});
  // The same from the file's bytes; `name` stands for the file in errors.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(std::string_view bytes,
                                                          const std::string& name,
                                                          const TokenizerOptions& options = {});
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Pieces of the tokenizer. The model may have more rows; ids from here up have no text.
  int32_t vocab_size() const;
  int32_t bos_id() const { return bos_id_; }  // -1: the model has none, nothing is put in front
  const std::vector<int32_t>& eos_ids() const { return eos_ids_; }  // sorted
  bool IsEos(int32_t id) const;

  // The tokens of `text`; none for an empty text. INVALID_ARGUMENT if it is not UTF-8 (with the
  // byte's offset). Takes time linear in the text and holds all its tokens: for questions and
  // tests. Documents go through StreamingTokenizer.
  absl::StatusOr<std::vector<Token>> Encode(std::string_view text, Start start) const;
  // The ids alone.
  absl::StatusOr<std::vector<int32_t>> EncodeIds(std::string_view text, Start start) const;

  // The text of the ids: exactly what IncrementalDecoder gives for them, without stripping a space.
  // Ids outside the vocabulary and control tokens have no text.
  std::string Decode(const std::vector<int32_t>& ids) const;

  // The piece as the vocabulary spells it ("▁the", "<0x0A>", "</s>"); empty outside it. For
  // people, not for building text.
  std::string_view PieceName(int32_t id) const;

  // How a token reads in text. kByte: `byte`; kText: `text` (spaces already plain); kNone: nothing.
  struct Rendering {
    enum class Kind { kNone, kText, kByte } kind = Kind::kNone;
    uint8_t byte = 0;
    std::string_view text;  // lives as long as the tokenizer
  };
  Rendering Render(int32_t id) const;

  // Hex SHA-256 over the file and over the rules by which this code cuts text: equal digests and
  // equal text give equal tokens. Part of a state's fingerprint.
  const std::string& digest() const { return digest_; }

 private:
  friend class StreamingTokenizer;
  Tokenizer();

  std::unique_ptr<SentencePieceModel> model_;
  std::unique_ptr<SentencePieceEncoder> encoder_;
  std::unique_ptr<SentencePieceNormalizer> normalizer_;
  std::unique_ptr<TextSplitter> splitter_;
  std::vector<std::string> rendered_;  // [vocab_size] what is read for a piece; a byte: that byte
  int32_t bos_id_ = -1;
  std::vector<int32_t> eos_ids_;
  std::string digest_;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_TOKENIZER_H_
