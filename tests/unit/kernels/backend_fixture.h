// What the tests of all backends share: the backends by name, random data, and steps over one or
// several states fed with given queries, keys and values.
#ifndef LONGLEAF_TESTS_UNIT_KERNELS_BACKEND_FIXTURE_H_
#define LONGLEAF_TESTS_UNIT_KERNELS_BACKEND_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/backend.h"

namespace longleaf::kernels {

inline constexpr int64_t kPlenty = int64_t{1} << 30;
inline constexpr float kEpsilon = 1.1920929e-7f;  // of float

enum class Kind { kReference, kCpuOneThread, kCpuThreeThreads, kCuda };
// What the tests of this executable run on, and with which of Shapes(): host_kinds.cc, or a file of
// tests/gpu.
std::vector<Kind> KindsHere();
std::vector<StateShape> ShapesHere();
std::unique_ptr<Backend> Make(Kind kind, int64_t state_capacity = kPlenty);
std::string NameOf(const testing::TestParamInfo<Kind>& info);

// Runs a test body on every backend; pages are poisoned with NaN.
class BackendTest : public testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<Backend> backend_ = Make(GetParam());
};
#define LONGLEAF_ON_ALL_BACKENDS(suite)                                \
  INSTANTIATE_TEST_SUITE_P(All, suite, testing::ValuesIn(KindsHere()), \
                           [](const testing::TestParamInfo<Kind>& info) { return NameOf(info); })

// Normal numbers, the same for the same seed.
std::vector<float> RandomFloats(int64_t count, uint32_t seed, float scale = 1);
// A buffer [rows, cols] with those values.
std::unique_ptr<Buffer> Upload(Backend& backend, const std::vector<float>& values, int64_t rows,
                               int64_t cols);
std::vector<float> Download(Backend& backend, const Tensor& tensor);

// The same for products.
class ProductTest : public BackendTest {
 protected:
  // x [rows, in_features] through the matrix; [rows, width].
  std::vector<float> Run(const Matrix& matrix, const std::vector<float>& x, int64_t rows,
                         int64_t width);
};

// A state shape of two layers.
StateShape ShapeOf(int64_t query_heads, int64_t kv_heads, int64_t head_dim, const char* policy,
                   DType dtype = DType::kF32);
// Shapes with odd head sizes, groups that straddle pages, all policies, and all types of states.
std::vector<StateShape> Shapes();
std::string Describe(const StateShape& shape);

// Rotary frequencies of a head, base 10000, starting at position `first`.
Rotary RotaryFor(const StateShape& shape, int64_t first = 0);

// Projections of a sequence of tokens, unrotated: what a model would hand to RotaryAppendPool.
struct Sequence {
  Sequence(const StateShape& shape, int64_t tokens, uint32_t seed);
  // Those of another sequence up to `tokens`, then this seed's own.
  Sequence(const Sequence& prefix, int64_t tokens, uint32_t seed);

  int64_t width;                           // (H + 2 Hkv) * d
  int64_t length;                          // tokens
  std::vector<std::vector<float>> layers;  // [layer][tokens, width]
};

// One state's part of a step.
struct Member {
  State* state = nullptr;
  const Sequence* sequence = nullptr;
  int64_t rows = 0;     // tokens state->tokens() .. + rows
  int64_t outputs = 0;  // of the last layer
  float* mass = nullptr;
};
struct StepResult {
  // [layer][member][rows, H * d]; of the last layer only the outputs.
  std::vector<std::vector<std::vector<float>>> attention;
};
// A whole step up to, and without, its end. Expects every call to succeed.
StepResult RunStep(Backend& backend, const std::vector<Member>& members, int64_t first_position);
std::vector<BatchItem> BatchOf(const std::vector<Member>& members);

// Feeds tokens state.tokens() .. end-1 in chunks and commits each; the attention output of the last
// layer, [fed, H * d].
std::vector<float> Feed(Backend& backend, State& state, const Sequence& sequence, int64_t end,
                        int64_t chunk, int64_t first_position = 0);

// Canonical bytes of everything a state holds.
std::vector<std::byte> ExportBytes(Backend& backend, const State& state);
// The numbers that they stand for.
std::vector<float> ExportAll(Backend& backend, const State& state);
// A new state of `backend` with what `state` of `from` holds.
std::unique_ptr<State> Transfer(Backend& from, const State& state, Backend& backend);

// Attention outputs are averages of values weighted by a softmax. Scores here stay below about 30;
// a relative error of a few epsilon * sqrt(d) in them is an absolute one of the weights.
inline constexpr float kAttentionTolerance = 2e-5f;
// Where the processor multiplies pairs of bf16, queries and weights are rounded to bf16 too, over
// states of bf16 and int8: 2^-9 of each, and of scores up to 30. The reference does not round them.
inline constexpr float kBF16PairsTolerance = 1e-2f;
float AttentionTolerance(const StateShape& shape);
// What states are held to that were computed with other roundings: where two f32 lie on different
// sides of the middle, they become neighbours. Of the largest magnitude.
inline constexpr float kBF16StateTolerance = 0x1p-7f;
inline constexpr float kI8StateTolerance = 1.001f / 127;
float StateTolerance(const StateShape& shape);
// Largest |a - b|, NaN if there is one.
float LargestGap(const std::vector<float>& a, const std::vector<float>& b);
float LargestMagnitude(const std::vector<float>& a);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_TESTS_UNIT_KERNELS_BACKEND_FIXTURE_H_
