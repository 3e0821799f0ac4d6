#include "kernels/device.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace longleaf::kernels {

const char* NameOf(Device device) {
  switch (device) {
    case Device::kCpu:
      return "cpu";
    case Device::kCuda:
      return "cuda";
    case Device::kReference:
      return "reference";
  }
  return "unknown";
}

absl::StatusOr<DeviceBackend> MakeDeviceBackend(
    absl::string_view name,
    const std::function<absl::StatusOr<std::unique_ptr<Backend>>(Device)>& make) {
  std::vector<Device> devices;
  for (const Device device : {Device::kCuda, Device::kCpu, Device::kReference}) {
    if (name == NameOf(device) || (name == "auto" && device != Device::kReference)) {
      devices.push_back(device);
    }
  }
  DeviceBackend made;
  for (const Device device : devices) {
    absl::StatusOr<std::unique_ptr<Backend>> backend = make(device);
    const bool absent =
        absl::IsUnimplemented(backend.status()) || absl::IsUnavailable(backend.status());
    if (absent && name == "auto" && device == Device::kCuda) {
      made.no_cuda = std::string(backend.status().message());
      continue;
    }
    if (absent) {
      return absl::Status(backend.status().code(), absl::StrCat("--device ", NameOf(device), ": ",
                                                                backend.status().message()));
    }
    if (!backend.ok()) return backend.status();
    made.device = device;
    made.backend = *std::move(backend);
    return made;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--device ", name, ": there are auto, cpu, cuda and reference"));
}

absl::Status CheckWeightFormat(Device device, WeightFormat format) {
  std::vector<const char*> taken;
  for (const WeightFormat candidate : {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kFP8,
                                       WeightFormat::kI8, WeightFormat::kI4}) {
    const bool integers = candidate == WeightFormat::kI8 || candidate == WeightFormat::kI4;
    const bool takes = device == Device::kCuda  ? !integers
                       : device == Device::kCpu ? candidate != WeightFormat::kFP8
                                                : true;
    if (takes && candidate == format) return absl::OkStatus();
    if (takes) taken.push_back(NameOf(candidate));
  }
  return absl::InvalidArgumentError(absl::StrCat("--weights ", NameOf(format), ": --device ",
                                                 NameOf(device), " takes ",
                                                 absl::StrJoin(taken, ", ")));
}

}  // namespace longleaf::kernels
