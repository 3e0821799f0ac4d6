// From cudaLaunchKernelEx to the emulator.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_LAUNCH_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_LAUNCH_H_

#include <cuda_runtime_api.h>

#include <functional>

namespace longleaf::emulator {

// Puts a kernel into the stream of `config`, or into the graph that the stream records. `function`
// tells kernels apart; `thread` is what each of its threads runs; `name` (a literal) is for
// messages.
cudaError_t EnqueueKernel(const cudaLaunchConfig_t& config, const void* function, const char* name,
                          std::function<void()> thread);

// Puts work of the host's into the stream, where libraries of products do theirs. It may fail the
// stream by returning false.
cudaError_t EnqueueWork(cudaStream_t stream, std::function<bool()> work);

}  // namespace longleaf::emulator

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_LAUNCH_H_
