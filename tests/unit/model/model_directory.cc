#include "tests/unit/model/model_directory.h"

#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace longleaf::model {

TemporaryDirectory::TemporaryDirectory() {
  std::string name = testing::TempDir() + "/longleaf-model-XXXXXX";
  EXPECT_NE(::mkdtemp(name.data()), nullptr);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string TemporaryDirectory::Write(const std::string& name, std::string_view content) const {
  const std::string file = path_ + "/" + name;
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  out.close();
  EXPECT_TRUE(out.good()) << file;
  return file;
}

std::string FloatBytes(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::string WithHeader(std::string_view header, std::string_view data) {
  const uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  file += header;
  file += data;
  return file;
}

std::string SafetensorsBytes(const std::vector<RawTensor>& tensors) {
  nlohmann::ordered_json header;
  std::string data;
  for (const RawTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  header["__metadata__"] = {{"format", "pt"}};
  return WithHeader(header.dump(), data);
}

std::string TinyConfig() {
  return R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2,
    "vocab_size": 16, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    "bos_token_id": 1, "eos_token_id": 2})";
}

std::string TinyConfigWith(const std::string& key, const std::string& value) {
  nlohmann::json config = nlohmann::json::parse(TinyConfig());
  if (value.empty()) {
    config.erase(key);
  } else {
    config[key] = nlohmann::json::parse(value);
  }
  return config.dump();
}

std::vector<RawTensor> TinyTensors() {
  std::vector<RawTensor> tensors;
  float next = 0.01f;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t elements = 1;
    for (const int64_t extent : shape) elements *= extent;
    std::vector<float> values;
    for (int64_t i = 0; i < elements; ++i) {
      values.push_back(next);
      next = next > 0 ? -next - 0.01f : -next;
      if (next > 1) next = 0.01f;
    }
    tensors.push_back({name, "F32", std::move(shape), FloatBytes(values)});
  };
  const std::string p = "model.layers.0.";
  add("model.embed_tokens.weight", {16, 8});
  add("model.norm.weight", {8});
  add(p + "input_layernorm.weight", {8});
  add(p + "post_attention_layernorm.weight", {8});
  add(p + "self_attn.q_proj.weight", {8, 8});
  add(p + "self_attn.k_proj.weight", {8, 8});
  add(p + "self_attn.v_proj.weight", {8, 8});
  add(p + "self_attn.o_proj.weight", {8, 8});
  add(p + "mlp.gate_proj.weight", {12, 8});
  add(p + "mlp.up_proj.weight", {12, 8});
  add(p + "mlp.down_proj.weight", {8, 12});
  add("lm_head.weight", {16, 8});
  return tensors;
}

}  // namespace longleaf::model
