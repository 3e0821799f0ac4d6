// Which architectures and settings of a config.json are computed here.
#ifndef LONGLEAF_MODEL_CONFIG_SUPPORT_H_
#define LONGLEAF_MODEL_CONFIG_SUPPORT_H_

#include "absl/status/status.h"
#include "model/config_reader.h"

namespace longleaf::model {

// INVALID_ARGUMENT, naming file, key and what is supported, for another architecture or for a
// setting of the family's relatives that changes the result.
absl::Status CheckSupported(ConfigReader& in);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_CONFIG_SUPPORT_H_
