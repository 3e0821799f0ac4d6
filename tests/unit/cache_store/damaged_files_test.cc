// RocksDB's own files flipped, cut, emptied and missing: the store opens with everything right, or
// says what is lost; it is never empty without a word, and VerifyStore sees what the store does.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/cache_store/stored_world.h"

namespace longleaf::store {
namespace {

class DamagedFilesTest : public StoredWorldTest {
 protected:
  // The first start's rows lie in sorted files, the last document only in the log.
  void SetUp() override {
    StoredWorldTest::SetUp();
    std::filesystem::remove_all(whole_);
    Reopen();
    MakeDocument({"t", "logged"});
    store_.reset();
    std::filesystem::rename(options_.path, whole_);
    Restore();
  }

  std::vector<std::string> FilesLike(const std::string& part) {
    std::vector<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(whole_)) {
      const std::string name = file.path().filename();
      if (name.find(part) != std::string::npos) names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    EXPECT_FALSE(names.empty()) << part;
    return names;
  }
  std::string Read(const std::string& name) {
    std::ifstream in(whole_ + "/" + name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  void Write(const std::string& name, const std::string& bytes) {
    std::ofstream(options_.path + "/" + name, std::ios::binary | std::ios::trunc) << bytes;
  }
  static std::string Flip(std::string bytes, size_t at) {
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    return bytes;
  }

  struct Outcome {
    bool opened = false;
    bool right = false;  // all documents
    bool log_said = false;
    int lost = 0;  // documents or snapshots
    int gone = 0;  // documents
  };

  // Opens what is there and looks at all of it; whatever is wrong must have been said, to the
  // server and by VerifyStore.
  Outcome Look(bool log_damage_is_possible) {
    Outcome outcome;
    const VerifyReport report = Verify();
    absl::StatusOr<std::unique_ptr<Store>> opened = OpenWithFileSystem(options_, file_system_);
    if (!opened.ok()) {
      EXPECT_TRUE(absl::IsDataLoss(opened.status()) || absl::IsFailedPrecondition(opened.status()))
          << opened.status();
      EXPECT_NE(opened.status().ToString().find(options_.path), std::string::npos)
          << opened.status();
      EXPECT_NE(opened.status().ToString().find("backup"), std::string::npos) << opened.status();
      EXPECT_GT(report.damage, 0) << opened.status();
      return outcome;
    }
    outcome.opened = true;
    store_ = *std::move(opened);
    const StoreStats stats = store_->Stats();
    outcome.log_said = stats.damaged_log;
    outcome.right = true;
    for (const Expected& one : expected_) {
      const Found document = LookAtDocument(one);
      const Found snapshot = LookAtSnapshot(one);
      outcome.right = outcome.right && document == Found::kRight;
      outcome.gone += document == Found::kGone;
      outcome.lost += (document == Found::kLost) + (snapshot != Found::kRight);
    }
    if (outcome.gone > 0 || outcome.lost > 0 || outcome.log_said) {
      EXPECT_GT(report.damage, 0) << outcome.gone << " gone, " << outcome.lost << " lost";
    }
    if (outcome.gone > 0) {
      EXPECT_TRUE(log_damage_is_possible && outcome.log_said) << "documents lost without a word";
    }
    store_.reset();
    return outcome;
  }

  std::set<size_t> Places(size_t size, size_t count) {
    std::set<size_t> places;
    for (size_t i = 0; i < std::min<size_t>(size, 8); ++i) {
      places.insert(i);
      places.insert(size - 1 - i);
    }
    for (size_t i = 0; i < count; ++i) places.insert(size * i / count);
    return places;
  }
};

TEST_F(DamagedFilesTest, TheWholeStoreHasNoDamage) {
  const VerifyReport report = Verify();
  EXPECT_EQ(report.damage, 0) << Describe(report);
  EXPECT_EQ(report.orphans, 0) << Describe(report);
  const Outcome outcome = Look(false);
  EXPECT_TRUE(outcome.opened && outcome.right);
  EXPECT_EQ(outcome.lost, 0);
}

TEST_F(DamagedFilesTest, TheFileThatSaysWhichManifest) {
  const std::string good = Read("CURRENT");
  std::vector<std::string> bad = {
      "", "\n", good + "x", "MANIFEST-999999\n", "MANIFEST-000001\n", "../" + good};
  for (size_t at = 0; at < good.size(); ++at) {
    bad.push_back(Flip(good, at));
    bad.push_back(good.substr(0, at));
  }
  for (const std::string& bytes : bad) {
    SCOPED_TRACE(bytes);
    Restore();
    Write("CURRENT", bytes);
    EXPECT_FALSE(Look(false).opened);
  }
}

// RocksDB would make an empty database and delete the files of the old one.
TEST_F(DamagedFilesTest, AMissingFileIsNoNewStore) {
  const auto count = [&] {
    return std::distance(std::filesystem::directory_iterator(options_.path), {});
  };
  for (const std::string part : {"CURRENT", "MANIFEST", ".log"}) {
    SCOPED_TRACE(part);
    Restore();
    for (const std::string& name : FilesLike(part)) {
      std::filesystem::remove(options_.path + "/" + name);
    }
    const auto before = count();
    EXPECT_FALSE(Look(false).opened);
    EXPECT_EQ(count(), before);
  }
  // As the messages advise.
  Restore();
  const std::string manifest = FilesLike("MANIFEST").back();
  std::filesystem::remove(options_.path + "/CURRENT");
  Write("CURRENT", manifest + "\n");
  EXPECT_TRUE(Look(false).right);
  Restore();
  for (const std::string& name : FilesLike(".log")) {
    std::filesystem::remove(options_.path + "/" + name);
  }
  Write("000001.log", "");
  Reopen();
  EXPECT_EQ(LookAtDocument(expected_[0]), Found::kRight);
  EXPECT_EQ(LookAtDocument(expected_[3]), Found::kGone);
}

TEST_F(DamagedFilesTest, TheManifest) {
  const std::string name = FilesLike("MANIFEST").back();
  const std::string good = Read(name);
  for (const size_t at : Places(good.size(), 40)) {
    SCOPED_TRACE(at);
    Restore();
    Write(name, Flip(good, at));
    Look(false);
    if (HasFailure()) break;
  }
}

// A MANIFEST that ends early describes an older store, whose logs are gone.
TEST_F(DamagedFilesTest, ACutManifest) {
  const std::string name = FilesLike("MANIFEST").back();
  const std::string good = Read(name);
  for (size_t length = 0; length < good.size(); length += 97) {
    SCOPED_TRACE(std::to_string(length) + " of " + std::to_string(good.size()));
    Restore();
    Write(name, good.substr(0, length));
    Look(false);
    if (HasFailure()) break;
  }
}

TEST_F(DamagedFilesTest, TheLog) {
  for (const std::string& name : FilesLike(".log")) {
    const std::string good = Read(name);
    if (good.empty()) continue;
    for (const size_t at : Places(good.size(), 12)) {
      SCOPED_TRACE(name + " of " + std::to_string(good.size()) + " at " + std::to_string(at));
      Restore();
      Write(name, Flip(good, at));
      const Outcome outcome = Look(true);
      EXPECT_TRUE(outcome.opened);
      EXPECT_TRUE(outcome.log_said);
      // What the log is not needed for is untouched.
      Reopen();
      for (size_t i = 0; i < 3; ++i) EXPECT_EQ(LookAtDocument(expected_[i]), Found::kRight);
    }
  }
}

TEST_F(DamagedFilesTest, SortedFiles) {
  size_t next = 0;  // a third of the damages for each file, so that each family has all of them
  for (const std::string& name : FilesLike(".sst")) {
    const std::string good = Read(name);
    std::vector<std::pair<std::string, std::string>> bad = {
        {"emptied", ""},
        {"cut to half", good.substr(0, good.size() / 2)},
        {"a byte short", good.substr(0, good.size() - 1)},
        {"extended", good + "x"}};
    for (const size_t at : {size_t{0}, size_t{7}, good.size() / 2, good.size() - 9}) {
      bad.emplace_back("flipped at " + std::to_string(at), Flip(good, at));
    }
    for (const auto& [how, bytes] : bad) {
      if (next++ % 3 != 0) continue;
      SCOPED_TRACE(name + " " + how);
      Restore();
      Write(name, bytes);
      Look(false);
    }
    SCOPED_TRACE(name + " missing");
    Restore();
    std::filesystem::remove(options_.path + "/" + name);
    Look(false);
  }
}

// In a log of several parts, what follows the damaged one is kept.
TEST_F(DamagedFilesTest, WhatFollowsDamageInTheLogIsKept) {
  Restore();
  Reopen();
  for (int i = 0; i < 4; ++i) {  // one part of 32 KiB at least for each
    const std::string id = "long-" + std::to_string(i);
    Create(id);
    ASSERT_OK(AppendText(id, 0, SomeText(40'000, static_cast<uint64_t>(i))));
  }
  store_.reset();
  int damaged = 0;
  for (const auto& file : std::filesystem::directory_iterator(options_.path)) {
    if (file.path().extension() != ".log") continue;
    std::ifstream in(file.path(), std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    const size_t at = bytes.find(SomeText(40'000, 1).substr(0, 100));
    if (at == std::string::npos) continue;
    Write(file.path().filename(), Flip(bytes, at));
    ++damaged;
  }
  ASSERT_EQ(damaged, 1);
  EXPECT_GT(Verify().damage, 0);
  Reopen();
  EXPECT_TRUE(store_->Stats().damaged_log);
  EXPECT_EQ(*store_->ReadText("t", "long-0", 0, 1 << 20), SomeText(40'000, 0));
  EXPECT_EQ(*store_->ReadText("t", "long-3", 0, 1 << 20), SomeText(40'000, 3));
}

// What says which snapshots there are is a cache like these: the server starts without it.
TEST_F(DamagedFilesTest, TheSnapshotIndexIsMadeAgain) {
  std::set<std::string> files;
  for (const std::string& name : FilesLike(".sst")) {
    const std::string good = Read(name);
    if (good.find("meta") == std::string::npos || good.find("of t") != std::string::npos) continue;
    files.insert(name);
    for (const bool block : {true, false}) {
      SCOPED_TRACE(name);
      Restore();
      Write(name, block ? Flip(good, 10) : good.substr(0, good.size() / 2));
      Reopen();
      EXPECT_EQ(store_->Stats().snapshots, block ? 0 : store_->Stats().snapshots);
      EXPECT_EQ(store_->Stats().damaged_files_removed, 1);
      for (const Expected& one : expected_) EXPECT_EQ(LookAtDocument(one), Found::kRight);
      ASSERT_TRUE(Commit(expected_[0].snapshot, 6000, 100, "a", "t").ok());
      Reopen();
      EXPECT_EQ(LookAtSnapshot(expected_[0]), Found::kRight);
      EXPECT_EQ(store_->Stats().damaged_files_removed, 0);
    }
  }
  EXPECT_FALSE(files.empty());
}

// RocksDB makes these again.
TEST_F(DamagedFilesTest, FilesThatMayGo) {
  for (const std::string part : {"IDENTITY", "OPTIONS", "LOG", "LOCK"}) {
    for (const std::string& name : FilesLike(part)) {
      for (const bool remove : {true, false}) {
        SCOPED_TRACE(name);
        Restore();
        if (remove) {
          std::filesystem::remove(options_.path + "/" + name);
        } else {
          Write(name, "\xff\x01 not at all");
        }
        EXPECT_TRUE(Look(false).right);
      }
    }
  }
}

}  // namespace
}  // namespace longleaf::store
