// Files of packed weights: what is written comes back, and no damaged or hostile file does.
#include "model/packed_weights.h"

#include <sys/stat.h>
#include <xxhash.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/packed_weights_file.h"
#include "tests/unit/model/model_directory.h"

namespace longleaf::model {
namespace {

using testing::HasSubstr;

absl::Span<const std::byte> AsBytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string ReadAll(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

// Two files, one of them checked; two matrices and a norm.
PackedWeightsHead SmallHead() {
  using kernels::Epilogue;
  using kernels::WeightFormat;
  PackedWeightsHead head;
  head.layout = "test-1";
  head.config = "hidden=8";
  head.sources = {{"a.safetensors", {100, 1, -2, 3}, ""},
                  {"b.safetensors", {200, 4, 5, ~uint64_t{0}}, std::string(64, 'c')}};
  head.weights_digest = std::string(64, 'd');
  head.items = {
      {"norm", PackedKind::kVector, {1, 8, Epilogue::kNone, WeightFormat::kF32}, 32},
      {"one+two", PackedKind::kMatrix, {24, 8, Epilogue::kSiluGate, WeightFormat::kI8}, 5000},
      {"three", PackedKind::kMatrix, {8, 8, Epilogue::kNone, WeightFormat::kI4}, 4096}};
  EXPECT_TRUE(head.LayOut().ok());
  return head;
}

std::string BytesOf(size_t item, int64_t bytes) {
  std::string out;
  for (int64_t i = 0; i < bytes; ++i) out += static_cast<char>(i * 7 + static_cast<int64_t>(item));
  return out;
}

// Gives a changed head of `head_bytes` bytes a right checksum.
void Seal(std::string& file, size_t head_bytes) {
  const uint64_t checksum = XXH3_64bits(file.data(), head_bytes - 8);
  std::memcpy(file.data() + head_bytes - 8, &checksum, sizeof(checksum));
}

class PackedWeightsTest : public testing::Test {
 protected:
  std::string path() const { return directory_.path() + "/whole"; }

  void WriteWhole() {
    auto writer = PackedWeightsWriter::Create(directory_.path() + "/new", head_);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const size_t item : {2, 0, 1}) {  // in any order
      ASSERT_TRUE((*writer)->Add(item, AsBytes(BytesOf(item, head_.items[item].bytes))).ok());
    }
    ASSERT_TRUE((*writer)->Finish(path()).ok());
    EXPECT_FALSE(std::filesystem::exists(directory_.path() + "/new"));
  }
  absl::Status OpenAndVerify(const std::string& bytes) {
    const auto file = PackedWeightsFile::Open(directory_.Write("changed", bytes));
    return file.ok() ? (*file)->Verify(2) : file.status();
  }

  TemporaryDirectory directory_;
  const PackedWeightsHead head_ = SmallHead();
};

TEST_F(PackedWeightsTest, WhatWasWrittenComesBack) {
  WriteWhole();
  struct stat info = {};
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(info.st_size, head_.file_bytes);
  const auto file = PackedWeightsFile::Open(path());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->Verify().ok());
  const PackedWeightsHead& head = (*file)->head();
  EXPECT_EQ(head.layout, head_.layout);
  EXPECT_EQ(head.config, head_.config);
  EXPECT_EQ(head.sources, head_.sources);
  EXPECT_EQ(head.weights_digest, head_.weights_digest);
  ASSERT_EQ(head.items.size(), head_.items.size());
  for (size_t i = 0; i < head.items.size(); ++i) {
    EXPECT_EQ(head.items[i].name, head_.items[i].name);
    EXPECT_EQ(head.items[i].kind, head_.items[i].kind);
    EXPECT_EQ(head.items[i].shape, head_.items[i].shape);
    EXPECT_EQ(head.items[i].offset % kPackedWeightsAlignment, 0);
    EXPECT_EQ((*file)->Bytes(i), AsBytes(BytesOf(i, head_.items[i].bytes)));
  }
}

TEST_F(PackedWeightsTest, AFlippedBitAnywhereIsFound) {
  WriteWhole();
  const std::string whole = ReadAll(path());
  ASSERT_TRUE(OpenAndVerify(whole).ok());
  std::vector<size_t> places;
  for (size_t at = 0; at < head_.Encode().size(); ++at) places.push_back(at);
  for (const PackedItem& item : head_.items) {
    const auto begin = static_cast<size_t>(item.offset);
    const auto end = begin + static_cast<size_t>(item.bytes);
    for (size_t at = begin; at < end; at += 97) places.push_back(at);
    places.push_back(end - 1);
  }
  for (const size_t at : places) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
    EXPECT_FALSE(OpenAndVerify(flipped).ok()) << at;
  }
}

TEST_F(PackedWeightsTest, DamageIsNamed) {
  WriteWhole();
  std::string whole = ReadAll(path());
  whole[static_cast<size_t>(head_.items[1].offset) + 4999] ^= 1;
  whole[static_cast<size_t>(head_.items[2].offset)] ^= 1;
  const absl::Status status = OpenAndVerify(whole);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), HasSubstr("changed is damaged: the checksum of one+two"));
}

TEST_F(PackedWeightsTest, CutAndExtendedFilesAreRefused) {
  WriteWhole();
  const std::string whole = ReadAll(path());
  const size_t head = head_.Encode().size();
  for (const size_t size : {size_t{0}, size_t{1}, size_t{55}, size_t{63}, head - 1, head, head + 1,
                            size_t{4096}, whole.size() / 2, whole.size() - 1}) {
    EXPECT_FALSE(OpenAndVerify(whole.substr(0, size)).ok()) << size;
  }
  EXPECT_EQ(OpenAndVerify(whole + '\0').code(), absl::StatusCode::kDataLoss);
}

TEST_F(PackedWeightsTest, OtherKindsOfFilesAreRefused) {
  EXPECT_TRUE(absl::IsNotFound(PackedWeightsFile::Open(path()).status()));
  std::filesystem::create_directory(path());
  EXPECT_TRUE(absl::IsInvalidArgument(PackedWeightsFile::Open(path()).status()));
  std::filesystem::remove(path());
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(PackedWeightsFile::Open(path()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenAndVerify(std::string(10000, 'x'))));
}

// Heads that are whole by their checksum and wrong all the same.
TEST_F(PackedWeightsTest, EveryFieldIsChecked) {
  const auto parse = [](std::string head, int64_t file_bytes) {
    uint32_t size = 0;
    std::memcpy(&size, head.data() + 12, sizeof(size));
    Seal(head, size);
    return PackedWeightsHead::Parse(AsBytes(head), file_bytes, "FILE").status();
  };
  const std::string good = head_.Encode();
  ASSERT_TRUE(parse(good, head_.file_bytes).ok());
  const auto expect_refused = [&](const char* what,
                                  const std::function<void(PackedWeightsHead&)>& change) {
    PackedWeightsHead head = head_;
    change(head);
    const absl::Status status = parse(head.Encode(), head.file_bytes);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << what;
    EXPECT_THAT(status.message(), HasSubstr("FILE is damaged")) << what;
  };
  using Head = PackedWeightsHead;
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  expect_refused("layout", [](Head& h) { h.layout.clear(); });
  expect_refused("config", [](Head& h) { h.config = std::string(5000, 'x'); });
  expect_refused("no sources", [](Head& h) { h.sources.clear(); });
  expect_refused("sources", [](Head& h) { h.sources.resize(1025, h.sources[0]); });
  expect_refused("name", [](Head& h) { h.sources[0].name.clear(); });
  expect_refused("bytes", [](Head& h) { h.sources[0].identity.bytes = -1; });
  expect_refused("no items", [](Head& h) { h.items.clear(); });
  expect_refused("kind", [](Head& h) { h.items[1].kind = static_cast<PackedKind>(3); });
  expect_refused("kind", [](Head& h) { h.items[1].kind = PackedKind::kVector; });
  expect_refused("format",
                 [](Head& h) { h.items[1].shape.format = static_cast<kernels::WeightFormat>(9); });
  expect_refused("epilogue",
                 [](Head& h) { h.items[1].shape.epilogue = static_cast<kernels::Epilogue>(0); });
  expect_refused("out", [](Head& h) { h.items[1].shape.out_features = 0; });
  expect_refused("in", [](Head& h) { h.items[1].shape.in_features = -1; });
  expect_refused("vector", [](Head& h) { h.items[0].shape.in_features = 9; });
  expect_refused("vector", [](Head& h) { h.items[0].shape.in_features = kLargest; });
  expect_refused("vector", [](Head& h) { h.items[0].shape.out_features = 2; });
  expect_refused("bytes", [](Head& h) { h.items[1].bytes = 0; });
  expect_refused("bytes", [](Head& h) { h.items[2].bytes += 1; });
  expect_refused("bytes", [](Head& h) { h.items[1].bytes = kLargest; });
  expect_refused("bytes", [](Head& h) { h.items[2].bytes = kLargest - h.items[2].offset + 1; });
  expect_refused("offset", [](Head& h) { h.items[1].offset += kPackedWeightsAlignment; });
  expect_refused("offset", [](Head& h) { h.items[1].offset -= 1; });
  expect_refused("offset", [](Head& h) { h.items[2].offset = h.items[1].offset; });
  expect_refused("order", [](Head& h) { std::swap(h.items[1], h.items[2]); });
  expect_refused("file", [](Head& h) { h.file_bytes += 1; });
  expect_refused("file", [](Head& h) { h.file_bytes = kLargest; });

  // A checksum that is not to be there; bytes after the last item; a size beyond the file.
  std::string head = good;
  head[head.find(std::string(1, '\1') + std::string(32, '\xcc'))] = 0;
  EXPECT_TRUE(absl::IsDataLoss(parse(head, head_.file_bytes)));
  head = good;
  head.insert(head.size() - 8, "more");
  uint32_t size = static_cast<uint32_t>(head.size());
  std::memcpy(head.data() + 12, &size, sizeof(size));
  EXPECT_TRUE(absl::IsDataLoss(parse(head, head_.file_bytes)));
  for (const uint32_t wrong : {0u, 63u, static_cast<uint32_t>(good.size()) + 1, ~0u}) {
    head = good;
    std::memcpy(head.data() + 12, &wrong, sizeof(wrong));
    EXPECT_TRUE(
        absl::IsDataLoss(PackedWeightsHead::Parse(AsBytes(head), head_.file_bytes, "F").status()));
  }
  head = good;
  head[8] = 2;  // a later version is no damage
  EXPECT_TRUE(absl::IsInvalidArgument(parse(head, head_.file_bytes)));
}

TEST_F(PackedWeightsTest, WhatParseRefusesIsNotLaidOut) {
  const auto refused = [this](const std::function<void(PackedWeightsHead&)>& change) {
    PackedWeightsHead head = head_;
    change(head);
    return absl::IsInvalidArgument(head.LayOut());
  };
  EXPECT_TRUE(refused([](auto& h) { h.layout.clear(); }));
  EXPECT_TRUE(refused([](auto& h) { h.weights_digest.pop_back(); }));
  EXPECT_TRUE(refused([](auto& h) { h.sources[1].sha256[0] = 'X'; }));
  EXPECT_TRUE(refused([](auto& h) { h.items[0].bytes = 0; }));
  EXPECT_TRUE(refused([](auto& h) { h.items[0].bytes = std::numeric_limits<int64_t>::max(); }));
  EXPECT_TRUE(refused([](auto& h) { h.items.clear(); }));
  EXPECT_TRUE(refused([](auto& h) {
    h.items[0].name = std::string(4096, 'x');
    h.items.resize(8192, h.items[0]);
  }));
}

TEST_F(PackedWeightsTest, AnUnfinishedFileLeavesNothing) {
  const std::string unfinished = directory_.path() + "/new";
  {
    auto writer = PackedWeightsWriter::Create(unfinished, head_);
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE(std::filesystem::exists(unfinished));
    // One at a time, and never over somebody's file.
    EXPECT_FALSE(PackedWeightsWriter::Create(unfinished, head_).ok());
    EXPECT_TRUE(absl::IsInvalidArgument((*writer)->Add(0, AsBytes("short"))));
    EXPECT_TRUE(absl::IsInvalidArgument((*writer)->Add(3, AsBytes("beyond"))));
    ASSERT_TRUE((*writer)->Add(0, AsBytes(BytesOf(0, 32))).ok());
    EXPECT_TRUE(absl::IsInvalidArgument((*writer)->Finish(path())));
  }
  EXPECT_FALSE(std::filesystem::exists(unfinished));
  EXPECT_FALSE(std::filesystem::exists(path()));
}

}  // namespace
}  // namespace longleaf::model
