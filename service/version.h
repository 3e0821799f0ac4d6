#ifndef LONGLEAF_SERVICE_VERSION_H_
#define LONGLEAF_SERVICE_VERSION_H_

namespace longleaf::service {

inline constexpr char kVersion[] = LONGLEAF_VERSION;  // set by CMake from the project's version

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_VERSION_H_
