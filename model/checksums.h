// SHA256SUMS, as coreutils' sha256sum writes it, in a model directory: safetensors files carry no
// checksums, so a wrong byte in them would only be a slightly different model.
#ifndef LONGLEAF_MODEL_CHECKSUMS_H_
#define LONGLEAF_MODEL_CHECKSUMS_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longleaf::model {

inline constexpr const char* kChecksumsFile = "SHA256SUMS";
inline constexpr int64_t kMaxChecksumsBytes = 1 << 20;

// File name -> 64 lower-case hex digits. Every line is the digits, two spaces (or " *") and a name
// below the directory. INVALID_ARGUMENT, with `name` and the line in front: another line, a name
// twice, a name that leads out of the directory, no line at all, more than kMaxChecksumsBytes.
absl::StatusOr<std::map<std::string, std::string>> ParseChecksums(std::string_view text,
                                                                  const std::string& name);

// What DIRECTORY/SHA256SUMS names; nothing when there is none. Otherwise as above.
absl::StatusOr<std::map<std::string, std::string>> ReadChecksums(const std::string& directory);

// Reads every file that `sums` names, with up to `threads` threads (0: one for each processor).
// DATA_LOSS names a file that is not the one; an error of the system one that cannot be read or is
// missing.
absl::Status VerifyFiles(const std::string& directory,
                         const std::map<std::string, std::string>& sums, int threads = 0);

// Both, for all files; returns their names.
absl::StatusOr<std::set<std::string>> VerifyChecksums(const std::string& directory,
                                                      int threads = 0);

// The line of SHA256SUMS for a file of the directory.
absl::StatusOr<std::string> ChecksumLine(const std::string& directory, const std::string& file);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_CHECKSUMS_H_
