// What the programs that measure a GPU share: a backend by name, random activations on it, time as
// it passes while the device works, and tables for people and for RESULTS.md.
#ifndef LONGLEAF_TESTS_GPU_DEVICE_BENCH_SUPPORT_H_
#define LONGLEAF_TESTS_GPU_DEVICE_BENCH_SUPPORT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace longleaf::kernels {

// Ends the program with one line on stderr and status 1.
[[noreturn]] void Fail(const std::string& message);
void Check(const absl::Status& status);
template <typename T>
T Take(absl::StatusOr<T> value) {
  Check(value.status());
  return *std::move(value);
}

// --name value pairs; those not given keep their defaults. An unknown name ends the program.
class Flags {
 public:
  explicit Flags(std::map<std::string, std::string> defaults) : values_(std::move(defaults)) {}
  void Parse(int argc, char** argv);
  const std::string& Text(const std::string& name) const { return values_.at(name); }
  int64_t Number(const std::string& name) const;
  std::vector<int64_t> Numbers(const std::string& name) const;  // separated by commas
  bool Has(const std::string& name, const std::string& word) const;

 private:
  std::map<std::string, std::string> values_;
};

// Of --device (auto, cpu, cuda), with `state_bytes` for states where it is the CPU's memory.
std::unique_ptr<Backend> MakeBackend(const std::string& device, int64_t state_bytes,
                                     bool hopper_attention = false);

// Normal numbers, the same for the same seed, as a buffer of the backend.
std::unique_ptr<Buffer> RandomBuffer(Backend& backend, int64_t rows, int64_t cols, uint32_t seed);

// Random bf16 weights of a matrix [rows, cols].
std::unique_ptr<Matrix> RandomMatrix(Backend& backend, int64_t rows, int64_t cols,
                                     Epilogue epilogue, WeightFormat format);

// Waits until the device has done everything that `tensor` depends on.
void WaitFor(Backend& backend, const Tensor& tensor);

// Seconds of one call of `run`, which enqueues: the median of `repeats` times `calls` calls with a
// wait for `result` at the end, after one of warming up.
double SecondsOf(Backend& backend, const Tensor& result, int repeats, int calls,
                 const std::function<void()>& run);

// Rows of text under headings; printed with aligned columns, and written as Markdown.
class Report {
 public:
  Report(std::string title, std::vector<std::string> headings);
  void Add(std::vector<std::string> row);
  // Prints it, and appends it to the Markdown file, unless that is empty.
  void Finish(const std::string& markdown) const;

 private:
  const std::string title_;
  std::vector<std::vector<std::string>> rows_;
};
std::string Fixed(double value, int digits);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_TESTS_GPU_DEVICE_BENCH_SUPPORT_H_
