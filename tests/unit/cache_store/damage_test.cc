// Damaged bytes: found before use, named, and never answered with.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/unit/cache_store/store_fixture.h"

namespace longleaf::store {
namespace {

class DamageTest : public StoreTest {
 protected:
  // Changes rows of a family with the store closed.
  void Damage(const std::string& family,
              const std::function<void(RawDatabase&, std::string key, std::string value)>& change) {
    store_.reset();
    {
      RawDatabase raw(options_.path);
      const auto rows = raw.Rows(family);
      ASSERT_FALSE(rows.empty()) << family;
      for (const auto& [key, value] : rows) change(raw, key, value);
    }
    Reopen();
  }

  static std::string Flip(std::string bytes, size_t at) {
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    return bytes;
  }

  std::vector<std::filesystem::path> SegmentFilePaths() {
    std::vector<std::filesystem::path> paths;
    for (const auto& file : std::filesystem::directory_iterator(options_.path)) {
      if (file.path().extension() == ".sst") paths.push_back(file.path());
    }
    std::sort(paths.begin(), paths.end());
    return paths;
  }
  static std::string ReadFile(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  static void WriteFile(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
};

TEST_F(DamageTest, AValueWithAWrongByteIsRefused) {
  const std::vector<int32_t> tokens = SomeTokens(10);
  ASSERT_TRUE(Commit(tokens, 9000, 100).ok());
  for (const size_t at : {size_t{0}, size_t{1}, size_t{2}, size_t{5}, size_t{9}, size_t{16},
                          size_t{20}, size_t{24}, size_t{31}, size_t{32}, size_t{131}}) {
    Damage("segments", [&](RawDatabase& raw, const std::string& key, const std::string& value) {
      raw.Put("segments", key, Flip(value, std::min(at, value.size() - 1)));
    });
    const SnapshotPtr snapshot = *store_->FindSnapshot(KeyOf(tokens));
    ValueBuffer buffer;
    for (int64_t segment = 0; segment < 2; ++segment) {
      const absl::Status status = store_->ReadValue(*snapshot, segment, 0, buffer).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << "byte " << at;
      EXPECT_NE(status.ToString().find("segment"), std::string::npos);
    }
    // Undo: the next byte alone.
    Damage("segments", [&](RawDatabase& raw, const std::string& key, const std::string& value) {
      raw.Put("segments", key, Flip(value, std::min(at, value.size() - 1)));
    });
    EXPECT_EQ(*ReadAll(**store_->FindSnapshot(KeyOf(tokens)), 0), SomeText(9000, 1));
  }
}

TEST_F(DamageTest, ValuesInEachOthersPlaceAreRefused) {
  ASSERT_TRUE(Commit(SomeTokens(10), 9000, 100).ok());
  std::vector<std::string> values;
  Damage("segments", [&](RawDatabase&, const std::string&, const std::string& value) {
    values.push_back(value);
  });
  // Two values of the same length and segment.
  ASSERT_EQ(values[0].size(), values[1].size());
  size_t row = 0;
  Damage("segments", [&](RawDatabase& raw, const std::string& key, const std::string& value) {
    raw.Put("segments", key, row < 2 ? values[1 - row] : value);
    ++row;
  });
  const SnapshotPtr snapshot = *store_->FindSnapshot(KeyOf(SomeTokens(10)));
  ValueBuffer buffer;
  EXPECT_CODE(store_->ReadValue(*snapshot, 0, 0, buffer), kDataLoss);
  EXPECT_CODE(store_->ReadValue(*snapshot, 0, 1, buffer), kDataLoss);
  EXPECT_TRUE(store_->ReadValue(*snapshot, 0, 2, buffer).ok());
  ASSERT_OK(store_->DropSnapshot(snapshot->key(), DropReason::kCorrupt));
  EXPECT_EQ(store_->Stats().drops.at(DropReason::kCorrupt), 1);
}

TEST_F(DamageTest, AMissingOrCutValueIsRefused) {
  ASSERT_TRUE(Commit(SomeTokens(10), 9000, 100).ok());
  size_t row = 0;
  Damage("segments", [&](RawDatabase& raw, const std::string& key, const std::string& value) {
    if (row == 0) raw.Delete("segments", key);
    if (row == 1) raw.Put("segments", key, value.substr(0, value.size() - 1));
    if (row == 2) raw.Put("segments", key, value + "x");
    if (row == 3) raw.Put("segments", key, "");
    ++row;
  });
  ASSERT_EQ(row, 4u);
  const SnapshotPtr snapshot = *store_->FindSnapshot(KeyOf(SomeTokens(10)));
  ValueBuffer buffer;
  for (int64_t value = 0; value < 3; ++value) {
    EXPECT_CODE(store_->ReadValue(*snapshot, 0, value, buffer), kDataLoss);
  }
  EXPECT_CODE(store_->ReadValue(*snapshot, 1, 0, buffer), kDataLoss);
}

TEST_F(DamageTest, ADamagedManifestIsNoState) {
  ASSERT_TRUE(Commit(SomeTokens(10), 9000, 100).ok());
  ASSERT_TRUE(Commit(SomeTokens(20), 9000, 100).ok());
  size_t row = 0;
  Damage("manifests", [&](RawDatabase& raw, const std::string& key, const std::string& value) {
    if (row++ == 0) raw.Put("manifests", key, Flip(value, value.size() / 2));
  });
  EXPECT_FALSE(store_->ContainsSnapshot(KeyOf(SomeTokens(10))));
  EXPECT_TRUE(store_->ContainsSnapshot(KeyOf(SomeTokens(20))));
  EXPECT_EQ(store_->Stats().drops.at(DropReason::kCorrupt), 1);
  EXPECT_EQ(store_->Stats().orphan_segments_removed, 2);
  EXPECT_EQ(SegmentFiles(), 2);
  EXPECT_EQ(store_->Stats().drops.count(DropReason::kCorrupt), 0u);  // mended for good
}

TEST_F(DamageTest, ManifestsUnderEachOthersKeysAreNoStates) {
  ASSERT_TRUE(Commit(SomeTokens(10), 9000, 100).ok());
  ASSERT_TRUE(Commit(SomeTokens(20), 9000, 100).ok());
  std::vector<std::string> values;
  Damage("manifests", [&](RawDatabase&, const std::string&, const std::string& value) {
    values.push_back(value);
  });
  size_t row = 0;
  Damage("manifests", [&](RawDatabase& raw, const std::string& key, const std::string&) {
    raw.Put("manifests", key, values[1 - row++]);
  });
  EXPECT_EQ(store_->Stats().snapshots, 0);
  EXPECT_EQ(store_->Stats().drops.at(DropReason::kCorrupt), 2);
}

TEST_F(DamageTest, DamagedTextNamesDocumentAndOffset) {
  Create("doc-a");
  Create("doc-b");
  const std::string text = SomeText(3000);
  ASSERT_OK(AppendText("doc-a", 0, text));
  ASSERT_OK(AppendText("doc-b", 0, text));
  size_t row = 0;
  Damage("text", [&](RawDatabase& raw, const std::string& key, const std::string& value) {
    if (row++ == 1) raw.Put("text", key, Flip(value, 500));
  });
  EXPECT_EQ(*store_->ReadText("t", "doc-a", 0, 1024), text.substr(0, 1024));
  EXPECT_EQ(*store_->ReadText("t", "doc-a", 2048, 2000), text.substr(2048));
  for (const auto& [from, length] : {std::pair{0, 3000}, {1024, 1}, {2047, 1}}) {
    const absl::Status status = store_->ReadText("t", "doc-a", from, length).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_NE(status.ToString().find("document doc-a: text at offset 1024"), std::string::npos)
        << status;
  }
  EXPECT_CODE(store_->FinalizeUpload("t", "doc-a", 3000), kDataLoss);
  EXPECT_EQ(*store_->ReadText("t", "doc-b", 0, 3000), text);
}

TEST_F(DamageTest, MissingOrForeignTextIsFound) {
  Create("a");
  Create("b");
  ASSERT_OK(AppendText("a", 0, SomeText(3000, 1)));
  ASSERT_OK(AppendText("b", 0, SomeText(3000, 2)));
  std::vector<std::string> values;
  Damage("text", [&](RawDatabase&, const std::string&, const std::string& value) {
    values.push_back(value);
  });
  ASSERT_EQ(values.size(), 6u);
  size_t row = 0;
  Damage("text", [&](RawDatabase& raw, const std::string& key, const std::string&) {
    if (row == 0) raw.Put("text", key, values[3]);  // b's first chunk
    if (row == 2) raw.Put("text", key, values[1]);  // a's second chunk as its third
    if (row == 4) raw.Delete("text", key);
    ++row;
  });
  EXPECT_CODE(store_->ReadText("t", "a", 0, 10), kDataLoss);
  EXPECT_TRUE(store_->ReadText("t", "a", 1024, 1024).ok());
  EXPECT_CODE(store_->ReadText("t", "a", 2048, 10), kDataLoss);
  EXPECT_CODE(store_->ReadText("t", "b", 1000, 100), kDataLoss);
  EXPECT_CODE(store_->ReadText("t", "b", 1024, 1), kDataLoss);
  EXPECT_TRUE(store_->ReadText("t", "b", 2048, 10).ok());
}

TEST_F(DamageTest, DamagedTokensAreFoundAndCanBeMadeAgain) {
  Create("a");
  const std::vector<TextToken> tokens = {{1, 2}, {2, 4}};
  UploadPart part;
  part.text = "abcd";
  part.tokens = tokens;
  part.tokenized_bytes = 4;
  ASSERT_TRUE(store_->AppendUpload("t", "a", part).ok());
  Damage("tokens", [&](RawDatabase& raw, const std::string& key, const std::string& value) {
    raw.Put("tokens", key, Flip(value, 30));
  });
  EXPECT_CODE(store_->ReadTokens("t", "a", 0, 2), kDataLoss);
  ASSERT_TRUE(store_->ResetTokens("t", "a", {}).ok());
  part.text = {};
  part.write_offset = 4;
  ASSERT_TRUE(store_->AppendUpload("t", "a", part).ok());
  EXPECT_EQ(*store_->ReadTokens("t", "a", 0, 2), tokens);
}

TEST_F(DamageTest, ADamagedRecordIsReportedListedAndDeletable) {
  Create("a");
  Create("b");
  ASSERT_OK(AppendText("b", 0, SomeText(5000)));
  Create("c");
  Damage("documents", [&](RawDatabase& raw, const std::string& key, const std::string& value) {
    if (key.back() == 'b') raw.Put("documents", key, Flip(value, 20));
  });
  const absl::Status status = store_->GetDocument("t", "b").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(status.ToString().find("document b"), std::string::npos) << status;
  EXPECT_CODE(store_->ReadText("t", "b", 0, 1), kDataLoss);
  EXPECT_EQ(store_->Stats().damaged_documents, 1);
  EXPECT_GE(store_->Stats().text_bytes, 5000);
  const DocumentPage page = *store_->ListDocuments("t", 10, "");
  EXPECT_EQ(page.documents.size(), 2u);
  EXPECT_EQ(page.damaged_ids, std::vector<std::string>{"b"});
  EXPECT_CODE(store_->CreateDocument("t", Wanted("b"), {}), kAlreadyExists);
  ASSERT_OK(store_->DeleteDocument("t", "b"));
  EXPECT_EQ(store_->Stats().damaged_documents, 0);
  EXPECT_EQ(store_->Stats().text_bytes, 0);
  Create("b");
}

TEST_F(DamageTest, ARecordUnderAnotherIdIsRefused) {
  Create("a");
  Create("b");
  std::string record_a;
  Damage("documents", [&](RawDatabase& raw, const std::string& key, const std::string& value) {
    if (key.back() == 'a') record_a = value;
    if (key.back() == 'b') raw.Put("documents", key, record_a);
  });
  EXPECT_CODE(store_->GetDocument("t", "b"), kDataLoss);
  EXPECT_TRUE(store_->GetDocument("t", "a").ok());
}

// Bytes of the segment files themselves, as a failing disk changes them.
TEST_F(DamageTest, NoByteOfASegmentFileIsTrusted) {
  const std::vector<int32_t> tokens = SomeTokens(10);
  Create("doc");
  ASSERT_OK(AppendText("doc", 0, "kept"));
  ASSERT_TRUE(Commit(tokens, 9000, 100).ok());
  const auto files = SegmentFilePaths();
  ASSERT_EQ(files.size(), 2u);
  store_.reset();
  const std::filesystem::path whole = options_.path + ".whole";
  std::filesystem::remove_all(whole);
  std::filesystem::copy(options_.path, whole, std::filesystem::copy_options::recursive);
  const std::string good = ReadFile(files[0]);
  std::vector<std::string> bad = {good.substr(0, good.size() / 2), "", good + "x",
                                  std::string(good.size(), '\0'), ReadFile(files[1])};
  for (size_t at = 0; at < good.size(); at += at + 200 < good.size() ? 797 : 13) {
    bad.push_back(Flip(good, at));
  }
  int refused = 0;
  for (const std::string& bytes : bad) {
    std::filesystem::remove_all(options_.path);
    std::filesystem::copy(whole, options_.path, std::filesystem::copy_options::recursive);
    WriteFile(files[0], bytes);
    Reopen();
    EXPECT_EQ(*store_->ReadText("t", "doc", 0, 10), "kept");
    const absl::StatusOr<SnapshotPtr> found = store_->FindSnapshot(KeyOf(tokens));
    if (!found.ok()) {
      EXPECT_EQ(store_->Stats().drops.at(DropReason::kCorrupt), 1);
      ++refused;
    } else {
      const absl::StatusOr<std::string> read = ReadAll(**found, 0);
      if (read.ok()) {
        EXPECT_EQ(*read, SomeText(9000, 1));  // a byte that says nothing
      } else {
        EXPECT_CODE(read, kDataLoss);
        ++refused;
      }
    }
    store_.reset();
  }
  EXPECT_GT(refused, static_cast<int>(bad.size()) / 2);
  // A file that is gone altogether.
  std::filesystem::remove_all(options_.path);
  std::filesystem::copy(whole, options_.path, std::filesystem::copy_options::recursive);
  std::filesystem::remove(files[0]);
  Reopen();
  EXPECT_EQ(store_->Stats().snapshots, 0);
  EXPECT_EQ(*store_->ReadText("t", "doc", 0, 10), "kept");
  ASSERT_TRUE(Commit(tokens, 9000, 100).ok());
  EXPECT_EQ(*ReadAll(**store_->FindSnapshot(KeyOf(tokens)), 0), SomeText(9000, 1));
  std::filesystem::remove_all(whole);
}

// Damage in the middle of the log costs what came after it, and is said.
TEST_F(DamageTest, ADamagedLogIsSaid) {
  Create("first");
  Create("second");
  Create("third");
  EXPECT_FALSE(store_->Stats().damaged_log);
  store_.reset();
  int logs = 0;
  for (const auto& file : std::filesystem::directory_iterator(options_.path)) {
    if (file.path().extension() != ".log") continue;
    std::string bytes = ReadFile(file.path());
    const size_t at = bytes.find("second");
    if (at == std::string::npos) continue;
    WriteFile(file.path(), Flip(bytes, at));
    ++logs;
  }
  ASSERT_EQ(logs, 1);
  Reopen();
  EXPECT_TRUE(store_->Stats().damaged_log);
  EXPECT_TRUE(store_->GetDocument("t", "first").ok());
  EXPECT_CODE(store_->GetDocument("t", "second"), kNotFound);
  Create("second");
  Reopen();
  EXPECT_FALSE(store_->Stats().damaged_log);
  EXPECT_TRUE(store_->GetDocument("t", "second").ok());
}

// A log that ends in the middle of a record is what a crash leaves: no damage.
TEST_F(DamageTest, ATornEndOfTheLogIsNoDamage) {
  Create("first");
  Create("second");
  store_.reset();
  for (const auto& file : std::filesystem::directory_iterator(options_.path)) {
    if (file.path().extension() != ".log") continue;
    const std::string bytes = ReadFile(file.path());
    if (bytes.find("second") == std::string::npos) continue;
    WriteFile(file.path(), bytes.substr(0, bytes.size() - 20));
  }
  Reopen();
  EXPECT_FALSE(store_->Stats().damaged_log);
  EXPECT_TRUE(store_->GetDocument("t", "first").ok());
}

}  // namespace
}  // namespace longleaf::store
