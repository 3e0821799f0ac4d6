#include "service/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

namespace longleaf::service {
namespace {

absl::StatusOr<Options> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "longleafd");
  return ParseOptions(static_cast<int>(arguments.size()), arguments.data());
}

TEST(Options, DefaultsAreThoseOfTheHeader) {
  const absl::StatusOr<Options> options = Parse({"--model", "m"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->model_path, "m");
  EXPECT_EQ(options->listen, Options().listen);
  EXPECT_EQ(options->disk_cap_bytes, Options().disk_cap_bytes);
}

TEST(Options, SizesHaveUnits) {
  const absl::StatusOr<Options> options =
      Parse({"--model", "m", "--state-memory", "2GB", "--disk-cap", "512MB"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->state_memory_bytes, int64_t{2} << 30);
  EXPECT_EQ(options->disk_cap_bytes, int64_t{512} << 20);
}

TEST(Options, StatesHaveAType) {
  EXPECT_EQ(Parse({"--model", "m"})->state_dtype, Options().state_dtype);
  for (const char* type : {"f32", "bf16", "int8"}) {
    const absl::StatusOr<Options> options = Parse({"--model", "m", "--state-dtype", type});
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_EQ(options->state_dtype, type);
  }
}

TEST(Options, TheDeviceDecidesWhatIsNotSaid) {
  const absl::StatusOr<Options> silent = Parse({"--model", "m"});
  ASSERT_TRUE(silent.ok()) << silent.status();
  EXPECT_EQ(silent->device, "auto");
  EXPECT_EQ(silent->weights, "");
  EXPECT_EQ(silent->prefill_chunk, 0);
  EXPECT_STREQ(DefaultsOf(kernels::Device::kCpu).weights, "int8");
  EXPECT_STREQ(DefaultsOf(kernels::Device::kCuda).weights, "bf16");
  for (const char* device : {"auto", "cpu", "cuda", "reference"}) {
    const absl::StatusOr<Options> options = Parse({"--model", "m", "--device", device});
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_EQ(options->device, device);
  }
  for (const char* weights : {"f32", "bf16", "fp8", "int8", "int4"}) {
    EXPECT_EQ(Parse({"--model", "m", "--weights", weights})->weights, weights);
  }
  for (const char* chunk : {"0", "16", "8192"}) {
    EXPECT_TRUE(Parse({"--model", "m", "--prefill-chunk", chunk}).ok()) << chunk;
  }
}

TEST(Options, MistakesAreOneLine) {
  for (const std::vector<const char*>& bad :
       std::vector<std::vector<const char*>>{{"--model", "m", "--threads", "many"},
                                             {"--model", "m", "--prefill-chunk", "1"},
                                             {"--model", "m", "--prefill-chunk", "8193"},
                                             {"--model", "m", "--device", "gpu"},
                                             {"--model", "m", "--weights", "f16"},
                                             {"--model", "m", "--no-such-flag"},
                                             {"--model", "m", "--log-level", "loud"},
                                             {"--model", "m", "--state-dtype", "f16"},
                                             {}}) {
    const absl::StatusOr<Options> options = Parse(bad);
    EXPECT_TRUE(absl::IsInvalidArgument(options.status())) << options.status();
  }
}

TEST(Options, HelpNamesEveryFlag) {
  const absl::Status help = Parse({"--help"}).status();
  ASSERT_TRUE(absl::IsCancelled(help));
  for (const char* flag :
       {"--listen", "--store", "--model", "--device", "--attention", "--state-memory",
        "--state-dtype", "--disk-cap", "--config", "--drain-seconds", "LONGLEAF_"}) {
    EXPECT_THAT(std::string(help.message()), ::testing::HasSubstr(flag));
  }
}

TEST(Options, CommandLineBeatsEnvironmentBeatsFile) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "longleaf-options-test.conf").string();
  std::ofstream(path) << "model = from-file\nprefill-chunk = 64\ncheckpoint-tokens = 2048\n";
  setenv("LONGLEAF_CONFIG", path.c_str(), 1);
  setenv("LONGLEAF_THREADS", "5", 1);
  setenv("LONGLEAF_CHECKPOINT_TOKENS", "4096", 1);
  setenv("LONGLEAF_PREFILL_CHUNK", "128", 1);
  const absl::StatusOr<Options> options = Parse({"--prefill-chunk", "256"});
  unsetenv("LONGLEAF_CONFIG");
  unsetenv("LONGLEAF_THREADS");
  unsetenv("LONGLEAF_PREFILL_CHUNK");
  unsetenv("LONGLEAF_CHECKPOINT_TOKENS");
  std::filesystem::remove(path);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->model_path, "from-file");
  EXPECT_EQ(options->threads, 5);
  EXPECT_EQ(options->prefill_chunk, 256);
  EXPECT_EQ(options->checkpoint_tokens, 4096);
}

TEST(Options, AFileWithAnUnknownNameIsRefused) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "longleaf-options-bad.conf").string();
  std::ofstream(path) << "model = m\nthreds = 3\n";
  EXPECT_TRUE(absl::IsInvalidArgument(Parse({"--config", path.c_str()}).status()));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace longleaf::service
