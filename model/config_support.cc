#include "model/config_support.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace longleaf::model {
namespace {

using absl::Status;

Status CheckArchitecture(ConfigReader& in) {
  constexpr char kSupported[] = "supported are LlamaForCausalLM and MistralForCausalLM";
  const nlohmann::json* list = in.Find("architectures");
  if (list != nullptr) {
    if (!list->is_array() || list->size() != 1 || !list->front().is_string()) {
      return in.Error("architectures", absl::StrCat("must name one architecture; ", kSupported));
    }
    if (list->front() != "LlamaForCausalLM" && list->front() != "MistralForCausalLM") {
      return in.Error("architectures",
                      absl::StrCat("is ", in.Text(list->front()), "; ", kSupported));
    }
  }
  const nlohmann::json* type = in.Find("model_type");
  if (type == nullptr && list == nullptr) {
    return in.Error("architectures", absl::StrCat("is missing; ", kSupported));
  }
  if (type != nullptr && *type != "llama" && *type != "mistral") {
    return in.Error("model_type",
                    absl::StrCat("is ", in.Text(*type), "; supported are llama and mistral"));
  }
  return absl::OkStatus();
}

// Settings of relatives of the family. Each changes the result, but for the value given here.
Status RefuseWhatIsNotComputed(ConfigReader& in) {
  struct Neutral {
    const char* key;
    nlohmann::json value;
  };
  const Neutral neutral[] = {
      {"hidden_act", "silu"},
      {"hidden_activation", "silu"},
      {"attention_bias", false},
      {"qkv_bias", false},
      {"mlp_bias", false},
      {"use_bias", false},
      {"partial_rotary_factor", 1.0},
      {"rotary_pct", 1.0},
      {"rope_interleaved", false},
      {"use_qk_norm", false},
      {"qk_layernorm", false},
      {"use_sliding_window", false},
      {"add_cross_attention", false},
      {"attention_multiplier", 1.0},
      {"residual_multiplier", 1.0},
      {"embedding_multiplier", 1.0},
      {"logits_scaling", 1.0},
      {"num_local_experts", 1},
      {"num_experts", 1},
  };
  for (const Neutral& setting : neutral) {
    const nlohmann::json* value = in.Find(setting.key);
    const bool same = value == nullptr || *value == setting.value ||
                      (std::string_view(setting.key) == "hidden_act" && *value == "swish");
    if (!same) {
      return in.Error(setting.key, absl::StrCat("is ", in.Text(*value), "; supported is ",
                                                in.Text(setting.value), " only"));
    }
  }
  for (const char* key :
       {"quantization_config", "compression_config", "sliding_window", "attention_sinks",
        "attn_logit_softcapping", "final_logit_softcapping", "clip_qkv", "query_pre_attn_scalar",
        "attention_chunk_size", "no_rope_layers"}) {
    if (const nlohmann::json* value = in.Find(key); value != nullptr) {
      return in.Error(key, absl::StrCat("is ", in.Text(*value), "; supported is null only"));
    }
  }
  if (const nlohmann::json* types = in.Find("layer_types"); types != nullptr) {
    const bool full = types->is_array() &&
                      std::all_of(types->begin(), types->end(), [](const nlohmann::json& type) {
                        return type == "full_attention";
                      });
    if (!full) {
      return in.Error("layer_types", "has other layers than full_attention");
    }
  }
  return absl::OkStatus();
}

}  // namespace

Status CheckSupported(ConfigReader& in) {
  Status status = CheckArchitecture(in);
  return status.ok() ? RefuseWhatIsNotComputed(in) : status;
}

}  // namespace longleaf::model
