// The cache of packed weights, through Transformer::Load as a server uses it: a second start takes
// what the first one packed, and nothing that is wrong with a file or a disk is more than a loss of
// time.
#include "model/weight_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/reference.h"
#include "model/checkpoint.h"
#include "model/checksums.h"
#include "model/fingerprint.h"
#include "model/transformer.h"
#include "tests/unit/model/model_directory.h"

namespace longleaf::model {
namespace {

using kernels::WeightFormat;
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

class WeightCacheTest : public testing::Test {
 protected:
  struct Loaded {
    absl::Status status;
    WeightCacheReport report;
    std::vector<float> logits;
    std::string digest;
    int64_t weight_bytes = 0;
    bool checked = false;
  };

  WeightCacheTest() {
    directory_.Write("config.json", TinyConfig());
    WriteWeights(TinyTensors());
  }

  void WriteWeights(const std::vector<RawTensor>& tensors) {
    directory_.Write("model.safetensors", SafetensorsBytes(tensors));
  }
  std::string weights_file() const { return directory_.path() + "/model.safetensors"; }

  Loaded Load(WeightFormat format = WeightFormat::kI8) const {
    Loaded loaded;
    auto backend = kernels::CreateCpuBackend({.threads = 1, .state_capacity_bytes = 1 << 20});
    EXPECT_TRUE(backend.ok());
    auto model =
        Transformer::Load(directory_.path(), backend->get(),
                          {.max_step_tokens = 8, .weights = format, .weight_cache = options_});
    loaded.status = model.status();
    if (!model.ok()) return loaded;
    loaded.report = (*model)->weight_cache();
    loaded.digest = (*model)->WeightsDigest();
    loaded.checked = (*model)->weights_checked();
    loaded.weight_bytes = (*backend)->memory().weight_bytes;
    auto state = (*model)->NewState();
    const std::vector<int32_t> tokens = {1, 5, 9};
    const ForwardItem item = {.state = state->get(), .tokens = tokens, .outputs = 1};
    const auto logits = (*model)->Forward({&item, 1});
    EXPECT_TRUE(logits.ok()) << logits.status();
    if (!logits.ok()) return loaded;
    loaded.logits.resize(16);
    EXPECT_TRUE((*backend)->ToHost(*logits, loaded.logits.data()).ok());
    return loaded;
  }
  void ExpectUsed(const Loaded& loaded) {
    ASSERT_TRUE(loaded.status.ok()) << loaded.status;
    EXPECT_TRUE(loaded.report.used) << loaded.report.found;
    EXPECT_FALSE(loaded.report.kept);
  }
  void ExpectPacked(const Loaded& loaded) {
    ASSERT_TRUE(loaded.status.ok()) << loaded.status;
    EXPECT_FALSE(loaded.report.used);
    EXPECT_TRUE(loaded.report.kept) << loaded.report.failed;
  }
  // The model works, with what is right for its files, and the cache was of no use.
  void ExpectLost(const Loaded& loaded, absl::StatusCode why) {
    ASSERT_TRUE(loaded.status.ok()) << loaded.status;
    EXPECT_FALSE(loaded.report.used);
    EXPECT_FALSE(loaded.report.kept);
    EXPECT_EQ(loaded.report.failed.code(), why) << loaded.report.failed;
    EXPECT_EQ(loaded.logits, Uncached().logits);
  }
  Loaded Uncached(WeightFormat format = WeightFormat::kI8) {
    WeightCacheOptions kept;
    std::swap(options_, kept);
    Loaded loaded = Load(format);
    std::swap(options_, kept);
    EXPECT_EQ(loaded.report.path, "");
    return loaded;
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(options_.directory, error)) {
      if (entry.path().filename() != "LOCK") names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  TemporaryDirectory directory_;
  TemporaryDirectory kept_;
  WeightCacheOptions options_ = {.directory = kept_.path() + "/a/weights", .leave_free_bytes = 0};
};

TEST_F(WeightCacheTest, TheSecondLoadTakesWhatTheFirstPacked) {
  options_.keep = 3;
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kI8, WeightFormat::kI4}) {
    SCOPED_TRACE(kernels::NameOf(format));
    const Loaded without = Uncached(format);
    const Loaded first = Load(format);
    ExpectPacked(first);
    const auto file = PackedWeightsFile::Open(first.report.path);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ((*file)->head().items[1].shape.format, format);
    EXPECT_EQ((*file)->head().items.back().shape.format, LogitsFormat(format));
    const Loaded second = Load(format);
    ExpectUsed(second);
    EXPECT_EQ(first.logits, without.logits);
    EXPECT_EQ(second.logits, without.logits);
    EXPECT_EQ(first.digest, without.digest);
    EXPECT_EQ(second.digest, without.digest);
    EXPECT_EQ(second.weight_bytes, without.weight_bytes);
    EXPECT_EQ(second.report.path, first.report.path);
    EXPECT_EQ(second.report.bytes, static_cast<int64_t>(fs::file_size(first.report.path)));
  }
  EXPECT_THAT(Files(), SizeIs(3));
  EXPECT_EQ(fs::status(options_.directory).permissions(), fs::perms::owner_all);
}

TEST_F(WeightCacheTest, AnythingElseThanTheSameFilesIsPackedAgain) {
  ExpectPacked(Load());
  std::vector<RawTensor> other = TinyTensors();
  other.back().bytes[0] = static_cast<char>(other.back().bytes[0] ^ 0x40);
  struct stat before = {};
  ASSERT_EQ(::stat(weights_file().c_str(), &before), 0);
  const std::vector<std::pair<const char*, std::function<void()>>> changes = {
      {"content, with the time of modification as it was",
       [&] {
         WriteWeights(other);
         const timespec times[2] = {before.st_atim, before.st_mtim};
         ASSERT_EQ(::utimensat(AT_FDCWD, weights_file().c_str(), times, 0), 0);
       }},
      {"touched", [&] { ASSERT_EQ(::utimensat(AT_FDCWD, weights_file().c_str(), nullptr, 0), 0); }},
      {"replaced",
       [&] {
         fs::copy_file(weights_file(), weights_file() + ".copy");
         fs::rename(weights_file() + ".copy", weights_file());
       }},
      {"longer",
       [&] {
         std::vector<RawTensor> more = TinyTensors();
         more.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {1}, "abcd"});
         WriteWeights(more);
       }},
      {"config", [&] { directory_.Write("config.json", TinyConfigWith("rms_norm_eps", "1e-3")); }},
      {"tied",
       [&] {
         std::vector<RawTensor> tied = TinyTensors();
         tied.pop_back();
         WriteWeights(tied);
         directory_.Write("config.json", TinyConfigWith("tie_word_embeddings", "true"));
       }},
  };
  for (const auto& [what, change] : changes) {
    SCOPED_TRACE(what);
    change();
    const Loaded changed = Load();
    ExpectPacked(changed);
    EXPECT_TRUE(changed.report.found.ok()) << changed.report.found;
    EXPECT_EQ(changed.logits, Uncached().logits);
    const Loaded again = Load();
    ExpectUsed(again);
    EXPECT_EQ(again.logits, changed.logits);
  }
}

TEST_F(WeightCacheTest, FormatsHaveFilesOfTheirOwnAndTheLatestAreKept) {
  const std::string f32 = Load(WeightFormat::kF32).report.path;
  const std::string int8 = Load(WeightFormat::kI8).report.path;
  const auto now = fs::file_time_type::clock::now();
  fs::last_write_time(f32, now - std::chrono::hours(2));
  fs::last_write_time(int8, now - std::chrono::hours(1));
  ExpectUsed(Load(WeightFormat::kF32));  // now the one used last
  std::ofstream(options_.directory + "/notes.packed") << "somebody's";
  std::ofstream(options_.directory + "/0123456789abcdef0123456789abcdef.packed") << "somebody's";
  const std::string int4 = Load(WeightFormat::kI4).report.path;
  EXPECT_TRUE(fs::exists(f32));
  EXPECT_FALSE(fs::exists(int8));
  EXPECT_TRUE(fs::exists(int4));
  EXPECT_THAT(Files(), SizeIs(4));  // ours, and the two that are not
  fs::last_write_time(int4, now - std::chrono::hours(1));
  ExpectUsed(Load(WeightFormat::kF32));
  ExpectPacked(Load(WeightFormat::kI8));
  EXPECT_FALSE(fs::exists(int4));
}

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

TEST_F(WeightCacheTest, ManyAtOnce) {
  std::vector<Loaded> loaded(8);
  for (int round = 0; round < 2; ++round) {
    std::vector<std::thread> threads;
    for (Loaded& one : loaded) threads.emplace_back([this, &one] { one = Load(); });
    for (std::thread& thread : threads) thread.join();
    int kept = 0;
    for (const Loaded& one : loaded) {
      ASSERT_TRUE(one.status.ok()) << one.status;
      EXPECT_EQ(one.logits, loaded[0].logits);
      EXPECT_TRUE(one.report.found.ok()) << one.report.found;
      kept += one.report.kept;
    }
    EXPECT_EQ(kept, round == 0 ? 1 : 0);
    EXPECT_THAT(Files(), SizeIs(1));
  }
}

TEST_F(WeightCacheTest, ChecksumsHoldWithTheCacheToo) {
  ExpectPacked(Load());
  ExpectUsed(Load());
  const auto write_sums = [this](const std::string& change) {
    std::string lines = *ChecksumLine(directory_.path(), "config.json") +
                        *ChecksumLine(directory_.path(), "model.safetensors");
    if (!change.empty()) lines[lines.find("  " + change) - 1] ^= 1;
    directory_.Write(kChecksumsFile, lines);
  };
  // Packed before there was a SHA256SUMS: read and packed once more, and then checked for good.
  write_sums("");
  const Loaded named = Load();
  ExpectPacked(named);
  EXPECT_EQ(named.report.found.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(named.checked);
  const Loaded again = Load();
  ExpectUsed(again);
  EXPECT_TRUE(again.checked);
  // A SHA256SUMS that says something else is believed before the cache.
  for (const char* file : {"model.safetensors", "config.json"}) {
    write_sums(file);
    EXPECT_EQ(Load().status.code(), absl::StatusCode::kDataLoss) << file;
  }
  fs::remove(directory_.path() + "/" + kChecksumsFile);
  const Loaded without = Load();
  ExpectUsed(without);
  EXPECT_FALSE(without.checked);
}

// What was read is half of the old file and half of the new one, or may be.
TEST_F(WeightCacheTest, FilesThatChangeWhileTheyAreReadAreNotKept) {
  auto backend = kernels::CreateCpuBackend({.threads = 1, .state_capacity_bytes = 1 << 20});
  ASSERT_TRUE(backend.ok());
  auto checkpoint =
      Checkpoint::Open(directory_.path(), backend->get(), WeightFormat::kI8, options_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ASSERT_EQ(::utimensat(AT_FDCWD, weights_file().c_str(), nullptr, 0), 0);
  const auto weights = checkpoint->LoadWeights();
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_FALSE(weights->cache.kept);
  EXPECT_EQ(weights->cache.failed.code(), absl::StatusCode::kAborted) << weights->cache.failed;
  EXPECT_THAT(Files(), SizeIs(0));
}

TEST_F(WeightCacheTest, ABackendWithoutALayoutKeepsNothing) {
  kernels::ReferenceBackend backend(1 << 20);
  const auto model = Transformer::Load(directory_.path(), &backend,
                                       {.max_step_tokens = 8, .weight_cache = options_});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->weight_cache().path, "");
  EXPECT_FALSE(fs::exists(options_.directory));
}

}  // namespace
}  // namespace longleaf::model
