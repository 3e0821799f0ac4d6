#include "tests/gpu/device/bench_support.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/device.h"

namespace longleaf::kernels {

void Fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::exit(1);
}

void Check(const absl::Status& status) {
  if (!status.ok()) Fail(status.ToString());
}

void Flags::Parse(int argc, char** argv) {
  for (int i = 1; i < argc; i += 2) {
    const std::string name = absl::StrCat("", argv[i]).substr(0, 2) == "--" ? argv[i] + 2 : "";
    const auto found = values_.find(name);
    if (found == values_.end() || i + 1 == argc) {
      std::vector<std::string> all;
      for (const auto& [flag, value] : values_) all.push_back(absl::StrCat("--", flag, " ", value));
      Fail(absl::StrCat(argv[i], ": there are, with their defaults: ", absl::StrJoin(all, ", ")));
    }
    found->second = argv[i + 1];
  }
}

int64_t Flags::Number(const std::string& name) const { return Numbers(name).at(0); }

std::vector<int64_t> Flags::Numbers(const std::string& name) const {
  std::vector<int64_t> numbers;
  for (const absl::string_view piece : absl::StrSplit(Text(name), ',')) {
    int64_t number = 0;
    if (!absl::SimpleAtoi(piece, &number)) Fail(absl::StrCat("--", name, ": ", piece));
    numbers.push_back(number);
  }
  return numbers;
}

bool Flags::Has(const std::string& name, const std::string& word) const {
  const std::vector<std::string> words = absl::StrSplit(Text(name), ',');
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::unique_ptr<Backend> MakeBackend(const std::string& device, int64_t state_bytes,
                                     bool hopper_attention) {
  DeviceBackend made = Take(
      MakeDeviceBackend(device, [=](Device chosen) -> absl::StatusOr<std::unique_ptr<Backend>> {
        if (chosen == Device::kCuda)
          return CreateCudaBackend({.hopper_attention = hopper_attention});
        if (chosen == Device::kReference) return CreateReferenceBackend(state_bytes);
        return CreateCpuBackend({.state_capacity_bytes = state_bytes});
      }));
  std::printf("%s%s%s\n", made.backend->name().c_str(),
              made.no_cuda.empty() ? "" : "; no GPU: ", made.no_cuda.c_str());
  return std::move(made.backend);
}

std::unique_ptr<Buffer> RandomBuffer(Backend& backend, int64_t rows, int64_t cols, uint32_t seed) {
  // Few rows of random numbers, taken in another order each time round.
  const int64_t distinct = std::min<int64_t>(rows, 61);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> table(static_cast<size_t>(distinct * cols));
  for (float& x : table) x = normal(random);
  std::vector<int32_t> tokens(static_cast<size_t>(rows));
  for (int32_t& token : tokens)
    token = static_cast<int32_t>(random() % static_cast<uint32_t>(distinct));
  std::unique_ptr<Buffer> buffer = Take(backend.Allocate(rows, cols));
  Check(backend.Embed({table.data(), DType::kF32, distinct, cols}, tokens, buffer->tensor()));
  WaitFor(backend, buffer->tensor());
  return buffer;
}

std::unique_ptr<Matrix> RandomMatrix(Backend& backend, int64_t rows, int64_t cols,
                                     Epilogue epilogue, WeightFormat format) {
  std::minstd_rand random(5);
  std::vector<uint16_t> weights(static_cast<size_t>(rows * cols));
  // Sign and mantissa at random, of magnitude 1/64 to 1/16.
  for (uint16_t& w : weights) w = static_cast<uint16_t>((random() & 0x80ff) | 0x3c80);
  std::vector<WeightView> parts;
  const int64_t part = epilogue == Epilogue::kSiluGate ? rows / 2 : rows;
  for (int64_t first = 0; first < rows; first += part) {
    parts.push_back({weights.data() + first * cols, DType::kBF16, part, cols});
  }
  return Take(backend.PackMatrix(parts, epilogue, format));
}

void WaitFor(Backend& backend, const Tensor& tensor) {
  std::vector<float> row(static_cast<size_t>(tensor.cols));
  Check(backend.ToHost(tensor.Rows(1), row.data()));
}

double SecondsOf(Backend& backend, const Tensor& result, int repeats, int calls,
                 const std::function<void()>& run) {
  std::vector<double> seconds;
  for (int i = -1; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    for (int call = 0; call < calls; ++call) run();
    WaitFor(backend, result);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (i >= 0) seconds.push_back(taken.count() / calls);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

Report::Report(std::string title, std::vector<std::string> headings)
    : title_(std::move(title)), rows_({std::move(headings)}) {}

void Report::Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

void Report::Finish(const std::string& markdown) const {
  std::vector<size_t> widths(rows_[0].size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::printf("\n%s\n", title_.c_str());
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppendFormat(&line, "%-*s  ", static_cast<int>(widths[i]), row[i]);
    }
    std::printf("%s\n", line.c_str());
  }
  std::fflush(stdout);
  if (markdown.empty()) return;
  std::FILE* const file = std::fopen(markdown.c_str(), "a");
  if (file == nullptr) Fail(absl::StrCat(markdown, ": cannot be written"));
  std::fprintf(file, "\n%s\n\n", title_.c_str());
  for (size_t i = 0; i < rows_.size(); ++i) {
    std::fprintf(file, "| %s |\n", absl::StrJoin(rows_[i], " | ").c_str());
    if (i == 0) {
      std::fprintf(
          file, "|%s\n",
          std::string(absl::StrJoin(std::vector<std::string>(rows_[0].size(), "---"), "|") + "|")
              .c_str());
    }
  }
  if (std::fclose(file) != 0) Fail(absl::StrCat(markdown, ": cannot be written"));
}

std::string Fixed(double value, int digits) { return absl::StrFormat("%.*f", digits, value); }

}  // namespace longleaf::kernels
