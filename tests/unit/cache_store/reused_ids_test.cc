// An id that is used again names another document: what was meant for the first, and comes late,
// must not meet the second.

#include "tests/unit/cache_store/store_fixture.h"

namespace longleaf::store {
namespace {

class ReusedIdsTest : public StoreTest {
 protected:
  // Two documents of one id, one after the other; the second is there.
  void SetUp() override {
    StoreTest::SetUp();
    first_ = Create("a");
    ASSERT_OK(store_->DeleteDocument("t", "a"));
    second_ = Create("a");
    ASSERT_NE(first_.serial, second_.serial);
  }
  DocumentRecord first_;
  DocumentRecord second_;
};

TEST_F(ReusedIdsTest, ALatePartIsRefused) {
  UploadPart part;
  part.text = "of the first";
  part.serial = first_.serial;
  EXPECT_CODE(store_->AppendUpload("t", "a", part), kNotFound);
  EXPECT_EQ(store_->GetDocument("t", "a")->text_bytes, 0);
  part.text = "of the second";
  part.serial = second_.serial;
  EXPECT_TRUE(store_->AppendUpload("t", "a", part).ok());
}

// What is read in pieces is of one document.
TEST_F(ReusedIdsTest, ALateReadIsRefused) {
  ASSERT_OK(AppendText("a", 0, "of the second"));
  EXPECT_CODE(store_->ReadText("t", "a", 3, 3, first_.serial), kNotFound);
  EXPECT_EQ(*store_->ReadText("t", "a", 3, 3, second_.serial), "the");
  EXPECT_EQ(*store_->ReadText("t", "a", 3, 3), "the");
}

TEST_F(ReusedIdsTest, ALateEndIsRefused) {
  EXPECT_CODE(store_->FinalizeUpload("t", "a", 0, DocumentState::kQueued, first_.serial),
              kNotFound);
  EXPECT_EQ(store_->GetDocument("t", "a")->state, DocumentState::kCreating);
  EXPECT_TRUE(store_->FinalizeUpload("t", "a", 0, DocumentState::kQueued, second_.serial).ok());
}

TEST_F(ReusedIdsTest, ALateDeletionIsRefused) {
  const auto is = [](const DocumentRecord& meant) {
    return [&meant](const DocumentRecord& now) { return now.serial == meant.serial; };
  };
  EXPECT_CODE(store_->DeleteDocumentIf("t", "a", is(first_)), kFailedPrecondition);
  EXPECT_TRUE(store_->GetDocument("t", "a").ok());
  EXPECT_OK(store_->DeleteDocumentIf("t", "a", is(second_)));
  EXPECT_CODE(store_->GetDocument("t", "a"), kNotFound);
  EXPECT_CODE(store_->DeleteDocumentIf("t", "a", is(second_)), kNotFound);
}

}  // namespace
}  // namespace longleaf::store
