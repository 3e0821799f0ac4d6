#include "model/checksums.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "model/json_text.h"

namespace longleaf::model {
namespace {

constexpr size_t kHexDigits = 64;
constexpr size_t kPieceBytes = size_t{1} << 20;

// Relative, and no way out of the directory.
bool IsBelow(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.back() == '/') return false;
  while (!name.empty()) {
    const std::string_view part = name.substr(0, name.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
    name.remove_prefix(std::min(name.size(), part.size() + 1));
  }
  return true;
}

absl::StatusOr<std::string> Sha256OfFile(const std::string& path) {
  // Without waiting for the other end of a pipe that lies where a file should.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  const absl::Cleanup close = [fd] { ::close(fd); };
  struct stat info = {};
  if (::fstat(fd, &info) != 0)
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a plain file"));
  }
  static_cast<void>(::posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  if (context == nullptr || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) {
    return absl::InternalError("SHA-256 is not to be had");
  }
  std::vector<unsigned char> piece(kPieceBytes);
  while (true) {
    const ssize_t count = ::read(fd, piece.data(), piece.size());
    if (count == 0) break;
    if (count < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    }
    EVP_DigestUpdate(context.get(), piece.data(), static_cast<size_t>(count));
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_DigestFinal_ex(context.get(), digest, &length);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), length));
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParseChecksums(std::string_view text,
                                                                  const std::string& name) {
  if (text.size() > static_cast<size_t>(kMaxChecksumsBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": larger than ", kMaxChecksumsBytes, " bytes"));
  }
  std::map<std::string, std::string> sums;
  for (int64_t line_number = 1; !text.empty(); ++line_number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto wrong = [&](const char* what) {
      return absl::InvalidArgumentError(absl::StrCat(name, ", line ", line_number, ": ", what));
    };
    const std::string_view digits = line.substr(0, kHexDigits);
    if (line.size() < kHexDigits + 3 ||
        !std::all_of(digits.begin(), digits.end(),
                     [](unsigned char c) { return absl::ascii_isxdigit(c); }) ||
        line[kHexDigits] != ' ' || (line[kHexDigits + 1] != ' ' && line[kHexDigits + 1] != '*')) {
      return wrong("not 64 hex digits, two spaces and a file name");
    }
    std::string_view file = line.substr(kHexDigits + 2);
    if (file.starts_with("./")) file.remove_prefix(2);
    if (!IsBelow(file) ||
        std::any_of(file.begin(), file.end(), [](unsigned char c) { return c < ' '; })) {
      return wrong("a file name that does not lie below the model directory");
    }
    std::string lower(digits);
    absl::AsciiStrToLower(&lower);
    if (!sums.emplace(std::string(file), std::move(lower)).second) {
      return wrong("a file that was named before");
    }
  }
  if (sums.empty()) return absl::InvalidArgumentError(absl::StrCat(name, ": names no file"));
  return sums;
}

absl::StatusOr<std::map<std::string, std::string>> ReadChecksums(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kChecksumsFile);
  const absl::StatusOr<std::string> text = ReadSmallFile(path, kMaxChecksumsBytes);
  if (absl::IsNotFound(text.status())) return std::map<std::string, std::string>();
  if (!text.ok()) return text.status();
  return ParseChecksums(*text, path);
}

absl::Status VerifyFiles(const std::string& directory,
                         const std::map<std::string, std::string>& sums, int threads) {
  if (sums.empty()) return absl::OkStatus();
  const std::string path = absl::StrCat(directory, "/", kChecksumsFile);
  const std::vector<std::pair<std::string, std::string>> files(sums.begin(), sums.end());
  std::vector<absl::Status> results(files.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next.fetch_add(1); i < files.size(); i = next.fetch_add(1)) {
      const auto& [file, expected] = files[i];
      const absl::StatusOr<std::string> found = Sha256OfFile(absl::StrCat(directory, "/", file));
      if (!found.ok()) {
        results[i] =
            absl::Status(found.status().code(),
                         absl::StrCat("a file that ", path, " names: ", found.status().message()));
      } else if (*found != expected) {
        results[i] = absl::DataLossError(
            absl::StrCat(directory, "/", file, " is damaged, or another file: its SHA-256 is ",
                         *found, ", ", path, " says ", expected));
      }
    }
  };
  if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  const size_t helpers = std::min(static_cast<size_t>(std::max(threads, 1)), files.size()) - 1;
  std::vector<std::thread> pool;
  for (size_t i = 0; i < helpers; ++i) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  for (const absl::Status& result : results) {
    if (!result.ok()) return result;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::set<std::string>> VerifyChecksums(const std::string& directory, int threads) {
  const absl::StatusOr<std::map<std::string, std::string>> sums = ReadChecksums(directory);
  if (!sums.ok()) return sums.status();
  if (absl::Status status = VerifyFiles(directory, *sums, threads); !status.ok()) return status;
  std::set<std::string> checked;
  for (const auto& [file, sum] : *sums) checked.insert(file);
  return checked;
}

absl::StatusOr<std::string> ChecksumLine(const std::string& directory, const std::string& file) {
  const absl::StatusOr<std::string> sum = Sha256OfFile(absl::StrCat(directory, "/", file));
  if (!sum.ok()) return sum.status();
  return absl::StrCat(*sum, "  ", file, "\n");
}

}  // namespace longleaf::model
