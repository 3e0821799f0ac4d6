#include "service/eval/model_shape.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace longleaf::service::eval {

std::vector<TensorSpec> ModelShape::Tensors(const std::string& dtype) const {
  std::vector<TensorSpec> tensors;
  const auto add = [&](std::string tensor, std::vector<int64_t> extents) {
    tensors.push_back({std::move(tensor), dtype, std::move(extents)});
  };
  add("model.embed_tokens.weight", {vocab, hidden});
  for (int64_t layer = 0; layer < layers; ++layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    add(absl::StrCat(prefix, "input_layernorm.weight"), {hidden});
    add(absl::StrCat(prefix, "self_attn.q_proj.weight"), {heads * head_dim, hidden});
    add(absl::StrCat(prefix, "self_attn.k_proj.weight"), {kv_heads * head_dim, hidden});
    add(absl::StrCat(prefix, "self_attn.v_proj.weight"), {kv_heads * head_dim, hidden});
    add(absl::StrCat(prefix, "self_attn.o_proj.weight"), {hidden, heads * head_dim});
    add(absl::StrCat(prefix, "post_attention_layernorm.weight"), {hidden});
    add(absl::StrCat(prefix, "mlp.gate_proj.weight"), {intermediate, hidden});
    add(absl::StrCat(prefix, "mlp.up_proj.weight"), {intermediate, hidden});
    add(absl::StrCat(prefix, "mlp.down_proj.weight"), {hidden, intermediate});
  }
  add("model.norm.weight", {hidden});
  if (!tied_embeddings) add("lm_head.weight", {vocab, hidden});
  return tensors;
}

int64_t ModelShape::Parameters() const {
  int64_t sum = 0;
  for (const TensorSpec& tensor : Tensors("F32")) sum += tensor.elements();
  return sum;
}

absl::Span<const ModelShape> KnownShapes() {
  static const std::vector<ModelShape>& shapes = *new std::vector<ModelShape>{
      {.name = "tiny",  // of nothing in particular: for tests
       .hidden = 192,
       .intermediate = 448,
       .layers = 4,
       .heads = 6,
       .kv_heads = 6,
       .head_dim = 32,
       .vocab = 4096,
       .rope_theta = 1e9,
       .tied_embeddings = true},
      {.name = "160m",
       .hidden = 768,
       .intermediate = 3072,
       .layers = 12,
       .heads = 12,
       .kv_heads = 12,
       .head_dim = 64,
       .vocab = 32000},
      {.name = "tinyllama-1.1b",
       .hidden = 2048,
       .intermediate = 5632,
       .layers = 22,
       .heads = 32,
       .kv_heads = 4,
       .head_dim = 64,
       .vocab = 32000},
      {.name = "llama3.2-1b",
       .hidden = 2048,
       .intermediate = 8192,
       .layers = 16,
       .heads = 32,
       .kv_heads = 8,
       .head_dim = 64,
       .vocab = 128256,
       .rope_theta = 500000,
       .rope_factor = 32,
       .tied_embeddings = true},
      {.name = "llama2-7b",
       .hidden = 4096,
       .intermediate = 11008,
       .layers = 32,
       .heads = 32,
       .kv_heads = 32,
       .head_dim = 128,
       .vocab = 32000},
      {.name = "mistral-7b",
       .hidden = 4096,
       .intermediate = 14336,
       .layers = 32,
       .heads = 32,
       .kv_heads = 8,
       .head_dim = 128,
       .vocab = 32768,
       .rope_theta = 1e6,
       .model_type = "mistral"},
      {.name = "llama3.1-8b",
       .hidden = 4096,
       .intermediate = 14336,
       .layers = 32,
       .heads = 32,
       .kv_heads = 8,
       .head_dim = 128,
       .vocab = 128256,
       .rope_theta = 500000,
       .rope_factor = 8},
  };
  return shapes;
}

absl::StatusOr<ModelShape> FindShape(const std::string& name) {
  for (const ModelShape& shape : KnownShapes()) {
    if (shape.name == name) return shape;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown shape \"", name, "\"; known are ",
      absl::StrJoin(KnownShapes(), ", ",
                    [](std::string* out, const ModelShape& shape) { out->append(shape.name); })));
}

}  // namespace longleaf::service::eval
