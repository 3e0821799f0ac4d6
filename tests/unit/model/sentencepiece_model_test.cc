// Damaged, hostile and unusual tokenizer.model files: an error or a working tokenizer, never a
// crash.
#include "model/sentencepiece_model.h"

#include <gmock/gmock.h>

#include "tests/unit/model/tokenizer_fixture.h"

namespace longleaf::model {
namespace {

using testing::HasSubstr;

std::string Bytes(int field, const std::string& bytes) {
  std::string out(1, static_cast<char>(field << 3 | 2));
  size_t size = bytes.size();
  for (; size >= 0x80; size >>= 7) out.push_back(static_cast<char>(size | 0x80));
  out.push_back(static_cast<char>(size));
  return out + bytes;
}

std::string Number(int field, int value) {
  std::string out(field >= 16 ? 2 : 1, static_cast<char>(field << 3));
  if (field >= 16) {
    out[0] = static_cast<char>(field << 3 | 0x80);
    out[1] = static_cast<char>(field >> 4);
  }
  return out + static_cast<char>(value);
}

std::string Piece(const std::string& text, int type = 1) {
  return Bytes(1, Bytes(1, text) + Number(3, type));
}

const std::string kUnknownPiece = Piece("<unk>", 2);
// BPE, no byte fallback; identity normalizer without extra spaces or dummy prefix.
const std::string kSpecs = Bytes(2, Number(3, 2)) + Bytes(3, Number(3, 0) + Number(4, 0));

std::string WhyRefused(const std::string& bytes) {
  const auto tokenizer = Tokenizer::Parse(bytes, "t");
  return tokenizer.ok() ? "" : std::string(tokenizer.status().message());
}

// Encodes and decodes a little with whatever can be loaded.
void Exercise(const std::string& bytes) {
  const auto tokenizer = Tokenizer::Parse(bytes, "t");
  if (!tokenizer.ok()) {
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
    return;
  }
  const std::string text = "the  ﬁ e\u0301 <s> 文書 \t == 10x";
  const auto ids = (*tokenizer)->EncodeIds(text, Start::kFirst);
  if (ids.ok()) (*tokenizer)->Decode(*ids);
}

TEST(SentencePieceModelTest, SmallestModel) {
  const std::string bytes = kUnknownPiece + Piece("a") + Piece("b") + Piece("ab") + kSpecs;
  const auto tokenizer = Tokenizer::Parse(bytes, "t");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->EncodeIds("abba", Start::kFirst), testing::ElementsAre(3, 2, 1));
  EXPECT_EQ((*tokenizer)->bos_id(), -1);
  EXPECT_TRUE((*tokenizer)->eos_ids().empty());
}

// The library looks control pieces up before all others: a symbol that is spelled like one would
// become it.
TEST(SentencePieceModelTest, AControlPieceOfOneCharacterStaysOutOfText) {
  const auto tokenizer =
      Tokenizer::Parse(kUnknownPiece + Piece("a", 3) + Piece("b") + Piece("ba") + kSpecs, "t");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->EncodeIds("a b ba", Start::kFirst), testing::ElementsAre(0, 2, 0, 3));
}

TEST(SentencePieceModelTest, SaysWhatIsWrong) {
  const std::string base = kUnknownPiece + Piece("a") + kSpecs;
  ASSERT_EQ(WhyRefused(base), "");
  EXPECT_THAT(WhyRefused(""), HasSubstr("no pieces"));
  EXPECT_THAT(WhyRefused(Piece("a") + kSpecs), HasSubstr("UNKNOWN"));
  EXPECT_THAT(WhyRefused(base + Piece("u", 2)), HasSubstr("UNKNOWN"));
  EXPECT_THAT(WhyRefused(kUnknownPiece + kSpecs), HasSubstr("NORMAL"));
  EXPECT_THAT(WhyRefused(base + Piece("")), HasSubstr("piece 2 is empty"));
  EXPECT_THAT(WhyRefused(base + Piece("a")), HasSubstr("piece 2 repeats"));
  EXPECT_THAT(WhyRefused(base + Piece("a", 3)), HasSubstr("piece 2 repeats"));
  EXPECT_THAT(WhyRefused(base + Piece("\xFF")), HasSubstr("piece 2 is not text"));
  EXPECT_THAT(WhyRefused(base + Piece(std::string("a\0b", 3))), HasSubstr("piece 2 is not text"));
  EXPECT_THAT(WhyRefused(base + Piece(std::string(2000, 'x'))), HasSubstr("2000 bytes"));
  EXPECT_THAT(WhyRefused(base + Piece("b", 9)), HasSubstr("piece 2 is damaged"));
  EXPECT_THAT(WhyRefused(base + Piece("<0x4>", 6)), HasSubstr("<0xHH>"));
  EXPECT_THAT(WhyRefused(base + Piece("<0x41>", 6)), HasSubstr("byte_fallback is off"));
  EXPECT_THAT(WhyRefused(base + Bytes(2, Number(35, 1))), HasSubstr("byte_fallback is on"));
  EXPECT_THAT(WhyRefused(base + Bytes(2, Number(3, 3))), HasSubstr("model_type 3"));
  EXPECT_THAT(WhyRefused(base + Bytes(2, Number(24, 1))), HasSubstr("treat_whitespace_as_suffix"));
  EXPECT_THAT(WhyRefused(base + Bytes(3, Bytes(2, "abc"))), HasSubstr("precompiled_charsmap"));
  EXPECT_THAT(WhyRefused(base + Bytes(1, Bytes(1, "b") + "\x15" + std::string("\0\0\xC0\x7F", 4))),
              HasSubstr("finite"));
  EXPECT_THAT(WhyRefused(base + "\x0A\x7F"), HasSubstr("at byte"));
  std::string nested = base;
  for (size_t i = 1; i <= 65; ++i) nested += Piece("a" + std::string(i, 'z'), 4);
  EXPECT_THAT(WhyRefused(nested), HasSubstr("prefixes"));
}

class DamageTest : public testing::TestWithParam<ModelCase> {};

TEST_P(DamageTest, CutAnywhere) {
  const std::string bytes = ReadSourceFile(GetParam().path);
  for (size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 300) {
    Exercise(bytes.substr(0, size));
  }
}

TEST_P(DamageTest, AnyByteFlipped) {
  const std::string bytes = ReadSourceFile(GetParam().path);
  std::mt19937 random(5);
  for (int i = 0; i < 400; ++i) {
    std::string damaged = bytes;
    // Half of them where the specs are, at the end.
    const size_t window = i % 2 == 0 ? bytes.size() : std::min<size_t>(bytes.size(), 2000);
    for (uint32_t n = 1 + static_cast<uint32_t>(random() % 3); n > 0; --n) {
      damaged[bytes.size() - 1 - random() % window] ^= static_cast<char>(1 << random() % 8);
    }
    Exercise(damaged);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DamageTest, testing::ValuesIn(kModels), CaseName);

}  // namespace
}  // namespace longleaf::model
