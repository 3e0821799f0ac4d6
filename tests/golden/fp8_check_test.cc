// The check that a model bears fp8: on the golden models, which do, and on one that computes the
// same in bf16 but has a channel of huge activations, which does not.
#include "model/fp8_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "model/safetensors.h"
#include "tests/golden/golden_case.h"
#include "tests/unit/model/model_directory.h"

namespace longleaf::model {
namespace {

constexpr int64_t kStateBytes = int64_t{64} << 20;

absl::StatusOr<FP8Accuracy> Measure(const std::string& directory, const GoldenCase& golden) {
  auto backend = kernels::CreateReferenceBackend(kStateBytes);
  EXPECT_TRUE(backend.ok());
  const auto tokens = absl::MakeConstSpan(golden.tokens).subspan(0, 100);
  return MeasureFP8(directory, backend->get(), {}, tokens);
}

TEST(FP8CheckTest, ComparesDistributions) {
  // Logits that differ by a constant are one distribution.
  const std::vector<float> p = {0, std::log(3.0f), 5, 5}, shifted = {1, 1 + std::log(3.0f), 2, 2};
  const FP8Accuracy same = CompareLogits(p, shifted, 2);
  EXPECT_EQ(same.positions, 2);
  EXPECT_NEAR(same.mean_divergence, 0, 1e-7);
  EXPECT_EQ(same.same_choice, 1);
  EXPECT_TRUE(CheckFP8(same).ok());
  // (1/4, 3/4) against (1/2, 1/2): 1/4 log 1/2 + 3/4 log 3/2.
  const std::vector<float> even = {0, 0, 5, 5};
  const FP8Accuracy half = CompareLogits(p, even, 2);
  const double divergence = 0.25 * std::log(0.5) + 0.75 * std::log(1.5);
  EXPECT_NEAR(half.mean_divergence, divergence / 2, 1e-6);
  EXPECT_NEAR(half.worst_divergence, divergence, 1e-6);
  EXPECT_EQ(half.same_choice, 0.5);
}

TEST(FP8CheckTest, RefusesWithTheFigures) {
  EXPECT_TRUE(CheckFP8({100, 0.01, 0.3, 0.97}).ok());
  for (const FP8Accuracy& bad : {FP8Accuracy{100, 0.2, 0.3, 0.9}, FP8Accuracy{100, 0.01, 1.5, 0.9},
                                 FP8Accuracy{100, std::nan(""), 0.3, 1}, FP8Accuracy{}}) {
    EXPECT_EQ(CheckFP8(bad).code(), absl::StatusCode::kFailedPrecondition) << bad.ToString();
  }
  EXPECT_NE(CheckFP8({100, 0.25, 0.375, 0.5}).message().find("mean divergence 0.2500"),
            std::string::npos);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const FP8Accuracy broken = CompareLogits({1, 2, 3, 4}, {nan, nan, 3, 4}, 2);
  EXPECT_TRUE(std::isnan(broken.worst_divergence));
  EXPECT_FALSE(CheckFP8(broken).ok());
}

TEST(FP8CheckTest, SoundModelsPass) {
  for (const std::string& name : {"gqa", "linear_rope_tied"}) {
    const GoldenCase golden = LoadCase(name);
    const auto accuracy = Measure(golden.directory(), golden);
    ASSERT_TRUE(accuracy.ok()) << accuracy.status();
    SCOPED_TRACE(name + ": " + accuracy->ToString());
    EXPECT_EQ(accuracy->positions, std::min<int64_t>(100, std::ssize(golden.tokens)));
    EXPECT_GT(accuracy->mean_divergence, 0) << "fp8 it is";
    EXPECT_TRUE(CheckFP8(*accuracy).ok());
  }
}

// The model of `directory`, but the norms make one channel 2^20 times as large and the weights that
// read it make it as much smaller. bf16 does not notice.
std::string WithAnOutlier(const std::string& directory) {
  const auto file = SafetensorsFile::Open(directory + "/model.safetensors").value();
  std::vector<RawTensor> tensors;
  for (const auto& [name, entry] : file->tensors()) {
    const TensorView view = file->Find(name).value();
    EXPECT_EQ(view.type, TensorType::kF32);
    std::vector<float> values(view.bytes.size() / sizeof(float));
    std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
    const auto has = [&name = name](const char* part) {
      return name.find(part) != std::string::npos;
    };
    if (has("layernorm")) values[0] *= 0x1p20f;
    if (has("q_proj") || has("k_proj") || has("v_proj") || has("gate_proj") || has("up_proj")) {
      for (size_t i = 0; i < values.size(); i += static_cast<size_t>(view.shape[1])) {
        values[i] *= 0x1p-20f;
      }
    }
    tensors.push_back({name, "F32", view.shape, FloatBytes(values)});
  }
  return SafetensorsBytes(tensors);
}

TEST(FP8CheckTest, AModelWithHugeActivationsIsRefused) {
  const GoldenCase golden = LoadCase("gqa");
  const TemporaryDirectory directory;
  std::string config(1 << 12, '\0');
  FILE* from = fopen((golden.directory() + "/config.json").c_str(), "rb");
  ASSERT_NE(from, nullptr);
  config.resize(fread(config.data(), 1, config.size(), from));
  fclose(from);
  directory.Write("config.json", config);
  directory.Write("model.safetensors", WithAnOutlier(golden.directory()));
  const auto accuracy = Measure(directory.path(), golden);
  ASSERT_TRUE(accuracy.ok()) << accuracy.status();
  EXPECT_FALSE(CheckFP8(*accuracy).ok()) << accuracy->ToString();
}

TEST(FP8CheckTest, WhereThereIsNoFP8ItSaysSo) {
  auto cpu = kernels::CreateCpuBackend({.threads = 1, .state_capacity_bytes = kStateBytes});
  ASSERT_TRUE(cpu.ok());
  const GoldenCase golden = LoadCase("gqa");
  const auto tokens = absl::MakeConstSpan(golden.tokens).subspan(0, 3);
  EXPECT_EQ(MeasureFP8(golden.directory(), cpu->get(), {}, tokens).status().code(),
            absl::StatusCode::kUnimplemented);
  EXPECT_EQ(MeasureFP8(golden.directory(), cpu->get(), {}, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace longleaf::model
