// Products through cuBLASLt. The library is column-major: a row-major [rows, columns] is its
// [columns, rows], so out = in weight^T is asked for as out^T = weight in^T, with the weights
// transposed and the activations as they lie, the one arrangement that it has for fp8 too.
#include "kernels/cuda/cublas.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longleaf::kernels::cuda {
namespace {

using absl::Status;
using absl::StatusOr;

// As NVIDIA recommends for Hopper; other chips want less.
constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;
constexpr size_t kMostCounts = 4096;

Status Checked(cublasStatus_t status, absl::string_view what) {
  if (status == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
  const std::string message =
      absl::StrCat("cuBLASLt, ", what, ": ", cublasLtGetStatusString(status));
  if (status == CUBLAS_STATUS_ALLOC_FAILED) return absl::ResourceExhaustedError(message);
  if (status == CUBLAS_STATUS_NOT_INITIALIZED) return absl::UnavailableError(message);
  return absl::InternalError(message);
}

cudaDataType_t TypeOf(Operand operand) {
  switch (operand) {
    case Operand::kF32:
      return CUDA_R_32F;
    case Operand::kBF16:
      return CUDA_R_16BF;
    case Operand::kE4M3:
      return CUDA_R_8F_E4M3;
  }
  return CUDA_R_32F;
}

int AlignmentOf(std::initializer_list<const void*> pointers) {
  uintptr_t bits = 256;
  for (const void* pointer : pointers) bits |= reinterpret_cast<uintptr_t>(pointer);
  return static_cast<int>(bits & (~bits + 1));
}

class Layout {
 public:
  Layout() = default;
  ~Layout() {
    if (layout_ != nullptr) cublasLtMatrixLayoutDestroy(layout_);
  }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;

  // Column-major without gaps.
  Status Make(cudaDataType_t type, int64_t rows, int64_t columns) {
    return Checked(cublasLtMatrixLayoutCreate(&layout_, type, static_cast<uint64_t>(rows),
                                              static_cast<uint64_t>(columns), rows),
                   "describing a matrix");
  }
  cublasLtMatrixLayout_t get() const { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
};

class Preference {
 public:
  Preference() = default;
  ~Preference() {
    if (preference_ != nullptr) cublasLtMatmulPreferenceDestroy(preference_);
  }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;

  Status Make() {
    return Checked(cublasLtMatmulPreferenceCreate(&preference_), "making a preference");
  }
  template <typename T>
  Status Set(cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    return Checked(
        cublasLtMatmulPreferenceSetAttribute(preference_, attribute, &value, sizeof(value)),
        "setting a preference");
  }
  cublasLtMatmulPreference_t get() const { return preference_; }

 private:
  cublasLtMatmulPreference_t preference_ = nullptr;
};

}  // namespace

struct Cublas::Call {
  Call() = default;
  ~Call() {
    if (product != nullptr) cublasLtMatmulDescDestroy(product);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // As `p`, but with `rows` of them.
  Status Make(const Product& p, int64_t rows);
  template <typename T>
  Status Set(cublasLtMatmulDescAttributes_t attribute, T value) {
    return Checked(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof(value)),
                   "describing a product");
  }

  cublasLtMatmulDesc_t product = nullptr;
  Layout weight, in, out;
};

Status Cublas::Call::Make(const Product& p, int64_t rows) {
  // Plain f32: never TF32, whose products have 10 bits of fraction.
  Status status = Checked(cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                          "describing a product");
  if (status.ok()) status = Set(CUBLASLT_MATMUL_DESC_TRANSA, int32_t{CUBLAS_OP_T});
  if (status.ok()) status = Set(CUBLASLT_MATMUL_DESC_TRANSB, int32_t{CUBLAS_OP_N});
  if (status.ok() && p.in_scales != nullptr) {
    constexpr int32_t kVector = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    status = Set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, kVector);
    if (status.ok()) status = Set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, kVector);
    if (status.ok()) status = Set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, p.weight_scales);
    if (status.ok()) status = Set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, p.in_scales);
  }
  const cudaDataType_t type = TypeOf(p.operand);
  if (status.ok()) status = weight.Make(type, p.depth, p.columns);
  if (status.ok()) status = in.Make(type, p.depth, rows);
  if (status.ok()) status = out.Make(p.bf16_out ? CUDA_R_16BF : CUDA_R_32F, p.columns, rows);
  return status;
}

StatusOr<std::unique_ptr<Cublas>> Cublas::Create() {
  StatusOr<DeviceMemory> workspace = DeviceMemory::Allocate(kWorkspaceBytes);
  if (!workspace.ok()) return workspace.status();
  std::unique_ptr<Cublas> cublas(new Cublas(*std::move(workspace)));
  if (Status status = Checked(cublasLtCreate(&cublas->handle_), "starting"); !status.ok()) {
    return status;
  }
  return cublas;
}

Cublas::~Cublas() {
  if (handle_ != nullptr) cublasLtDestroy(handle_);
}

StatusOr<Cublas::Choice> Cublas::Ask(const Call& call, const Key& key) const {
  Preference preference;
  Status status = preference.Make();
  if (status.ok()) {
    status = preference.Set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                            static_cast<uint64_t>(workspace_.bytes()));
  }
  // Split sums are joined in f32, in a fixed order; in the result's own memory only if that is f32.
  uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  if (!key.bf16_out) schemes |= CUBLASLT_REDUCTION_SCHEME_INPLACE;
  if (status.ok()) status = preference.Set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes);
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    if (status.ok()) status = preference.Set(attribute, static_cast<uint32_t>(key.alignment));
  }
  if (!status.ok()) return status;
  cublasLtMatmulHeuristicResult_t result = {};
  int count = 0;
  const cublasStatus_t asked = cublasLtMatmulAlgoGetHeuristic(
      handle_, call.product, call.weight.get(), call.in.get(), call.out.get(), call.out.get(),
      preference.get(), 1, &result, &count);
  // It says in several ways that there is nothing.
  if (asked == CUBLAS_STATUS_NOT_SUPPORTED || asked == CUBLAS_STATUS_INVALID_VALUE ||
      asked == CUBLAS_STATUS_ARCH_MISMATCH) {
    return Choice{};
  }
  if (status = Checked(asked, "choosing an algorithm"); !status.ok()) return status;
  Choice choice;
  choice.found = count > 0 && result.state == CUBLAS_STATUS_SUCCESS;
  choice.algorithm = result.algo;
  return choice;
}

StatusOr<Cublas::Choice> Cublas::Choose(const Product& p, const Call& call) {
  Key key{.rows = p.rows,
          .columns = p.columns,
          .depth = p.depth,
          .operand = p.operand,
          .scaled = p.in_scales != nullptr,
          .bf16_out = p.bf16_out,
          .add = p.add,
          .alignment = AlignmentOf({p.in, p.weight, p.out})};
  if (const auto at = counts_.find(key); at != counts_.end()) return at->second;

  Key range = key;
  range.rows = RowRange(p.rows);
  auto at = ranges_.find(range);
  if (at == ranges_.end()) {
    Call whole;
    if (Status status = whole.Make(p, range.rows); !status.ok()) return status;
    StatusOr<Choice> choice = Ask(whole, range);
    if (!choice.ok()) return choice;
    at = ranges_.emplace(range, *choice).first;
  }
  Choice choice = at->second;
  if (choice.found) {
    cublasLtMatmulHeuristicResult_t result = {};
    const cublasStatus_t usable =
        cublasLtMatmulAlgoCheck(handle_, call.product, call.weight.get(), call.in.get(),
                                call.out.get(), call.out.get(), &choice.algorithm, &result);
    choice.found = usable == CUBLAS_STATUS_SUCCESS &&
                   static_cast<int64_t>(result.workspaceSize) <= workspace_.bytes();
  }
  if (!choice.found) {
    StatusOr<Choice> own = Ask(call, key);
    if (!own.ok()) return own;
    choice = *own;
  }
  if (counts_.size() >= kMostCounts) counts_.clear();
  counts_.emplace(key, choice);
  return choice;
}

Status Cublas::Multiply(const Product& p, cudaStream_t stream) {
  if (p.rows == 0) return absl::OkStatus();
  Call call;
  if (Status status = call.Make(p, p.rows); !status.ok()) return status;
  StatusOr<Choice> choice = Choose(p, call);
  if (!choice.ok()) return choice.status();
  if (!choice->found) {
    return absl::UnimplementedError(absl::StrCat("cuBLASLt has no product of ", p.rows,
                                                 " rows with a matrix [", p.columns, ", ", p.depth,
                                                 "] of ", 8 * SizeOf(p.operand), "-bit numbers"));
  }
  const float one = 1, beta = p.add ? 1 : 0;
  return Checked(
      cublasLtMatmul(handle_, call.product, &one, p.weight, call.weight.get(), p.in, call.in.get(),
                     &beta, p.out, call.out.get(), p.out, call.out.get(), &choice->algorithm,
                     workspace_.data(), static_cast<size_t>(workspace_.bytes()), stream),
      "multiplying");
}

}  // namespace longleaf::kernels::cuda
