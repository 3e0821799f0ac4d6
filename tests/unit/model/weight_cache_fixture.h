// A tiny model, a directory for its packed weights, and what a load of it did with them.
#ifndef LONGLEAF_TESTS_UNIT_MODEL_WEIGHT_CACHE_FIXTURE_H_
#define LONGLEAF_TESTS_UNIT_MODEL_WEIGHT_CACHE_FIXTURE_H_

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu/cpu_backend.h"
#include "model/transformer.h"
#include "model/weight_cache.h"
#include "tests/unit/model/model_directory.h"

namespace longleaf::model {

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

  Loaded Load(kernels::WeightFormat format = kernels::WeightFormat::kI8) const {
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
  Loaded Uncached(kernels::WeightFormat format = kernels::WeightFormat::kI8) {
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
    for (const auto& entry : std::filesystem::directory_iterator(options_.directory, error)) {
      if (entry.path().filename() != "LOCK") names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  TemporaryDirectory directory_;
  TemporaryDirectory kept_;
  WeightCacheOptions options_ = {.directory = kept_.path() + "/a/weights", .leave_free_bytes = 0};
};

}  // namespace longleaf::model

#endif  // LONGLEAF_TESTS_UNIT_MODEL_WEIGHT_CACHE_FIXTURE_H_
