// The backend of the executables that run the ordinary tests on a chip.
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {

std::vector<Kind> KindsHere() { return {Kind::kCuda}; }

std::vector<StateShape> ShapesHere() { return Shapes(); }

}  // namespace longleaf::kernels
