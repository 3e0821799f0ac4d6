#include "tests/golden/golden_case.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "model/safetensors.h"
#include "model/state_codec.h"

namespace longleaf::model {
namespace {

template <typename T>
std::vector<T> Values(const SafetensorsFile& file, const std::string& name, TensorType type) {
  const auto tensor = file.Find(name);
  EXPECT_TRUE(tensor.ok()) << tensor.status();
  if (!tensor.ok()) return {};
  EXPECT_EQ(tensor->type, type) << name;
  std::vector<T> values(tensor->bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor->bytes.data(), values.size() * sizeof(T));
  return values;
}

// "full" or "cca_g4_w8_query".
kernels::AttentionPolicy PolicyOf(const std::string& label) {
  if (label == "full") return kernels::AttentionPolicy::Full();
  const std::vector<std::string> parts = absl::StrSplit(label, '_');
  EXPECT_EQ(parts.size(), 4u) << label;
  const auto policy = kernels::AttentionPolicy::Parse(
      absl::StrCat("cca:g=", parts[1].substr(1), ",w=", parts[2].substr(1), ",heads=", parts[3]));
  EXPECT_TRUE(policy.ok()) << policy.status();
  return policy.value_or(kernels::AttentionPolicy::Full());
}

std::unique_ptr<kernels::Backend> MakeBackend(BackendKind kind, int64_t threads,
                                              int64_t state_bytes) {
  auto backend =
      kind == BackendKind::kReference ? kernels::CreateReferenceBackend(state_bytes)
      : kind == BackendKind::kCuda
          ? kernels::CreateCudaBackend({.state_capacity_bytes = state_bytes, .poison_pages = true})
          : kernels::CreateCpuBackend(
                {.threads = threads, .state_capacity_bytes = state_bytes, .poison_pages = true});
  EXPECT_TRUE(backend.ok()) << backend.status();
  return backend.ok() ? *std::move(backend) : nullptr;
}

}  // namespace

absl::Span<const float> LogitRows::Last(int64_t back) const {
  return absl::MakeConstSpan(values).subspan(static_cast<size_t>((rows() - back) * vocab),
                                             static_cast<size_t>(vocab));
}

std::string GoldenCase::directory() const {
  return absl::StrCat(LONGLEAF_SOURCE_DIR, "/tests/golden/data/", name);
}

std::vector<std::string> CaseNames() {
  return {"mha", "gqa", "linear_rope_tied", "llama3_rope", "far", "paper"};
}

GoldenCase LoadCase(const std::string& name) {
  GoldenCase golden;
  golden.name = name;
  const auto file = SafetensorsFile::Open(golden.directory() + "/expected.safetensors");
  EXPECT_TRUE(file.ok()) << file.status();
  if (!file.ok()) return golden;
  golden.tokens = Values<int32_t>(**file, "tokens", TensorType::kI32);
  golden.first_position = Values<int32_t>(**file, "first_position", TensorType::kI32).at(0);
  constexpr char kPrefix[] = "logits.";
  for (const auto& [tensor, entry] : (*file)->tensors()) {
    if (!absl::StartsWith(tensor, kPrefix)) continue;
    PolicyCase policy;
    policy.policy = PolicyOf(tensor.substr(sizeof(kPrefix) - 1));
    policy.expected = {entry.shape.at(1), Values<float>(**file, tensor, TensorType::kF32)};
    golden.policies.push_back(std::move(policy));
  }
  EXPECT_GE(golden.policies.size(), 2u);
  return golden;
}

std::vector<PolicyCase> WithStreaming(std::vector<PolicyCase> policies) {
  policies.push_back({kernels::AttentionPolicy::Streaming(4, 16), {}});
  policies.push_back({kernels::AttentionPolicy::Streaming(0, 16), {}});
  return policies;
}

std::string NameOf(BackendKind kind) {
  return kind == BackendKind::kReference ? "reference"
         : kind == BackendKind::kCuda    ? "cuda"
                                         : "cpu";
}

Runner::Runner(BackendKind kind, const GoldenCase& golden, const RunnerOptions& options)
    : backend_(MakeBackend(kind, options.threads, options.state_capacity_bytes)) {
  if (backend_ == nullptr) return;
  auto transformer = Transformer::Load(golden.directory(), backend_.get(),
                                       {.max_step_tokens = options.max_step_tokens,
                                        .max_step_outputs = options.max_step_tokens,
                                        .weights = options.weights,
                                        .weight_cache = {},
                                        .state_dtype = options.state_dtype,
                                        .attention = {},
                                        .first_position = golden.first_position});
  EXPECT_TRUE(transformer.ok()) << transformer.status();
  if (transformer.ok()) transformer_ = *std::move(transformer);
}

std::unique_ptr<kernels::State> Runner::NewState(const kernels::AttentionPolicy& policy) {
  auto state = transformer_->NewState(policy);
  EXPECT_TRUE(state.ok()) << state.status();
  return *std::move(state);
}

std::unique_ptr<kernels::State> Runner::Branch(const kernels::State& state) {
  auto branch = backend_->Branch(state);
  EXPECT_TRUE(branch.ok()) << branch.status();
  return *std::move(branch);
}

LogitRows Runner::Step(const std::vector<ForwardItem>& items) {
  const auto logits = transformer_->Forward(items);
  EXPECT_TRUE(logits.ok()) << logits.status();
  LogitRows rows;
  if (!logits.ok()) return rows;
  rows.vocab = logits->cols;
  rows.values.resize(static_cast<size_t>(logits->rows * logits->cols));
  if (!rows.values.empty()) {
    EXPECT_TRUE(backend_->ToHost(*logits, rows.values.data()).ok());
  }
  return rows;
}

LogitRows Runner::Read(kernels::State& state, absl::Span<const int32_t> tokens, int64_t chunk,
                       int64_t outputs) {
  LogitRows all;
  const int64_t count = static_cast<int64_t>(tokens.size());
  for (int64_t at = 0; at < count; at += chunk) {
    const int64_t rows = std::min(chunk, count - at);
    const int64_t wanted = std::clamp<int64_t>(at + rows - (count - outputs), 0, rows);
    LogitRows step =
        Step({{.state = &state,
               .tokens = tokens.subspan(static_cast<size_t>(at), static_cast<size_t>(rows)),
               .outputs = wanted}});
    EXPECT_EQ(step.rows(), wanted);
    all.vocab = step.vocab;
    all.values.insert(all.values.end(), step.values.begin(), step.values.end());
  }
  return all;
}

testing::AssertionResult Agree(const LogitRows& actual, const LogitRows& expected,
                               double tolerance) {
  if (actual.vocab != expected.vocab || actual.rows() < expected.rows() || expected.rows() == 0) {
    return testing::AssertionFailure()
           << actual.rows() << " rows of " << actual.vocab << " against " << expected.rows()
           << " of " << expected.vocab;
  }
  double worst = 0;
  int64_t worst_row = 0;
  for (int64_t back = expected.rows(); back >= 1; --back) {
    const absl::Span<const float> a = actual.Last(back);
    const absl::Span<const float> b = expected.Last(back);
    float largest = 0;
    float difference = 0;
    for (size_t i = 0; i < b.size(); ++i) {
      largest = std::max(largest, std::abs(b[i]));
      // A NaN must not slip through max().
      if (!(std::abs(a[i] - b[i]) <= difference)) difference = std::abs(a[i] - b[i]);
    }
    const double relative = double{difference} / double{largest};
    if (!(relative <= worst)) {
      worst = relative;
      worst_row = back;
    }
  }
  if (worst <= tolerance) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "row " << worst_row << " from the end differs by " << worst
                                     << " of its largest logit, and may by " << tolerance;
}

double RelativeError(const LogitRows& actual, const LogitRows& expected) {
  double error = 0, size = 0;
  for (int64_t back = 1; back <= expected.rows(); ++back) {
    const absl::Span<const float> a = actual.Last(back), b = expected.Last(back);
    for (size_t i = 0; i < b.size(); ++i) {
      error += (double{a[i]} - double{b[i]}) * (double{a[i]} - double{b[i]});
      size += double{b[i]} * double{b[i]};
    }
  }
  return std::sqrt(error / size);
}

testing::AssertionResult Identical(const LogitRows& actual, const LogitRows& expected) {
  if (actual.vocab == expected.vocab && !expected.values.empty() &&
      actual.values.size() == expected.values.size() &&
      std::memcmp(actual.values.data(), expected.values.data(),
                  expected.values.size() * sizeof(float)) == 0) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "logits of " << actual.rows() << " and " << expected.rows()
                                     << " rows are not the same bits";
}

std::string Bytes(kernels::Backend& backend, const kernels::State& state, int64_t span_tokens) {
  const auto layout = SnapshotLayout::For(state.shape(), state.tokens(), span_tokens);
  EXPECT_TRUE(layout.ok()) << layout.status();
  if (!layout.ok()) return "";
  std::string bytes;
  const auto append = [&bytes](absl::Span<const std::byte> piece) {
    bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    return absl::OkStatus();
  };
  for (int64_t segment = 0; segment < layout->segments(); ++segment) {
    EXPECT_TRUE(EncodeSegment(backend, state, *layout, segment, append).ok());
  }
  EXPECT_TRUE(EncodeTail(backend, state, *layout, append).ok());
  EXPECT_EQ(static_cast<int64_t>(bytes.size()), layout->TotalBytes());
  return bytes;
}

}  // namespace longleaf::model
