// How much memory this process may use before the kernel kills it.
#ifndef LONGLEAF_SERVICE_MACHINE_MEMORY_H_
#define LONGLEAF_SERVICE_MACHINE_MEMORY_H_

#include <cstdint>
#include <string>

namespace longleaf::service {

// The machine's memory in bytes, or the smallest limit of a control group (version 1 or 2) that the
// process is in: of a container, a pod, a systemd unit. `root` is where /proc and /sys are, for
// tests.
int64_t MachineMemory(const std::string& root = "");

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_MACHINE_MEMORY_H_
