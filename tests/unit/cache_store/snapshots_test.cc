// Snapshots: committing, finding, sharing segments, letting go.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/cache_store/store_fixture.h"

namespace longleaf::store {
namespace {

class SnapshotsTest : public StoreTest {};

TEST_F(SnapshotsTest, RoundTripAcrossReopen) {
  const std::vector<int32_t> tokens = SomeTokens(100);
  for (const int64_t bytes : {0, 1, 4095, 4096, 4097, 50'000}) {
    ASSERT_TRUE(store_->DropSnapshot(KeyOf(tokens), DropReason::kDeleted).ok());
    const absl::StatusOr<SnapshotPtr> written = Commit(tokens, bytes, 10);
    ASSERT_TRUE(written.ok()) << written.status();
    EXPECT_EQ((*written)->bytes(), bytes + 10);
    EXPECT_EQ(*ReadAll(**written, 0), SomeText(bytes, 1));
    const int64_t stored = store_->Stats().snapshot_bytes;
    Reopen();
    const absl::StatusOr<SnapshotPtr> found = store_->FindSnapshot(KeyOf(tokens));
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ((*found)->meta(), "meta");
    EXPECT_EQ((*found)->cores().size(), 1u);
    EXPECT_EQ((*found)->tail()->info().kind, SegmentKind::kTail);
    EXPECT_EQ((*found)->cores()[0]->info().last_token, 100);
    EXPECT_EQ(*ReadAll(**found, 0), SomeText(bytes, 1));
    EXPECT_EQ(*ReadAll(**found, 1), SomeText(10, 2));
    EXPECT_EQ(store_->Stats().orphan_segments_removed, 0);
    if (stored > 0) {
      store_->WaitForReclaim();
      EXPECT_EQ(store_->Stats().snapshot_bytes,
                (*found)->cores()[0]->info().stored_bytes + (*found)->tail()->info().stored_bytes);
    }
  }
}

TEST_F(SnapshotsTest, AppendsOfAnySizeGiveTheSameValues) {
  const std::string bytes = SomeText(20'000);
  std::vector<std::vector<uint64_t>> sums;
  for (const size_t step : {size_t{1}, size_t{7}, size_t{4096}, size_t{5000}, size_t{20'000}}) {
    auto writer = *store_->NewSegment({"t", SegmentKind::kCore, 0, 10, 0});
    for (size_t at = 0; at < bytes.size(); at += step) {
      const std::string_view part = std::string_view(bytes).substr(at, step);
      ASSERT_OK(writer->Append(
          absl::MakeConstSpan(reinterpret_cast<const std::byte*>(part.data()), part.size())));
    }
    const absl::StatusOr<SegmentPtr> segment = writer->Finish();
    ASSERT_TRUE(segment.ok()) << segment.status();
    EXPECT_CODE(writer->Finish(), kFailedPrecondition);
    sums.push_back((*segment)->info().value_xxh3);
    EXPECT_EQ(sums.back(), sums.front());
    EXPECT_EQ((*segment)->info().value_count(), 5);
    EXPECT_EQ((*segment)->info().value_length(4), 20'000 - 4 * 4096);
  }
}

TEST_F(SnapshotsTest, ReadsStayInside) {
  const SnapshotPtr snapshot = *Commit(SomeTokens(10), 10'000, 5);
  ValueBuffer buffer;
  EXPECT_CODE(store_->ReadValue(*snapshot, 0, 3, buffer), kOutOfRange);
  EXPECT_CODE(store_->ReadValue(*snapshot, 0, -1, buffer), kOutOfRange);
  EXPECT_CODE(store_->ReadValue(*snapshot, 2, 0, buffer), kOutOfRange);
  EXPECT_CODE(store_->ReadValue(*snapshot, -1, 0, buffer), kOutOfRange);
  EXPECT_EQ(store_->ReadValue(*snapshot, 0, 2, buffer)->size(), 10'000u - 8192u);
  std::byte some[100];
  EXPECT_CODE(store_->ReadSegment(*snapshot, 0, 9'901, absl::MakeSpan(some), buffer), kOutOfRange);
  EXPECT_CODE(store_->ReadSegment(*snapshot, 0, -1, absl::MakeSpan(some), buffer), kOutOfRange);
  ASSERT_OK(store_->ReadSegment(*snapshot, 0, 4050, absl::MakeSpan(some), buffer));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(some), 100),
            SomeText(10'000, 1).substr(4050, 100));
}

TEST_F(SnapshotsTest, OnlyTheExactKeyFinds) {
  const std::vector<int32_t> tokens = SomeTokens(100);
  ASSERT_TRUE(Commit(tokens, 100, 10).ok());
  SnapshotKey key = KeyOf(tokens);
  EXPECT_TRUE(store_->FindSnapshot(key).ok());
  EXPECT_TRUE(store_->ContainsSnapshot(key));
  key.tenant = "u";
  EXPECT_CODE(store_->FindSnapshot(key), kNotFound);
  key = KeyOf(tokens);
  key.fingerprint[31] ^= 1;
  EXPECT_CODE(store_->FindSnapshot(key), kNotFound);
  key = KeyOf(tokens);
  key.digest[0] ^= 1;
  EXPECT_CODE(store_->FindSnapshot(key), kNotFound);
  key = KeyOf(tokens);
  key.token_count = 99;
  EXPECT_CODE(store_->FindSnapshot(key), kNotFound);
  EXPECT_FALSE(store_->ContainsSnapshot(key));
}

TEST_F(SnapshotsTest, LongestPrefix) {
  const std::vector<int32_t> tokens = SomeTokens(1000);
  const auto prefix = [&](size_t count) {
    return std::vector<int32_t>(tokens.begin(), tokens.begin() + static_cast<int64_t>(count));
  };
  std::vector<int32_t> stray = prefix(600);
  stray[599] += 1;
  for (const auto& stored : {prefix(64), prefix(128), prefix(512), stray}) {
    ASSERT_TRUE(Commit(stored, 100, 10).ok());
  }
  ASSERT_TRUE(Commit(prefix(900), 100, 10, "", "u").ok());  // another tenant's
  for (const bool reopen : {false, true}) {
    if (reopen) Reopen();
    const auto longest = [&](const std::vector<int32_t>& asked) -> int64_t {
      const auto found = store_->FindLongestPrefix("t", KeyOf({}).fingerprint, asked);
      if (!found.ok()) {
        EXPECT_CODE(found, kNotFound);
        return 0;
      }
      return (*found)->token_count();
    };
    EXPECT_EQ(longest(tokens), 512);
    EXPECT_EQ(longest(prefix(512)), 512);
    EXPECT_EQ(longest(prefix(511)), 128);
    EXPECT_EQ(longest(prefix(64)), 64);
    EXPECT_EQ(longest(prefix(63)), 0);
    EXPECT_EQ(longest({}), 0);
    EXPECT_EQ(longest(stray), 600);
    std::vector<int32_t> fork = tokens;
    fork[100] += 1;
    EXPECT_EQ(longest(fork), 64);
    EXPECT_EQ((*store_->FindLongestPrefix("u", KeyOf({}).fingerprint, tokens))->token_count(), 900);
    Digest other = {};
    EXPECT_CODE(store_->FindLongestPrefix("t", other, tokens), kNotFound);
  }
}

TEST_F(SnapshotsTest, CheckpointsShareSegmentsAndReplaceEachOther) {
  Create("doc");
  const std::vector<int32_t> tokens = SomeTokens(300);
  std::vector<SegmentPtr> cores;
  std::optional<SnapshotKey> last;
  for (const int64_t count : {100, 200, 300}) {
    cores.push_back(*WriteSegment(SegmentKind::kCore, count - 100, count, SomeText(5000, 1)));
    CommitSpec spec;
    spec.key = KeyOf({tokens.begin(), tokens.begin() + count});
    spec.segments = cores;
    spec.segments.push_back(*WriteSegment(SegmentKind::kTail, 0, count, SomeText(100, 2)));
    spec.document_id = "doc";
    spec.replaces = last;
    const absl::StatusOr<SnapshotPtr> committed = store_->CommitSnapshot(spec);
    ASSERT_TRUE(committed.ok()) << committed.status();
    last = spec.key;
    EXPECT_EQ(store_->Stats().snapshots, 1);
  }
  cores.clear();
  EXPECT_EQ(SegmentFiles(), 4);  // three cores, one tail: the earlier tails are gone
  EXPECT_CODE(store_->FindSnapshot(KeyOf({tokens.begin(), tokens.begin() + 200})), kNotFound);
  const SnapshotPtr whole = *store_->FindSnapshot(*last);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(*ReadAll(*whole, i), SomeText(5000, 1));
  EXPECT_EQ(*ReadAll(*whole, 3), SomeText(100, 2));
}

TEST_F(SnapshotsTest, ASharedSegmentStaysWithWhoeverIsLeft) {
  const std::vector<int32_t> tokens = SomeTokens(200);
  const std::vector<int32_t> half(tokens.begin(), tokens.begin() + 100);
  SnapshotPtr first = *Commit(half, 5000, 100);
  CommitSpec spec;
  spec.key = KeyOf(tokens);
  spec.segments = {first->cores()[0],
                   *WriteSegment(SegmentKind::kCore, 100, 200, SomeText(4000, 3)),
                   *WriteSegment(SegmentKind::kTail, 100, 200, SomeText(50, 4))};
  ASSERT_TRUE(store_->CommitSnapshot(spec).ok());
  spec.segments.clear();
  const int64_t shared = first->cores()[0]->info().stored_bytes;
  const int64_t tail = first->tail()->info().stored_bytes;
  const int64_t before = store_->Stats().snapshot_bytes;
  first.reset();
  Reopen();
  EXPECT_EQ(store_->Stats().snapshot_bytes, before);  // the shared one counts once
  ASSERT_OK(store_->DropSnapshot(KeyOf(half), DropReason::kDeleted));
  store_->WaitForReclaim();
  EXPECT_EQ(store_->Stats().snapshot_bytes, before - tail);
  EXPECT_EQ(*ReadAll(**store_->FindSnapshot(KeyOf(tokens)), 0), SomeText(5000, 1));
  ASSERT_OK(store_->DropSnapshot(KeyOf(tokens), DropReason::kDeleted));
  store_->WaitForReclaim();
  EXPECT_EQ(store_->Stats().snapshot_bytes, 0);
  EXPECT_GT(shared, 0);
  EXPECT_EQ(SegmentFiles(), 0);
}

TEST_F(SnapshotsTest, AReaderKeepsWhatItReads) {
  const std::vector<int32_t> tokens = SomeTokens(100);
  SnapshotPtr reading = *Commit(tokens, 9000, 100);
  ASSERT_OK(store_->DropSnapshot(KeyOf(tokens), DropReason::kCorrupt));
  EXPECT_CODE(store_->FindSnapshot(KeyOf(tokens)), kNotFound);
  EXPECT_OK(store_->DropSnapshot(KeyOf(tokens), DropReason::kCorrupt));  // gone is fine
  store_->WaitForReclaim();
  EXPECT_EQ(*ReadAll(*reading, 0), SomeText(9000, 1));
  EXPECT_GT(store_->Stats().snapshot_bytes, 0);
  reading.reset();
  store_->WaitForReclaim();
  EXPECT_EQ(store_->Stats().snapshot_bytes, 0);
  EXPECT_EQ(store_->Stats().drops.at(DropReason::kCorrupt), 1);
  EXPECT_EQ(SegmentFiles(), 0);
}

TEST_F(SnapshotsTest, WhatIsNotCommittedLeavesNothing) {
  { auto unfinished = *store_->NewSegment({"t", SegmentKind::kCore, 0, 10, 100'000}); }
  {
    auto unfinished = *store_->NewSegment({"t", SegmentKind::kCore, 0, 10, 100'000});
    const std::string bytes = SomeText(50'000);
    ASSERT_OK(unfinished->Append(
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size())));
    EXPECT_GE(store_->Stats().reserved_bytes, 100'000);
  }
  EXPECT_EQ(store_->Stats().snapshot_bytes, 0);
  ASSERT_TRUE(WriteSegment(SegmentKind::kCore, 0, 10, SomeText(50'000)).ok());  // dropped at once
  store_->WaitForReclaim();
  EXPECT_EQ(store_->Stats().snapshot_bytes, 0);
  EXPECT_TRUE(std::filesystem::is_empty(options_.path + "/incoming"));
  EXPECT_EQ(SegmentFiles(), 0);
}

TEST_F(SnapshotsTest, CommitRefusesWhatDoesNotBelongTogether) {
  const SegmentPtr core = *WriteSegment(SegmentKind::kCore, 0, 10, "core");
  const SegmentPtr tail = *WriteSegment(SegmentKind::kTail, 0, 10, "tail");
  const SegmentPtr foreign = *WriteSegment(SegmentKind::kTail, 0, 10, "tail", "u");
  CommitSpec spec;
  spec.key = KeyOf(SomeTokens(10));
  const auto code = [&](std::vector<SegmentPtr> segments) {
    spec.segments = std::move(segments);
    return CodeOf(store_->CommitSnapshot(spec));
  };
  EXPECT_EQ(code({}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({core}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({tail, core}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({core, foreign}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({core, nullptr}), absl::StatusCode::kInvalidArgument);
  spec.document_id = "nobody";
  EXPECT_EQ(code({core, tail}), absl::StatusCode::kNotFound);
  spec.document_id.clear();
  EXPECT_EQ(store_->Stats().snapshots, 0);
  EXPECT_EQ(code({core, tail}), absl::StatusCode::kOk);
}

TEST_F(SnapshotsTest, TheSameStateTwiceIsStoredOnce) {
  Create("a");
  Create("b");
  const std::vector<int32_t> tokens = SomeTokens(50);
  const SnapshotPtr first = *Commit(tokens, 5000, 100, "a");
  const SnapshotPtr second = *Commit(tokens, 5000, 100, "b");
  EXPECT_EQ(first, second);
  EXPECT_EQ(SegmentFiles(), 2);
}

TEST_F(SnapshotsTest, DeletingADocumentLetsGoOfItsSnapshotsButNotOfOthers) {
  for (const char* id : {"a", "b", "c"}) Create(id);
  const std::vector<int32_t> tokens = SomeTokens(50);
  const std::vector<int32_t> own = SomeTokens(60, 5);
  ASSERT_TRUE(Commit(tokens, 5000, 100, "a").ok());
  ASSERT_TRUE(Commit(own, 5000, 100, "a").ok());
  ASSERT_OK(store_->ClaimSnapshot(KeyOf(tokens), "b"));
  ASSERT_OK(store_->ClaimSnapshot(KeyOf(tokens), "b"));
  EXPECT_CODE(store_->ClaimSnapshot(KeyOf(tokens), "nobody"), kNotFound);
  EXPECT_CODE(store_->ClaimSnapshot(KeyOf(SomeTokens(1)), "b"), kNotFound);
  Reopen();
  ASSERT_OK(store_->DeleteDocument("t", "a"));
  EXPECT_FALSE(store_->ContainsSnapshot(KeyOf(own)));
  EXPECT_TRUE(store_->ContainsSnapshot(KeyOf(tokens)));
  ASSERT_OK(store_->DeleteDocument("t", "c"));
  EXPECT_TRUE(store_->ContainsSnapshot(KeyOf(tokens)));
  Reopen();
  ASSERT_OK(store_->DeleteDocument("t", "b"));
  EXPECT_FALSE(store_->ContainsSnapshot(KeyOf(tokens)));
  EXPECT_EQ(SegmentFiles(), 0);
  store_.reset();
  RawDatabase raw(options_.path);
  for (const char* family : {"documents", "manifests", "claims", "asked"}) {
    EXPECT_EQ(raw.Rows(family).size(), 0u) << family;
  }
}

TEST_F(SnapshotsTest, ACheckpointOfAnotherDocumentIsNotReplaced) {
  Create("a");
  Create("b");
  const std::vector<int32_t> shared = SomeTokens(50);
  ASSERT_TRUE(Commit(shared, 5000, 100, "a").ok());
  ASSERT_OK(store_->ClaimSnapshot(KeyOf(shared), "b"));
  const auto next = [&](int64_t count, const std::string& document) {
    CommitSpec spec;
    spec.key = KeyOf(SomeTokens(count));
    spec.segments = {*WriteSegment(SegmentKind::kTail, 0, count, "tail")};
    spec.document_id = document;
    spec.replaces = KeyOf(shared);
    return store_->CommitSnapshot(spec).status();
  };
  ASSERT_OK(next(60, "a"));
  EXPECT_TRUE(store_->ContainsSnapshot(KeyOf(shared)));  // b has it
  ASSERT_OK(next(70, "b"));
  EXPECT_FALSE(store_->ContainsSnapshot(KeyOf(shared)));
  EXPECT_EQ(store_->Stats().drops.at(DropReason::kReplaced), 1);
}

TEST_F(SnapshotsTest, ASnapshotMayOutliveTheStore) {
  SnapshotPtr snapshot = *Commit(SomeTokens(10), 5000, 10);
  SegmentPtr loose = *WriteSegment(SegmentKind::kCore, 0, 10, "loose");
  store_.reset();
  EXPECT_EQ(snapshot->token_count(), 10);
  snapshot.reset();
  loose.reset();
  Reopen();
  EXPECT_TRUE(store_->ContainsSnapshot(KeyOf(SomeTokens(10))));
  EXPECT_EQ(store_->Stats().orphan_segments_removed, 1);
}

}  // namespace
}  // namespace longleaf::store
