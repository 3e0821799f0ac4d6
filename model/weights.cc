#include "model/weights.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace longleaf::model {
namespace {

using absl::Status;
using absl::StatusOr;
using kernels::WeightView;

std::optional<kernels::DType> WeightType(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return kernels::DType::kF32;
    case TensorType::kBF16:
      return kernels::DType::kBF16;
    case TensorType::kF16:
      return kernels::DType::kF16;
    default:
      return std::nullopt;
  }
}

// Whether any value is infinite or not a number: all bits of the exponent set. `Bits` is the
// unsigned type of an element's size.
template <typename Bits>
bool AnyNotFinite(absl::Span<const std::byte> bytes, Bits exponent) {
  constexpr size_t kPiece = 4096;  // elements between two looks at the result
  const size_t count = bytes.size() / sizeof(Bits);
  for (size_t begin = 0; begin < count; begin += kPiece) {
    const size_t end = std::min(begin + kPiece, count);
    Bits found = 0;
    for (size_t i = begin; i < end; ++i) {
      Bits value;
      std::memcpy(&value, bytes.data() + i * sizeof(Bits), sizeof(Bits));
      found |= static_cast<Bits>((value & exponent) == exponent);
    }
    if (found != 0) return true;
  }
  return false;
}

bool AnyNotFinite(const TensorView& tensor) {
  switch (tensor.type) {
    case TensorType::kBF16:
      return AnyNotFinite<uint16_t>(tensor.bytes, 0x7F80);
    case TensorType::kF16:
      return AnyNotFinite<uint16_t>(tensor.bytes, 0x7C00);
    default:
      return AnyNotFinite<uint32_t>(tensor.bytes, 0x7F800000);
  }
}

// Takes tensors from the files by name, checks them, and remembers which were taken.
class Loader {
 public:
  Loader(const WeightFiles& files, kernels::Backend& backend, kernels::WeightFormat format)
      : files_(files), backend_(backend), format_(format) {}

  StatusOr<WeightView> Take(const std::string& name, std::vector<int64_t> shape) {
    taken_.insert(name);
    StatusOr<WeightFiles::Place> place = files_.Find(name);
    if (!place.ok()) return place.status();
    const auto wrong = [&](const auto&... what) {
      return absl::InvalidArgumentError(
          absl::StrCat(place->file->path(), ": tensor ", name, " ", what...));
    };
    const std::optional<kernels::DType> type = WeightType(place->tensor.type);
    if (!type.has_value()) {
      return wrong("is ", NameOf(place->tensor.type), "; supported are F32, BF16 and F16");
    }
    if (place->tensor.shape != shape) {
      return wrong("is [", absl::StrJoin(place->tensor.shape, ", "), "]; config.json makes it [",
                   absl::StrJoin(shape, ", "), "]");
    }
    if (AnyNotFinite(place->tensor)) {
      return wrong("holds a value that is infinite or not a number");
    }
    const int64_t rows = shape.size() == 2 ? shape[0] : 1;
    return WeightView{place->tensor.bytes.data(), *type, rows, shape.back()};
  }

  StatusOr<std::unique_ptr<kernels::Matrix>> Matrix(
      const std::vector<std::pair<std::string, int64_t>>& parts, int64_t cols,
      kernels::Epilogue epilogue = kernels::Epilogue::kNone) {
    return Matrix(parts, cols, epilogue, format_);
  }

  StatusOr<std::unique_ptr<kernels::Matrix>> Matrix(
      const std::vector<std::pair<std::string, int64_t>>& parts, int64_t cols,
      kernels::Epilogue epilogue, kernels::WeightFormat format) {
    std::vector<WeightView> views;
    for (const auto& [name, rows] : parts) {
      StatusOr<WeightView> view = Take(name, {rows, cols});
      if (!view.ok()) return view.status();
      views.push_back(*view);
    }
    StatusOr<std::unique_ptr<kernels::Matrix>> matrix =
        backend_.PackMatrix(views, epilogue, format);
    if (!matrix.ok()) {
      return Status(matrix.status().code(),
                    absl::StrCat("packing ", parts.front().first, ": ", matrix.status().message()));
    }
    for (const auto& [name, rows] : parts) Release(name);
    return matrix;
  }

  StatusOr<std::unique_ptr<kernels::Buffer>> Vector(const std::string& name, int64_t cols) {
    StatusOr<WeightView> view = Take(name, {cols});
    if (!view.ok()) return view.status();
    return backend_.CopyVector(*view);
  }

  // Pages of the file that have been packed need not stay in memory.
  void Release(const std::string& name) {
    if (const auto place = files_.Find(name); place.ok()) place->file->Release(place->tensor.bytes);
  }

  // Nothing may be left over: what is not used would be a part of the model that is not computed.
  Status CheckNothingLeft(bool tied) const {
    for (const auto& [name, file] : files_.tensors()) {
      if (taken_.contains(name) || absl::EndsWith(name, "rotary_emb.inv_freq")) continue;
      if (tied && name == "lm_head.weight") {
        const auto head = files_.Find(name);
        const auto embedding = files_.Find("model.embed_tokens.weight");
        if (head.ok() && embedding.ok() && head->tensor.bytes == embedding->tensor.bytes) continue;
        return absl::InvalidArgumentError(
            absl::StrCat(files_.files()[file]->path(), ": tensor ", name,
                         " differs from the embedding, but tie_word_embeddings is true"));
      }
      return absl::InvalidArgumentError(absl::StrCat(
          files_.files()[file]->path(), ": tensor ", name,
          " is not part of a Llama decoder as config.json describes it, and would be left out"));
    }
    return absl::OkStatus();
  }

 private:
  const WeightFiles& files_;
  kernels::Backend& backend_;
  const kernels::WeightFormat format_;
  std::set<std::string> taken_;
};

// Moves a result into `out`, or hands back its error.
template <typename T>
Status Store(StatusOr<T> result, T& out) {
  if (!result.ok()) return result.status();
  out = *std::move(result);
  return absl::OkStatus();
}

Status LoadLayer(Loader& loader, const Config& c, int64_t layer, LayerWeights& out) {
  const std::string p = absl::StrCat("model.layers.", layer, ".");
  const int64_t q = c.query_heads * c.head_dim;
  const int64_t kv = c.kv_heads * c.head_dim;
  Status status = Store(loader.Vector(p + "input_layernorm.weight", c.hidden), out.attention_norm);
  if (status.ok()) {
    status = Store(loader.Matrix({{p + "self_attn.q_proj.weight", q},
                                  {p + "self_attn.k_proj.weight", kv},
                                  {p + "self_attn.v_proj.weight", kv}},
                                 c.hidden),
                   out.qkv);
  }
  if (status.ok()) {
    status = Store(loader.Matrix({{p + "self_attn.o_proj.weight", c.hidden}}, q), out.output);
  }
  if (status.ok()) {
    status = Store(loader.Vector(p + "post_attention_layernorm.weight", c.hidden), out.ffn_norm);
  }
  if (status.ok()) {
    status = Store(loader.Matrix({{p + "mlp.gate_proj.weight", c.intermediate},
                                  {p + "mlp.up_proj.weight", c.intermediate}},
                                 c.hidden, kernels::Epilogue::kSiluGate),
                   out.gate_up);
  }
  if (status.ok()) {
    status =
        Store(loader.Matrix({{p + "mlp.down_proj.weight", c.hidden}}, c.intermediate), out.down);
  }
  return status;
}

}  // namespace

StatusOr<Weights> LoadWeights(const std::string& directory, const Config& config,
                              kernels::WeightFormat format, kernels::Backend& backend) {
  StatusOr<WeightFiles> files = WeightFiles::Open(directory);
  if (!files.ok()) return files.status();
  Weights weights;
  weights.files = *std::move(files);
  Loader loader(weights.files, backend, format);
  Status status = Store(loader.Take("model.embed_tokens.weight", {config.vocab, config.hidden}),
                        weights.embedding);
  for (int64_t layer = 0; layer < config.layers && status.ok(); ++layer) {
    status = LoadLayer(loader, config, layer, weights.layers.emplace_back());
  }
  if (status.ok()) {
    status = Store(loader.Vector("model.norm.weight", config.hidden), weights.final_norm);
  }
  if (status.ok()) {
    const std::string head =
        config.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
    status = Store(loader.Matrix({{head, config.vocab}}, config.hidden, kernels::Epilogue::kNone,
                                 LogitsFormat(format)),
                   weights.logits);
  }
  if (status.ok()) status = loader.CheckNothingLeft(config.tied_embeddings);
  if (!status.ok()) return status;
  return weights;
}

}  // namespace longleaf::model
