// A small store with one of everything, to be damaged: what must be in it, and the check that it
// holds either that or an error that says what is lost.
#ifndef LONGLEAF_TESTS_UNIT_CACHE_STORE_STORED_WORLD_H_
#define LONGLEAF_TESTS_UNIT_CACHE_STORE_STORED_WORLD_H_

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "cache_store/verify.h"
#include "tests/unit/cache_store/store_fixture.h"

namespace longleaf::store {

// In memory, room for logs to grow into is memory that has to be cleared.
class WithoutPreallocation : public rocksdb::FileSystemWrapper {
 public:
  WithoutPreallocation() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "WithoutPreallocation"; }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    rocksdb::FileOptions changed = options;
    changed.allow_fallocate = false;
    return target()->NewWritableFile(name, changed, file, debug);
  }
};

// What a look at a store found out about one document or snapshot.
enum class Found { kRight, kLost, kGone };

class StoredWorldTest : public StoreTest {
 protected:
  // Hundreds of openings: in memory where that can be.
  StoredWorldTest() {
    if (::access("/dev/shm", W_OK) == 0) {
      options_.path = "/dev/shm/" + std::filesystem::path(options_.path).filename().string();
      std::filesystem::remove_all(options_.path);
    }
    file_system_ = std::make_shared<WithoutPreallocation>();
    whole_ = options_.path + ".whole";
    std::filesystem::remove_all(whole_);
  }
  ~StoredWorldTest() override { std::filesystem::remove_all(whole_); }

  struct Expected {
    DocumentName name;
    DocumentRecord record;
    std::string text;
    std::vector<TextToken> tokens;
    std::vector<int32_t> snapshot;  // tokens of its key
    uint8_t request = 0;            // every byte of the request's digest
  };

  // Documents a and b of tenant t and a of tenant u: text in three chunks, tokens in two, a
  // request, a snapshot of three segment values.
  void SetUp() override {
    Reopen();
    for (const auto& [tenant, id] : {std::pair{"t", "a"}, {"t", "b"}, {"u", "a"}}) {
      MakeDocument({tenant, id});
    }
    store_.reset();
    std::filesystem::rename(options_.path, whole_);
    Restore();
  }

  void MakeDocument(const DocumentName& name) {
    Expected one;
    one.name = name;
    one.request = static_cast<uint8_t>(expected_.size() + 1);
    const uint64_t seed = expected_.size() + 11;
    DocumentRecord wanted = Wanted(name.id, "request-" + name.id);
    wanted.display_name = "of " + name.tenant;
    wanted.labels = {{"owner", name.tenant}};
    ASSERT_TRUE(store_->CreateDocument(name.tenant, wanted, DigestOf(one.request)).ok());
    one.text = SomeText(2500, seed);
    for (int64_t i = 0; i < 10; ++i) {
      one.tokens.push_back({static_cast<int32_t>(seed * 100 + static_cast<uint64_t>(i)), i * 250});
    }
    UploadPart part;
    part.text = one.text;
    part.tokens = absl::MakeConstSpan(one.tokens).subspan(0, 6);
    part.tokenized_bytes = 1250;
    ASSERT_TRUE(store_->AppendUpload(name.tenant, name.id, part).ok());
    part = {};
    part.write_offset = 2500;
    part.first_token = 6;
    part.tokens = absl::MakeConstSpan(one.tokens).subspan(6);
    part.tokenized_bytes = 2500;
    ASSERT_TRUE(store_->AppendUpload(name.tenant, name.id, part).ok());
    ASSERT_TRUE(store_->FinalizeUpload(name.tenant, name.id, 2500, DocumentState::kActive).ok());
    one.snapshot = SomeTokens(10 + static_cast<int64_t>(expected_.size()));
    ASSERT_TRUE(Commit(one.snapshot, 6000, 100, name.id, name.tenant).ok());
    one.record = *store_->GetDocument(name.tenant, name.id);
    expected_.push_back(std::move(one));
  }

  static Digest DigestOf(uint8_t byte) {
    Digest digest;
    digest.fill(byte);
    return digest;
  }

  void Restore() {
    store_.reset();
    std::filesystem::remove_all(options_.path);
    std::filesystem::copy(whole_, options_.path, std::filesystem::copy_options::recursive);
  }

  VerifyReport Verify() {
    const absl::StatusOr<VerifyReport> report = VerifyStore({options_.path, {}});
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : VerifyReport();
  }
  static std::string Describe(const VerifyReport& report) {
    std::string text;
    for (const VerifyFinding& finding : report.findings) {
      text += finding.where + ": " + finding.what + "\n";
    }
    return text;
  }

  // Either OK, or what is allowed to say that stored bytes are damaged.
  static Found Judge(const absl::Status& status, const std::string& name) {
    if (status.ok()) return Found::kRight;
    if (absl::IsNotFound(status)) return Found::kGone;
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_NE(status.ToString().find(name), std::string::npos) << status;
    return Found::kLost;
  }

  Found LookAtDocument(const Expected& one) {
    const std::string named = "document " + one.name.id;
    const auto record = store_->GetDocument(one.name.tenant, one.name.id);
    if (!record.ok()) return Judge(record.status(), named);
    EXPECT_EQ(record->display_name, one.record.display_name);
    EXPECT_EQ(record->labels, one.record.labels);
    EXPECT_EQ(record->serial, one.record.serial);
    if (record->revision < one.record.revision) {
      // An earlier state, where the log lost what came after it.
      const auto begin = store_->ReadText(one.name.tenant, one.name.id, 0, 1 << 20);
      if (begin.ok()) EXPECT_EQ(*begin, one.text.substr(0, begin->size()));
      return Found::kGone;
    }
    EXPECT_EQ(record->text_sha256, one.record.text_sha256);
    Found found = Found::kRight;
    const auto text = store_->ReadText(one.name.tenant, one.name.id, 0, 1 << 20);
    if (text.ok()) {
      EXPECT_EQ(*text, one.text);
    } else {
      found = Judge(text.status(), named);
    }
    const auto tokens = store_->ReadTokens(one.name.tenant, one.name.id, 0, 1 << 20);
    if (tokens.ok()) {
      EXPECT_EQ(*tokens, one.tokens);
    } else {
      found = std::max(found, Judge(tokens.status(), named));
    }
    return found;
  }

  // The same request again gives its document, or says why not; never another one.
  Found LookAtRequest(const Expected& one) {
    const auto again = store_->CreateDocument(
        one.name.tenant, Wanted(one.name.id, "request-" + one.name.id), DigestOf(one.request));
    if (absl::IsAlreadyExists(again.status())) return Found::kGone;  // known by its id alone
    if (!again.ok()) return Judge(again.status(), "re");
    EXPECT_FALSE(again->created);
    EXPECT_EQ(again->record.serial, one.record.serial);
    return Found::kRight;
  }

  Found LookAtSnapshot(const Expected& one) {
    const auto snapshot = store_->FindSnapshot(KeyOf(one.snapshot, one.name.tenant));
    if (!snapshot.ok()) return Judge(snapshot.status(), "");
    EXPECT_EQ((*snapshot)->meta(), "meta");
    Found found = Found::kRight;
    for (int64_t segment = 0; segment < 2; ++segment) {
      const auto bytes = ReadAll(**snapshot, segment);
      if (bytes.ok()) {
        EXPECT_EQ(*bytes, segment == 0 ? SomeText(6000, 1) : SomeText(100, 2));
      } else {
        found = Judge(bytes.status(), "segment");
      }
    }
    return found;
  }

  std::string whole_;  // the directory as it should be
  std::vector<Expected> expected_;
};

}  // namespace longleaf::store

#endif  // LONGLEAF_TESTS_UNIT_CACHE_STORE_STORED_WORLD_H_
