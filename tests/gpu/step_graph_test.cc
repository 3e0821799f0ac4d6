// Small steps as graphs: the third equal step is replayed, and gives what running it gives.
#include "kernels/cuda/step_graph.h"

#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/runtime.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels::cuda {
namespace {

TEST(StepGraphTest, RunsThenRecordsThenReplays) {
  const Stream stream = Stream::Create().value();
  const DeviceMemory from = DeviceMemory::Allocate(64).value();
  const DeviceMemory to = DeviceMemory::Allocate(64).value();
  StepGraph graph;
  int called = 0;
  const auto step = [&](int64_t key) {
    graph.Begin({key});
    graph.Add({1}, [&] {
      ++called;
      return Copy(to.data(), from.data(), 64, stream.get());
    });
    return graph.Run(stream.get());
  };
  for (const int8_t value : {1, 2, 3, 4}) {
    const std::vector<int8_t> bytes(64, value);
    ASSERT_TRUE(Copy(from.data(), bytes.data(), 64, stream.get()).ok());
    ASSERT_TRUE(step(7).ok());
    std::vector<int8_t> got(64);
    ASSERT_TRUE(Copy(got.data(), to.data(), 64, stream.get()).ok());
    ASSERT_TRUE(stream.Synchronize().ok());
    EXPECT_EQ(got, bytes);
  }
  EXPECT_EQ(called, 2);  // run, recorded
  EXPECT_EQ(graph.replayed(), 2);
  ASSERT_TRUE(step(8).ok());  // another key is another step
  EXPECT_EQ(called, 3);
}

TEST(StepGraphTest, ReplayedStepsGiveTheSameBits) {
  for (const StateShape& shape : ShapesHere()) {
    SCOPED_TRACE(Describe(shape));
    const Sequence sequence(shape, 110, 9);
    std::vector<std::vector<float>> outputs;
    for (const bool graphs : {true, false}) {
      CudaOptions options;
      options.state_capacity_bytes = int64_t{1} << 26;
      options.graphs = graphs;
      const auto backend = CreateCudaBackend(options).value();
      const auto state = backend->NewState(shape).value();
      Feed(*backend, *state, sequence, 90, 90);
      outputs.push_back(Feed(*backend, *state, sequence, 110, 1));
    }
    EXPECT_EQ(outputs[0], outputs[1]);
  }
}

}  // namespace
}  // namespace longleaf::kernels::cuda
