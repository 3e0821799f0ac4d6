// Opening: options, versions, the lock, and what an earlier process left behind.
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "cache_store/coding.h"
#include "tests/unit/cache_store/store_fixture.h"

namespace longleaf::store {
namespace {

class OpenTest : public StoreTest {};

TEST_F(OpenTest, OptionsAreChecked) {
  const auto code = [&](const std::function<void(StoreOptions&)>& change) {
    StoreOptions options = options_;
    options.path += ".other";
    change(options);
    return CodeOf(Store::Open(options));
  };
  constexpr auto kBad = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code([](StoreOptions& o) { o.path.clear(); }), kBad);
  EXPECT_EQ(code([](StoreOptions& o) { o.disk_cap_bytes = -1; }), kBad);
  EXPECT_EQ(code([](StoreOptions& o) { o.min_free_bytes = -1; }), kBad);
  EXPECT_EQ(code([](StoreOptions& o) { o.value_bytes = 1; }), kBad);
  EXPECT_EQ(code([](StoreOptions& o) { o.value_bytes = 1 << 30; }), kBad);
  EXPECT_EQ(code([](StoreOptions& o) { o.text_chunk_bytes = 0; }), kBad);
  EXPECT_FALSE(std::filesystem::exists(options_.path + ".other"));
}

TEST_F(OpenTest, APathThatCannotBeIsAnError) {
  std::ofstream(options_.path + "/a-file") << "x";
  StoreOptions options = options_;
  options.path += "/a-file/store";
  EXPECT_FALSE(Store::Open(options).ok());
}

TEST_F(OpenTest, OneProcessAtATime) {
  const absl::Status status = Store::Open(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.ToString().find("in use by another process"), std::string::npos) << status;
  EXPECT_NE(status.ToString().find(options_.path), std::string::npos) << status;
}

TEST_F(OpenTest, AnotherLayoutVersionIsRefusedWithBothNumbers) {
  Create("a");
  store_.reset();
  std::string original;
  {
    RawDatabase raw(options_.path);
    for (const auto& [key, value] : raw.Rows("default")) {
      if (key == "schema") original = value;
    }
    ASSERT_FALSE(original.empty());
    internal::Encoder out(internal::RecordKind::kSchema, 1);
    out.U32(7);
    raw.Put("default", "schema", out.Seal());
  }
  const absl::Status status = Store::Open(options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.ToString().find("layout version 7, this program reads and writes 1"),
            std::string::npos)
      << status;
  {
    RawDatabase raw(options_.path);
    raw.Put("default", "schema", original);
  }
  Reopen();
  EXPECT_TRUE(store_->GetDocument("t", "a").ok());
}

TEST_F(OpenTest, DataWithoutALayoutVersionIsRefused) {
  Create("a");
  store_.reset();
  {
    RawDatabase raw(options_.path);
    raw.Delete("default", "schema");
  }
  EXPECT_CODE(Store::Open(options_), kFailedPrecondition);
}

TEST_F(OpenTest, ADatabaseOfAnotherProgramIsLeftAlone) {
  const std::string path = options_.path + "/theirs";
  {
    rocksdb::Options options;
    options.create_if_missing = true;
    rocksdb::DB* raw = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(options, path, &raw).ok());
    const std::unique_ptr<rocksdb::DB> db(raw);
    rocksdb::ColumnFamilyHandle* handle = nullptr;
    ASSERT_TRUE(db->CreateColumnFamily(options, "theirs", &handle).ok());
    db->DestroyColumnFamilyHandle(handle);
  }
  StoreOptions options = options_;
  options.path = path;
  const absl::Status status = Store::Open(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.ToString().find("not a store"), std::string::npos) << status;
}

TEST_F(OpenTest, OrphanSegmentsAndStrayFilesAreRemoved) {
  const std::vector<int32_t> tokens = SomeTokens(10);
  ASSERT_TRUE(Commit(tokens, 5000, 100).ok());
  const int64_t kept = store_->Stats().snapshot_bytes;
  // A process that dies between a segment and its manifest.
  std::vector<SegmentPtr> loose = {*WriteSegment(SegmentKind::kCore, 0, 10, SomeText(9000)),
                                   *WriteSegment(SegmentKind::kTail, 0, 10, SomeText(90))};
  store_.reset();
  loose.clear();
  std::ofstream(options_.path + "/incoming/99.sst") << "half a segment";
  Reopen();
  EXPECT_EQ(store_->Stats().orphan_segments_removed, 2);
  EXPECT_EQ(store_->Stats().snapshot_bytes, kept);
  EXPECT_TRUE(std::filesystem::is_empty(options_.path + "/incoming"));
  EXPECT_EQ(SegmentFiles(), 2);
  EXPECT_EQ(*ReadAll(**store_->FindSnapshot(KeyOf(tokens)), 0), SomeText(5000, 1));
  EXPECT_EQ(store_->Stats().orphan_segments_removed, 0);
}

TEST_F(OpenTest, SegmentNumbersAreNeverUsedAgain) {
  int64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      const SegmentPtr segment = *WriteSegment(SegmentKind::kCore, 0, 10, "x");
      EXPECT_GT(segment->info().id, last);
      last = segment->info().id;
    }
    Reopen();
  }
}

TEST_F(OpenTest, UnfinishedUploadsGoOn) {
  Create("a");
  ASSERT_OK(AppendText("a", 0, "first "));
  Reopen();
  EXPECT_EQ(store_->GetDocument("t", "a")->state, DocumentState::kCreating);
  EXPECT_EQ(store_->Stats().documents.at(DocumentState::kCreating), 1);
  ASSERT_OK(AppendText("a", 6, "second"));
  ASSERT_TRUE(store_->FinalizeUpload("t", "a", 12).ok());
  EXPECT_EQ(*store_->ReadText("t", "a", 0, 100), "first second");
}

TEST_F(OpenTest, TheValueLengthMayChangeBetweenStarts) {
  const std::vector<int32_t> tokens = SomeTokens(10);
  ASSERT_TRUE(Commit(tokens, 20'000, 100).ok());
  options_.value_bytes = 8192;
  options_.text_chunk_bytes = 4096;
  Reopen();
  EXPECT_EQ(*ReadAll(**store_->FindSnapshot(KeyOf(tokens)), 0), SomeText(20'000, 1));
}

}  // namespace
}  // namespace longleaf::store
