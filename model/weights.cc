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
#include "model/weight_plan.h"

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
  Loader(const WeightFiles& files, kernels::Backend& backend) : files_(files), backend_(backend) {}

  // `known`: the values have been found finite before.
  StatusOr<WeightView> Take(const std::string& name, std::vector<int64_t> shape,
                            bool known = false) {
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
    if (!known && AnyNotFinite(place->tensor)) {
      return wrong("holds a value that is infinite or not a number");
    }
    const int64_t rows = shape.size() == 2 ? shape[0] : 1;
    return WeightView{place->tensor.bytes.data(), *type, rows, shape.back()};
  }

  StatusOr<std::unique_ptr<kernels::Matrix>> Matrix(const PlannedWeight& planned) {
    std::vector<WeightView> views;
    for (const auto& [name, rows] : planned.parts) {
      StatusOr<WeightView> view = Take(name, {rows, planned.shape.in_features});
      if (!view.ok()) return view.status();
      views.push_back(*view);
    }
    StatusOr<std::unique_ptr<kernels::Matrix>> matrix =
        backend_.PackMatrix(views, planned.shape.epilogue, planned.shape.format);
    if (!matrix.ok()) {
      return Status(matrix.status().code(), absl::StrCat("packing ", planned.parts.front().first,
                                                         ": ", matrix.status().message()));
    }
    for (const auto& [name, rows] : planned.parts) Release(name);
    return matrix;
  }

  StatusOr<std::unique_ptr<kernels::Buffer>> Vector(const PlannedWeight& planned) {
    StatusOr<WeightView> view = Take(planned.parts.front().first, {planned.shape.in_features});
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
  std::set<std::string> taken_;
};

// Moves a result into `out`, or hands back its error.
template <typename T>
Status Store(StatusOr<T> result, T& out) {
  if (!result.ok()) return result.status();
  out = *std::move(result);
  return absl::OkStatus();
}

// Hands the bytes of a weight that has just been packed to `sink`.
Status Show(const PlannedWeight& planned, kernels::Backend& backend, size_t item,
            const PackedSink& sink) {
  if (planned.matrix != nullptr) {
    sink(item, (*planned.matrix)->packed());
    return absl::OkStatus();
  }
  std::vector<float> values(static_cast<size_t>(planned.shape.in_features));
  Status status = backend.ToHost((*planned.vector)->tensor(), values.data());
  if (status.ok()) {
    sink(item, {reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(float)});
  }
  return status;
}

}  // namespace

StatusOr<Weights> LoadWeights(WeightFiles files, const Config& config, kernels::WeightFormat format,
                              kernels::Backend& backend, const PackedSink& sink) {
  Weights weights;
  weights.files = std::move(files);
  Loader loader(weights.files, backend);
  Status status =
      Store(loader.Take(kEmbeddingTensor, {config.vocab, config.hidden}), weights.embedding);
  size_t item = 0;
  for (const PlannedWeight& planned : PlanWeights(config, format, weights)) {
    if (status.ok()) {
      status = planned.matrix != nullptr ? Store(loader.Matrix(planned), *planned.matrix)
                                         : Store(loader.Vector(planned), *planned.vector);
    }
    if (status.ok() && sink) status = Show(planned, backend, item, sink);
    ++item;
  }
  if (status.ok()) status = loader.CheckNothingLeft(config.tied_embeddings);
  if (!status.ok()) return status;
  return weights;
}

StatusOr<Weights> AdoptWeights(WeightFiles files, const Config& config,
                               kernels::WeightFormat format, kernels::Backend& backend,
                               std::shared_ptr<const PackedWeightsFile> packed) {
  Weights weights;
  weights.files = std::move(files);
  Status status = Store(Loader(weights.files, backend)
                            .Take(kEmbeddingTensor, {config.vocab, config.hidden}, /*known=*/true),
                        weights.embedding);
  const std::vector<PlannedWeight> plan = PlanWeights(config, format, weights);
  if (status.ok() && plan.size() != packed->head().items.size()) {
    status = absl::InvalidArgumentError(absl::StrCat(packed->path(), ": of another model"));
  }
  for (size_t i = 0; i < plan.size() && status.ok(); ++i) {
    const absl::Span<const std::byte> bytes = packed->Bytes(i);
    status = plan[i].matrix != nullptr
                 ? Store(backend.AdoptMatrix(plan[i].shape, bytes, packed), *plan[i].matrix)
                 : Store(backend.CopyVector(
                             {bytes.data(), kernels::DType::kF32, 1, plan[i].shape.in_features}),
                         *plan[i].vector);
  }
  if (!status.ok()) return status;
  return weights;
}

}  // namespace longleaf::model
