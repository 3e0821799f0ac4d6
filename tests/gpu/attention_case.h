// One chunk of a sequence on the device, for tests of single attention kernels: its pages, where
// what no row sees is NaN or missing, its queries, and units over it as a test wants them cut.
#ifndef LONGLEAF_TESTS_GPU_ATTENTION_CASE_H_
#define LONGLEAF_TESTS_GPU_ATTENTION_CASE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/runtime.h"
#include "tests/unit/kernels/attention_fixture.h"

namespace longleaf::kernels::cuda {

// How a test cuts a chunk into units.
struct Cut {
  int32_t rows = 1;   // of a unit
  int32_t pack = 1;   // query heads of a slot group
  int64_t parts = 1;  // units that share the pages of the same rows: above 1, partial results
  bool prefill = false;
};

class AttentionCase {
 public:
  // Rows first .. first+rows-1 of `sequence`, which outlives it, in one layer of `layers`.
  AttentionCase(const Sequence& sequence, int64_t first, int64_t rows, int64_t layers = 2);

  const StepShape& shape() const { return shape_; }
  // What a kernel gets, with the units of `cut`. Until the next call.
  AttentionArguments Arguments(const Cut& cut);
  const AttentionLaunch& launch() const { return launch_; }
  StepView view() const { return {items_.as<StepItem>(), nullptr, 1, static_cast<int32_t>(rows_)}; }
  Tensor qkv() const { return {qkv_.as<float>(), rows_, shape_.qkv_cols()}; }
  int64_t layer() const { return layer_; }
  cudaStream_t stream() const { return stream_.get(); }

  // What the launch has left: [rows, H, d], partial results merged here.
  std::vector<float> Result();
  // Checks it: `relative` is allowed beside what f32 sums cost, of each weight.
  void ExpectRight(double relative);

 private:
  // Device memory that holds `bytes`.
  DeviceMemory Upload(const void* from, size_t bytes);
  template <typename T>
  DeviceMemory Upload(const std::vector<T>& from) {
    return Upload(from.data(), from.size() * sizeof(T));
  }
  // The page table of tokens first .. end-1.
  DeviceMemory UploadPages(const Tokens& tokens, const DevicePageLayout& layout, int64_t first,
                           int64_t end);
  std::vector<AttentionUnit> UnitsOf(const Cut& cut);

  const Sequence& sequence_;
  const int64_t first_, rows_, layer_;
  StepShape shape_;
  Stream stream_ = Stream::Create().value();
  std::vector<DeviceMemory> pages_;
  DeviceMemory core_table_, raw_table_, items_, qkv_, unit_rows_, units_, out_, partial_out_,
      partial_max_sum_;
  AttentionLaunch launch_;
  std::vector<AttentionUnit> host_units_;
  int32_t partials_ = 0;
};

// Policies of every kind, with groups and windows that fit no page.
const std::vector<AttentionPolicy>& OddPolicies();
// What a failed check says of its case.
std::string NameOfCase(const Sequence& s, int64_t first, int64_t rows);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_TESTS_GPU_ATTENTION_CASE_H_
