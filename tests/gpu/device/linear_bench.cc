// How fast a device multiplies: the products of a layer of LLaMA-2-7B and Llama-3.1-8B, from one
// row (GB/s of weights) to thousands (TFLOP/s), in every format. The first numbers of each are
// compared with the reference, on the same weights, before anything is timed.
//
//   linear_bench [--device auto] [--shapes 7b,8b] [--rows 1,16,64,512,2048,8192]
//                [--formats bf16,fp8] [--repeats 5] [--markdown FILE]
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/cpu/cpu_backend.h"
#include "tests/gpu/device/bench_support.h"

namespace longleaf::kernels {
namespace {

struct Product {
  const char* model;
  const char* name;
  int64_t out_features;  // of both halves
  int64_t in_features;
  Epilogue epilogue = Epilogue::kNone;
};
constexpr Product kProducts[] = {
    {"7b", "q, k, v", 12288, 4096},
    {"7b", "o", 4096, 4096},
    {"7b", "gate, up", 22016, 4096, Epilogue::kSiluGate},
    {"7b", "down", 4096, 11008},
    {"8b", "q, k, v", 6144, 4096},
    {"8b", "gate, up", 28672, 4096, Epilogue::kSiluGate},
    {"8b", "down", 4096, 14336},
    {"8b", "logits", 128256, 4096},
    {"tiny", "q, k, v", 192, 64},
    {"tiny", "gate, up", 352, 64, Epilogue::kSiluGate},
};

std::vector<float> SmallResult(Backend& backend, const Product& product, WeightFormat format) {
  const int64_t rows = 3, out = std::min<int64_t>(product.out_features, 512);
  const std::unique_ptr<Matrix> matrix =
      RandomMatrix(backend, out, product.in_features, product.epilogue, format);
  const std::unique_ptr<Buffer> in = RandomBuffer(backend, rows, product.in_features, 3);
  const int64_t width = product.epilogue == Epilogue::kSiluGate ? out / 2 : out;
  const std::unique_ptr<Buffer> to = Take(backend.Allocate(rows, width));
  Check(backend.Linear(*matrix, in->tensor(), {}, to->tensor()));
  std::vector<float> values(static_cast<size_t>(rows * width));
  Check(backend.ToHost(to->tensor(), values.data()));
  return values;
}

// Of the largest, with the same rounding of weights and activations on both sides.
double ErrorOf(Backend& backend, const Product& product, WeightFormat format) {
  const std::unique_ptr<Backend> reference = Take(CreateReferenceBackend(int64_t{1} << 20));
  const std::vector<float> got = SmallResult(backend, product, format);
  const std::vector<float> want = SmallResult(*reference, product, format);
  double largest = 0, gap = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::abs(double{want[i]}));
    const double difference = std::abs(double{got[i]} - want[i]);
    gap = difference <= gap ? gap : difference;  // NaN shows
  }
  return gap / largest;
}

double BitsOf(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return 32;
    case WeightFormat::kBF16:
      return 16;
    default:
      return 8;
  }
}

void Run(const Flags& flags) {
  const std::unique_ptr<Backend> backend = MakeBackend(flags.Text("device"), int64_t{1} << 20);
  Report report("Products of a layer", {"model", "product", "weights", "rows", "ms", "TFLOP/s",
                                        "GB/s of weights", "error"});
  for (const std::string& name :
       std::vector<std::string>(absl::StrSplit(flags.Text("formats"), ','))) {
    const WeightFormat format = Take(ParseWeightFormat(name));
    const float one = 1;
    const WeightView smallest{&one, DType::kF32, 1, 1};
    const absl::Status there =
        backend->PackMatrix({&smallest, 1}, Epilogue::kNone, format).status();
    if (absl::IsUnimplemented(there)) {
      std::printf("%s\n", std::string(there.message()).c_str());
      continue;
    }
    for (const Product& product : kProducts) {
      if (!flags.Has("shapes", product.model)) continue;
      const double error = ErrorOf(*backend, product, format);
      if (!(error <= 1e-2)) Fail(absl::StrCat("WRONG: ", product.name, " in ", name, ": ", error));
      const std::unique_ptr<Matrix> matrix = RandomMatrix(
          *backend, product.out_features, product.in_features, product.epilogue, format);
      for (const int64_t rows : flags.Numbers("rows")) {
        const std::unique_ptr<Buffer> in = RandomBuffer(*backend, rows, product.in_features, 4);
        const bool gate = product.epilogue == Epilogue::kSiluGate;
        const std::unique_ptr<Buffer> out =
            Take(backend->Allocate(rows, product.out_features / (gate ? 2 : 1)));
        const double seconds =
            SecondsOf(*backend, out->tensor(), static_cast<int>(flags.Number("repeats")), 10,
                      [&] { Check(backend->Linear(*matrix, in->tensor(), {}, out->tensor())); });
        const auto weights = static_cast<double>(product.out_features * product.in_features);
        report.Add({product.model, product.name, name, absl::StrCat(rows), Fixed(seconds * 1e3, 4),
                    Fixed(2 * weights * static_cast<double>(rows) / seconds / 1e12, 1),
                    Fixed(weights * BitsOf(format) / 8 / seconds / 1e9, 1),
                    absl::StrCat(Fixed(error * 1e6, 1), "e-6")});
      }
    }
  }
  report.Finish(flags.Text("markdown"));
}

}  // namespace
}  // namespace longleaf::kernels

int main(int argc, char** argv) {
  longleaf::kernels::Flags flags({{"device", "auto"},
                                  {"shapes", "7b,8b"},
                                  {"rows", "1,16,64,512,2048,8192"},
                                  {"formats", "bf16,fp8"},
                                  {"repeats", "5"},
                                  {"markdown", ""}});
  flags.Parse(argc, argv);
  longleaf::kernels::Run(flags);
  return 0;
}
