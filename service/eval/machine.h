// What the machine is, and what this process takes of it.
#ifndef LONGLEAF_SERVICE_EVAL_MACHINE_H_
#define LONGLEAF_SERVICE_EVAL_MACHINE_H_

#include <cstdint>
#include <string>

namespace longleaf::service::eval {

std::string CpuName();  // as /proc/cpuinfo has it; "unknown" elsewhere
int64_t CpuCount();     // that this process may use
int64_t MemoryBytes();  // physical
double LoadAverage();   // of the last minute; over CpuCount() a measurement is disturbed

// The most memory this process has held since the last reset (VmHWM), pages of mapped files
// included; 0 where /proc does not say.
int64_t PeakMemoryBytes();
// Begins a new peak at what is held now. Does nothing where the kernel does not allow it.
void ResetPeakMemory();

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_MACHINE_H_
