// Documents: creation and its idempotence, uploads, reading, listing, changing, expiring, deleting.
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <limits>
#include <string>
#include <vector>

#include "tests/unit/cache_store/store_fixture.h"

namespace longleaf::store {
namespace {

class DocumentsTest : public StoreTest {};

Digest Sha(std::string_view text) {
  Digest digest;
  SHA256(reinterpret_cast<const uint8_t*>(text.data()), text.size(), digest.data());
  return digest;
}

TEST_F(DocumentsTest, CreateGetReopen) {
  DocumentRecord wanted = Wanted("a");
  wanted.display_name = "A";
  wanted.labels = {{"k", "v"}};
  wanted.expire_time_us = 5'000'000;
  wanted.token_fingerprint.fill(3);
  wanted.text_bytes = 99;  // the store's own, ignored
  wanted.state = DocumentState::kActive;
  const absl::StatusOr<CreateResult> created = store_->CreateDocument("t", wanted, {});
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_TRUE(created->created);
  EXPECT_EQ(created->record.state, DocumentState::kCreating);
  EXPECT_EQ(created->record.text_bytes, 0);
  EXPECT_EQ(created->record.revision, 1);
  EXPECT_EQ(created->record.create_time_us, now_us_);
  EXPECT_EQ(created->record.labels, wanted.labels);
  EXPECT_EQ(*store_->GetDocument("t", "a"), created->record);
  Reopen();
  EXPECT_EQ(*store_->GetDocument("t", "a"), created->record);
  EXPECT_CODE(store_->GetDocument("t", "b"), kNotFound);
  EXPECT_CODE(store_->CreateDocument("t", wanted, {}), kAlreadyExists);
}

TEST_F(DocumentsTest, NamesHaveLimits) {
  EXPECT_CODE(store_->CreateDocument("", Wanted("a"), {}), kInvalidArgument);
  EXPECT_CODE(store_->CreateDocument(std::string(129, 't'), Wanted("a"), {}), kInvalidArgument);
  EXPECT_CODE(store_->CreateDocument("t", Wanted(""), {}), kInvalidArgument);
  EXPECT_CODE(store_->CreateDocument("t", Wanted(std::string(256, 'a')), {}), kInvalidArgument);
  EXPECT_CODE(store_->CreateDocument("t", Wanted("a", std::string(256, 'r')), {}),
              kInvalidArgument);
  EXPECT_CODE(store_->CreateDocument(std::string(128, 't'), Wanted(std::string(255, 'a')), {}),
              kOk);
}

TEST_F(DocumentsTest, TheSameRequestGetsTheFirstResult) {
  const Digest one = Sha("one");
  const DocumentRecord first = store_->CreateDocument("t", Wanted("a", "r"), one)->record;
  ASSERT_OK(AppendText("a", 0, "text"));
  Reopen();
  // Also under another generated id.
  const absl::StatusOr<CreateResult> again = store_->CreateDocument("t", Wanted("b", "r"), one);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->record.id, "a");
  EXPECT_EQ(again->record.serial, first.serial);
  EXPECT_EQ(again->record.text_bytes, 4);
  EXPECT_CODE(store_->GetDocument("t", "b"), kNotFound);
  EXPECT_CODE(store_->CreateDocument("t", Wanted("b", "r"), Sha("two")), kAlreadyExists);
  // Another tenant's request ids are others.
  EXPECT_TRUE(store_->CreateDocument("u", Wanted("b", "r"), Sha("two"))->created);
  // The entry goes with the document.
  ASSERT_OK(store_->DeleteDocument("t", "a"));
  EXPECT_TRUE(store_->CreateDocument("t", Wanted("b", "r"), Sha("two"))->created);
}

TEST_F(DocumentsTest, UploadInPieces) {
  Create("a");
  const std::string text = SomeText(10'000);
  int64_t offset = 0;
  for (const int64_t size : {1, 1023, 1024, 1025, 5000, 0, 1927}) {
    ASSERT_OK(AppendText("a", offset,
                         text.substr(static_cast<size_t>(offset), static_cast<size_t>(size))));
    offset += size;
    if (size == 1025) Reopen();
  }
  ASSERT_EQ(offset, 10'000);
  EXPECT_CODE(AppendText("a", 9'999, "x"), kOutOfRange);
  EXPECT_CODE(AppendText("a", 10'001, "x"), kOutOfRange);
  EXPECT_CODE(AppendText("b", 0, "x"), kNotFound);
  EXPECT_EQ(store_->Stats().text_bytes, 10'000);

  EXPECT_CODE(store_->FinalizeUpload("t", "a", 9'999), kOutOfRange);
  now_us_ += 5;
  const absl::StatusOr<DocumentRecord> done = store_->FinalizeUpload("t", "a", 10'000);
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->state, DocumentState::kQueued);
  EXPECT_EQ(done->text_sha256, Sha(text));
  EXPECT_EQ(done->revision, 2);
  EXPECT_EQ(done->update_time_us, now_us_);
  EXPECT_EQ(*store_->FinalizeUpload("t", "a", 10'000), *done);  // a retry
  EXPECT_CODE(AppendText("a", 10'000, "x"), kFailedPrecondition);

  for (const int64_t from : {0, 1, 1023, 1024, 5000, 9999, 10'000}) {
    for (const int64_t length : {0, 1, 100, 1024, 20'000}) {
      EXPECT_EQ(*store_->ReadText("t", "a", from, length),
                text.substr(static_cast<size_t>(from), static_cast<size_t>(length)))
          << from << " " << length;
    }
  }
  EXPECT_CODE(store_->ReadText("t", "a", 10'001, 1), kOutOfRange);
  EXPECT_CODE(store_->ReadText("t", "a", -1, 1), kInvalidArgument);
  EXPECT_CODE(store_->ReadText("t", "a", 0, int64_t{1} << 40), kInvalidArgument);
}

TEST_F(DocumentsTest, AnEmptyDocumentCanBeFinished) {
  Create("a");
  EXPECT_EQ(store_->FinalizeUpload("t", "a", 0, DocumentState::kActive)->text_sha256, Sha(""));
  EXPECT_EQ(*store_->ReadText("t", "a", 0, 10), "");
  EXPECT_CODE(store_->FinalizeUpload("t", "a", 0, DocumentState::kFailed), kInvalidArgument);
}

TEST_F(DocumentsTest, TextAndTokensInOneStep) {
  Create("a");
  std::vector<TextToken> tokens;
  for (int32_t i = 0; i < 200'000; ++i) tokens.push_back({i, i * 3 + 1});
  const std::string text = SomeText(600'000);
  UploadPart part;
  part.text = text;
  part.tokens = tokens;
  part.tokenized_bytes = 599'998;
  absl::StatusOr<DocumentRecord> record = store_->AppendUpload("t", "a", part);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->token_count, 200'000);
  EXPECT_EQ(record->tokenized_bytes, 599'998);
  EXPECT_LT(record->token_stored_bytes, 5 * 200'000);
  EXPECT_EQ(store_->Stats().token_bytes, record->token_stored_bytes);
  Reopen();
  EXPECT_EQ(store_->Stats().token_bytes, record->token_stored_bytes);
  EXPECT_EQ(*store_->GetDocument("t", "a"), *record);
  EXPECT_EQ(*store_->ReadTokens("t", "a", 0, 200'000), tokens);
  EXPECT_EQ(*store_->ReadTokens("t", "a", 65'535, 2),
            (std::vector<TextToken>{tokens[65'535], tokens[65'536]}));
  EXPECT_EQ(*store_->ReadTokens("t", "a", 199'999, std::numeric_limits<int64_t>::max()),
            std::vector<TextToken>{tokens.back()});
  EXPECT_CODE(store_->ReadTokens("t", "a", 200'001, 1), kOutOfRange);

  // What does not follow is refused whole.
  const std::vector<TextToken> next = {{5, 600'000}};
  part = {};
  part.write_offset = 600'000;
  part.first_token = 199'999;
  part.tokens = next;
  part.tokenized_bytes = 600'000;
  EXPECT_CODE(store_->AppendUpload("t", "a", part), kOutOfRange);
  part.first_token = 200'000;
  part.tokenized_bytes = 600'001;
  EXPECT_CODE(store_->AppendUpload("t", "a", part), kInvalidArgument);
  part.tokenized_bytes = 599'999;
  EXPECT_CODE(store_->AppendUpload("t", "a", part), kInvalidArgument);
  const std::vector<TextToken> back = {{5, 599'997}};
  part.tokens = back;
  part.tokenized_bytes = 600'000;
  EXPECT_CODE(store_->AppendUpload("t", "a", part), kInvalidArgument);
  EXPECT_EQ(*store_->GetDocument("t", "a"), *record);
  // Tokens may follow when the text is complete.
  ASSERT_TRUE(store_->FinalizeUpload("t", "a", 600'000).ok());
  part.tokens = next;
  EXPECT_EQ(store_->AppendUpload("t", "a", part)->token_count, 200'001);
}

TEST_F(DocumentsTest, ResetTokens) {
  Create("a");
  const std::vector<TextToken> tokens = {{1, 2}, {2, 4}};
  UploadPart part;
  part.text = "abcd";
  part.tokens = tokens;
  part.tokenized_bytes = 4;
  ASSERT_TRUE(store_->AppendUpload("t", "a", part).ok());
  Digest other = {};
  other.fill(9);
  EXPECT_EQ(store_->ResetTokens("t", "a", other)->token_count, 0);
  EXPECT_EQ(store_->Stats().token_bytes, 0);
  EXPECT_EQ(store_->GetDocument("t", "a")->token_fingerprint, other);
  part.text = {};
  part.write_offset = 4;
  const std::vector<TextToken> fewer = {{7, 4}};
  part.tokens = fewer;
  ASSERT_TRUE(store_->AppendUpload("t", "a", part).ok());
  EXPECT_EQ(*store_->ReadTokens("t", "a", 0, 10), fewer);
  EXPECT_EQ(*store_->ReadText("t", "a", 0, 10), "abcd");
}

TEST_F(DocumentsTest, UpdateIsAtomicAndKeepsWhatIsTheStores) {
  const DocumentRecord before = Create("a");
  now_us_ += 7;
  const absl::StatusOr<DocumentRecord> after =
      store_->UpdateDocument("t", "a", [](DocumentRecord& record) {
        record.display_name = "new";
        record.state = DocumentState::kFailed;
        record.failure_code = 3;
        record.failure_message = "why";
        record.id = "b";
        record.text_bytes = 77;
        record.serial = 77;
        return absl::OkStatus();
      });
  ASSERT_TRUE(after.ok()) << after.status();
  DocumentRecord expected = before;
  expected.display_name = "new";
  expected.state = DocumentState::kFailed;
  expected.failure_code = 3;
  expected.failure_message = "why";
  expected.update_time_us = now_us_;
  expected.revision = 2;
  EXPECT_EQ(*after, expected);
  EXPECT_CODE(
      store_->UpdateDocument(
          "t", "a", [](DocumentRecord&) { return absl::AbortedError("changed meanwhile"); }),
      kAborted);
  EXPECT_CODE(store_->UpdateDocument("t", "a",
                                     [](DocumentRecord& record) {
                                       record.display_name.assign(5000, 'x');
                                       return absl::OkStatus();
                                     }),
              kInvalidArgument);
  Reopen();
  EXPECT_EQ(*store_->GetDocument("t", "a"), expected);
  const StoreStats stats = store_->Stats();
  EXPECT_EQ(stats.documents.at(DocumentState::kFailed), 1);
}

TEST_F(DocumentsTest, NotesLeaveTheRevisionAndSurviveARestart) {
  const DocumentRecord a = Create("a");
  now_us_ = 9'000'000;
  store_->MarkAsked("t", "a");
  store_->MarkAsked("t", "nobody");
  store_->NoteRead("t", "a", a.serial, 500);
  store_->NoteRead("t", "a", a.serial, 300);      // read again from a checkpoint
  store_->NoteRead("t", "a", a.serial + 1, 900);  // of another document of this name
  store_->NoteRead("t", "a", a.serial, 400);
  for (int restart = 0; restart < 2; ++restart) {
    const DocumentRecord now = *store_->GetDocument("t", "a");
    EXPECT_EQ(now.last_asked_time_us, 9'000'000);
    EXPECT_EQ(now.revision, 1);
    EXPECT_EQ(now.read_tokens, 400) << "the newest note of this document counts";
    EXPECT_EQ(store_->ListDocuments("t", 5, "")->documents.at(0), now);
    Reopen();
  }
  ASSERT_OK(store_->DeleteDocument("t", "a"));
  Create("a");
  EXPECT_EQ(store_->GetDocument("t", "a")->last_asked_time_us, 0);
}

TEST_F(DocumentsTest, AbandonedUploadsAreThoseWithoutProgress) {
  const auto abandoned = [this](int64_t before_us) {
    std::vector<std::string> ids;
    for (const DocumentName& name : store_->AbandonedUploads(before_us, 10)) ids.push_back(name.id);
    return ids;
  };
  using Ids = std::vector<std::string>;
  now_us_ = 100;
  Create("old");
  Create("whole");
  ASSERT_OK(AppendText("whole", 0, "text"));
  ASSERT_TRUE(store_->FinalizeUpload("t", "whole", 4).ok());
  now_us_ = 200;
  Create("slow");
  ASSERT_OK(AppendText("slow", 0, "text"));
  now_us_ = 300;
  ASSERT_OK(AppendText("slow", 4, "text"));
  for (int restart = 0; restart < 2; ++restart) {
    EXPECT_EQ(abandoned(100), Ids{});
    EXPECT_EQ(abandoned(101), Ids{"old"});
    EXPECT_EQ(abandoned(300), Ids{"old"});
    EXPECT_EQ(abandoned(301), (Ids{"old", "slow"}));
    Reopen();
  }
  EXPECT_EQ(store_->AbandonedUploads(301, 1).size(), 1u);
  ASSERT_OK(store_->DeleteDocument("t", "old"));
  EXPECT_EQ(abandoned(301), Ids{"slow"});
}

TEST_F(DocumentsTest, ListPages) {
  std::vector<std::string> ids;
  for (int i = 0; i < 25; ++i) {
    ids.push_back("doc-" + std::to_string(100 + i));
    Create(ids.back());
    Create("other-" + std::to_string(i), "u");
  }
  for (const int32_t page_size : {1, 4, 24, 25, 26}) {
    std::vector<std::string> listed;
    std::string resume;
    int pages = 0;
    do {
      const absl::StatusOr<DocumentPage> page = store_->ListDocuments("t", page_size, resume);
      ASSERT_TRUE(page.ok()) << page.status();
      EXPECT_LE(page->documents.size(), static_cast<size_t>(page_size));
      for (const DocumentRecord& record : page->documents) listed.push_back(record.id);
      resume = page->resume_key;
      ASSERT_LE(++pages, 26);
    } while (!resume.empty());
    EXPECT_EQ(listed, ids) << page_size;
    EXPECT_EQ(pages, (25 + page_size - 1) / page_size);
  }
  // A page goes on where it stopped although documents come and go.
  const std::string resume = store_->ListDocuments("t", 10, "")->resume_key;
  ASSERT_OK(store_->DeleteDocument("t", "doc-110"));
  Create("doc-000");
  EXPECT_EQ(store_->ListDocuments("t", 1, resume)->documents.at(0).id, "doc-111");
  EXPECT_TRUE(store_->ListDocuments("v", 10, "")->documents.empty());
  EXPECT_CODE(store_->ListDocuments("t", 0, ""), kInvalidArgument);
}

TEST_F(DocumentsTest, Expiry) {
  const auto create = [&](const std::string& id, int64_t expire) {
    DocumentRecord wanted = Wanted(id);
    wanted.expire_time_us = expire;
    ASSERT_TRUE(store_->CreateDocument("t", wanted, {}).ok());
  };
  create("late", 300);
  create("never", 0);
  create("soon", 100);
  create("mid", 200);
  const auto names = [&](int64_t now, int32_t limit) {
    std::vector<std::string> ids;
    for (const DocumentName& name : store_->ExpiredDocuments(now, limit)) ids.push_back(name.id);
    return ids;
  };
  EXPECT_EQ(names(99, 10), (std::vector<std::string>{}));
  EXPECT_EQ(names(200, 10), (std::vector<std::string>{"soon", "mid"}));
  Reopen();
  EXPECT_EQ(names(1000, 2), (std::vector<std::string>{"soon", "mid"}));
  ASSERT_TRUE(store_
                  ->UpdateDocument("t", "soon",
                                   [](DocumentRecord& record) {
                                     record.expire_time_us = 500;
                                     return absl::OkStatus();
                                   })
                  .ok());
  ASSERT_OK(store_->DeleteDocument("t", "mid"));
  EXPECT_EQ(names(1000, 10), (std::vector<std::string>{"late", "soon"}));
}

TEST_F(DocumentsTest, DeleteLeavesNothing) {
  ASSERT_TRUE(store_->CreateDocument("t", Wanted("a", "r"), {}).ok());
  const std::vector<TextToken> tokens = {{1, 3}};
  const std::string text = SomeText(5000);
  UploadPart part;
  part.text = text;
  part.tokens = tokens;
  part.tokenized_bytes = 3;
  ASSERT_TRUE(store_->AppendUpload("t", "a", part).ok());
  Create("aa");
  ASSERT_OK(AppendText("aa", 0, "stays"));
  ASSERT_OK(store_->DeleteDocument("t", "a"));
  EXPECT_CODE(store_->DeleteDocument("t", "a"), kNotFound);
  EXPECT_CODE(store_->ReadText("t", "a", 0, 1), kNotFound);
  EXPECT_EQ(store_->Stats().text_bytes, 5);
  EXPECT_EQ(store_->Stats().token_bytes, 0);
  EXPECT_EQ(store_->Stats().documents.at(DocumentState::kCreating), 1);
  // The same id again is another document.
  const DocumentRecord second = Create("a");
  ASSERT_OK(AppendText("a", 0, "new"));
  EXPECT_EQ(*store_->ReadText("t", "a", 0, 100), "new");
  EXPECT_EQ(second.serial, 3);
  store_.reset();
  {
    RawDatabase raw(options_.path);
    EXPECT_EQ(raw.Rows("documents").size(), 2u);
    EXPECT_EQ(raw.Rows("requests").size(), 0u);
    EXPECT_EQ(raw.Rows("text").size(), 2u);
    EXPECT_EQ(raw.Rows("tokens").size(), 0u);
  }
  Reopen();
  EXPECT_EQ(*store_->ReadText("t", "aa", 0, 100), "stays");
}

TEST_F(DocumentsTest, TenantsDoNotMeet) {
  // Tenant and id that would be one string without the length byte.
  ASSERT_TRUE(store_->CreateDocument("ab", Wanted("c"), {}).ok());
  ASSERT_TRUE(store_->CreateDocument("a", Wanted("bc"), {}).ok());
  ASSERT_OK(AppendText("c", 0, "first", "ab"));
  ASSERT_OK(AppendText("bc", 0, "second", "a"));
  EXPECT_EQ(*store_->ReadText("ab", "c", 0, 10), "first");
  EXPECT_EQ(*store_->ReadText("a", "bc", 0, 10), "second");
  EXPECT_EQ(store_->ListDocuments("a", 10, "")->documents.size(), 1u);
  EXPECT_CODE(store_->GetDocument("a", "c"), kNotFound);
  ASSERT_OK(store_->DeleteDocument("ab", "c"));
  EXPECT_EQ(*store_->ReadText("a", "bc", 0, 10), "second");
}

}  // namespace
}  // namespace longleaf::store
