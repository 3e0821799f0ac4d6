// What may stand in a block of a stored state (STATE_FORMAT.md): checked before it is imported, so
// that damage is found here and not in somebody's answer.
#ifndef LONGLEAF_MODEL_STATE_VALUES_H_
#define LONGLEAF_MODEL_STATE_VALUES_H_

#include <cstddef>

#include "absl/types/span.h"
#include "kernels/backend.h"

namespace longleaf::model {

// Whether a whole block of a state of this shape, keys and values, consists of numbers that can
// stand in one: finite; elements of int8 not -128, and their scales from 0 up to kScaleLimit.
bool AreStateValues(const kernels::StateShape& shape, absl::Span<const std::byte> block);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_STATE_VALUES_H_
