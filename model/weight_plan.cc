#include "model/weight_plan.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace longleaf::model {

std::string PlannedWeight::Name() const {
  return absl::StrJoin(parts, "+", [](std::string* out, const auto& part) { *out += part.first; });
}

std::vector<PlannedWeight> PlanWeights(const Config& config, kernels::WeightFormat format,
                                       Weights& out) {
  const int64_t q = config.query_heads * config.head_dim;
  const int64_t kv = config.kv_heads * config.head_dim;
  std::vector<PlannedWeight> plan;
  const auto vector = [&](const std::string& name, std::unique_ptr<kernels::Buffer>& to) {
    plan.push_back({.parts = {{name, 1}},
                    .shape = {.out_features = 1, .in_features = config.hidden},
                    .vector = &to});
  };
  const auto matrix = [&](std::vector<std::pair<std::string, int64_t>> parts, int64_t cols,
                          kernels::Epilogue epilogue, kernels::WeightFormat held,
                          std::unique_ptr<kernels::Matrix>& to) {
    int64_t rows = 0;
    for (const auto& [name, part_rows] : parts) rows += part_rows;
    plan.push_back(
        {.parts = std::move(parts), .shape = {rows, cols, epilogue, held}, .matrix = &to});
  };
  constexpr kernels::Epilogue kNone = kernels::Epilogue::kNone;

  out.layers.resize(static_cast<size_t>(config.layers));
  for (size_t i = 0; i < out.layers.size(); ++i) {
    const std::string p = absl::StrCat("model.layers.", i, ".");
    LayerWeights& layer = out.layers[i];
    vector(p + "input_layernorm.weight", layer.attention_norm);
    matrix({{p + "self_attn.q_proj.weight", q},
            {p + "self_attn.k_proj.weight", kv},
            {p + "self_attn.v_proj.weight", kv}},
           config.hidden, kNone, format, layer.qkv);
    matrix({{p + "self_attn.o_proj.weight", config.hidden}}, q, kNone, format, layer.output);
    vector(p + "post_attention_layernorm.weight", layer.ffn_norm);
    matrix({{p + "mlp.gate_proj.weight", config.intermediate},
            {p + "mlp.up_proj.weight", config.intermediate}},
           config.hidden, kernels::Epilogue::kSiluGate, format, layer.gate_up);
    matrix({{p + "mlp.down_proj.weight", config.hidden}}, config.intermediate, kNone, format,
           layer.down);
  }
  vector("model.norm.weight", out.final_norm);
  matrix({{config.tied_embeddings ? kEmbeddingTensor : "lm_head.weight", config.vocab}},
         config.hidden, kNone, LogitsFormat(format), out.logits);
  return plan;
}

absl::StatusOr<std::vector<PackedItem>> PackedItemsOf(const Config& config,
                                                      kernels::WeightFormat format,
                                                      const kernels::Backend& backend) {
  Weights weights;
  std::vector<PackedItem> items;
  for (const PlannedWeight& planned : PlanWeights(config, format, weights)) {
    PackedItem item{.name = planned.Name(),
                    .kind = PackedKind::kVector,
                    .shape = planned.shape,
                    .bytes = planned.shape.in_features * int64_t{sizeof(float)}};
    if (planned.matrix != nullptr) {
      const absl::StatusOr<int64_t> bytes = backend.PackedBytes(planned.shape);
      if (!bytes.ok()) return bytes.status();
      item.kind = PackedKind::kMatrix;
      item.bytes = *bytes;
    }
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace longleaf::model
