// What --device, --weights and --prefill-chunk come to when the demonstration model is loaded.
#include "service/served_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "kernels/cuda/cuda_backend.h"

namespace longleaf::service {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class ServedModelTest : public ::testing::Test {
 protected:
  ServedModelTest() {
    options_.model_path = LONGLEAF_SOURCE_DIR "/model/demo";
    options_.weight_cache = "off";
    options_.threads = 1;
    options_.state_memory_bytes = int64_t{64} << 20;
  }

  Options options_;
};

TEST_F(ServedModelTest, OnTheCpu) {
  options_.device = "cpu";
  const auto served = ServedModel::Load(options_);
  ASSERT_TRUE(served.ok()) << served.status();
  EXPECT_THAT((*served)->device(), StartsWith("cpu"));
  EXPECT_EQ((*served)->weight_format(), kernels::WeightFormat::kI8);
  EXPECT_EQ((*served)->prefill_chunk(), 512);
  EXPECT_EQ((*served)->state_capacity_bytes(), options_.state_memory_bytes);
  EXPECT_EQ((*served)->no_cuda(), "");
}

TEST_F(ServedModelTest, WhatTheOperatorSaysIsDone) {
  options_.device = "cpu";
  options_.weights = "f32";
  options_.prefill_chunk = 64;
  const auto served = ServedModel::Load(options_);
  ASSERT_TRUE(served.ok()) << served.status();
  EXPECT_EQ((*served)->weight_format(), kernels::WeightFormat::kF32);
  EXPECT_EQ((*served)->prefill_chunk(), 64);
}

TEST_F(ServedModelTest, OnAGpuWhereThereIsOne) {
  const absl::StatusOr<kernels::CudaDevice> gpu = kernels::FindCudaDevice();
  options_.device = "cuda";
  const auto named = ServedModel::Load(options_);
  options_.device = "auto";
  const auto chosen = ServedModel::Load(options_);
  ASSERT_TRUE(chosen.ok()) << chosen.status();
  if (gpu.ok()) {
    ASSERT_TRUE(named.ok()) << named.status();
    EXPECT_THAT((*chosen)->device(), HasSubstr(gpu->name));
    EXPECT_EQ((*chosen)->weight_format(), kernels::WeightFormat::kBF16);
    EXPECT_EQ((*chosen)->prefill_chunk(), 2048);
    EXPECT_EQ((*chosen)->no_cuda(), "");
  } else {
    EXPECT_EQ(named.status().code(), gpu.status().code()) << named.status();
    EXPECT_THAT(std::string(named.status().message()), StartsWith("--device cuda: "));
    EXPECT_THAT((*chosen)->device(), StartsWith("cpu"));
    EXPECT_EQ((*chosen)->weight_format(), kernels::WeightFormat::kI8);
    EXPECT_EQ((*chosen)->no_cuda(), gpu.status().message());
  }
}

TEST_F(ServedModelTest, FormatsThatTheDeviceDoesNotTake) {
  options_.device = "cpu";
  options_.weights = "fp8";
  const absl::Status status = ServedModel::Load(options_).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("--weights fp8: --device cpu takes"));
}

}  // namespace
}  // namespace longleaf::service
