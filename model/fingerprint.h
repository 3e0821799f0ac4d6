// What makes a stored state valid, in 32 bytes: two servers with equal fingerprints can use each
// other's states, and a state under another fingerprint is never looked at.
#ifndef LONGLEAF_MODEL_FINGERPRINT_H_
#define LONGLEAF_MODEL_FINGERPRINT_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "model/config.h"
#include "model/safetensors.h"

namespace longleaf::model {

using Fingerprint = std::array<uint8_t, 32>;

struct FingerprintInputs {
  std::string weights;    // DigestWeights
  std::string tokenizer;  // Tokenizer::digest()
  std::string prompt;     // Prompt::digest()
  std::string config;     // Config::Canonical()
  kernels::AttentionPolicy policy;
  kernels::WeightFormat weight_format = kernels::WeightFormat::kF32;
  kernels::DType state_dtype = kernels::DType::kF32;
};

// 64 hex digits over the content of all weight files (XXH3-128 of pieces of 64 MiB, then SHA-256),
// read with up to `threads` threads (0: one for each processor). Reads every byte: at 10 GB/s from
// the page cache, at the disk's speed without it. Renaming files changes nothing as long as their
// order stays.
std::string DigestWeights(const WeightFiles& files, int threads = 0);

// SHA-256 over the inputs, each with its length before it, and the version of the state codec.
Fingerprint ComputeFingerprint(const FingerprintInputs& inputs);

std::string ToHex(const Fingerprint& fingerprint);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_FINGERPRINT_H_
