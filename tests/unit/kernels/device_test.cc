// Which backend --device gives, with makers that stand for machines with and without a GPU.
#include "kernels/device.h"

#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/cuda_backend.h"

namespace longleaf::kernels {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A machine where CUDA answers `cuda`, and every other device is there.
class Machine {
 public:
  explicit Machine(absl::Status cuda) : cuda_(std::move(cuda)) {}
  absl::StatusOr<DeviceBackend> Make(absl::string_view name) {
    return MakeDeviceBackend(name,
                             [this](Device device) -> absl::StatusOr<std::unique_ptr<Backend>> {
                               tried_.push_back(device);
                               if (device == Device::kCuda && !cuda_.ok()) return cuda_;
                               return CreateReferenceBackend(1 << 20);
                             });
  }
  const std::vector<Device>& tried() const { return tried_; }

 private:
  const absl::Status cuda_;
  std::vector<Device> tried_;
};

TEST(Device, AutoIsCudaWhereThereIsOne) {
  Machine machine(absl::OkStatus());
  const auto made = machine.Make("auto");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->device, Device::kCuda);
  EXPECT_NE(made->backend, nullptr);
  EXPECT_EQ(made->no_cuda, "");
  EXPECT_THAT(machine.tried(), ElementsAre(Device::kCuda));
}

TEST(Device, AutoIsTheCpuElsewhereAndSaysWhy) {
  for (const absl::Status& none :
       {absl::UnimplementedError("built without"), absl::UnavailableError("no driver")}) {
    Machine machine(none);
    const auto made = machine.Make("auto");
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->device, Device::kCpu);
    EXPECT_EQ(made->no_cuda, none.message());
    EXPECT_THAT(machine.tried(), ElementsAre(Device::kCuda, Device::kCpu));
  }
}

// A GPU that is there and has no room is no reason to serve, slowly, from another device.
TEST(Device, AutoPassesOnWhatIsNoAbsence) {
  Machine machine(absl::ResourceExhaustedError("no room"));
  const absl::Status status = machine.Make("auto").status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("no room"));
  EXPECT_THAT(machine.tried(), ElementsAre(Device::kCuda));
}

TEST(Device, ANamedDeviceIsTheOnlyOneTried) {
  for (const Device device : {Device::kCpu, Device::kReference}) {
    Machine machine(absl::UnavailableError("not asked"));
    const auto made = machine.Make(NameOf(device));
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->device, device);
    EXPECT_THAT(machine.tried(), ElementsAre(device));
  }
  Machine machine(absl::UnavailableError("no driver"));
  const absl::Status status = machine.Make("cuda").status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("--device cuda: no driver"));
  EXPECT_THAT(machine.tried(), ElementsAre(Device::kCuda));
}

TEST(Device, UnknownNamesAreRefused) {
  Machine machine(absl::OkStatus());
  for (const char* name : {"", "gpu", "CUDA", "tpu"}) {
    const absl::Status status = machine.Make(name).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("auto, cpu, cuda"));
  }
  EXPECT_TRUE(machine.tried().empty());
}

TEST(Device, FormatsThatADeviceDoesNotTake) {
  EXPECT_TRUE(CheckWeightFormat(Device::kCpu, WeightFormat::kI8).ok());
  EXPECT_TRUE(CheckWeightFormat(Device::kCuda, WeightFormat::kBF16).ok());
  EXPECT_TRUE(CheckWeightFormat(Device::kCuda, WeightFormat::kFP8).ok());
  EXPECT_TRUE(CheckWeightFormat(Device::kReference, WeightFormat::kFP8).ok());
  const absl::Status integers = CheckWeightFormat(Device::kCuda, WeightFormat::kI4);
  EXPECT_EQ(integers,
            absl::InvalidArgumentError("--weights int4: --device cuda takes f32, bf16, fp8"));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckWeightFormat(Device::kCpu, WeightFormat::kFP8)));
}

TEST(Device, FormatsAreThoseThatPackMatrixTakes) {
  const std::vector<float> weights(128);
  const WeightView view{weights.data(), DType::kF32, 2, 64};
  for (const Device device : {Device::kCpu, Device::kReference}) {
    const auto backend = device == Device::kCpu ? CreateCpuBackend({.threads = 1}).value()
                                                : CreateReferenceBackend(1 << 20).value();
    for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kFP8,
                                      WeightFormat::kI8, WeightFormat::kI4}) {
      EXPECT_EQ(CheckWeightFormat(device, format).ok(),
                backend->PackMatrix({&view, 1}, Epilogue::kNone, format).ok())
          << NameOf(device) << ", " << NameOf(format);
    }
  }
}

// Whatever this machine and build are: an answer, and the same one from both functions.
TEST(Device, CudaIsThereOrSaysWhyNot) {
  const auto device = FindCudaDevice();
  const auto backend = CreateCudaBackend({});
  EXPECT_EQ(device.status().code(), backend.status().code()) << device.status() << backend.status();
  if (!device.ok()) {
    EXPECT_TRUE(absl::IsUnimplemented(device.status()) || absl::IsUnavailable(device.status()))
        << device.status();
    EXPECT_FALSE(device.status().message().empty());
  }
}

}  // namespace
}  // namespace longleaf::kernels
