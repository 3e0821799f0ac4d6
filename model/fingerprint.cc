#include "model/fingerprint.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "model/state_codec.h"

namespace longleaf::model {
namespace {

constexpr size_t kPieceBytes = size_t{64} << 20;

// SHA-256 over parts, each after its length as a little-endian u64, so that no two lists of parts
// look alike.
Fingerprint Sha256(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) {
    for (int i = 0; i < 8; ++i) {
      text.push_back(static_cast<char>(uint64_t{part.size()} >> (8 * i)));
    }
    text += part;
  }
  Fingerprint digest = {};
  unsigned int length = 0;
  // Fails only where OpenSSL has no SHA-256 at all.
  EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr);
  return digest;
}

std::string PieceDigest(absl::Span<const std::byte> piece) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(piece.data(), piece.size()));
  return std::string(reinterpret_cast<const char*>(canonical.digest), sizeof(canonical.digest));
}

}  // namespace

std::string DigestWeights(const WeightFiles& files, int threads) {
  struct Piece {
    const SafetensorsFile* file;
    absl::Span<const std::byte> bytes;
  };
  std::vector<Piece> pieces;
  std::vector<std::string> parts;  // the sizes of all files, then the digest of every piece
  for (const auto& file : files.files()) {
    parts.push_back(absl::StrCat(file->bytes().size()));
    for (size_t at = 0; at < file->bytes().size(); at += kPieceBytes) {
      pieces.push_back({file.get(), file->bytes().subspan(at, kPieceBytes)});
    }
  }
  const size_t sizes = parts.size();
  parts.resize(sizes + pieces.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next.fetch_add(1); i < pieces.size(); i = next.fetch_add(1)) {
      parts[sizes + i] = PieceDigest(pieces[i].bytes);
      pieces[i].file->Release(pieces[i].bytes);
    }
  };
  if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  const size_t helpers =
      std::min(static_cast<size_t>(std::max(threads, 1)), std::max<size_t>(pieces.size(), 1)) - 1;
  std::vector<std::thread> pool;
  for (size_t i = 0; i < helpers; ++i) pool.emplace_back(work);
  work();
  for (std::thread& thread : pool) thread.join();
  return ToHex(Sha256(parts));
}

Fingerprint ComputeFingerprint(const FingerprintInputs& inputs) {
  return Sha256({"longleaf state", inputs.weights, inputs.tokenizer, inputs.prompt, inputs.config,
                 inputs.policy.ToString(), kernels::NameOf(inputs.weight_format),
                 kernels::NameOf(inputs.state_dtype), absl::StrCat(kStateCodecVersion)});
}

std::string ToHex(const Fingerprint& fingerprint) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(fingerprint.data()), fingerprint.size()));
}

}  // namespace longleaf::model
