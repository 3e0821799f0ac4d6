#include "service/cli/upload_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <thread>

namespace longleaf::service::cli {
namespace {

// Bytes whose value tells their place.
std::string Pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>('a' + (i * 31 + i / 1000) % 26);
  }
  return text;
}

class UploadSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/longleaf_source_XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override {
    unlink((folder_ + "/file").c_str());
    unlink((folder_ + "/pipe").c_str());
    rmdir(folder_.c_str());
  }

  std::string WriteFile(const std::string& text) {
    std::ofstream(folder_ + "/file", std::ios::binary) << text;
    return folder_ + "/file";
  }
  static std::string ReadAll(UploadSource& source, size_t* longest = nullptr) {
    std::string all;
    for (;;) {
      const absl::StatusOr<std::string> piece = source.Read();
      EXPECT_TRUE(piece.ok()) << piece.status();
      if (!piece.ok() || piece->empty()) {
        return all;
      }
      if (longest != nullptr) {
        *longest = std::max(*longest, piece->size());
      }
      all += *piece;
    }
  }

  Interrupt* const interrupt_ = Interrupt::Install();
  std::string folder_;
};

TEST_F(UploadSourceTest, ReadsAFileInPiecesFromAnywhere) {
  const std::string text = Pattern(3 * UploadSource::kPieceBytes + 17);
  auto source = UploadSource::Open(WriteFile(text), interrupt_);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->total(), static_cast<int64_t>(text.size()));
  size_t longest = 0;
  EXPECT_EQ(ReadAll(**source, &longest), text);
  EXPECT_EQ(longest, UploadSource::kPieceBytes);
  ASSERT_TRUE((*source)->Seek(1234567).ok());
  EXPECT_EQ(ReadAll(**source), text.substr(1234567));
  ASSERT_TRUE((*source)->Seek(static_cast<int64_t>(text.size())).ok());
  EXPECT_EQ(ReadAll(**source), "");
  EXPECT_TRUE(absl::IsOutOfRange((*source)->Seek(static_cast<int64_t>(text.size()) + 1)));
}

TEST_F(UploadSourceTest, NoticesThatAFileBecameShorter) {
  const std::string path = WriteFile(Pattern(1000));
  auto source = UploadSource::Open(path, interrupt_);
  ASSERT_TRUE(source.ok());
  ASSERT_EQ(truncate(path.c_str(), 10), 0);
  EXPECT_TRUE(absl::IsDataLoss((*source)->Read().status()));
}

TEST_F(UploadSourceTest, SaysWhatIsWrongWithAPath) {
  const absl::Status missing = UploadSource::Open(folder_ + "/none", interrupt_).status();
  EXPECT_EQ(missing.message(), "cannot open " + folder_ + "/none: No such file or directory");
  const absl::Status folder = UploadSource::Open(folder_, interrupt_).status();
  EXPECT_EQ(folder.message(), "cannot read " + folder_ + ": Is a directory");
}

TEST_F(UploadSourceTest, KeepsTheEndOfAPipeForGoingBack) {
  const std::string path = folder_ + "/pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  // Enough to make it forget the beginning.
  const std::string text = Pattern(3 * UploadSource::kKeptBytes);
  std::thread writer([&] { std::ofstream(path, std::ios::binary) << text; });
  auto source = UploadSource::Open(path, interrupt_);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_FALSE((*source)->total().has_value());
  EXPECT_TRUE(absl::IsOutOfRange((*source)->Seek(1)));  // has not come yet
  EXPECT_TRUE(ReadAll(**source) == text);
  writer.join();
  const int64_t back = static_cast<int64_t>(text.size()) - UploadSource::kKeptBytes;
  ASSERT_TRUE((*source)->Seek(back).ok());
  EXPECT_TRUE(ReadAll(**source) == text.substr(static_cast<size_t>(back)));
  EXPECT_TRUE(absl::IsOutOfRange((*source)->Seek(0)));
}

}  // namespace
}  // namespace longleaf::service::cli
