#include "service/machine_memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace longleaf::service {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// What a limit file says; version 2 writes "max" for none, version 1 a number near 2^63.
int64_t LimitIn(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  int64_t bytes = 0;
  return file >> word && absl::SimpleAtoi(word, &bytes) && bytes > 0 ? bytes : kNoLimit;
}

// Of a group and of all that it lies in. In a container the group's own path may not be visible;
// what is mounted at the top is the container's group then.
int64_t LimitOfGroup(const std::string& mount, std::string group, const std::string& file) {
  int64_t limit = LimitIn(mount + "/" + file);
  while (group.size() > 1) {
    limit = std::min(limit, LimitIn(mount + group + "/" + file));
    group.resize(group.rfind('/'));
  }
  return limit;
}

}  // namespace

int64_t MachineMemory(const std::string& root) {
  int64_t bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  std::ifstream groups(root + "/proc/self/cgroup");  // lines of id:controllers:/path
  std::string line;
  while (std::getline(groups, line)) {
    const std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3 || !absl::StartsWith(fields[2], "/")) {
      continue;
    }
    if (fields[1].empty()) {
      bytes = std::min(bytes, LimitOfGroup(root + "/sys/fs/cgroup", fields[2], "memory.max"));
    } else if (absl::StrContains(fields[1], "memory")) {
      bytes = std::min(
          bytes, LimitOfGroup(root + "/sys/fs/cgroup/memory", fields[2], "memory.limit_in_bytes"));
    }
  }
  return bytes;
}

}  // namespace longleaf::service
