// The emulator computes what a device computes, and finds the mistakes that kernels make.
#include "tests/gpu/emulator/emulator.h"

#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include <sys/wait.h>

#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {
namespace {

// Device memory with values of the host's, and back.
template <typename T>
DeviceMemory ToDevice(const std::vector<T>& values) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  DeviceMemory memory = DeviceMemory::Allocate(bytes).value();
  EXPECT_TRUE(Copy(memory.data(), values.data(), bytes, nullptr).ok());
  return memory;
}
template <typename T>
std::vector<T> FromDevice(const DeviceMemory& memory) {
  std::vector<T> values(static_cast<size_t>(memory.bytes()) / sizeof(T));
  EXPECT_TRUE(Copy(values.data(), memory.data(), memory.bytes(), nullptr).ok());
  return values;
}

template <typename... Parameters, typename... Arguments>
absl::Status Started(void (*kernel)(Parameters...), dim3 grid, dim3 block, int64_t shared,
                     Arguments... arguments) {
  absl::Status status = Launch("test", kernel, grid, block, shared, nullptr, arguments...);
  return status.ok() ? Check(cudaStreamSynchronize(nullptr), "test") : status;
}

// Runs a body under many orders of the threads. How many gave `want`.
template <typename Body>
int UnderManySeeds(Body body) {
  int good = 0;
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    emulator::SetSeed(seed);
    good += body() ? 1 : 0;
  }
  return good;
}

// ---- A sum over a block ------------------------------------------------------------------------

template <bool kBarrier>
__global__ void __launch_bounds__(256) SumBlock(const float* in, float* out) {
  __shared__ float of_warp[8];
  float sum = in[blockIdx.x * blockDim.x + threadIdx.x];
  for (int by = 16; by > 0; by /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, by);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = sum;
  if (kBarrier) __syncthreads();
  if (threadIdx.x == 0) {
    float total = 0;
    for (float part : of_warp) total += part;
    out[blockIdx.x] = total;
  }
}

template <bool kBarrier>
bool SumIsRight() {
  constexpr unsigned kBlocks = 3;
  std::vector<float> in(kBlocks * 256);
  float want[kBlocks] = {};
  for (size_t i = 0; i < in.size(); ++i) {
    in[i] = static_cast<float>(i % 61);
    want[i / 256] += in[i];
  }
  const DeviceMemory from = ToDevice(in), to = DeviceMemory::Allocate(kBlocks * 4).value();
  EXPECT_TRUE(Started(SumBlock<kBarrier>, kBlocks, 256, 0, from.as<float>(), to.as<float>()).ok());
  return FromDevice<float>(to) == std::vector<float>(want, want + kBlocks);
}

TEST(EmulatorTest, ASumWithShufflesAndABarrier) { EXPECT_EQ(UnderManySeeds(SumIsRight<true>), 20); }

TEST(EmulatorTest, AMissingBarrierShows) { EXPECT_LT(UnderManySeeds(SumIsRight<false>), 5); }

__global__ void Collectives(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int* to = out + lane * 8;
  to[0] = __shfl_sync(0xffffffffu, lane, 5);
  to[1] = __shfl_up_sync(0xffffffffu, lane, 3);
  to[2] = __shfl_down_sync(0xffffffffu, lane, 3, 8);
  to[3] = static_cast<int>(__ballot_sync(0xffffffffu, lane % 3 == 0));
  to[4] = __any_sync(0xffffffffu, lane == 7);
  to[5] = __all_sync(0xffffffffu, lane != 7);
  to[6] = static_cast<int>(__shfl_xor_sync(0xffffffffu, 0.5 * lane, 1) * 2);
  __syncwarp();
  to[7] = atomicAdd(out + 256, 2);
}

TEST(EmulatorTest, WhatAWarpDoesTogether) {
  const DeviceMemory to = ToDevice(std::vector<int>(257));
  ASSERT_TRUE(Started(Collectives, 1, 32, 0, to.as<int>()).ok());
  const std::vector<int> got = FromDevice<int>(to);
  for (int lane = 0; lane < 32; ++lane) {
    const int* of = got.data() + lane * 8;
    EXPECT_EQ(of[0], 5);
    EXPECT_EQ(of[1], lane < 3 ? lane : lane - 3);
    EXPECT_EQ(of[2], lane % 8 + 3 < 8 ? lane + 3 : lane);
    EXPECT_EQ(of[3], 0x49249249);
    EXPECT_EQ(of[4], 1);
    EXPECT_EQ(of[5], 0);
    EXPECT_EQ(of[6], lane ^ 1);
  }
  EXPECT_EQ(got[256], 64);
}

// ---- A product through asynchronous copies and matrix fragments ---------------------------------

constexpr int kRows = 16, kDepth = 64, kColumns = 8;

// c [16, 8] = a [16, 64] times b [64, 8], by one warp; b arrives transposed, and not.
template <bool kWait, bool kTransposed>
__global__ void Product(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  auto* shared_a = DynamicShared<__nv_bfloat16>();
  __nv_bfloat16* shared_b = shared_a + kRows * kDepth;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < kRows * kDepth / 8; i += 32) CpAsync16(shared_a + 8 * i, a + 8 * i);
  CpAsyncCommit();
  for (int i = lane; i < kDepth * kColumns / 8; i += 32) CpAsync16(shared_b + 8 * i, b + 8 * i);
  CpAsyncCommit();
  CpAsyncWait<1>();
  if (kWait) CpAsyncWait<0>();
  __syncwarp();
  float sums[4] = {};
  for (int k = 0; k < kDepth; k += 16) {
    uint32_t of_a[4], of_b[4];
    LdMatrixX4(of_a, shared_a + (lane % 16) * kDepth + k + lane / 16 * 8);
    if (kTransposed) {  // b is [64, 8]: rows k..k+15, twice
      LdMatrixX4Trans(of_b, shared_b + (k + lane % 16) * kColumns);
    } else {  // b is [8, 64]
      LdMatrixX4(of_b, shared_b + lane % 8 * kDepth + k + lane / 8 % 2 * 8);
    }
    MmaBf16(sums, of_a, of_b[0], of_b[1]);
  }
  for (int i = 0; i < 4; ++i) {
    c[(lane / 4 + i / 2 * 8) * kColumns + lane % 4 * 2 + i % 2] = sums[i];
  }
}

template <bool kWait, bool kTransposed>
bool ProductIsRight() {
  std::mt19937 random(3);
  std::vector<__nv_bfloat16> a(kRows * kDepth), b(kDepth * kColumns);
  for (auto* values : {&a, &b}) {
    for (__nv_bfloat16& x : *values) x = static_cast<float>(random() % 17) - 8;
  }
  const DeviceMemory on_a = ToDevice(a), on_b = ToDevice(b),
                     to = DeviceMemory::Allocate(kRows * kColumns * 4).value();
  EXPECT_TRUE(Started(Product<kWait, kTransposed>, 1, 32, (kRows + kColumns) * kDepth * 2,
                      on_a.as<__nv_bfloat16>(), on_b.as<__nv_bfloat16>(), to.as<float>())
                  .ok());
  const std::vector<float> got = FromDevice<float>(to);
  for (int row = 0; row < kRows; ++row) {
    for (int col = 0; col < kColumns; ++col) {
      float want = 0;
      for (int k = 0; k < kDepth; ++k) {
        want += float(a[static_cast<size_t>(row * kDepth + k)]) *
                float(b[static_cast<size_t>(kTransposed ? k * kColumns + col : col * kDepth + k)]);
      }
      if (got[static_cast<size_t>(row * kColumns + col)] != want) return false;
    }
  }
  return true;
}

TEST(EmulatorTest, AProductOfBf16) {
  EXPECT_EQ(UnderManySeeds(ProductIsRight<true, true>), 20);
  EXPECT_EQ(UnderManySeeds(ProductIsRight<true, false>), 20);
}

TEST(EmulatorTest, AMissingWaitForCopiesShows) {
  EXPECT_EQ(UnderManySeeds(ProductIsRight<false, true>), 0);
}

__global__ void CopyPart(const float* in, float* out, int valid) {
  auto* shared = DynamicShared<float>();
  CpAsync16(shared, in, valid);
  CpAsyncCommit();
  CpAsyncWait<0>();
  for (int i = 0; i < 4; ++i) out[i] = shared[i];
}

TEST(EmulatorTest, WhatACopyDoesNotReadIsZero) {
  const DeviceMemory in = ToDevice<float>({1, 2}), out = DeviceMemory::Allocate(16).value();
  ASSERT_TRUE(Started(CopyPart, 1, 1, 16, in.as<float>(), out.as<float>(), 8).ok());
  EXPECT_EQ(FromDevice<float>(out), (std::vector<float>{1, 2, 0, 0}));
}

// ---- Mistakes ----------------------------------------------------------------------------------

__global__ void ReturnsBeforeBarrier(int threads) {
  if (static_cast<int>(threadIdx.x) >= threads) return;
  __syncthreads();
}
__global__ void ReturnsBeforeShuffle(int* out, int threads) {
  if (static_cast<int>(threadIdx.x) >= threads) return;
  *out = __shfl_xor_sync(0xffffffffu, 1, 1);
}
__global__ void DifferentThings(int* out) {
  if (threadIdx.x % 2 == 0) {
    __syncwarp();
  } else {
    *out = __shfl_xor_sync(0xffffffffu, 1, 1);
  }
}
__global__ void PartOfAMask(int* out) { *out = __shfl_xor_sync(0xffffu, 1, 1); }

TEST(EmulatorTest, BrokenCollectivesEndTheLaunch) {
  const DeviceMemory out = DeviceMemory::Allocate(4).value();
  const int64_t before = emulator::FailedLaunches();
  const auto expect_failure = [](const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  };
  EXPECT_TRUE(Started(ReturnsBeforeBarrier, 2, 64, 0, 64).ok());
  expect_failure(Started(ReturnsBeforeBarrier, 2, 64, 0, 63));
  EXPECT_TRUE(Started(ReturnsBeforeShuffle, 1, 64, 0, out.as<int>(), 32).ok());
  expect_failure(Started(ReturnsBeforeShuffle, 1, 64, 0, out.as<int>(), 31));
  expect_failure(Started(DifferentThings, 1, 32, 0, out.as<int>()));
  expect_failure(Started(PartOfAMask, 1, 32, 0, out.as<int>()));
  EXPECT_EQ(emulator::FailedLaunches(), before + 4);
  EXPECT_TRUE(SumIsRight<true>());  // what follows works
}

__global__ void ReadsShared(float* out) {
  __shared__ float of_block[32];
  out[threadIdx.x] = DynamicShared<float>()[threadIdx.x];
  out[32 + threadIdx.x] = threadIdx.x < 32 ? 0 : of_block[0];
}

TEST(EmulatorTest, SharedMemoryBeginsAsNan) {
  const DeviceMemory out = DeviceMemory::Allocate(64 * 4).value();
  ASSERT_TRUE(Started(ReadsShared, 1, 32, 128, out.as<float>()).ok());
  EXPECT_TRUE(std::isnan(FromDevice<float>(out)[7]));
}

__global__ void WritesPastShared(int floats) {
  for (int i = 0; i < floats; ++i) DynamicShared<float>()[i] = 1;
}
__global__ void WritesPastTheEnd(float* out, int floats) {
  for (int i = 0; i < floats; ++i) out[i] = 1;
}

// With what an observer of its own exits, or the address sanitizer.
bool Found(int status) { return WIFEXITED(status) && WEXITSTATUS(status) != 0; }

// The address sanitizer ends the program where it is there; else what was overwritten is looked at.
TEST(EmulatorDeathTest, WritingPastTheEndShows) {
  EXPECT_TRUE(Started(WritesPastShared, 1, 1, 64, 16).ok());
  EXPECT_EXIT(
      {
        std::exit(
            Started(WritesPastShared, 1, 1, 64, 17).code() == absl::StatusCode::kInternal ? 9 : 0);
      },
      Found, "dynamic shared memory|use-after-poison");
  EXPECT_EXIT(
      {
        const int64_t before = emulator::FailedLaunches();
        {
          const DeviceMemory out = DeviceMemory::Allocate(64).value();
          if (!Started(WritesPastTheEnd, 1, 1, 0, out.as<float>(), 17).ok()) std::exit(1);
        }
        std::exit(emulator::FailedLaunches() > before ? 9 : 0);
      },
      Found, "past its end|heap-buffer-overflow");
}

// ---- Numbers -----------------------------------------------------------------------------------

TEST(EmulatorTest, Roundings) {
  for (int bits = 0; bits < 0x7f;
       ++bits) {  // every e4m3 is its own rounding; a middle goes to even
    const auto byte = static_cast<uint8_t>(bits);
    const float value = emulator::FromE4m3(byte);
    EXPECT_EQ(emulator::RoundToE4m3(value), byte);
    EXPECT_EQ(emulator::RoundToE4m3(-value), byte | 0x80);
    if (bits == 0x7e) continue;
    const float middle = (value + emulator::FromE4m3(static_cast<uint8_t>(bits + 1))) / 2;
    EXPECT_EQ(emulator::RoundToE4m3(middle), bits % 2 == 0 ? bits : bits + 1);
    EXPECT_EQ(emulator::RoundToE4m3(std::nextafter(middle, 0.0f)), bits);
    EXPECT_EQ(emulator::RoundToE4m3(std::nextafter(middle, 500.0f)), bits + 1);
  }
  EXPECT_EQ(emulator::FromE4m3(0x38), 1);
  EXPECT_EQ(emulator::RoundToE4m3(1e9f), 0x7e);
  EXPECT_EQ(__bfloat16_as_ushort(__float2bfloat16_rn(1.00390625f)), 0x3f80);  // a middle
  EXPECT_EQ(__bfloat16_as_ushort(__float2bfloat16_rn(1.01171875f)), 0x3f82);
  EXPECT_EQ(PackBf16(1, 2), 0x40003f80u);
  EXPECT_EQ(__float2int_rn(2.5f), 2);
  EXPECT_EQ(__float2int_rn(3.5f), 4);
}

}  // namespace
}  // namespace longleaf::kernels::cuda
