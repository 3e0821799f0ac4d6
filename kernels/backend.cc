// Sizes and names of element types and formats.
#include "kernels/backend.h"

#include "absl/strings/str_cat.h"

namespace longleaf::kernels {

int64_t SizeOf(DType type) {
  switch (type) {
    case DType::kF32:
      return 4;
    case DType::kBF16:
    case DType::kF16:
      return 2;
    case DType::kI8:
      return 1;
  }
  return 0;
}

const char* NameOf(DType type) {
  switch (type) {
    case DType::kF32:
      return "f32";
    case DType::kBF16:
      return "bf16";
    case DType::kF16:
      return "f16";
    case DType::kI8:
      return "int8";
  }
  return "unknown";
}

const char* NameOf(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kI8:
      return "int8";
    case WeightFormat::kI4:
      return "int4";
    case WeightFormat::kBF16:
      return "bf16";
    case WeightFormat::kFP8:
      return "fp8";
  }
  return "unknown";
}

absl::StatusOr<WeightFormat> ParseWeightFormat(absl::string_view name) {
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kFP8,
                                    WeightFormat::kI8, WeightFormat::kI4}) {
    if (name == NameOf(format)) return format;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("weights \"", name, "\": there are f32, bf16, fp8, int8 and int4"));
}

}  // namespace longleaf::kernels
