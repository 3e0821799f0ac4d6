// By what a file is recognised without reading it, as build systems do.
#ifndef LONGLEAF_MODEL_FILE_IDENTITY_H_
#define LONGLEAF_MODEL_FILE_IDENTITY_H_

#include <sys/stat.h>

#include <cstdint>

namespace longleaf::model {

// Equal identities of one path: nobody has written to the file in between, or replaced it, or moved
// it away and back. The time of the last change is the system's own and cannot be set, so a copy
// that keeps the time of the last modification is noticed too. Not noticed: a change within the
// clock tick of the one before, a file system that was altered from outside, a disk that decays.
struct FileIdentity {
  int64_t bytes = 0;
  int64_t modified_ns = 0;  // since 1970
  int64_t changed_ns = 0;   // since 1970: of content, name, owner or mode
  uint64_t inode = 0;

  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

inline FileIdentity IdentityOf(const struct stat& info) {
  constexpr int64_t kSecond = 1'000'000'000;
  return {static_cast<int64_t>(info.st_size), info.st_mtim.tv_sec * kSecond + info.st_mtim.tv_nsec,
          info.st_ctim.tv_sec * kSecond + info.st_ctim.tv_nsec, info.st_ino};
}

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_FILE_IDENTITY_H_
