// Damaged files, full disks, directories that cannot be made, two writers: nothing that is wrong
// with the cache of packed weights costs more than the cache.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/packed_weights_file.h"
#include "model/weight_cache.h"
#include "tests/unit/model/weight_cache_fixture.h"

namespace longleaf::model {
namespace {

using testing::HasSubstr;
using testing::SizeIs;
namespace fs = std::filesystem;

// Files larger than this cannot be written while it lives: a full disk.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit limit = {bytes, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~SmallDisk() {
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before_), 0);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_ = {};
  void (*const handler_)(int);
};

TEST_F(WeightCacheTest, ADamagedFileIsNotUsedAndMadeAgain) {
  const Loaded first = Load();
  ExpectPacked(first);
  const std::string& path = first.report.path;
  const auto size = fs::file_size(path);
  PackedWeightsHead head = (*PackedWeightsFile::Open(path))->head();
  std::vector<int64_t> places = {0, 8, 12, 16, 24, 60, 300, 1000};
  for (const PackedItem& item : head.items) {
    places.push_back(item.offset);
    places.push_back(item.offset + item.bytes - 1);
  }
  for (const int64_t at : places) {
    SCOPED_TRACE(at);
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(at);
      const char byte = static_cast<char>(file.get() ^ 0x10);
      file.seekp(at);
      file.put(byte);
    }
    const Loaded damaged = Load();
    ExpectPacked(damaged);
    EXPECT_FALSE(damaged.report.found.ok());
    EXPECT_THAT(damaged.report.found.message(), HasSubstr(path));
    EXPECT_EQ(damaged.logits, first.logits);
  }
  for (const uintmax_t bytes : {uintmax_t{0}, uintmax_t{100}, size - 1, size + 1}) {
    SCOPED_TRACE(bytes);
    fs::resize_file(path, bytes);
    const Loaded cut = Load();
    ExpectPacked(cut);
    EXPECT_FALSE(cut.report.found.ok());
    EXPECT_EQ(cut.logits, first.logits);
  }
  const Loaded last = Load();
  ExpectUsed(last);
  EXPECT_EQ(last.logits, first.logits);
}

TEST_F(WeightCacheTest, AFullDiskCostsTheCacheOnly) {
  {
    const SmallDisk full(16 << 10);
    const Loaded loaded = Load();
    ASSERT_TRUE(loaded.status.ok()) << loaded.status;
    EXPECT_FALSE(loaded.report.kept);
    EXPECT_THAT(loaded.report.failed.message(), HasSubstr("cannot"));
    EXPECT_EQ(loaded.logits, Uncached().logits);
    EXPECT_THAT(Files(), SizeIs(0));
  }
  options_.leave_free_bytes = int64_t{1} << 60;
  ExpectLost(Load(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Files(), SizeIs(0));
  options_.leave_free_bytes = 0;
  ExpectPacked(Load());
}

// Room that goes while the weights are being packed.
TEST_F(WeightCacheTest, ADiskThatFillsUpCostsTheCacheOnly) {
  PackedWeightsHead head;
  head.layout = head.config = "x";
  head.sources = {{"s", {}, ""}};
  head.weights_digest = std::string(64, '0');
  head.items = {{"m", PackedKind::kMatrix, {8, 8}, 64 << 10}};
  ASSERT_TRUE(head.LayOut().ok());
  auto entry = WeightCache(options_).Begin(head, false);
  ASSERT_TRUE(entry.ok()) << entry.status();
  EXPECT_THAT(Files(), SizeIs(1));
  {
    const SmallDisk full(16 << 10);
    (*entry)->Add(0, std::vector<std::byte>(64 << 10));
  }
  EXPECT_THAT(Files(), SizeIs(0)) << "the room is given back at once";
  EXPECT_THAT(std::string((*entry)->Finish().message()), HasSubstr("cannot write"));
}

TEST_F(WeightCacheTest, ADirectoryThatCannotBeMadeCostsTheCacheOnly) {
  std::ofstream(kept_.path() + "/a") << "not a directory";
  const Loaded loaded = Load();
  ASSERT_TRUE(loaded.status.ok()) << loaded.status;
  EXPECT_FALSE(loaded.report.kept);
  EXPECT_FALSE(loaded.report.failed.ok());
  EXPECT_EQ(loaded.logits, Uncached().logits);
  options_.directory = "/proc/weights";
  EXPECT_FALSE(Load().report.failed.ok());
}

TEST_F(WeightCacheTest, OneWriterAtATime) {
  fs::create_directories(options_.directory);
  const std::string dead = options_.directory + "/00000000000000000000000000000000.packed.new";
  std::ofstream(dead) << "of a process that ended";
  const std::string lock_path = options_.directory + "/LOCK";
  const int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(::flock(lock, LOCK_EX), 0);
  ExpectLost(Load(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(fs::exists(dead)) << "it may be the other's";
  ::close(lock);
  ExpectPacked(Load());
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_THAT(Files(), SizeIs(1));
}

}  // namespace
}  // namespace longleaf::model
