// What the CPU backend says that states take is what the process really takes, and never more than
// the limit. Not under the sanitizers, which have memory of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <vector>

#include "kernels/cpu/cpu_backend.h"

namespace longleaf::kernels {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kCapacity = 192 * kMiB;

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t all = 0;
  int64_t resident = 0;
  file >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

StateShape Shape(CoreHeads core_heads) {
  return {
      4,
      8,
      2,
      64,
      {.kind = AttentionPolicy::Kind::kCca, .group = 16, .window = 1024, .core_heads = core_heads}};
}

class StateMemoryTest : public ::testing::Test {
 protected:
  // A state of `tokens` tokens whose memory has been written to.
  std::unique_ptr<State> Take(int64_t tokens, CoreHeads core_heads = CoreHeads::kKeyValue) {
    std::unique_ptr<State> state = *backend_->NewState(Shape(core_heads));
    EXPECT_TRUE(
        backend_->PrepareImport(*state, tokens, Shape(core_heads).policy.FirstRaw(tokens)).ok());
    return state;
  }

  const std::unique_ptr<Backend> backend_ =
      *CreateCpuBackend({.threads = 1, .state_capacity_bytes = kCapacity, .poison_pages = true});
};

TEST_F(StateMemoryTest, TheProcessGrowsByWhatThePoolSays) {
  const int64_t before = ResidentBytes();
  std::vector<std::unique_ptr<State>> states;
  for (int i = 0; i < 6; ++i) {
    states.push_back(Take(32'000));
  }
  const BackendMemory full = backend_->memory();
  ASSERT_GT(full.state_bytes, 60 * kMiB);
  EXPECT_EQ(full.state_pool_bytes, full.state_bytes);
  const double grown = static_cast<double>(ResidentBytes() - before);
  EXPECT_NEAR(grown, static_cast<double>(full.state_pool_bytes),
              0.05 * static_cast<double>(full.state_pool_bytes));

  states.clear();
  const BackendMemory empty = backend_->memory();
  EXPECT_EQ(empty.state_bytes, 0);
  EXPECT_EQ(empty.state_pool_bytes, full.state_pool_bytes) << "kept for the next";
  states.push_back(Take(32'000));
  EXPECT_EQ(backend_->memory().state_pool_bytes, full.state_pool_bytes) << "and used again";
}

// Cores of every query head and raw tokens of key heads: pages of two sizes. Those of short states
// are mostly raw, those of long ones mostly cores, so each kind's free pages have to make room for
// the other.
TEST_F(StateMemoryTest, TheProcessStaysWithinTheCapacityWhateverIsTaken) {
  const int64_t before = ResidentBytes();
  for (const int64_t tokens : {1'000, 60'000, 500, 30'000, 1'500, 60'000}) {
    std::vector<std::unique_ptr<State>> states;
    while (backend_->memory().state_bytes < kCapacity * 3 / 4) {
      states.push_back(Take(tokens, CoreHeads::kQuery));
      ASSERT_LE(backend_->memory().state_pool_bytes, kCapacity);
    }
  }
  EXPECT_LT(ResidentBytes() - before, kCapacity + kCapacity / 20);
}

}  // namespace
}  // namespace longleaf::kernels
