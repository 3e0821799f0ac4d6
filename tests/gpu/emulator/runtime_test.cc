// The host side of the emulated device: memory and its end, streams that lag behind, graphs,
// failures.
#include <cuda_runtime.h>

#include <cmath>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "kernels/cuda/runtime.h"
#include "tests/gpu/emulator/emulator.h"

namespace longleaf::kernels::cuda {
namespace {

__global__ void AddTo(float* values, float x) { values[threadIdx.x] += x; }

absl::Status Add(const DeviceMemory& memory, float x, cudaStream_t stream) {
  return Launch("adding", AddTo, 1, static_cast<unsigned>(memory.bytes() / 4), 0, stream,
                memory.as<float>(), x);
}

std::vector<float> Read(const DeviceMemory& memory, cudaStream_t stream) {
  std::vector<float> values(static_cast<size_t>(memory.bytes() / 4));
  EXPECT_TRUE(Copy(values.data(), memory.data(), memory.bytes(), stream).ok());
  return values;
}

class RuntimeTest : public testing::Test {
 protected:
  Stream stream_ = Stream::Create().value();
};

TEST_F(RuntimeTest, MemoryEnds) {
  const int64_t used = emulator::DeviceMemoryInUse();
  emulator::SetDeviceMemory(used + 1000);
  {
    const DeviceMemory first = DeviceMemory::Allocate(600).value();
    EXPECT_TRUE(std::isnan(Read(first, stream_.get())[149]));
    EXPECT_EQ(DeviceMemory::Allocate(401).status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_TRUE(DeviceMemory::Allocate(400).ok());
    size_t free = 0, total = 0;
    EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
    EXPECT_EQ(free, 400u);
  }
  EXPECT_EQ(emulator::DeviceMemoryInUse(), used);
  EXPECT_TRUE(DeviceMemory::Allocate(1000).ok());
  emulator::SetDeviceMemory(int64_t{4} << 30);
}

TEST_F(RuntimeTest, WorkWaitsAndPinnedMemoryIsReadLate) {
  const DeviceMemory on_device = DeviceMemory::Allocate(4).value();
  const PinnedMemory pinned = PinnedMemory::Allocate(4).value();
  *pinned.as<float>() = 1;
  ASSERT_TRUE(Copy(on_device.data(), pinned.data(), 4, stream_.get()).ok());
  *pinned.as<float>() = 2;  // too early, which shows
  EXPECT_EQ(Read(on_device, stream_.get())[0], 2);
  float pageable = 3;  // of which the call took what it needed
  ASSERT_TRUE(Copy(on_device.data(), &pageable, 4, stream_.get()).ok());
  pageable = 4;
  EXPECT_EQ(Read(on_device, stream_.get())[0], 3);
  // Back to pinned memory: nothing before someone waits.
  ASSERT_TRUE(Copy(pinned.data(), on_device.data(), 4, stream_.get()).ok());
  EXPECT_EQ(*pinned.as<float>(), 2);
  ASSERT_TRUE(stream_.Synchronize().ok());
  EXPECT_EQ(*pinned.as<float>(), 3);
}

TEST_F(RuntimeTest, EventsOrderStreams) {
  const Stream other = Stream::Create().value();
  Event event = Event::Create().value();
  const DeviceMemory memory = DeviceMemory::Allocate(4).value();
  ASSERT_EQ(cudaMemsetAsync(memory.data(), 0, 4, stream_.get()), cudaSuccess);
  ASSERT_TRUE(Add(memory, 1, stream_.get()).ok());
  EXPECT_TRUE(std::isnan(Read(memory, other.get())[0]));  // nobody waited
  ASSERT_TRUE(event.Record(stream_.get()).ok());
  ASSERT_TRUE(event.Wait(other.get()).ok());
  EXPECT_EQ(Read(memory, other.get())[0], 1);
  EXPECT_EQ(cudaEventQuery(nullptr), cudaErrorInvalidResourceHandle);
}

TEST_F(RuntimeTest, AGraphDoesAgainWhatWasRecorded) {
  const DeviceMemory memory = DeviceMemory::Allocate(128).value();
  ASSERT_EQ(cudaMemsetAsync(memory.data(), 0, 128, stream_.get()), cudaSuccess);
  const auto record = [&](float x, cudaGraph_t* graph) {
    ASSERT_EQ(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), cudaSuccess);
    ASSERT_TRUE(Add(memory, x, stream_.get()).ok());
    ASSERT_TRUE(Add(memory, x, stream_.get()).ok());
    ASSERT_EQ(cudaStreamEndCapture(stream_.get(), graph), cudaSuccess);
  };
  cudaGraph_t graph = nullptr, second = nullptr;
  record(1, &graph);
  EXPECT_EQ(Read(memory, stream_.get())[31], 0);  // recorded, not done
  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph), cudaSuccess);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(cudaGraphLaunch(exec, stream_.get()), cudaSuccess);
  EXPECT_EQ(Read(memory, stream_.get())[31], 6);
  record(10, &second);
  cudaGraphExecUpdateResultInfo info;
  ASSERT_EQ(cudaGraphExecUpdate(exec, second, &info), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(exec, stream_.get()), cudaSuccess);
  EXPECT_EQ(Read(memory, stream_.get())[31], 26);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(second), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
}

TEST_F(RuntimeTest, WhatCannotBeRecordedSpoilsTheRecording) {
  ASSERT_EQ(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), cudaSuccess);
  EXPECT_FALSE(DeviceMemory::Allocate(4).ok());
  std::thread([] { EXPECT_TRUE(DeviceMemory::Allocate(4).ok()); }).join();  // it records nothing
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_.get(), &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(graph, nullptr);
  EXPECT_TRUE(DeviceMemory::Allocate(4).ok());
  EXPECT_TRUE(stream_.Synchronize().ok());
}

TEST_F(RuntimeTest, TheCallThatWasToFailFails) {
  emulator::FailCall(2, cudaErrorMemoryAllocation);
  const absl::StatusOr<DeviceMemory> first = DeviceMemory::Allocate(4);
  EXPECT_TRUE(first.ok());
  EXPECT_EQ(Add(*first, 1, stream_.get()).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(Add(*first, 1, stream_.get()).ok());
}

TEST_F(RuntimeTest, RefusesWhatADeviceRefuses) {
  const DeviceMemory memory = DeviceMemory::Allocate(4096).value();
  const auto launch = [&](dim3 grid, dim3 block, int64_t shared) {
    return Launch("", AddTo, grid, block, shared, stream_.get(), memory.as<float>(), 1.0f);
  };
  EXPECT_TRUE(launch(1, 1024, 48 * 1024).ok());
  EXPECT_FALSE(launch(1, 1025, 0).ok());
  EXPECT_FALSE(launch(dim3(1, 65536), 32, 0).ok());
  EXPECT_FALSE(launch(1, 32, 48 * 1024 + 1).ok());
  EXPECT_FALSE(AllowShared(AddTo, 227 * 1024 + 1).ok());
  ASSERT_TRUE(AllowShared(AddTo, 227 * 1024).ok());
  EXPECT_TRUE(launch(1, 32, 227 * 1024).ok());
  EXPECT_FALSE(Copy(memory.data() + 4, memory.data(), 4096, stream_.get()).ok());  // past the end
  EXPECT_TRUE(stream_.Synchronize().ok());
}

TEST_F(RuntimeTest, ThreadsLaunchAtTheSameTime) {
  const DeviceMemory memory = DeviceMemory::Allocate(256).value();
  ASSERT_EQ(cudaMemset(memory.data(), 0, 256), cudaSuccess);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&memory] {
      const Stream own = Stream::Create().value();
      for (int n = 0; n < 50; ++n) EXPECT_TRUE(Add(memory, 1, own.get()).ok());
      EXPECT_TRUE(own.Synchronize().ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Read(memory, stream_.get()), std::vector<float>(64, 200));
}

}  // namespace
}  // namespace longleaf::kernels::cuda
