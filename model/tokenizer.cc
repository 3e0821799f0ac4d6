#include "model/tokenizer.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "model/incremental_decoder.h"
#include "model/sentencepiece_encoder.h"
#include "model/sentencepiece_model.h"
#include "model/sentencepiece_normalizer.h"
#include "model/streaming_tokenizer.h"
#include "model/text_splitter.h"

namespace longleaf::model {
namespace {

using PieceType = SentencePieceModel::PieceType;

// Raise this when the same file and text could give other tokens than before.
constexpr char kRules[] = "longleaf tokenizer rules 1";

absl::StatusOr<std::string> Sha256Hex(const std::string& bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) != 1) {
    return absl::InternalError("SHA-256 failed");
  }
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

// The control piece of that name, or -1.
int32_t FindControl(const SentencePieceModel& model, const std::string& name) {
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePieceModel::Piece& piece = model.pieces[id];
    if (piece.type == PieceType::kControl && piece.text == name) return static_cast<int32_t>(id);
  }
  return -1;
}

std::string RenderedText(const SentencePieceModel& model, const SentencePieceModel::Piece& piece) {
  switch (piece.type) {
    case PieceType::kControl:
      return "";
    case PieceType::kUnknown:
      return model.unknown_surface;
    case PieceType::kByte:
      return std::string(1, static_cast<char>(ByteOfPiece(piece.text)));
    default:
      break;
  }
  std::string text = piece.text;
  for (size_t at = 0; (at = text.find(kSpaceSymbol, at)) != text.npos; ++at) {
    text.replace(at, kSpaceSymbol.size(), " ");
  }
  return text;
}

// Makes control pieces of all that text must not become.
absl::Status HideControlTokens(const std::vector<int32_t>& special, SentencePieceModel* model) {
  for (SentencePieceModel::Piece& piece : model->pieces) {
    if (piece.type == PieceType::kUserDefined && LooksLikeMarker(piece.text)) {
      piece.type = PieceType::kControl;
    }
  }
  for (const int32_t id : special) {
    // Beyond the tokenizer's pieces are tokens added to the model later; text never yields those.
    if (id < 0 || static_cast<size_t>(id) >= model->pieces.size()) continue;
    SentencePieceModel::Piece& piece = model->pieces[static_cast<size_t>(id)];
    if (piece.type == PieceType::kByte || piece.type == PieceType::kUnknown) {
      return absl::InvalidArgumentError("token " + std::to_string(id) + " (" + piece.text +
                                        ") cannot begin or end a text: it occurs inside");
    }
    piece.type = PieceType::kControl;
  }
  return absl::OkStatus();
}

}  // namespace

Tokenizer::Tokenizer() = default;
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& directory,
                                                           const TokenizerOptions& options) {
  const std::string path = directory + "/tokenizer.model";
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    return absl::NotFoundError(path + ": " + std::strerror(errno));
  }
  const std::streamoff size = file.tellg();
  // A directory opens too, and then claims an impossible size.
  if (size < 0 || static_cast<uint64_t>(size) > SentencePieceModel::kMaxFileBytes) {
    return absl::InvalidArgumentError(path + ": not a file, or larger than a tokenizer can be");
  }
  std::string bytes(static_cast<size_t>(size), '\0');
  file.seekg(0);
  if (!file.read(bytes.data(), size)) return absl::InvalidArgumentError(path + ": cannot be read");
  return Parse(bytes, path, options);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Parse(std::string_view bytes,
                                                            const std::string& name,
                                                            const TokenizerOptions& options) {
  const auto named = [&name](const absl::Status& status) {
    return absl::Status(status.code(), name + ": " + std::string(status.message()));
  };
  absl::StatusOr<SentencePieceModel> parsed = ParseSentencePieceModel(bytes);
  if (!parsed.ok()) return named(parsed.status());
  SentencePieceModel& model = *parsed;
  const auto pieces = static_cast<int64_t>(model.pieces.size());
  if (options.model_vocab_size > 0 && pieces > options.model_vocab_size) {
    return absl::InvalidArgumentError(name + ": " + std::to_string(pieces) +
                                      " pieces, but the model's vocab_size is " +
                                      std::to_string(options.model_vocab_size));
  }

  std::unique_ptr<Tokenizer> made(new Tokenizer);
  made->bos_id_ = options.bos_id >= 0 ? options.bos_id : FindControl(model, model.bos_name);
  made->eos_ids_ = options.eos_ids;
  if (made->eos_ids_.empty()) {
    const int32_t own = FindControl(model, model.eos_name);
    if (own >= 0) made->eos_ids_.push_back(own);
  }
  std::sort(made->eos_ids_.begin(), made->eos_ids_.end());
  std::vector<int32_t> special = made->eos_ids_;
  special.push_back(made->bos_id_);

  // How a piece reads is the file's matter; what text may become is decided after it.
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    made->rendered_.push_back(RenderedText(model, piece));
  }
  if (absl::Status status = HideControlTokens(special, &model); !status.ok()) return named(status);
  std::string rules = kRules;
  for (const int32_t id : special) {
    if (id >= 0 && id < pieces) made->rendered_[static_cast<size_t>(id)].clear();
    rules += " " + std::to_string(id);
  }

  auto normalizer = SentencePieceNormalizer::Create(model);
  if (!normalizer.ok()) return named(normalizer.status());
  made->normalizer_ = *std::move(normalizer);
  made->splitter_ = std::make_unique<TextSplitter>(model);
  std::string error;
  made->encoder_ = SentencePieceEncoder::Create(SerializeForEncoder(model), &error);
  if (!made->encoder_) return absl::InvalidArgumentError(name + ": sentencepiece: " + error);
  made->model_ = std::make_unique<SentencePieceModel>(std::move(model));
  absl::StatusOr<std::string> digest = Sha256Hex(rules + '\0' + std::string(bytes));
  if (!digest.ok()) return digest.status();
  made->digest_ = *std::move(digest);
  return made;
}

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(model_->pieces.size()); }

bool Tokenizer::IsEos(int32_t id) const {
  return std::binary_search(eos_ids_.begin(), eos_ids_.end(), id);
}

absl::StatusOr<std::vector<Token>> Tokenizer::Encode(std::string_view text, Start start) const {
  std::vector<Token> tokens;
  StreamingTokenizer stream(this, start);
  if (absl::Status status = stream.Feed(text, &tokens); !status.ok()) return status;
  if (absl::Status status = stream.Finish(&tokens); !status.ok()) return status;
  return tokens;
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::EncodeIds(std::string_view text,
                                                          Start start) const {
  absl::StatusOr<std::vector<Token>> tokens = Encode(text, start);
  if (!tokens.ok()) return tokens.status();
  std::vector<int32_t> ids;
  ids.reserve(tokens->size());
  for (const Token& token : *tokens) ids.push_back(token.id);
  return ids;
}

std::string Tokenizer::Decode(const std::vector<int32_t>& ids) const {
  IncrementalDecoder decoder(this);
  std::string text;
  for (const int32_t id : ids) text += decoder.Push(id);
  text += decoder.Flush();
  return text;
}

std::string_view Tokenizer::PieceName(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return model_->pieces[static_cast<size_t>(id)].text;
}

Tokenizer::Rendering Tokenizer::Render(int32_t id) const {
  Rendering rendering;
  if (id < 0 || id >= vocab_size()) return rendering;
  const std::string& text = rendered_[static_cast<size_t>(id)];
  if (text.empty()) return rendering;
  if (model_->pieces[static_cast<size_t>(id)].type == PieceType::kByte) {
    rendering.kind = Rendering::Kind::kByte;
    rendering.byte = static_cast<uint8_t>(text[0]);
  } else {
    rendering.kind = Rendering::Kind::kText;
    rendering.text = text;
  }
  return rendering;
}

}  // namespace longleaf::model
