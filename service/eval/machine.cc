#include "service/eval/machine.h"

#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace longleaf::service::eval {
namespace {

// The rest of the first line of a /proc file that begins with `key`, without colon and spaces.
std::string ProcLine(const char* path, const char* key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    absl::string_view rest = line;
    if (!absl::ConsumePrefix(&rest, key)) continue;
    return std::string(absl::StripAsciiWhitespace(
        absl::StripPrefix(absl::StripLeadingAsciiWhitespace(rest), ":")));
  }
  return "";
}

}  // namespace

std::string CpuName() {
  const std::string name = ProcLine("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown" : name;
}

int64_t CpuCount() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return sysconf(_SC_NPROCESSORS_ONLN);
}

int64_t MemoryBytes() { return sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE); }

double LoadAverage() {
  double minute = 0;
  return getloadavg(&minute, 1) == 1 ? minute : 0;
}

int64_t PeakMemoryBytes() {
  const std::string line = ProcLine("/proc/self/status", "VmHWM");
  int64_t kib = 0;
  return absl::SimpleAtoi(absl::StripSuffix(line, " kB"), &kib) ? kib * 1024 : 0;
}

void ResetPeakMemory() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5";
}

}  // namespace longleaf::service::eval
