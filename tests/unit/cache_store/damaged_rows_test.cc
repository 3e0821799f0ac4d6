// Every kind of row, flipped, cut, extended, emptied, lost and swapped with others of its kind: the
// store answers rightly or says what is lost, other documents are as they were, and VerifyStore
// finds it every time.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cache_store/coding.h"
#include "tests/unit/cache_store/stored_world.h"

namespace longleaf::store {
namespace {

class DamagedRowsTest : public StoredWorldTest {
 protected:
  using Rows = std::vector<std::pair<std::string, std::string>>;

  Rows RowsOf(const std::string& family) {
    RawDatabase raw(options_.path);
    return raw.Rows(family);
  }

  // The store with this row's value changed; nullopt: the row is lost.
  void Put(const std::string& family, const std::string& key,
           const std::optional<std::string>& value) {
    Restore();
    RawDatabase raw(options_.path);
    if (value.has_value()) {
      raw.Put(family, key, *value);
    } else {
      raw.Delete(family, key);
    }
  }

  // Looks at everything. Documents and snapshots of whom the row is not (all but `touched`) must be
  // right.
  void ExpectOthersRight(const std::set<DocumentName>& touched) {
    for (const Expected& one : expected_) {
      const Found document = LookAtDocument(one);
      const Found request = LookAtRequest(one);
      const Found snapshot = LookAtSnapshot(one);
      if (touched.contains(one.name)) {
        EXPECT_NE(document, Found::kGone) << "lost without a word";
        continue;
      }
      EXPECT_EQ(document, Found::kRight) << one.name.tenant << "/" << one.name.id;
      EXPECT_EQ(request, Found::kRight) << one.name.tenant << "/" << one.name.id;
      EXPECT_EQ(snapshot, Found::kRight) << one.name.tenant << "/" << one.name.id;
    }
  }

  void ExpectFound(const std::string& family, const std::string& key,
                   const std::optional<std::string>& value, const std::string& how,
                   const std::set<DocumentName>& touched) {
    SCOPED_TRACE(family + " " + how);
    Put(family, key, value);
    EXPECT_GT(Verify().damage, 0);
    if (HasFailure()) return;
    absl::StatusOr<std::unique_ptr<Store>> opened = OpenWithFileSystem(options_, file_system_);
    if (!opened.ok()) {
      EXPECT_EQ(key, "schema") << opened.status();
      EXPECT_TRUE(absl::IsDataLoss(opened.status()) || absl::IsFailedPrecondition(opened.status()))
          << opened.status();
      EXPECT_NE(opened.status().ToString().find(options_.path), std::string::npos)
          << opened.status();
      return;
    }
    store_ = *std::move(opened);
    ExpectOthersRight(touched);
    store_.reset();
  }

  void DamageRow(const std::string& family, const std::string& key, const std::string& value,
                 const std::set<DocumentName>& touched, size_t flips) {
    std::set<size_t> places = {0, 1, value.size() / 2, value.size() - 1};
    for (size_t i = 0; i < flips; ++i) places.insert(value.size() * i / flips);
    for (const size_t at : places) {
      std::string flipped = value;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << (at % 8)));
      ExpectFound(family, key, flipped, "flipped at " + std::to_string(at), touched);
    }
    for (const size_t length :
         {size_t{0}, size_t{1}, size_t{10}, value.size() - 8, value.size() - 1}) {
      ExpectFound(family, key, value.substr(0, std::min(length, value.size() - 1)),
                  "cut to " + std::to_string(length), touched);
    }
    ExpectFound(family, key, value + std::string(1, '\0'), "extended", touched);
    ExpectFound(family, key, value + value, "doubled", touched);
  }

  static const std::set<DocumentName> kOfA;
};
const std::set<DocumentName> DamagedRowsTest::kOfA = {{"t", "a"}};

TEST_F(DamagedRowsTest, TheWholeStoreHasNoDamage) {
  const VerifyReport report = Verify();
  EXPECT_EQ(report.damage, 0) << Describe(report);
  EXPECT_EQ(report.orphans, 0) << Describe(report);
  EXPECT_EQ(report.documents, 3);
  EXPECT_EQ(report.snapshots, 3);
  std::map<std::string, int64_t> rows;
  for (const VerifyCount& count : report.counts) rows[count.name] = count.rows;
  EXPECT_EQ(rows["documents"], 3);
  EXPECT_EQ(rows["requests"], 3);
  EXPECT_EQ(rows["text"], 9);
  EXPECT_EQ(rows["tokens"], 6);
  EXPECT_EQ(rows["manifests"], 3);
  EXPECT_EQ(rows["claims"], 3);
  EXPECT_EQ(rows["asked"], 3);
  EXPECT_EQ(rows["segments"], 9);
  EXPECT_EQ(rows["default"], 3);
  Reopen();
  ExpectOthersRight({});
}

// Looking changes nothing: not a byte, not a file.
TEST_F(DamagedRowsTest, VerifyingChangesNothing) {
  const auto all = [&] {
    std::map<std::string, std::string> files;
    for (const auto& file : std::filesystem::recursive_directory_iterator(options_.path)) {
      if (!file.is_regular_file()) continue;
      std::ifstream in(file.path(), std::ios::binary);
      files[file.path()] = {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    }
    return files;
  };
  const auto before = all();
  EXPECT_EQ(Verify().damage, 0);
  EXPECT_EQ(all(), before);
}

TEST_F(DamagedRowsTest, AStoreInUseIsNotVerified) {
  Reopen();
  EXPECT_CODE(VerifyStore({options_.path, {}}), kUnavailable);
  store_.reset();
  EXPECT_TRUE(VerifyStore({options_.path, {}}).ok());
  EXPECT_CODE(VerifyStore({options_.path + ".none", {}}), kNotFound);
}

TEST_F(DamagedRowsTest, EveryRowOfADocument) {
  for (const std::string family : {"documents", "requests", "text", "tokens"}) {
    const Rows rows = RowsOf(family);
    DamageRow(family, rows[0].first, rows[0].second, kOfA, 3);
  }
}

TEST_F(DamagedRowsTest, EveryRowOfASnapshot) {
  for (const std::string family : {"manifests", "asked", "segments"}) {
    const Rows rows = RowsOf(family);
    DamageRow(family, rows[0].first, rows[0].second, kOfA, 5);
  }
  const Rows claims = RowsOf("claims");
  ExpectFound("claims", claims[0].first, "x", "with a value", kOfA);
}

TEST_F(DamagedRowsTest, SchemaAndCounters) {
  for (const auto& [key, value] : RowsOf("default")) DamageRow("default", key, value, {}, 1);
}

// Numbers go on above all that are in use, whatever happened to their counter.
TEST_F(DamagedRowsTest, ACounterIsMadeAgain) {
  const Rows rows = RowsOf("default");
  for (const auto& [key, value] : rows) {
    if (key == "schema") continue;
    internal::Encoder low(internal::RecordKind::kCounter, 1);
    low.I64(2);
    const std::string too_low = low.Seal();
    for (const std::optional<std::string>& bad :
         {std::optional<std::string>(), std::optional<std::string>("?"), {too_low}}) {
      ExpectFound("default", key, bad, key, {});
      Reopen();
      EXPECT_EQ(store_->Stats().rebuilt_counters, 1) << key;
      if (key == "next-document") {
        EXPECT_GT(Create("new").serial, expected_.back().record.serial);
      } else {
        EXPECT_GT((*WriteSegment(SegmentKind::kCore, 0, 1, "x"))->info().id, 6);
      }
      Reopen();
      EXPECT_EQ(store_->Stats().rebuilt_counters, 0) << key;
    }
  }
}

TEST_F(DamagedRowsTest, LostRows) {
  for (const std::string family :
       {"default", "documents", "requests", "text", "tokens", "segments"}) {
    for (const auto& [key, value] : RowsOf(family)) {
      SCOPED_TRACE(family);
      Put(family, key, std::nullopt);
      const VerifyReport report = Verify();
      // A lost record leaves text that belongs to nothing; everything else is missed by another
      // row.
      EXPECT_GT(report.damage + report.orphans, 0);
      const auto opened = OpenWithFileSystem(options_, file_system_);
      if (!opened.ok()) {
        EXPECT_EQ(key, "schema") << opened.status();
        EXPECT_CODE(opened, kFailedPrecondition);
      }
    }
  }
}

// A row in the place of another of its kind: of the same document, of another, of another tenant.
TEST_F(DamagedRowsTest, SwappedRows) {
  for (const std::string family :
       {"documents", "requests", "text", "tokens", "manifests", "segments"}) {
    const Rows rows = RowsOf(family);
    for (size_t i = 0; i < rows.size(); ++i) {
      const size_t j = i == 0 ? rows.size() - 1 : (i * 2) % rows.size();
      if (rows[i].second == rows[j].second) continue;
      SCOPED_TRACE(family + " " + std::to_string(i) + " and " + std::to_string(j));
      Restore();
      {
        RawDatabase raw(options_.path);
        raw.Put(family, rows[i].first, rows[j].second);
        raw.Put(family, rows[j].first, rows[i].second);
      }
      EXPECT_GT(Verify().damage, 0);
      Reopen();
      for (const Expected& one : expected_) {
        EXPECT_NE(LookAtDocument(one), Found::kGone);
        LookAtRequest(one);
        LookAtSnapshot(one);
      }
      store_.reset();
    }
  }
}

}  // namespace
}  // namespace longleaf::store
