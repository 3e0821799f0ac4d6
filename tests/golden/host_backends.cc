// The backends of the ordinary executables.
#include "tests/golden/golden_case.h"

namespace longleaf::model {

std::vector<BackendKind> BackendsHere() { return {BackendKind::kReference, BackendKind::kCpu}; }

}  // namespace longleaf::model
