// Which device computes, where the operator leaves the choice, and what each can be given.
#ifndef LONGLEAF_KERNELS_DEVICE_H_
#define LONGLEAF_KERNELS_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/backend.h"

namespace longleaf::kernels {

enum class Device : uint8_t { kCpu, kCuda, kReference };
const char* NameOf(Device device);  // "cpu", "cuda", "reference"

struct DeviceBackend {
  Device device = Device::kCpu;
  std::unique_ptr<Backend> backend;
  std::string no_cuda;  // under "auto", when the CPU was taken: why
};

// Makes the backend of a --device flag: of the device it names, or for "auto" of CUDA, and of the
// CPU where there is none (`make` says UNIMPLEMENTED or UNAVAILABLE; of a device that was named, it
// says so to the operator). Other errors are passed on. INVALID_ARGUMENT: no such device.
absl::StatusOr<DeviceBackend> MakeDeviceBackend(
    absl::string_view name,
    const std::function<absl::StatusOr<std::unique_ptr<Backend>>(Device)>& make);

// INVALID_ARGUMENT, with a sentence that names the formats there are, when the device's PackMatrix
// would not take this one: known before gigabytes are read.
absl::Status CheckWeightFormat(Device device, WeightFormat format);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_DEVICE_H_
