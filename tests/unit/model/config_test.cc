#include "model/config.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/model/model_directory.h"

namespace longleaf::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Config Parsed(const std::string& json) {
  auto config = Config::Parse(json, "config.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(Config{});
}

// The message of the refusal; it must name the file.
std::string Refusal(const std::string& json) {
  const auto config = Config::Parse(json, "config.json");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << json;
  EXPECT_THAT(config.status().message(), HasSubstr("config.json"));
  return std::string(config.status().message());
}

TEST(Config, ReadsLlama) {
  const Config config = Parsed(TinyConfig());
  EXPECT_EQ(config.hidden, 8);
  EXPECT_EQ(config.intermediate, 12);
  EXPECT_EQ(config.layers, 1);
  EXPECT_EQ(config.query_heads, 2);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.head_dim, 4);
  EXPECT_EQ(config.vocab, 16);
  EXPECT_EQ(config.context, 128);
  EXPECT_EQ(config.norm_epsilon, 1e-5);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_EQ(config.bos_id, 1);
  EXPECT_THAT(config.eos_ids, ElementsAre(2));
  EXPECT_EQ(config.policy, kernels::AttentionPolicy::Full());
  EXPECT_FALSE(config.tuned_for_cca);
  EXPECT_THAT(config.unknown_keys, IsEmpty());
}

TEST(Config, ReadsTheDemoModel) {
  const auto config = Config::Load(std::string(LONGLEAF_SOURCE_DIR) + "/model/demo");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->policy.kind, kernels::AttentionPolicy::Kind::kCca);
  EXPECT_EQ(config->policy.core_heads, kernels::CoreHeads::kQuery);
  EXPECT_TRUE(config->policy.Validate().ok());
  EXPECT_TRUE(config->tuned_for_cca);
  EXPECT_THAT(config->unknown_keys, IsEmpty());
}

TEST(Config, MistralWithoutSlidingWindowOnly) {
  std::string mistral = TinyConfigWith("architectures", R"(["MistralForCausalLM"])");
  EXPECT_TRUE(Config::Parse(mistral, "c").ok());
  mistral.insert(1, R"("sliding_window": null, )");
  EXPECT_TRUE(Config::Parse(mistral, "c").ok());
  EXPECT_THAT(Refusal(TinyConfigWith("sliding_window", "4096")), HasSubstr("sliding_window"));
}

TEST(Config, GroupedQueryAndExplicitHeadDim) {
  EXPECT_EQ(Parsed(TinyConfigWith("num_key_value_heads", "1")).kv_heads, 1);
  EXPECT_EQ(Parsed(TinyConfigWith("num_key_value_heads", "null")).kv_heads, 2);
  EXPECT_EQ(Parsed(TinyConfigWith("head_dim", "16")).head_dim, 16);
  EXPECT_EQ(Parsed(TinyConfigWith("head_dim", "null")).head_dim, 4);
  EXPECT_THAT(Refusal(TinyConfigWith("num_key_value_heads", "3")),
              HasSubstr("num_key_value_heads"));
  EXPECT_THAT(Refusal(TinyConfigWith("head_dim", "5")), HasSubstr("head_dim"));
  EXPECT_THAT(Refusal(TinyConfigWith("hidden_size", "9")), HasSubstr("hidden_size"));
}

TEST(Config, EndOfTextIds) {
  EXPECT_THAT(Parsed(TinyConfigWith("eos_token_id", "[9, 2, 9]")).eos_ids, ElementsAre(2, 9));
  EXPECT_THAT(Parsed(TinyConfigWith("eos_token_id", "null")).eos_ids, IsEmpty());
  EXPECT_EQ(Parsed(TinyConfigWith("bos_token_id", "")).bos_id, -1);
  for (const char* wrong : {"16", "-1", "1.5", "\"2\"", "[2, 16]", "{}"}) {
    EXPECT_THAT(Refusal(TinyConfigWith("eos_token_id", wrong)), HasSubstr("eos_token_id"));
  }
}

TEST(Config, GenerationConfigAddsItsIds) {
  const TemporaryDirectory directory;
  directory.Write("config.json", TinyConfig());
  EXPECT_THAT(Config::Load(directory.path())->eos_ids, ElementsAre(2));
  directory.Write("generation_config.json", R"({"eos_token_id": [2, 7], "temperature": 0.6})");
  EXPECT_THAT(Config::Load(directory.path())->eos_ids, ElementsAre(2, 7));
  directory.Write("generation_config.json", R"({"eos_token_id": 99})");
  EXPECT_THAT(Config::Load(directory.path()).status().message(),
              HasSubstr("generation_config.json"));
}

TEST(Config, MissingFileIsNamed) {
  const auto config = Config::Load("/nonexistent");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(config.status().message(), HasSubstr("/nonexistent/config.json"));
}

TEST(Config, RopeScaling) {
  const Config linear = Parsed(TinyConfigWith("rope_scaling", R"({"type":"linear","factor":4})"));
  EXPECT_EQ(linear.rope_scaling.kind, RotaryScaling::Kind::kLinear);
  EXPECT_EQ(linear.rope_scaling.factor, 4);
  const std::string llama3 =
      R"({"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
          "original_max_position_embeddings":8192})";
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const Config config = Parsed(TinyConfigWith(key, llama3));
    EXPECT_EQ(config.rope_scaling.kind, RotaryScaling::Kind::kLlama3);
    EXPECT_EQ(config.rope_scaling.high_freq_factor, 4);
    EXPECT_EQ(config.rope_scaling.original_context, 8192);
  }
  EXPECT_EQ(
      Parsed(TinyConfigWith("rope_parameters", R"({"rope_type":"default","rope_theta":500000.0})"))
          .rope_theta,
      500000);
  EXPECT_EQ(Parsed(TinyConfigWith("rope_scaling", R"({"rope_type":"default"})")).rope_scaling.kind,
            RotaryScaling::Kind::kNone);
  std::string both = TinyConfigWith("rope_scaling", R"({"rope_type":"default"})");
  both.insert(1, R"("rope_parameters": {"rope_type": "default"}, )");
  EXPECT_THAT(Refusal(both), HasSubstr("rope_parameters"));
  for (const char* wrong :
       {R"({"type":"yarn","factor":4})", R"({"type":"dynamic","factor":4})", R"({"factor":4})",
        R"({"type":"linear"})", R"({"type":"linear","factor":0.5})",
        R"({"type":"linear","rope_type":"llama3","factor":4})",
        R"({"rope_type":"llama3","factor":8})",
        R"({"rope_type":"llama3","factor":8.0,"low_freq_factor":4.0,"high_freq_factor":1.0,
            "original_max_position_embeddings":8192})",
        "[]", "\"linear\""}) {
    EXPECT_THAT(Refusal(TinyConfigWith("rope_scaling", wrong)), HasSubstr("rope_scaling"));
  }
}

TEST(Config, CcaObject) {
  const Config config = Parsed(TinyConfigWith("cca", R"({"group_size":4,"window":8})"));
  EXPECT_EQ(config.policy, kernels::AttentionPolicy::Cca(4, 8, kernels::CoreHeads::kQuery));
  EXPECT_TRUE(config.tuned_for_cca);
  EXPECT_EQ(Parsed(TinyConfigWith("cca", R"({"group_size":4,"window":8,"core_heads":"kv"})"))
                .policy.core_heads,
            kernels::CoreHeads::kKeyValue);
  for (const char* wrong :
       {"16", R"({"group_size":4})", R"({"group_size":0,"window":8})",
        R"({"group_size":4,"window":10})", R"({"group_size":8,"window":4})",
        R"({"group_size":4,"window":8,"core_heads":"all"})",
        R"({"group_size":4,"window":8,"pooling":"max"})", R"({"group_size":4.0,"window":8})"}) {
    EXPECT_THAT(Refusal(TinyConfigWith("cca", wrong)), HasSubstr("cca"));
  }
}

TEST(Config, WhatIsNotComputedIsRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"architectures", R"(["Qwen2ForCausalLM"])"},
      {"architectures", R"([])"},
      {"architectures", R"(["LlamaForCausalLM","MistralForCausalLM"])"},
      {"model_type", R"("gemma")"},
      {"hidden_act", R"("gelu")"},
      {"attention_bias", "true"},
      {"mlp_bias", "true"},
      {"quantization_config", R"({"bits":4})"},
      {"partial_rotary_factor", "0.5"},
      {"attn_logit_softcapping", "50.0"},
      {"final_logit_softcapping", "30.0"},
      {"num_local_experts", "8"},
      {"layer_types", R"(["sliding_attention"])"},
      {"residual_multiplier", "0.22"},
      {"logits_scaling", "8.0"},
  };
  for (const auto& [key, value] : wrong) {
    EXPECT_THAT(Refusal(TinyConfigWith(key, value)), HasSubstr(key));
  }
  EXPECT_THAT(Refusal(TinyConfigWith("architectures", R"(["Qwen2ForCausalLM"])")),
              HasSubstr("supported are LlamaForCausalLM and MistralForCausalLM"));
  // The same keys with the value that changes nothing.
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"attention_bias", "false"},
                                                        {"quantization_config", "null"},
                                                        {"partial_rotary_factor", "1.0"},
                                                        {"layer_types", R"(["full_attention"])"},
                                                        {"pretraining_tp", "1"}}) {
    EXPECT_TRUE(Config::Parse(TinyConfigWith(key, value), "c").ok()) << key;
  }
}

TEST(Config, NumbersOutOfRangeAreRefused) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "vocab_size", "max_position_embeddings"}) {
    for (const char* value : {"", "null", "0", "-1", "1e3", "\"8\"", "true", "9223372036854775807",
                              "18446744073709551615", "[8]"}) {
      EXPECT_THAT(Refusal(TinyConfigWith(key, value)), HasSubstr(key)) << value;
    }
  }
  for (const char* value : {"", "0", "-1e-5", "\"1e-5\"", "2.0", "1e-300"}) {
    EXPECT_THAT(Refusal(TinyConfigWith("rms_norm_eps", value)), HasSubstr("rms_norm_eps"));
  }
  EXPECT_THAT(Refusal(TinyConfigWith("rope_theta", "0")), HasSubstr("rope_theta"));
  EXPECT_THAT(Refusal(TinyConfigWith("tie_word_embeddings", "1")),
              HasSubstr("tie_word_embeddings"));
}

TEST(Config, DamagedJsonIsRefused) {
  const std::string good = TinyConfig();
  for (size_t length = 0; length + 1 < good.size(); length += 7) {
    Refusal(good.substr(0, length));
  }
  Refusal("[]");
  Refusal("{}");
  Refusal("null");
  Refusal(good + "x");
  Refusal(R"({"a": 1, "a": 2})");
  Refusal(std::string(100000, '['));
  Refusal(std::string(1, '\0'));
  std::string deep = R"({"x": )" + std::string(1000, '[') + std::string(1000, ']') + "}";
  EXPECT_THAT(Refusal(deep), HasSubstr("nested"));
  std::string twice = good;
  twice.insert(1, R"("hidden_size": 16, )");
  EXPECT_THAT(Refusal(twice), HasSubstr("hidden_size"));
  EXPECT_THAT(Refusal(std::string(2 << 20, ' ')), HasSubstr("larger"));
}

TEST(Config, UnknownKeysAreReported) {
  EXPECT_THAT(Parsed(TinyConfigWith("flux_capacitor", "1.21")).unknown_keys,
              ElementsAre("flux_capacitor"));
}

TEST(Config, CanonicalChangesWithWhatAStateDependsOn) {
  const std::string base = Parsed(TinyConfig()).Canonical();
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{
           {"rms_norm_eps", "1e-6"},
           {"rope_theta", "10001"},
           {"intermediate_size", "13"},
           {"head_dim", "6"},
           {"num_key_value_heads", "1"},
           {"rope_scaling", R"({"type":"linear","factor":2})"}}) {
    EXPECT_NE(Parsed(TinyConfigWith(key, value)).Canonical(), base) << key;
  }
  EXPECT_EQ(Parsed(TinyConfigWith("eos_token_id", "3")).Canonical(), base);
  EXPECT_EQ(Parsed(TinyConfigWith("max_position_embeddings", "64")).Canonical(), base);
}

}  // namespace
}  // namespace longleaf::model
