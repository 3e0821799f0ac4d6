// The backend as it is on a Hopper GPU when asked for its own attention kernel: that the kernel is
// taken for prefill, and agrees with the reference in a whole step.
#include <cstdint>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/gpu/emulator/emulator.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {
namespace {

class HopperTest : public testing::Test {
 protected:
  HopperTest() { emulator::SetComputeCapability(90); }
  ~HopperTest() override { emulator::SetComputeCapability(80); }

  // Attention of the last layer over `tokens` tokens, fed in chunks.
  std::vector<float> Attend(Backend& backend, const StateShape& shape, int64_t tokens,
                            int64_t chunk) {
    const std::unique_ptr<State> state = backend.NewState(shape).value();
    return Feed(backend, *state, Sequence(shape, tokens, 7), tokens, chunk);
  }
  std::vector<float> AttendOnDevice(bool hopper, const StateShape& shape, int64_t tokens,
                                    int64_t chunk) {
    CudaOptions options;
    options.state_capacity_bytes = int64_t{64} << 20;
    options.poison_pages = true;
    options.hopper_attention = hopper;
    return Attend(*CreateCudaBackend(options).value(), shape, tokens, chunk);
  }
};

TEST_F(HopperTest, PrefillIsItsOwnAndRight) {
  const StateShape shape = ShapeOf(2, 1, 64, "cca:g=4,w=64,heads=query", DType::kBF16);
  const auto reference = Make(Kind::kReference);
  const std::vector<float> right = Attend(*reference, shape, 310, 155);
  const std::vector<float> own = AttendOnDevice(true, shape, 310, 155);
  const std::vector<float> other = AttendOnDevice(false, shape, 310, 155);
  EXPECT_LE(LargestGap(own, right), kBF16PairsTolerance * LargestMagnitude(right));
  EXPECT_LE(LargestGap(own, other), kBF16PairsTolerance * LargestMagnitude(right));
  EXPECT_NE(own, other);  // sums in another order
}

TEST_F(HopperTest, FewRowsAreNotItsOwn) {
  const StateShape shape = ShapeOf(2, 1, 64, "full", DType::kBF16);
  EXPECT_EQ(AttendOnDevice(true, shape, 70, 5), AttendOnDevice(false, shape, 70, 5));
}

}  // namespace
}  // namespace longleaf::kernels
