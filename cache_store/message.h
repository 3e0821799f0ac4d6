// Error messages from parts. Debian's Abseil is built with a string_view of its own, which StrCat
// takes and std::string_view does not turn into by itself.
#ifndef LONGLEAF_CACHE_STORE_MESSAGE_H_
#define LONGLEAF_CACHE_STORE_MESSAGE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace longleaf::store::internal {

template <typename T>
const T& MessagePart(const T& part) {
  return part;
}
inline absl::string_view MessagePart(const std::string_view& part) {
  return absl::string_view(part.data(), part.size());
}

template <typename... Parts>
std::string Message(const Parts&... parts) {
  return absl::StrCat(MessagePart(parts)...);
}

// The same status with `what` in front of its message.
inline absl::Status Prefixed(std::string_view what, const absl::Status& status) {
  if (status.ok()) return status;
  return absl::Status(status.code(), Message(what, ": ", status.message()));
}

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_MESSAGE_H_
