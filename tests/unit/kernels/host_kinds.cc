// The backends of a test executable that needs no GPU.
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {

std::vector<Kind> KindsHere() {
  return {Kind::kReference, Kind::kCpuOneThread, Kind::kCpuThreeThreads};
}

std::vector<StateShape> ShapesHere() { return Shapes(); }

}  // namespace longleaf::kernels
