// Whole small files from the command line: texts to read, tokens to run.
#ifndef LONGLEAF_SERVICE_EVAL_READ_FILE_H_
#define LONGLEAF_SERVICE_EVAL_READ_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace longleaf::service::eval {

// The bytes of a file. The error names it.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// `tokens`, I32 [T >= 1], of a safetensors file. INVALID_ARGUMENT names the file and what is wrong.
absl::StatusOr<std::vector<int32_t>> ReadTokens(const std::string& path);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_READ_FILE_H_
