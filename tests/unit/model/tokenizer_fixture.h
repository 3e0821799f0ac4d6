// The tokenizers under test, and random texts made to upset them.
#ifndef LONGLEAF_TESTS_UNIT_MODEL_TOKENIZER_FIXTURE_H_
#define LONGLEAF_TESTS_UNIT_MODEL_TOKENIZER_FIXTURE_H_

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "model/tokenizer.h"
#include "model/utf8.h"

namespace longleaf::model {

struct ModelCase {
  const char* path;          // from the repository root
  bool drops_extra_spaces;   // offsets and the space at a continuation's start differ on purpose
  std::string control_text;  // a character that is a control piece of the model, or empty

  friend void PrintTo(const ModelCase& c, std::ostream* out) { *out << c.path; }
};

// tests/golden/tokenizers/README.md says how the small ones came about.
inline const ModelCase kModels[] = {
    {"model/demo/tokenizer.model", false, ""},
    {"tests/golden/tokenizers/bpe_bytes.model", false, ""},
    {"tests/golden/tokenizers/bpe_unknown.model", false, ""},
    {"tests/golden/tokenizers/bpe_symbols.model", true, ""},
    {"tests/golden/tokenizers/unigram_bytes.model", false, "@"},
    {"tests/golden/tokenizers/unigram_rules.model", true, ""},
};

// One that stays as it is, for tests that name its pieces; <0x00> is piece 3.
inline constexpr char kProse[] = "tests/golden/tokenizers/bpe_prose.model";
inline constexpr int32_t kProsePieces = 3072;

inline std::string CaseName(const testing::TestParamInfo<ModelCase>& info) {
  const std::string path = info.param.path;
  if (path.starts_with("model/demo")) return "demo";
  const size_t begin = path.rfind('/') + 1;
  return path.substr(begin, path.rfind('.') - begin);
}

inline std::string ReadSourceFile(const std::string& path) {
  std::ifstream file(std::string(LONGLEAF_SOURCE_DIR) + "/" + path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline std::unique_ptr<Tokenizer> LoadTokenizer(const std::string& path,
                                                const TokenizerOptions& options = {}) {
  auto tokenizer = Tokenizer::Parse(ReadSourceFile(path), path, options);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// Texts of valid UTF-8: pieces of the vocabulary, hostile fragments, random code points, mixed.
class RandomText {
 public:
  RandomText(std::vector<std::string> pieces, uint32_t seed)
      : pieces_(std::move(pieces)), random_(seed) {}

  std::string Next() {
    std::string text;
    const uint32_t kind = Below(4);
    const uint32_t parts = Below(20);
    for (uint32_t i = 0; i < parts; ++i) {
      const uint32_t what = kind == 3 ? Below(3) : kind;
      if (what == 0 && !pieces_.empty()) {
        text += pieces_[Below(static_cast<uint32_t>(pieces_.size()))];
      } else if (what == 1) {
        text += Fragments()[Below(static_cast<uint32_t>(Fragments().size()))];
      } else {
        AppendUtf8(CodePoint(), &text);
      }
    }
    return text;
  }

  uint32_t Below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }

 private:
  char32_t CodePoint() {
    switch (Below(4)) {
      case 0:
        return Below(0x80);
      case 1:
        return 0x80 + Below(0x800 - 0x80);
      case 2:
        return 0x800 + Below(0xD800 - 0x800);
      default:
        return 0xE000 + Below(0x110000 - 0xE000);
    }
  }

  static const std::vector<std::string>& Fragments() {
    static const std::vector<std::string> fragments = {"<s>",
                                                       "</s>",
                                                       "<unk>",
                                                       "<ctl>",
                                                       "<0x0A>",
                                                       "<0xFF>",
                                                       "<0x41>",
                                                       "\xE2\x96\x81",
                                                       "\xE2\x96\x81\xE2\x96\x81",
                                                       " ",
                                                       "  ",
                                                       "     ",
                                                       "\n",
                                                       "\n\n",
                                                       "\r\n",
                                                       "\t",
                                                       std::string(1, '\0'),
                                                       "\u200B",
                                                       "\u00AD",
                                                       "é",
                                                       "e\u0301",
                                                       "E\u0301",
                                                       "o\u0308",
                                                       "¨",
                                                       "ﬁ",
                                                       "ﬂ",
                                                       "ﬁ!",
                                                       "½",
                                                       "№",
                                                       "Ⅷ",
                                                       "\u3000",
                                                       "\u2003\u2003",
                                                       "…",
                                                       "．．．",
                                                       "．",
                                                       "Ａ",
                                                       "漢",
                                                       "文書",
                                                       "漢字仮名",
                                                       "日本語",
                                                       "😀",
                                                       "👩\u200D👩",
                                                       "\U0010FFFF",
                                                       "\uFFFD",
                                                       "\uFEFF",
                                                       "привет мир",
                                                       "a  b",
                                                       "a b",
                                                       "the",
                                                       "word",
                                                       "10x",
                                                       "10",
                                                       "====",
                                                       "---",
                                                       "if (x) {",
                                                       "0123456789",
                                                       std::string(60, 'x'),
                                                       std::string(30, ' '),
                                                       "q",
                                                       "Z~|",
                                                       "Question: ",
                                                       "\nAnswer:"};
    return fragments;
  }

  std::vector<std::string> pieces_;
  std::mt19937 random_;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_TESTS_UNIT_MODEL_TOKENIZER_FIXTURE_H_
