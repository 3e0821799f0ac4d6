#include "service/machine_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace longleaf::service {
namespace {

class MachineMemoryTest : public ::testing::Test {
 protected:
  MachineMemoryTest() : root_(::testing::TempDir() + "machine_memory_" + std::to_string(getpid())) {
    std::filesystem::remove_all(root_);
  }
  ~MachineMemoryTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  const std::string root_;
  const int64_t machine_ = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
};

TEST_F(MachineMemoryTest, WithoutControlGroupsItIsTheMachines) {
  EXPECT_EQ(MachineMemory(root_), machine_);
  Write("/proc/self/cgroup", "0::/\nnonsense\n1:cpu:/x\n");
  Write("/sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(MachineMemory(root_), machine_);
}

TEST_F(MachineMemoryTest, TheTightestGroupCounts) {
  Write("/proc/self/cgroup", "0::/kubepods/pod1/container2\n");
  Write("/sys/fs/cgroup/kubepods/memory.max", "900000000\n");
  Write("/sys/fs/cgroup/kubepods/pod1/memory.max", "300000000\n");
  Write("/sys/fs/cgroup/kubepods/pod1/container2/memory.max", "max\n");
  EXPECT_EQ(MachineMemory(root_), 300'000'000);
}

TEST_F(MachineMemoryTest, InsideAContainerTheTopIsItsGroup) {
  Write("/proc/self/cgroup", "0::/\n");
  Write("/sys/fs/cgroup/memory.max", "200000000\n");
  EXPECT_EQ(MachineMemory(root_), 200'000'000);
}

TEST_F(MachineMemoryTest, VersionOneIsReadToo) {
  Write("/proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/docker/abc\n0::/\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "100000000\n");
  EXPECT_EQ(MachineMemory(root_), 100'000'000);
}

}  // namespace
}  // namespace longleaf::service
