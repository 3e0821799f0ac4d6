#include "service/cli/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace longleaf::service::cli {
namespace {

using ::testing::MatchesRegex;

TEST(DocumentName, AcceptsBothForms) {
  EXPECT_EQ(DocumentName("whale"), "documents/whale");
  EXPECT_EQ(DocumentName("documents/whale"), "documents/whale");
}

TEST(NewRequestId, IsARandomUuid) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string id = NewRequestId();
    EXPECT_THAT(id, MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                                 "[0-9a-f]{12}"));
    EXPECT_TRUE(seen.insert(id).second);
  }
}

TEST(DocumentIdFor, IsAValidIdOfTheFileAndTheRequest) {
  EXPECT_THAT(DocumentIdFor("/tmp/Moby Dick (1851).txt", "r"),
              MatchesRegex("moby-dick-1851-[a-z0-9]{8}"));
  EXPECT_THAT(DocumentIdFor("-", "r"), MatchesRegex("text-[a-z0-9]{8}"));
  EXPECT_THAT(DocumentIdFor("日本.txt", "r"), MatchesRegex("text-[a-z0-9]{8}"));
  EXPECT_THAT(DocumentIdFor(".bashrc", "r"), MatchesRegex("bashrc-[a-z0-9]{8}"));
  EXPECT_LE(DocumentIdFor(std::string(500, 'x'), "r").size(), 63u);
  EXPECT_EQ(DocumentIdFor("a.txt", "one"), DocumentIdFor("a.txt", "one"));
  EXPECT_NE(DocumentIdFor("a.txt", "one"), DocumentIdFor("a.txt", "two"));
}

TEST(DocumentIdFor, NeverChanges) {
  // A later version of the client must find an upload that an earlier one began.
  EXPECT_EQ(DocumentIdFor("whale.txt", "0b8e9f5a-3c64-4c3f-9d6e-2f1d1a7c5e90"), "whale-hr643kmc");
}

TEST(BaseName, IsWhatFollowsTheLastSlash) {
  EXPECT_EQ(BaseName("/a/b.txt"), "b.txt");
  EXPECT_EQ(BaseName("b.txt"), "b.txt");
  EXPECT_EQ(BaseName("-"), "");
}

}  // namespace
}  // namespace longleaf::service::cli
