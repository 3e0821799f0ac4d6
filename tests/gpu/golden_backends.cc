// The backend of the executables that run the golden tests on CUDA: on a chip, or emulated.
#include "tests/golden/golden_case.h"

namespace longleaf::model {

std::vector<BackendKind> BackendsHere() { return {BackendKind::kCuda}; }

}  // namespace longleaf::model
