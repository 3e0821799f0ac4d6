// Any bytes as text, cut anywhere: the tokens do not depend on the cuts, cover the text, and read
// back as it was.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "model/streaming_tokenizer.h"
#include "model/tokenizer.h"
#include "model/utf8.h"

namespace {

using namespace longleaf::model;

void Require(bool condition) {
  if (!condition) std::abort();
}

const Tokenizer& Load(const char* path) {
  std::ifstream file(std::string(LONGLEAF_SOURCE_DIR) + "/" + path, std::ios::binary);
  auto tokenizer = Tokenizer::Parse(std::string(std::istreambuf_iterator<char>(file), {}), path);
  Require(tokenizer.ok());
  return *tokenizer->release();
}

void Check(const Tokenizer& tokenizer, std::string_view text, uint8_t cuts, bool lossless) {
  const auto whole = tokenizer.Encode(text, Start::kContinuation);
  Require(whole.ok() == IsValidUtf8(text));
  std::vector<Token> tokens;
  StreamingTokenizer stream(&tokenizer, Start::kContinuation);
  absl::Status status;
  for (size_t at = 0; at < text.size() && status.ok(); at += 1 + cuts % 13) {
    status = stream.Feed(text.substr(at, 1 + cuts % 13), &tokens);
  }
  if (status.ok()) status = stream.Finish(&tokens);
  Require(status.ok() == whole.ok());
  if (!whole.ok()) {
    Require(status.message() == whole.status().message());
    return;
  }
  Require(tokens == *whole);
  std::vector<int32_t> ids;
  for (const Token& token : tokens) {
    Require(token.id >= 3);  // <unk>, <s> and </s> come first in these models
    ids.push_back(token.id);
  }
  // A typed U+2581 reads as the space it stands for.
  if (!lossless || text.find("\xE2\x96\x81") != text.npos) return;
  Require(tokenizer.Decode(ids) == text);
  Require(text.empty() || tokens.back().end_byte == static_cast<int64_t>(text.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Tokenizer& demo = Load("model/demo/tokenizer.model");
  static const Tokenizer& symbols = Load("tests/golden/tokenizers/bpe_symbols.model");
  static const Tokenizer& unigram = Load("tests/golden/tokenizers/unigram_bytes.model");
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Check(demo, text, data[0], /*lossless=*/true);
  Check(symbols, text, data[0], /*lossless=*/false);
  Check(unigram, text, data[0], /*lossless=*/true);
  return 0;
}
