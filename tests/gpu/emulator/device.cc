// The emulated device itself: what it is called, what it can, what fails on it.
#include "tests/gpu/emulator/device.h"

#include <cstdio>
#include <cstdlib>
#include <map>

#include "tests/gpu/emulator/block.h"
#include "tests/gpu/emulator/emulator.h"
#include "tests/gpu/emulator/launch.h"

namespace longleaf::emulator {
namespace {

constexpr int kMultiprocessors = 6;
constexpr size_t kSharedUnasked = 48 * 1024;

struct Settings {
  uint32_t seed = 1;
  int capability = 80;
  int64_t calls = 0, fail_at = 0, failed_launches = 0;
  cudaError_t failure = cudaSuccess;
  std::map<const void*, size_t> allowed_shared;
};

Settings& Get() {
  static Settings settings = [] {
    Settings fresh;
    const char* seed = std::getenv("LONGLEAF_EMULATOR_SEED");
    if (seed != nullptr) fresh.seed = static_cast<uint32_t>(std::atoi(seed));
    return fresh;
  }();
  return settings;
}

thread_local cudaError_t last_error = cudaSuccess;

}  // namespace

std::unique_lock<std::recursive_mutex> Lock() {
  static std::recursive_mutex mutex;
  return std::unique_lock(mutex);
}

cudaError_t Return(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t Begin() {
  Settings& settings = Get();
  return ++settings.calls == settings.fail_at ? settings.failure : cudaSuccess;
}

void CountFailedLaunch() { ++Get().failed_launches; }

void SetSeed(uint32_t seed) {
  const auto lock = Lock();
  Get().seed = seed;
}

uint32_t Seed() {
  const auto lock = Lock();
  return Get().seed;
}

void SetComputeCapability(int capability) {
  const auto lock = Lock();
  Get().capability = capability;
}

int ComputeCapability() {
  const auto lock = Lock();
  return Get().capability;
}

void FailCall(int64_t calls, cudaError_t error) {
  const auto lock = Lock();
  Get().fail_at = calls == 0 ? 0 : Get().calls + calls;
  Get().failure = error;
}

int64_t Calls() {
  const auto lock = Lock();
  return Get().calls;
}

int64_t FailedLaunches() {
  const auto lock = Lock();
  return Get().failed_launches;
}

cudaError_t EnqueueKernel(const cudaLaunchConfig_t& config, const void* function, const char* name,
                          std::function<void()> thread) {
  LONGLEAF_EMULATOR_BEGIN();
  const Grid grid{config.gridDim, config.blockDim, config.dynamicSmemBytes, name};
  const uint64_t threads = uint64_t{grid.block.x} * grid.block.y * grid.block.z;
  if (threads == 0 || threads > 1024 || grid.block.z > 64 || grid.grid.x == 0 ||
      grid.grid.x > 0x7fffffff || grid.grid.y == 0 || grid.grid.y > 65535 || grid.grid.z == 0 ||
      grid.grid.z > 65535) {
    return Return(cudaErrorInvalidConfiguration);
  }
  const auto allowed = Get().allowed_shared.find(function);
  if (grid.shared_bytes >
      (allowed == Get().allowed_shared.end() ? kSharedUnasked : allowed->second)) {
    return Return(cudaErrorInvalidValue);
  }
  Work work{function, [grid, thread = std::move(thread)] { return RunGrid(grid, thread); }};
  return Return(Enqueue(*QueueOf(config.stream), std::move(work)));
}

cudaError_t EnqueueWork(cudaStream_t stream, std::function<bool()> work) {
  LONGLEAF_EMULATOR_BEGIN();
  return Return(Enqueue(*QueueOf(stream), {nullptr, std::move(work)}));
}

}  // namespace longleaf::emulator

using longleaf::emulator::Get;
using longleaf::emulator::Return;

cudaError_t cudaGetDeviceCount(int* count) {
  LONGLEAF_EMULATOR_BEGIN();
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  LONGLEAF_EMULATOR_BEGIN();
  return Return(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  LONGLEAF_EMULATOR_BEGIN();
  if (device != 0) return Return(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "Emulated device");
  size_t free = 0;
  cudaMemGetInfo(&free, &properties->totalGlobalMem);
  properties->sharedMemPerBlock = longleaf::emulator::kSharedUnasked;
  properties->sharedMemPerBlockOptin = longleaf::emulator::kMostShared;
  properties->sharedMemPerMultiprocessor = longleaf::emulator::kMostShared + 1024;
  properties->regsPerBlock = 65536;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->major = Get().capability / 10;
  properties->minor = Get().capability % 10;
  properties->multiProcessorCount = longleaf::emulator::kMultiprocessors;
  properties->l2CacheSize = 1 << 20;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp p;
  if (const cudaError_t error = cudaGetDeviceProperties(&p, device); error != cudaSuccess) {
    return error;
  }
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = p.maxThreadsPerBlock;
      break;
    case cudaDevAttrWarpSize:
      *value = p.warpSize;
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = p.multiProcessorCount;
      break;
    case cudaDevAttrL2CacheSize:
      *value = p.l2CacheSize;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = p.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = p.minor;
      break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(p.sharedMemPerMultiprocessor);
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(p.sharedMemPerBlockOptin);
      break;
  }
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  LONGLEAF_EMULATOR_BEGIN();
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<size_t>(value) > longleaf::emulator::kMostShared) {
    return Return(cudaErrorInvalidValue);
  }
  Get().allowed_shared[function] = static_cast<size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaPeekAtLastError() { return longleaf::emulator::last_error; }

cudaError_t cudaGetLastError() {
  const cudaError_t error = longleaf::emulator::last_error;
  longleaf::emulator::last_error = cudaSuccess;
  return error;
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory"
         : error == cudaErrorLaunchFailure  ? "the emulator stopped a kernel"
                                            : cudaGetErrorName(error);
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define LONGLEAF_NAME(name) \
  case name:                \
    return #name;
    LONGLEAF_NAME(cudaSuccess)
    LONGLEAF_NAME(cudaErrorInvalidValue)
    LONGLEAF_NAME(cudaErrorMemoryAllocation)
    LONGLEAF_NAME(cudaErrorInitializationError)
    LONGLEAF_NAME(cudaErrorInvalidConfiguration)
    LONGLEAF_NAME(cudaErrorInsufficientDriver)
    LONGLEAF_NAME(cudaErrorNoDevice)
    LONGLEAF_NAME(cudaErrorInvalidDevice)
    LONGLEAF_NAME(cudaErrorInvalidResourceHandle)
    LONGLEAF_NAME(cudaErrorNotReady)
    LONGLEAF_NAME(cudaErrorIllegalAddress)
    LONGLEAF_NAME(cudaErrorLaunchFailure)
    LONGLEAF_NAME(cudaErrorNotSupported)
    LONGLEAF_NAME(cudaErrorStreamCaptureUnsupported)
    LONGLEAF_NAME(cudaErrorStreamCaptureInvalidated)
    LONGLEAF_NAME(cudaErrorGraphExecUpdateFailure)
    LONGLEAF_NAME(cudaErrorUnknown)
#undef LONGLEAF_NAME
  }
  return "cudaErrorUnknown";
}
