// SHA-256 that can be read at every prefix on the way.
#ifndef LONGLEAF_CACHE_STORE_SHA256_H_
#define LONGLEAF_CACHE_STORE_SHA256_H_

// The plain functions cannot fail, which the allocating EVP interface can; OpenSSL keeps them
// behind this word.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <cstdint>
#include <string_view>

#include "absl/types/span.h"
#include "cache_store/record.h"

namespace longleaf::store::internal {

// Not thread-safe.
class Sha256 {
 public:
  Sha256();
  void Update(std::string_view bytes);
  // Each id as a little-endian int32. tokens: [n]
  void UpdateTokens(absl::Span<const int32_t> tokens);
  // Of everything so far; more may follow.
  Digest Value() const;

 private:
  SHA256_CTX context_;
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_SHA256_H_
