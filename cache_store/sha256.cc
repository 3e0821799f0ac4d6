// See sha256.h.
#include "cache_store/sha256.h"

namespace longleaf::store::internal {

Sha256::Sha256() { SHA256_Init(&context_); }

void Sha256::Update(std::string_view bytes) {
  SHA256_Update(&context_, bytes.data(), bytes.size());
}

void Sha256::UpdateTokens(absl::Span<const int32_t> tokens) {
  uint8_t buffer[4096];
  size_t used = 0;
  for (const int32_t token : tokens) {
    for (int shift = 0; shift < 32; shift += 8) {
      buffer[used++] = static_cast<uint8_t>(static_cast<uint32_t>(token) >> shift);
    }
    if (used == sizeof(buffer)) {
      SHA256_Update(&context_, buffer, used);
      used = 0;
    }
  }
  SHA256_Update(&context_, buffer, used);
}

Digest Sha256::Value() const {
  SHA256_CTX copy = context_;
  Digest digest;
  SHA256_Final(digest.data(), &copy);
  return digest;
}

}  // namespace longleaf::store::internal
