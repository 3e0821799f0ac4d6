// The golden cases of tests/golden/data: small models in Hugging Face layout with the logits that
// a dense float64 implementation gives for them, per attention policy.
#ifndef LONGLEAF_TESTS_GOLDEN_GOLDEN_CASE_H_
#define LONGLEAF_TESTS_GOLDEN_GOLDEN_CASE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "model/transformer.h"

namespace longleaf::model {

// Rows of logits, [rows, vocab] in `values`.
struct LogitRows {
  int64_t vocab = 0;
  std::vector<float> values;

  int64_t rows() const { return vocab == 0 ? 0 : static_cast<int64_t>(values.size()) / vocab; }
  // Row counted from the end: Last(1) is the last one.
  absl::Span<const float> Last(int64_t back) const;
};

struct PolicyCase {
  kernels::AttentionPolicy policy;
  LogitRows expected;  // of the last rows of the sequence
};

struct GoldenCase {
  std::string name;
  std::vector<int32_t> tokens;
  int64_t first_position = 0;
  std::vector<PolicyCase> policies;

  std::string directory() const;
};

// Names of all cases, in order.
std::vector<std::string> CaseNames();
// Fails the test when the files are not as they should be.
GoldenCase LoadCase(const std::string& name);

// The case's policies and two of `streaming`, for which there are no golden logits: properties must
// hold under them too.
std::vector<PolicyCase> WithStreaming(std::vector<PolicyCase> policies);

enum class BackendKind { kReference, kCpu, kCuda };
std::string NameOf(BackendKind kind);
// Those that an executable tests (host_backends.cc; tests/gpu has another), the fastest last.
std::vector<BackendKind> BackendsHere();
inline BackendKind FastBackendHere() { return BackendsHere().back(); }

struct RunnerOptions {
  int64_t max_step_tokens = 2048;
  int64_t threads = 2;
  int64_t state_capacity_bytes = int64_t{1} << 30;
  kernels::WeightFormat weights = kernels::WeightFormat::kF32;
  kernels::DType state_dtype = kernels::DType::kF32;
};

// A model on a backend of its own, and short ways to run it. Every step must succeed: what fails
// fails the test.
class Runner {
 public:
  Runner(BackendKind kind, const GoldenCase& golden, const RunnerOptions& options = {});

  bool ok() const { return transformer_ != nullptr; }
  kernels::Backend& backend() { return *backend_; }
  Transformer& transformer() { return *transformer_; }

  std::unique_ptr<kernels::State> NewState(const kernels::AttentionPolicy& policy);
  std::unique_ptr<kernels::State> Branch(const kernels::State& state);

  // Runs the items as one step; all logits of it.
  LogitRows Step(const std::vector<ForwardItem>& items);
  // Runs `tokens` in steps of `chunk`, asking for the logits of the last `outputs` of them.
  LogitRows Read(kernels::State& state, absl::Span<const int32_t> tokens, int64_t chunk,
                 int64_t outputs);

 private:
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<Transformer> transformer_;
};

// Of the largest logit of a row: what f32 arithmetic may differ by.
inline constexpr double kF32Tolerance = 1e-4;

// max|a - b| <= tolerance * max|b|, row by row, where `a` has at least the rows of `b`: its last
// ones are compared.
testing::AssertionResult Agree(const LogitRows& actual, const LogitRows& expected,
                               double tolerance = kF32Tolerance);
// Of the last rows of `actual`: root mean square of the difference over that of `expected`.
double RelativeError(const LogitRows& actual, const LogitRows& expected);
// Equal bits.
testing::AssertionResult Identical(const LogitRows& actual, const LogitRows& expected);

// Canonical bytes of a state: all segments of `span_tokens` (0: the default), then the tail.
std::string Bytes(kernels::Backend& backend, const kernels::State& state, int64_t span_tokens = 0);

}  // namespace longleaf::model

#endif  // LONGLEAF_TESTS_GOLDEN_GOLDEN_CASE_H_
