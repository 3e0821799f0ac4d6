#include "model/fingerprint.h"

#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/unit/model/model_directory.h"

namespace longleaf::model {
namespace {

std::string Digest(const std::string& content, int threads = 1) {
  const TemporaryDirectory directory;
  directory.Write("model.safetensors", content);
  const auto files = WeightFiles::Open(directory.path());
  EXPECT_TRUE(files.ok()) << files.status();
  return files.ok() ? DigestWeights(*files, threads) : "";
}

TEST(DigestWeights, DependsOnEveryByte) {
  const std::string bytes = SafetensorsBytes({{"t", "U8", {100}, std::string(100, 'a')}});
  const std::string digest = Digest(bytes);
  EXPECT_EQ(digest.size(), 64u);
  EXPECT_EQ(Digest(bytes), digest);
  for (const size_t at : {bytes.size() - 100, bytes.size() - 50, bytes.size() - 1}) {
    std::string changed = bytes;
    changed[at] ^= 1;
    EXPECT_NE(Digest(changed), digest);
  }
  // The header counts too: the same bytes under another name are another model.
  EXPECT_NE(Digest(SafetensorsBytes({{"u", "U8", {100}, std::string(100, 'a')}})), digest);
}

TEST(DigestWeights, DoesNotDependOnThreads) {
  constexpr int64_t kBytes = (int64_t{130} << 20) + 17;  // three pieces
  std::string data(static_cast<size_t>(kBytes), '\0');
  for (size_t i = 0; i < data.size(); i += 4096) data[i] = static_cast<char>(i >> 12);
  const std::string bytes = SafetensorsBytes({{"t", "U8", {kBytes}, data}});
  const std::string digest = Digest(bytes, 1);
  EXPECT_EQ(Digest(bytes, 2), digest);
  EXPECT_EQ(Digest(bytes, 16), digest);
}

TEST(Fingerprint, DependsOnEveryInput) {
  const FingerprintInputs base = {.weights = "w",
                                  .tokenizer = "t",
                                  .prompt = "p",
                                  .config = "c",
                                  .policy = kernels::AttentionPolicy::Full(),
                                  .state_dtype = kernels::DType::kF32};
  std::set<std::string> seen = {ToHex(ComputeFingerprint(base))};
  EXPECT_EQ(ToHex(ComputeFingerprint(base)), *seen.begin());
  EXPECT_EQ(seen.begin()->size(), 64u);
  const auto is_new = [&seen](const FingerprintInputs& inputs) {
    return seen.insert(ToHex(ComputeFingerprint(inputs))).second;
  };
  FingerprintInputs other = base;
  other.weights = "w2";
  EXPECT_TRUE(is_new(other));
  other = base;
  other.tokenizer = "t2";
  EXPECT_TRUE(is_new(other));
  other = base;
  other.prompt = "p2";
  EXPECT_TRUE(is_new(other));
  other = base;
  other.config = "c2";
  EXPECT_TRUE(is_new(other));
  other = base;
  other.policy = kernels::AttentionPolicy::Cca(4, 8, kernels::CoreHeads::kQuery);
  EXPECT_TRUE(is_new(other));
  other.policy.core_heads = kernels::CoreHeads::kKeyValue;
  EXPECT_TRUE(is_new(other));
  other = base;
  other.state_dtype = kernels::DType::kBF16;
  EXPECT_TRUE(is_new(other));
  other = base;
  other.weight_format = kernels::WeightFormat::kI8;
  EXPECT_TRUE(is_new(other));
  // Nothing may slide from one input into the next.
  other = base;
  other.weights = "wt";
  other.tokenizer = "";
  EXPECT_TRUE(is_new(other));
}

}  // namespace
}  // namespace longleaf::model
