#include "service/cli/channel.h"

#include <gtest/gtest.h>

namespace longleaf::service::cli {
namespace {

TEST(Target, AddsWhatIsMissing) {
  EXPECT_EQ(Target("127.0.0.1:7070"), "127.0.0.1:7070");
  EXPECT_EQ(Target("example.org"), "example.org:7070");
  EXPECT_EQ(Target("http://example.org:80/"), "example.org:80");
  EXPECT_EQ(Target("[::1]"), "[::1]:7070");
  EXPECT_EQ(Target("[::1]:5"), "[::1]:5");
  EXPECT_EQ(Target("unix:/run/longleaf"), "unix:/run/longleaf");
  EXPECT_EQ(Target("dns:///example.org:1"), "dns:///example.org:1");
}

}  // namespace
}  // namespace longleaf::service::cli
