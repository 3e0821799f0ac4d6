#include "model/weights.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/reference.h"
#include "model/transformer.h"
#include "tests/unit/model/model_directory.h"

namespace longleaf::model {
namespace {

using testing::HasSubstr;

class WeightsTest : public testing::Test {
 protected:
  RawTensor& Tensor(const std::string& name) {
    for (RawTensor& tensor : tensors_) {
      if (tensor.name == name) return tensor;
    }
    ADD_FAILURE() << name;
    return tensors_.front();
  }
  absl::Status Load() {
    directory_.Write("config.json", config_);
    directory_.Write("model.safetensors", SafetensorsBytes(tensors_));
    return Transformer::Load(directory_.path(), &backend_, {.max_step_tokens = 8}).status();
  }
  // Loading fails, and the error names the file and the tensor.
  void ExpectRefused(const std::string& tensor, const std::string& part) {
    const absl::Status status = Load();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(), HasSubstr(directory_.path()));
    EXPECT_THAT(status.message(), HasSubstr("model.safetensors"));
    EXPECT_THAT(status.message(), HasSubstr(tensor));
    EXPECT_THAT(status.message(), HasSubstr(part));
  }

  TemporaryDirectory directory_;
  kernels::ReferenceBackend backend_{1 << 20};
  std::string config_ = TinyConfig();
  std::vector<RawTensor> tensors_ = TinyTensors();
};

TEST_F(WeightsTest, Load) { EXPECT_TRUE(Load().ok()) << Load(); }

TEST_F(WeightsTest, EveryTensorIsNeeded) {
  const std::vector<RawTensor> all = TinyTensors();
  for (size_t left_out = 0; left_out < all.size(); ++left_out) {
    tensors_ = all;
    tensors_.erase(tensors_.begin() + static_cast<std::ptrdiff_t>(left_out));
    ExpectRefused(all[left_out].name, "no tensor");
  }
}

TEST_F(WeightsTest, ShapesAreChecked) {
  Tensor("model.layers.0.mlp.up_proj.weight").shape = {8, 12};
  ExpectRefused("model.layers.0.mlp.up_proj.weight", "[8, 12]; config.json makes it [12, 8]");
  tensors_ = TinyTensors();
  Tensor("model.norm.weight").shape = {1, 8};
  ExpectRefused("model.norm.weight", "[1, 8]");
  tensors_ = TinyTensors();
  config_ = TinyConfigWith("vocab_size", "17");
  ExpectRefused("model.embed_tokens.weight", "[17, 8]");
}

TEST_F(WeightsTest, TypesAreChecked) {
  RawTensor& tensor = Tensor("model.layers.0.self_attn.k_proj.weight");
  tensor.dtype = "I32";
  ExpectRefused(tensor.name, "is I32; supported are F32, BF16 and F16");
}

TEST_F(WeightsTest, ValuesMustBeFinite) {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    for (const char* name : {"model.norm.weight", "model.layers.0.self_attn.o_proj.weight"}) {
      tensors_ = TinyTensors();
      Tensor(name).bytes.replace(20, 4, FloatBytes({bad}));
      ExpectRefused(name, "not a number");
    }
  }
  tensors_ = TinyTensors();
  RawTensor& half = Tensor("lm_head.weight");
  half.dtype = "F16";
  half.bytes.assign(16 * 8 * 2, '\0');
  half.bytes.replace(100, 2, std::string("\x00\x7C", 2));
  ExpectRefused("lm_head.weight", "not a number");
  half.dtype = "BF16";  // the same bits are a finite number there
  EXPECT_TRUE(Load().ok()) << Load();
  half.bytes.replace(100, 2, std::string("\x80\x7F", 2));
  ExpectRefused("lm_head.weight", "not a number");
}

TEST_F(WeightsTest, WhatWouldBeLeftOutIsRefused) {
  tensors_.push_back({"model.layers.0.self_attn.q_proj.bias", "F32", {1}, "abcd"});
  ExpectRefused("model.layers.0.self_attn.q_proj.bias", "left out");
  tensors_ = TinyTensors();
  tensors_.push_back({"model.layers.1.input_layernorm.weight", "F32", {1}, "abcd"});
  ExpectRefused("model.layers.1.input_layernorm.weight", "left out");
  tensors_ = TinyTensors();
  tensors_.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {1}, "abcd"});
  EXPECT_TRUE(Load().ok()) << Load();
}

TEST_F(WeightsTest, TiedEmbeddings) {
  config_ = TinyConfigWith("tie_word_embeddings", "true");
  ExpectRefused("lm_head.weight", "differs from the embedding");
  Tensor("lm_head.weight").bytes = Tensor("model.embed_tokens.weight").bytes;
  EXPECT_TRUE(Load().ok()) << Load();
  tensors_.pop_back();
  EXPECT_TRUE(Load().ok()) << Load();
}

// bf16 weights that f32 holds exactly give the same logits as the f32 file.
TEST_F(WeightsTest, HalfPrecisionFilesMeanTheSame) {
  const auto logits = [this](bool half) {
    tensors_ = TinyTensors();
    for (RawTensor& tensor : tensors_) {
      std::string narrow;
      for (size_t i = 0; i < tensor.bytes.size(); i += 4) {
        tensor.bytes[i] = tensor.bytes[i + 1] = '\0';
        narrow += tensor.bytes.substr(i + 2, 2);
      }
      if (half) {
        tensor.dtype = "BF16";
        tensor.bytes = narrow;
      }
    }
    directory_.Write("config.json", config_);
    directory_.Write("model.safetensors", SafetensorsBytes(tensors_));
    std::vector<float> out(16);
    auto model = Transformer::Load(directory_.path(), &backend_, {.max_step_tokens = 8});
    EXPECT_TRUE(model.ok()) << model.status();
    auto state = (*model)->NewState();
    const std::vector<int32_t> tokens = {1, 5, 9};
    const ForwardItem item = {.state = state->get(), .tokens = tokens, .outputs = 1};
    const auto result = (*model)->Forward({&item, 1});
    EXPECT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(backend_.ToHost(*result, out.data()).ok());
    return out;
  };
  EXPECT_EQ(logits(true), logits(false));
}

TEST_F(WeightsTest, PolicyFromCheckpointOrOperator) {
  config_ = TinyConfigWith("cca", R"({"group_size":4,"window":8})");
  ASSERT_TRUE(Load().ok()) << Load();
  const auto own = Transformer::Load(directory_.path(), &backend_);
  EXPECT_EQ((*own)->policy().ToString(), "cca:g=4,w=8,heads=query");
  EXPECT_FALSE((*own)->attention_overridden());
  const auto overridden = Transformer::Load(
      directory_.path(), &backend_, {.attention = kernels::AttentionPolicy::Streaming(0, 4)});
  EXPECT_EQ((*overridden)->shape().policy, kernels::AttentionPolicy::Streaming(0, 4));
  EXPECT_TRUE((*overridden)->attention_overridden());
  EXPECT_FALSE(Transformer::Load(
                   directory_.path(), &backend_,
                   {.attention = kernels::AttentionPolicy::Cca(3, 8, kernels::CoreHeads::kQuery)})
                   .ok());
}

}  // namespace
}  // namespace longleaf::model
