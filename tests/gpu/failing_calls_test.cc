// Whatever call to the device fails, the backend says so with a status, gives its memory back, and
// what could be undone is as it was: a step that failed leaves its states as they were before it.
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/gpu/emulator/emulator.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {
namespace {

using absl::Status;

// Two steps over two states, one a branch of the other; small enough for a graph.
Status Step(Backend& backend, const std::vector<BatchItem>& batch, const StateShape& shape) {
  if (Status status = backend.BeginStep(batch); !status.ok()) return status;
  int64_t rows = 0;
  for (const BatchItem& item : batch) rows += item.rows;
  const Status ran = [&]() -> Status {
    const int64_t width = shape.query_heads * shape.head_dim;
    auto qkv = backend.Allocate(rows, width + 2 * shape.kv_heads * shape.head_dim);
    if (!qkv.ok()) return qkv.status();
    auto out = backend.Allocate(rows, width);
    if (!out.ok()) return out.status();
    const std::vector<float> table =
        RandomFloats(rows * (*qkv)->tensor().cols, static_cast<uint32_t>(rows));
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < rows; ++i) ids.push_back(i);
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      Status status = backend.Embed({table.data(), DType::kF32, rows, (*qkv)->tensor().cols}, ids,
                                    (*qkv)->tensor());
      if (!status.ok()) return status;
      status = backend.RotaryAppendPool(layer, batch, RotaryFor(shape), (*qkv)->tensor());
      if (!status.ok()) return status;
      status = backend.Attention(layer, batch, Rows::kAll, (*qkv)->tensor(), (*out)->tensor());
      if (!status.ok()) return status;
    }
    std::vector<float> host(static_cast<size_t>(rows * width));
    return backend.ToHost((*out)->tensor(), host.data());
  }();
  if (ran.ok()) {
    backend.CommitStep(batch);
  } else {
    backend.AbortStep(batch);
  }
  return ran;
}

Status Everything(const StateShape& shape) {
  CudaOptions options;
  options.state_capacity_bytes = int64_t{1} << 22;
  absl::StatusOr<std::unique_ptr<Backend>> backend = CreateCudaBackend(options);
  if (!backend.ok()) return backend.status();
  auto state = (*backend)->NewState(shape);
  if (!state.ok()) return state.status();
  const int64_t rows[] = {70, 1, 1, 1};
  for (const int64_t n : rows) {
    const int64_t before = (*state)->tokens();
    const Status status = Step(**backend, {{state->get(), n, n}}, shape);
    EXPECT_EQ((*state)->tokens(), before + (status.ok() ? n : 0));
    if (!status.ok()) return status;
  }
  auto branch = (*backend)->Branch(**state);
  if (!branch.ok()) return branch.status();
  if (Status status = Step(**backend, {{state->get(), 1, 1}, {branch->get(), 3, 3}}, shape);
      !status.ok()) {
    return status;
  }
  std::vector<std::byte> bytes(static_cast<size_t>(2 * shape.kv_heads * shape.row_bytes()));
  return (*backend)->Export(**state, 0, StatePart::kRaw, (*state)->tokens() - 1, 1,
                            absl::MakeSpan(bytes));
}

TEST(FailingCallsTest, EachIsAStatusAndNothingIsLost) {
  const StateShape shape = ShapeOf(4, 2, 16, "cca:g=4,w=8,heads=query", DType::kBF16);
  const int64_t memory = emulator::DeviceMemoryInUse();
  int64_t calls = emulator::Calls();
  ASSERT_TRUE(Everything(shape).ok());
  calls = emulator::Calls() - calls;
  ASSERT_GT(calls, 50);
  int failed = 0, tried = 0;
  // Every third, for time's sake; the calls of one kind are many and not in threes.
  for (int64_t n = 1; n <= calls; n += 3, ++tried) {
    emulator::FailCall(n, n % 2 == 0 ? cudaErrorMemoryAllocation : cudaErrorUnknown);
    failed += Everything(shape).ok() ? 0 : 1;
    emulator::FailCall(0, cudaSuccess);
    EXPECT_EQ(emulator::DeviceMemoryInUse(), memory) << "call " << n << " of " << calls;
  }
  // Few may fail without a word: a recording, after which the step runs without one.
  EXPECT_GE(failed, tried * 9 / 10);
  EXPECT_EQ(emulator::FailedLaunches(), 0);
  EXPECT_TRUE(Everything(shape).ok());
}

}  // namespace
}  // namespace longleaf::kernels
