// SHA256SUMS: a wrong byte anywhere in a model directory is refused with the file's name.
#include "model/checksums.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/reference.h"
#include "model/transformer.h"
#include "tests/unit/model/model_directory.h"

namespace longleaf::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ChecksumsTest : public testing::Test {
 protected:
  // Two shards, an index and a config, all of them named.
  ChecksumsTest() {
    const std::vector<RawTensor> all = TinyTensors();
    const std::vector<RawTensor> first(all.begin(), all.begin() + 5);
    const std::vector<RawTensor> second(all.begin() + 5, all.end());
    std::string map;
    for (size_t i = 0; i < all.size(); ++i) {
      map += (i == 0 ? "\"" : ", \"") + all[i].name + "\": \"" +
             (i < 5 ? "one.safetensors" : "two.safetensors") + "\"";
    }
    files_ = {{"config.json", TinyConfig()},
              {"model.safetensors.index.json", "{\"weight_map\": {" + map + "}}"},
              {"one.safetensors", SafetensorsBytes(first)},
              {"two.safetensors", SafetensorsBytes(second)}};
    for (const auto& [name, bytes] : files_) directory_.Write(name, bytes);
    WriteSums();
  }

  void WriteSums() {
    std::string lines;
    for (const auto& [name, bytes] : files_) lines += *ChecksumLine(directory_.path(), name);
    directory_.Write(kChecksumsFile, lines);
  }

  absl::Status Load() {
    return Transformer::Load(directory_.path(), &backend_, {.max_step_tokens = 8}).status();
  }
  void ExpectRefused(const std::string& file) {
    const absl::Status status = Load();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(status.message(), HasSubstr(directory_.path() + "/" + file + " is damaged"));
  }

  TemporaryDirectory directory_;
  kernels::ReferenceBackend backend_{1 << 20};
  std::map<std::string, std::string> files_;
};

TEST_F(ChecksumsTest, WhatIsNamedIsChecked) {
  const auto model = Transformer::Load(directory_.path(), &backend_, {.max_step_tokens = 8});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->weights_checked());
  EXPECT_THAT(*VerifyChecksums(directory_.path()),
              ElementsAre("config.json", "model.safetensors.index.json", "one.safetensors",
                          "two.safetensors"));
}

TEST_F(ChecksumsTest, WithoutTheFileOrTheWeightsInItNothingIsChecked) {
  directory_.Write(kChecksumsFile, *ChecksumLine(directory_.path(), "one.safetensors"));
  EXPECT_FALSE((*Transformer::Load(directory_.path(), &backend_, {.max_step_tokens = 8}))
                   ->weights_checked());
  std::filesystem::remove(directory_.path() + "/" + kChecksumsFile);
  EXPECT_FALSE((*Transformer::Load(directory_.path(), &backend_, {.max_step_tokens = 8}))
                   ->weights_checked());
  EXPECT_TRUE(VerifyChecksums(directory_.path())->empty());
}

// The header's first and last byte, the first and last byte of every tensor, and the file's.
TEST_F(ChecksumsTest, AFlippedByteIsRefused) {
  for (const auto& [name, bytes] : files_) {
    std::vector<size_t> places = {0, 7, 8, bytes.size() / 2, bytes.size() - 1};
    if (name.ends_with(".safetensors")) {
      const auto file = SafetensorsFile::Open(directory_.path() + "/" + name);
      ASSERT_TRUE(file.ok());
      for (const auto& [tensor, entry] : (*file)->tensors()) {
        const auto view = (*file)->Find(tensor);
        const auto at = static_cast<size_t>(view->bytes.data() - (*file)->bytes().data());
        places.insert(places.end(), {at - 1, at, at + view->bytes.size() - 1});
      }
    }
    for (const size_t at : places) {
      SCOPED_TRACE(name + " at " + std::to_string(at));
      std::string flipped = bytes;
      flipped[at] ^= 1;  // in a tensor: the lowest bit of a mantissa, which nothing else notices
      directory_.Write(name, flipped);
      ExpectRefused(name);
    }
    directory_.Write(name, bytes);
  }
  EXPECT_TRUE(Load().ok()) << Load();
}

TEST_F(ChecksumsTest, CutExtendedAndSwappedFilesAreRefused) {
  for (const auto& [name, bytes] : files_) {
    for (const std::string& wrong : {std::string(), bytes.substr(0, bytes.size() / 2),
                                     bytes.substr(0, bytes.size() - 1), bytes + '\0'}) {
      directory_.Write(name, wrong);
      ExpectRefused(name);
    }
    directory_.Write(name, bytes);
  }
  directory_.Write("one.safetensors", files_["two.safetensors"]);
  directory_.Write("two.safetensors", files_["one.safetensors"]);
  ExpectRefused("one.safetensors");
}

TEST_F(ChecksumsTest, AMissingFileIsAnError) {
  std::filesystem::remove(directory_.path() + "/config.json");
  absl::Status status = Load();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(status.message(),
              HasSubstr("SHA256SUMS names: cannot open " + directory_.path() + "/config.json"));
  std::filesystem::create_directory(directory_.path() + "/config.json");
  EXPECT_FALSE(Load().ok());
}

TEST(ChecksumsParseTest, Lines) {
  const std::string a(64, 'a');
  const std::string b(64, 'B');
  const auto sums = ParseChecksums(a + "  one\n" + b + " *./sub/two words", "f");
  ASSERT_TRUE(sums.ok()) << sums.status();
  EXPECT_EQ(sums->at("one"), a);
  EXPECT_EQ(sums->at("sub/two words"), std::string(64, 'b'));
  for (const std::string& bad :
       {std::string(), std::string("\n"), a, a + "  ", a + " one\n", a + "one\n",
        a.substr(1) + "  one\n", "g" + a.substr(1) + "  one\n", a + "  one\n\n",
        a + "  one\n" + b + "  one\n", a + "  /etc/passwd\n", a + "  ../one\n",
        a + "  sub/../../one\n", a + "  sub//one\n", a + "  sub/\n", a + "  one\r\n",
        "\\" + a + "  one\n", a + "  one" + std::string(1, '\0') + "\n",
        std::string(static_cast<size_t>(kMaxChecksumsBytes) + 1, 'a')}) {
    EXPECT_EQ(ParseChecksums(bad, "f").status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  EXPECT_THAT(ParseChecksums(a + "  one\n!", "DIR/SHA256SUMS").status().message(),
              HasSubstr("DIR/SHA256SUMS, line 2: "));
}

// tests/golden/demo/make.py writes them.
TEST(ChecksumsDemoTest, TheDemosAreUpToDate) {
  const auto checked = VerifyChecksums(LONGLEAF_SOURCE_DIR "/model/demo");
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_THAT(*checked,
              ElementsAre("config.json", "model.safetensors", "prompt.json", "tokenizer.model"));
}

}  // namespace
}  // namespace longleaf::model
