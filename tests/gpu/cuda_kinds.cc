// The backend of the executables that run the ordinary tests on CUDA: on a chip, or emulated.
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {

std::vector<Kind> KindsHere() { return {Kind::kCuda}; }

}  // namespace longleaf::kernels
