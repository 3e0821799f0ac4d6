// The cache of packed weights, through Transformer::Load as a server uses it: a second start takes
// what the first one packed, when it is for the very same files and nothing else.
#include "model/weight_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/reference.h"
#include "model/checkpoint.h"
#include "model/checksums.h"
#include "model/transformer.h"
#include "tests/unit/model/weight_cache_fixture.h"

namespace longleaf::model {
namespace {

using kernels::WeightFormat;
using testing::SizeIs;
namespace fs = std::filesystem;

TEST_F(WeightCacheTest, TheSecondLoadTakesWhatTheFirstPacked) {
  options_.keep = 4;
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kI8, WeightFormat::kI4}) {
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
  EXPECT_THAT(Files(), SizeIs(4));
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
