#include "service/cli/names.h"

#include <cstdint>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longleaf::service::cli {
namespace {

constexpr char kPrefix[] = "documents/";
constexpr size_t kMostSlug = 48;  // with the suffix well under the 63 of an id

// FNV-1a, spelled out because the value must not change between versions: it is part of an id that
// a later run of the same request has to find again.
uint64_t Fnv1a(const std::string& text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  }
  return hash;
}

std::string Slug(const std::string& path) {
  std::string base = BaseName(path);
  const size_t dot = base.rfind('.');
  if (dot != std::string::npos && dot > 0) {
    base.resize(dot);
  }
  std::string slug;
  for (const char c : base) {
    const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
    if (absl::ascii_isalnum(static_cast<unsigned char>(lower))) {
      slug += lower;
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
    if (slug.size() == kMostSlug) {
      break;
    }
  }
  while (!slug.empty() && slug.back() == '-') {
    slug.pop_back();
  }
  return slug.empty() ? "text" : slug;
}

}  // namespace

std::string DocumentName(const std::string& name_or_id) {
  return absl::StartsWith(name_or_id, kPrefix) ? name_or_id : kPrefix + name_or_id;
}

std::string NewRequestId() {
  std::random_device device;
  uint32_t words[4];
  for (uint32_t& word : words) {
    word = device();
  }
  words[1] = (words[1] & 0xFFFF0FFFu) | 0x00004000u;  // version 4
  words[2] = (words[2] & 0x3FFFFFFFu) | 0x80000000u;  // variant 1
  return absl::StrFormat("%08x-%04x-%04x-%04x-%04x%08x", words[0], words[1] >> 16,
                         words[1] & 0xFFFF, words[2] >> 16, words[2] & 0xFFFF, words[3]);
}

std::string DocumentIdFor(const std::string& path, const std::string& request_id) {
  constexpr char kAlphabet[] = "abcdefghjkmnpqrstvwxyz0123456789";  // 32, easy to tell apart
  uint64_t hash = Fnv1a(request_id);
  hash ^= hash >> 29;  // the low bits of FNV are its weakest
  std::string id = Slug(path) + "-";
  for (int i = 0; i < 8; ++i) {
    id += kAlphabet[hash & 31];
    hash >>= 5;
  }
  return id;
}

std::string BaseName(const std::string& path) {
  if (path == "-") {
    return "";
  }
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace longleaf::service::cli
