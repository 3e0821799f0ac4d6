#include "model/safetensors.h"

#include <cstring>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/model_directory.h"

namespace longleaf::model {
namespace {

using testing::HasSubstr;

absl::Status ParseBytes(const std::string& bytes) {
  return SafetensorsHeader::Parse({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()},
                                  static_cast<int64_t>(bytes.size()), "weights")
      .status();
}

void ExpectRefused(const std::string& header, const std::string& data, const std::string& part) {
  const absl::Status status = ParseBytes(WithHeader(header, data));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << header;
  EXPECT_THAT(status.message(), HasSubstr("weights")) << header;
  EXPECT_THAT(status.message(), HasSubstr(part)) << header;
}

TEST(Safetensors, ReadsTensors) {
  const TemporaryDirectory directory;
  const std::string path = directory.Write(
      "a.safetensors", SafetensorsBytes({{"one", "F32", {2, 1}, FloatBytes({1.5f, -2})},
                                         {"two", "BF16", {3}, "abcdef"},
                                         {"none", "F16", {0, 5}, ""},
                                         {"scalar", "I32", {}, "abcd"}}));
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto one = (*file)->Find("one");
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->type, TensorType::kF32);
  EXPECT_EQ(one->shape, (std::vector<int64_t>{2, 1}));
  float values[2];
  ASSERT_EQ(one->bytes.size(), sizeof(values));
  std::memcpy(values, one->bytes.data(), sizeof(values));
  EXPECT_EQ(values[0], 1.5f);
  EXPECT_EQ(values[1], -2.0f);
  EXPECT_EQ((*file)->Find("two")->type, TensorType::kBF16);
  EXPECT_EQ((*file)->Find("two")->bytes.size(), 6u);
  EXPECT_EQ((*file)->Find("none")->bytes.size(), 0u);
  EXPECT_EQ((*file)->Find("scalar")->bytes.size(), 4u);
  // Letting go of the pages does not lose them.
  (*file)->Release((*file)->bytes());
  EXPECT_EQ(std::memcmp(values, one->bytes.data(), sizeof(values)), 0);

  const absl::Status missing = (*file)->Find("three").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.message(), HasSubstr(path));
  EXPECT_THAT(missing.message(), HasSubstr("three"));
}

TEST(Safetensors, FilesThatAreNone) {
  const TemporaryDirectory directory;
  EXPECT_EQ(SafetensorsFile::Open(directory.path() + "/none").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(SafetensorsFile::Open(directory.path()).status().code(),
            absl::StatusCode::kInvalidArgument);
  const std::string path = directory.Write("empty", "");
  EXPECT_EQ(SafetensorsFile::Open(path).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string good = SafetensorsBytes({{"t", "F32", {2}, FloatBytes({1, 2})}});
  ASSERT_TRUE(ParseBytes(good).ok());
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(ParseBytes(good.substr(0, length)).ok()) << length;
  }
  EXPECT_FALSE(ParseBytes(good + "x").ok());
}

TEST(Safetensors, HeaderLengthIsNotTrusted) {
  std::string bytes = SafetensorsBytes({{"t", "F32", {1}, "abcd"}});
  for (const uint64_t length : {uint64_t{0}, uint64_t{1}, uint64_t{bytes.size()}, uint64_t{1} << 31,
                                uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{7}}) {
    std::memcpy(bytes.data(), &length, sizeof(length));
    EXPECT_EQ(ParseBytes(bytes).code(), absl::StatusCode::kInvalidArgument) << length;
  }
}

TEST(Safetensors, EntriesAreNotTrusted) {
  const std::string data(16, 'x');
  ExpectRefused(R"({"t": 1})", data, "tensor t");
  ExpectRefused(R"({"t": {}})", data, "dtype");
  ExpectRefused(R"({"t":{"dtype":"F33","shape":[4],"data_offsets":[0,16]}})", data, "dtype");
  ExpectRefused(R"({"t":{"dtype":4,"shape":[4],"data_offsets":[0,16]}})", data, "dtype");
  ExpectRefused(R"({"t":{"dtype":"F32","data_offsets":[0,16]}})", data, "shape");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":4,"data_offsets":[0,16]}})", data, "shape");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}})", data, "shape");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[4.0],"data_offsets":[0,16]}})", data, "shape");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,16]}})",
                data, "overflow");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})",
                data, "overflow");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,16]}})",
                data, "shape");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[5],"data_offsets":[0,16]}})", data, "bytes");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[4],"data_offsets":[0,12]}})", data, "bytes");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[4],"data_offsets":[4,20]}})", data, "outside");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}})", data, "outside");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[4],"data_offsets":[-16,0]}})", data, "outside");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[4],"data_offsets":[0]}})", data, "data_offsets");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[4],"data_offsets":[0,18446744073709551615]}})",
                data, "outside");
  ExpectRefused(R"({"t":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"x":1}})", data,
                "unknown property");
  ExpectRefused(R"({"":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", data, "name");
  ExpectRefused(R"({"__metadata__":1})", "", "__metadata__");
  ExpectRefused(R"([])", data, "object");
  ExpectRefused(R"({"t":)", data, "JSON");
}

TEST(Safetensors, TensorsMustTileTheFile) {
  const std::string data(16, 'x');
  const auto entry = [](const char* name, int begin, int end) {
    return "\"" + std::string(name) + R"(":{"dtype":"U8","shape":[)" + std::to_string(end - begin) +
           R"(],"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  EXPECT_TRUE(
      ParseBytes(WithHeader("{" + entry("b", 0, 8) + "," + entry("a", 8, 16) + "}", data)).ok());
  ExpectRefused("{" + entry("a", 0, 9) + "," + entry("b", 8, 16) + "}", data, "overlaps");
  ExpectRefused("{" + entry("a", 0, 16) + "," + entry("b", 0, 16) + "}", data, "overlaps");
  ExpectRefused("{" + entry("a", 0, 7) + "," + entry("b", 8, 16) + "}", data, "does not begin");
  ExpectRefused("{" + entry("a", 1, 16) + "}", data, "does not begin");
  ExpectRefused("{" + entry("a", 0, 15) + "}", data, "end at byte 15");
  ExpectRefused("{" + entry("a", 0, 8) + "," + entry("a", 8, 16) + "}", data, "twice");
}

class Shards : public testing::Test {
 protected:
  void WriteIndex(const std::string& map) {
    directory_.Write("model.safetensors.index.json", R"({"metadata":{},"weight_map":)" + map + "}");
  }
  absl::Status Open() { return WeightFiles::Open(directory_.path()).status(); }

  TemporaryDirectory directory_;
  const std::string a_ = directory_.Write(
      "a.safetensors", SafetensorsBytes({{"x", "F32", {1}, "abcd"}, {"y", "F32", {1}, "efgh"}}));
  const std::string b_ =
      directory_.Write("b.safetensors", SafetensorsBytes({{"z", "F32", {1}, "ijkl"}}));
};

TEST_F(Shards, AreOpenedByTheirIndex) {
  WriteIndex(R"({"x":"a.safetensors","y":"a.safetensors","z":"b.safetensors"})");
  const auto files = WeightFiles::Open(directory_.path());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->files().size(), 2u);
  const auto place = files->Find("z");
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(place->file->path(), b_);
  EXPECT_EQ(std::memcmp(place->tensor.bytes.data(), "ijkl", 4), 0);
  EXPECT_EQ(files->Find("w").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(Shards, IndexIsNotTrusted) {
  const struct {
    const char* map;
    const char* part;
  } wrong[] = {
      {R"({"x":"a.safetensors","y":"a.safetensors","z":"c.safetensors"})", "c.safetensors"},
      {R"({"x":"a.safetensors","z":"b.safetensors"})", "tensor y is not listed"},
      {R"({"x":"b.safetensors","y":"a.safetensors","z":"b.safetensors"})", "tensor x"},
      {R"({"x":"a.safetensors","y":"a.safetensors","w":"a.safetensors"})", "tensor w"},
      {R"({"x":"../a.safetensors"})", "weight_map.x"},
      {R"({"x":"/etc/a.safetensors"})", "weight_map.x"},
      {R"({"x":"a.bin"})", "weight_map.x"},
      {R"({"x":1})", "weight_map.x"},
      {R"({})", "weight_map"},
      {R"([])", "weight_map"},
      {R"({"x":"a.safetensors","x":"a.safetensors"})", "twice"},
  };
  for (const auto& [map, part] : wrong) {
    WriteIndex(map);
    const absl::Status status = Open();
    EXPECT_FALSE(status.ok()) << map;
    EXPECT_THAT(status.message(), HasSubstr(part)) << map;
  }
}

TEST_F(Shards, TensorInTwoFilesIsRefused) {
  directory_.Write("b.safetensors", SafetensorsBytes({{"x", "F32", {1}, "ijkl"}}));
  WriteIndex(R"({"x":"a.safetensors","y":"a.safetensors","z":"b.safetensors"})");
  EXPECT_THAT(Open().message(), HasSubstr("tensor x is also in"));
}

TEST_F(Shards, WithoutIndexThereMustBeOneFile) {
  EXPECT_EQ(Open().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Open().message(), HasSubstr("model.safetensors"));
  directory_.Write("model.safetensors", SafetensorsBytes({{"x", "F32", {1}, "abcd"}}));
  EXPECT_TRUE(Open().ok());
}

}  // namespace
}  // namespace longleaf::model
