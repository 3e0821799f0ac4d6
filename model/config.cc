#include "model/config.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/quantised.h"
#include "model/config_reader.h"
#include "model/config_support.h"
#include "model/json_text.h"

namespace longleaf::model {
namespace {

using absl::Status;
using kernels::AttentionPolicy;
using kernels::CoreHeads;

// Sizes far above any model of the family, and small enough that products of a few of them fit.
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 4096;
constexpr int64_t kMaxVocab = 1 << 24;
constexpr int64_t kMaxContext = int64_t{1} << 30;

Status ReadRopeScaling(ConfigReader& in, const char* key, Config& config) {
  const nlohmann::json* object = in.Find(key);
  if (object == nullptr) {
    return absl::OkStatus();
  }
  ConfigReader scaling(*object, in.name(), absl::StrCat(key, "."));
  if (!object->is_object()) {
    return in.Error(key, "is not an object");
  }
  if (Status status = scaling.Number("rope_theta", 1.0, 1e15, &config.rope_theta); !status.ok()) {
    return status;
  }
  std::string kind = "default";
  const nlohmann::json* type = scaling.Find("rope_type");
  const nlohmann::json* old_type = scaling.Find("type");
  if (type != nullptr && old_type != nullptr && *type != *old_type) {
    return scaling.Error("type", "differs from rope_type");
  }
  if (type == nullptr) {
    type = old_type;
  }
  if (type != nullptr) {
    kind = type->is_string() ? type->get<std::string>() : "";
  } else if (std::string_view(key) == "rope_scaling") {
    return scaling.Error("rope_type", "is missing");
  }
  RotaryScaling& out = config.rope_scaling;
  if (kind == "default") {
    return absl::OkStatus();
  }
  if (kind != "linear" && kind != "llama3") {
    return scaling.Error("rope_type", absl::StrCat("is ", in.Text(*type),
                                                   "; supported are default, linear and llama3"));
  }
  Status status = scaling.Required("factor");
  if (status.ok()) status = scaling.Number("factor", 1.0, 1e6, &out.factor);
  if (kind == "linear") {
    out.kind = RotaryScaling::Kind::kLinear;
    return status;
  }
  out.kind = RotaryScaling::Kind::kLlama3;
  for (const char* needed :
       {"low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
    if (status.ok()) status = scaling.Required(needed);
  }
  if (status.ok()) status = scaling.Number("low_freq_factor", 1e-3, 1e6, &out.low_freq_factor);
  if (status.ok()) status = scaling.Number("high_freq_factor", 1e-3, 1e6, &out.high_freq_factor);
  if (status.ok()) {
    status =
        scaling.Integer("original_max_position_embeddings", 1, kMaxContext, &out.original_context);
  }
  if (status.ok() && out.high_freq_factor <= out.low_freq_factor) {
    return scaling.Error("high_freq_factor", "must be above low_freq_factor");
  }
  return status;
}

Status ReadIds(ConfigReader& in, Config& config) {
  int64_t bos = -1;
  if (Status status = in.Integer("bos_token_id", 0, config.vocab - 1, &bos); !status.ok()) {
    return status;
  }
  config.bos_id = static_cast<int32_t>(bos);
  return in.TokenIds("eos_token_id", config.vocab, config.eos_ids);
}

Status ReadCca(ConfigReader& in, Config& config) {
  const nlohmann::json* object = in.Find("cca");
  if (object == nullptr) {
    return absl::OkStatus();
  }
  if (!object->is_object()) {
    return in.Error("cca", "is not an object");
  }
  ConfigReader cca(*object, in.name(), "cca.");
  int64_t group = 0;
  int64_t window = 0;
  Status status = cca.Required("group_size");
  if (status.ok()) status = cca.Required("window");
  if (status.ok()) status = cca.Integer("group_size", 1, kMaxContext, &group);
  if (status.ok()) status = cca.Integer("window", 1, kMaxContext, &window);
  if (!status.ok()) {
    return status;
  }
  CoreHeads heads = CoreHeads::kQuery;
  if (const nlohmann::json* value = cca.Find("core_heads"); value != nullptr) {
    if (*value == "kv") {
      heads = CoreHeads::kKeyValue;
    } else if (*value != "query") {
      return cca.Error("core_heads",
                       absl::StrCat("is ", in.Text(*value), "; supported are query and kv"));
    }
  }
  for (const auto& [key, value] : object->items()) {
    if (key != "group_size" && key != "window" && key != "core_heads") {
      return cca.Error(key, "is not known; known are group_size, window and core_heads");
    }
  }
  config.policy = AttentionPolicy::Cca(group, window, heads);
  if (Status valid = config.policy.Validate(); !valid.ok()) {
    return in.Error("cca", std::string(valid.message()));
  }
  config.tuned_for_cca = true;
  return absl::OkStatus();
}

Status ReadSizes(ConfigReader& in, Config& config) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "vocab_size", "max_position_embeddings"}) {
    if (Status status = in.Required(key); !status.ok()) return status;
  }
  Status status = in.Integer("hidden_size", 1, kMaxWidth, &config.hidden);
  if (status.ok()) status = in.Integer("intermediate_size", 1, kMaxWidth, &config.intermediate);
  if (status.ok()) status = in.Integer("num_hidden_layers", 1, kMaxLayers, &config.layers);
  if (status.ok()) status = in.Integer("num_attention_heads", 1, kMaxHeads, &config.query_heads);
  if (status.ok()) status = in.Integer("vocab_size", 1, kMaxVocab, &config.vocab);
  if (status.ok()) {
    status = in.Integer("max_position_embeddings", 1, kMaxContext, &config.context);
  }
  if (!status.ok()) return status;
  config.kv_heads = config.query_heads;
  status = in.Integer("num_key_value_heads", 1, config.query_heads, &config.kv_heads);
  if (!status.ok()) return status;
  if (config.query_heads % config.kv_heads != 0) {
    return in.Error("num_key_value_heads",
                    absl::StrCat("is ", config.kv_heads, ", which does not divide the ",
                                 config.query_heads, " attention heads"));
  }
  if (in.Find("head_dim") == nullptr && config.hidden % config.query_heads != 0) {
    return in.Error("hidden_size", absl::StrCat("is ", config.hidden, ", not a multiple of the ",
                                                config.query_heads, " attention heads"));
  }
  config.head_dim = config.hidden / config.query_heads;
  status = in.Integer("head_dim", 2, kMaxHeadDim, &config.head_dim);
  if (!status.ok()) return status;
  if (config.head_dim < 2 || config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim) {
    return in.Error("head_dim", absl::StrCat("is ", config.head_dim,
                                             "; rotary embedding needs an even number from 2 to ",
                                             kMaxHeadDim));
  }
  if (config.query_heads * config.head_dim > 4 * kMaxWidth) {
    return in.Error("num_attention_heads",
                    absl::StrCat("times head_dim is ", config.query_heads * config.head_dim,
                                 "; the limit is ", 4 * kMaxWidth));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Config> Config::Parse(std::string_view json, const std::string& name) {
  if (json.size() > static_cast<size_t>(kMaxFileBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": larger than ", kMaxFileBytes, " bytes"));
  }
  absl::StatusOr<nlohmann::json> object = ParseJsonObject(json, name);
  if (!object.ok()) return object.status();
  ConfigReader in(*object, name, "");
  Config config;
  Status status = CheckSupported(in);
  if (status.ok()) status = ReadSizes(in, config);
  if (status.ok()) status = in.Required("rms_norm_eps");
  if (status.ok()) status = in.Number("rms_norm_eps", 1e-12, 1.0, &config.norm_epsilon);
  if (status.ok()) status = in.Number("rope_theta", 1.0, 1e15, &config.rope_theta);
  if (status.ok() && in.Find("rope_parameters") != nullptr && in.Find("rope_scaling") != nullptr) {
    status = in.Error("rope_scaling", "stands beside rope_parameters; one of them must go");
  }
  if (status.ok()) status = ReadRopeScaling(in, "rope_parameters", config);
  if (status.ok()) status = ReadRopeScaling(in, "rope_scaling", config);
  if (status.ok()) status = in.Boolean("tie_word_embeddings", &config.tied_embeddings);
  if (status.ok()) status = ReadIds(in, config);
  if (status.ok()) status = ReadCca(in, config);
  if (!status.ok()) return status;
  config.unknown_keys = in.KeysNotAskedFor();
  return config;
}

Status Config::AddGenerationConfig(std::string_view json, const std::string& name) {
  absl::StatusOr<nlohmann::json> object = ParseJsonObject(json, name);
  if (!object.ok()) return object.status();
  ConfigReader in(*object, name, "");
  return in.TokenIds("eos_token_id", vocab, eos_ids);
}

absl::StatusOr<Config> Config::Load(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/config.json");
  absl::StatusOr<std::string> text = ReadSmallFile(path, kMaxFileBytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<Config> config = Parse(*text, path);
  if (!config.ok()) return config.status();
  const std::string generation = absl::StrCat(directory, "/generation_config.json");
  absl::StatusOr<std::string> more = ReadSmallFile(generation, kMaxFileBytes);
  if (absl::IsNotFound(more.status())) return config;
  if (!more.ok()) return more.status();
  if (Status status = config->AddGenerationConfig(*more, generation); !status.ok()) return status;
  return config;
}

kernels::StateShape Config::StateShape(const AttentionPolicy& attention,
                                       kernels::DType dtype) const {
  return {.layers = layers,
          .query_heads = query_heads,
          .kv_heads = kv_heads,
          .head_dim = head_dim,
          .policy = attention,
          .dtype = dtype};
}

kernels::WeightFormat LogitsFormat(kernels::WeightFormat format) {
  switch (format) {
    case kernels::WeightFormat::kI4:
      return kernels::WeightFormat::kI8;
    case kernels::WeightFormat::kFP8:
      return kernels::WeightFormat::kBF16;
    default:
      return format;
  }
}

int64_t Config::WeightBytes(kernels::WeightFormat format) const {
  const int64_t attention = hidden * head_dim * 2 * (query_heads + kv_heads);  // q, o, k, v
  const int64_t feed_forward = 3 * hidden * intermediate;                      // gate, up, down
  const auto matrix = [](int64_t weights, kernels::WeightFormat held) -> int64_t {
    const int64_t group = kernels::GroupOf(held);
    switch (held) {
      case kernels::WeightFormat::kI8:
        return weights + weights / group * 4;
      case kernels::WeightFormat::kI4:
        return weights / 2 + weights / group * 2;
      case kernels::WeightFormat::kBF16:
        return weights * 2;
      case kernels::WeightFormat::kFP8:
        return weights;  // the scales, four bytes for a row, do not count
      default:
        return weights * 4;
    }
  };
  const int64_t norms = 4 * hidden * (2 * layers + 1);
  const int64_t embedding = tied_embeddings ? 0 : 4 * vocab * hidden;
  return matrix(layers * (attention + feed_forward), format) +
         matrix(vocab * hidden, LogitsFormat(format)) + norms + embedding;
}

std::string Config::Canonical() const {
  // The end-of-text ids and the context length are not here: no state depends on them. %a writes a
  // double exactly.
  return absl::StrFormat(
      "hidden=%d intermediate=%d layers=%d heads=%d kv_heads=%d head_dim=%d vocab=%d eps=%a "
      "theta=%a scaling=%d factor=%a low=%a high=%a original=%d",
      hidden, intermediate, layers, query_heads, kv_heads, head_dim, vocab, norm_epsilon,
      rope_theta, static_cast<int>(rope_scaling.kind), rope_scaling.factor,
      rope_scaling.low_freq_factor, rope_scaling.high_freq_factor, rope_scaling.original_context);
}

}  // namespace longleaf::model
