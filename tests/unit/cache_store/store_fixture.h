// What the store's tests share: a directory of their own, a clock that they turn, short ways to
// make documents and snapshots, and the bytes behind the store's back.
#ifndef LONGLEAF_TESTS_UNIT_CACHE_STORE_STORE_FIXTURE_H_
#define LONGLEAF_TESTS_UNIT_CACHE_STORE_STORE_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache_store/open_with_file_system.h"
#include "cache_store/store.h"

namespace longleaf::store {

template <typename T>
absl::StatusCode CodeOf(const absl::StatusOr<T>& result) {
  return result.status().code();
}
inline absl::StatusCode CodeOf(const absl::Status& status) { return status.code(); }

#define EXPECT_CODE(expression, expected) EXPECT_EQ(CodeOf(expression), absl::StatusCode::expected)
#define ASSERT_OK(expression) ASSERT_EQ((expression), absl::OkStatus())
#define EXPECT_OK(expression) EXPECT_EQ((expression), absl::OkStatus())

// A database opened past the store, with the store closed: to look at and to damage single rows.
class RawDatabase {
 public:
  explicit RawDatabase(const std::string& path) {
    rocksdb::Options options;
    options.disable_auto_compactions = true;
    options.allow_fallocate = false;
    std::vector<std::string> names;
    EXPECT_TRUE(rocksdb::DB::ListColumnFamilies(options, path, &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
    for (const std::string& name : names) descriptors.emplace_back(name, options);
    rocksdb::DB* raw = nullptr;
    const rocksdb::Status status = rocksdb::DB::Open(options, path, descriptors, &handles_, &raw);
    EXPECT_TRUE(status.ok()) << status.ToString();
    db_.reset(raw);
  }
  ~RawDatabase() {
    for (rocksdb::ColumnFamilyHandle* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
  }

  std::vector<std::pair<std::string, std::string>> Rows(const std::string& family) {
    std::vector<std::pair<std::string, std::string>> rows;
    const std::unique_ptr<rocksdb::Iterator> row(
        db_->NewIterator(rocksdb::ReadOptions(), Handle(family)));
    for (row->SeekToFirst(); row->Valid(); row->Next()) {
      rows.emplace_back(row->key().ToString(), row->value().ToString());
    }
    EXPECT_TRUE(row->status().ok()) << row->status().ToString();
    return rows;
  }
  void Put(const std::string& family, const std::string& key, const std::string& value) {
    rocksdb::WriteOptions options;
    options.sync = true;
    ASSERT_TRUE(db_->Put(options, Handle(family), key, value).ok());
  }
  void Delete(const std::string& family, const std::string& key) {
    rocksdb::WriteOptions options;
    options.sync = true;
    ASSERT_TRUE(db_->Delete(options, Handle(family), key).ok());
  }

 private:
  rocksdb::ColumnFamilyHandle* Handle(const std::string& family) {
    for (rocksdb::ColumnFamilyHandle* handle : handles_) {
      if (handle->GetName() == family) return handle;
    }
    ADD_FAILURE() << "no family " << family;
    return db_->DefaultColumnFamily();
  }
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
};

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string(test->test_suite_name()) + "_" + test->name();
    std::replace(name.begin(), name.end(), '/', '_');  // parameterised tests have some
    options_.path =
        ::testing::TempDir() + "longleaf_store_" + name + "_" + std::to_string(getpid());
    std::filesystem::remove_all(options_.path);
    options_.min_free_bytes = 0;
    options_.value_bytes = 4096;
    options_.text_chunk_bytes = 1024;
    options_.clock = [this] { return now_us_; };
  }
  ~StoreTest() override { std::filesystem::remove_all(options_.path); }

  void SetUp() override { Reopen(); }

  // While the whole fixture stands: closing writes, and a derived one's fault hook sees the writes.
  void TearDown() override { store_.reset(); }

  void Reopen() {
    store_.reset();
    absl::StatusOr<std::unique_ptr<Store>> opened = OpenWithFileSystem(options_, file_system_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
  }

  static DocumentRecord Wanted(const std::string& id, const std::string& request_id = "") {
    DocumentRecord record;
    record.id = id;
    record.request_id = request_id;
    return record;
  }

  DocumentRecord Create(const std::string& id, const std::string& tenant = "t") {
    absl::StatusOr<CreateResult> result = store_->CreateDocument(tenant, Wanted(id), {});
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->record : DocumentRecord();
  }

  absl::Status AppendText(const std::string& id, int64_t offset, std::string_view text,
                          const std::string& tenant = "t") {
    UploadPart part;
    part.write_offset = offset;
    part.text = text;
    return store_->AppendUpload(tenant, id, part).status();
  }

  static std::string SomeText(int64_t bytes, uint64_t seed = 1) {
    std::string text(static_cast<size_t>(bytes), 0);
    uint64_t state = seed * 7919 + 1;
    for (char& c : text) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      c = static_cast<char>('a' + (state >> 33) % 26);
    }
    return text;
  }

  static std::vector<int32_t> SomeTokens(int64_t count, int32_t seed = 0) {
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i) * 31 + seed;
    return tokens;
  }

  static SnapshotKey KeyOf(const std::vector<int32_t>& tokens, const std::string& tenant = "t") {
    SnapshotKey key;
    key.tenant = tenant;
    key.fingerprint.fill(7);
    key.token_count = static_cast<int64_t>(tokens.size());
    key.digest = DigestTokens(tokens);
    return key;
  }

  // One segment of these bytes.
  absl::StatusOr<SegmentPtr> WriteSegment(SegmentKind kind, int64_t first, int64_t last,
                                          std::string_view bytes, const std::string& tenant = "t") {
    absl::StatusOr<std::unique_ptr<SegmentWriter>> writer =
        store_->NewSegment({tenant, kind, first, last, static_cast<int64_t>(bytes.size())});
    if (!writer.ok()) return writer.status();
    const absl::Status appended = (*writer)->Append(
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()));
    if (!appended.ok()) return appended;
    return (*writer)->Finish();
  }

  // A snapshot after `tokens`, with one core segment of core_bytes and a tail of tail_bytes.
  absl::StatusOr<SnapshotPtr> Commit(const std::vector<int32_t>& tokens, int64_t core_bytes,
                                     int64_t tail_bytes, const std::string& document = "",
                                     const std::string& tenant = "t") {
    const int64_t count = static_cast<int64_t>(tokens.size());
    CommitSpec spec;
    spec.key = KeyOf(tokens, tenant);
    spec.meta = "meta";
    spec.document_id = document;
    absl::StatusOr<SegmentPtr> core =
        WriteSegment(SegmentKind::kCore, 0, count, SomeText(core_bytes, 1), tenant);
    if (!core.ok()) return core.status();
    absl::StatusOr<SegmentPtr> tail =
        WriteSegment(SegmentKind::kTail, 0, count, SomeText(tail_bytes, 2), tenant);
    if (!tail.ok()) return tail.status();
    spec.segments = {*core, *tail};
    return store_->CommitSnapshot(spec);
  }

  absl::StatusOr<std::string> ReadAll(const Snapshot& snapshot, int64_t segment) {
    std::string bytes(
        static_cast<size_t>(snapshot.segments()[static_cast<size_t>(segment)]->info().bytes), 0);
    ValueBuffer buffer;
    const absl::Status status = store_->ReadSegment(
        snapshot, segment, 0,
        absl::MakeSpan(reinterpret_cast<std::byte*>(bytes.data()), bytes.size()), buffer);
    if (!status.ok()) return status;
    return bytes;
  }

  // Files of segments that are on the disk, by looking.
  int64_t SegmentFiles() {
    store_->WaitForReclaim();
    store_.reset();
    int64_t files = 0;
    {
      RawDatabase raw(options_.path);
      std::string last;
      for (const auto& [key, value] : raw.Rows("segments")) {
        if (key.substr(0, 8) != last) ++files;
        last = key.substr(0, 8);
      }
    }
    Reopen();
    return files;
  }

  StoreOptions options_;
  std::shared_ptr<rocksdb::FileSystem> file_system_;
  int64_t now_us_ = 1'000'000;
  std::unique_ptr<Store> store_;
};

}  // namespace longleaf::store

#endif  // LONGLEAF_TESTS_UNIT_CACHE_STORE_STORE_FIXTURE_H_
