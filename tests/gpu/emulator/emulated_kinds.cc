// The backend of the executables that run the ordinary tests on emulated CUDA.
#include "tests/gpu/emulator/emulator.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {
namespace {

// No kernel went wrong without anybody hearing of it.
class NoFailedLaunch : public testing::Environment {
  void TearDown() override { EXPECT_EQ(emulator::FailedLaunches(), 0); }
};
[[maybe_unused]] const testing::Environment* const environment =
    testing::AddGlobalTestEnvironment(new NoFailedLaunch);

}  // namespace

std::vector<Kind> KindsHere() { return {Kind::kCuda}; }

// An emulated step costs a hundred times one of the CPU's: one shape for each type of state and
// each kernel of attention, pooling and rotation. On a chip all of them run.
std::vector<StateShape> ShapesHere() {
  return {ShapeOf(8, 2, 8, "cca:g=4,w=8,heads=query"),
          ShapeOf(6, 2, 80, "full"),
          ShapeOf(2, 1, 64, "cca:g=5,w=35,heads=kv", DType::kBF16),
          ShapeOf(4, 1, 32, "streaming:sinks=5,w=9", DType::kBF16),
          ShapeOf(4, 2, 64, "cca:g=16,w=48,heads=query", DType::kI8),
          ShapeOf(3, 1, 2, "cca:g=1,w=1,heads=kv", DType::kI8)};
}

}  // namespace longleaf::kernels
