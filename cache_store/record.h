// What the store keeps about a document, and the canonical bytes of it (FORMAT.md, "Records").
//
// Encodings are little-endian, begin with a kind and a version byte, end with a 64-bit XXH3 over
// everything before it, and are decoded with every length checked: a decoder given any bytes at all
// returns a value or DATA_LOSS / FAILED_PRECONDITION, never anything else. A record of the newest
// version that decodes encodes back to the same bytes; an older one is written back as the newest.
//
// This file knows bytes and documents; it does not know RocksDB, models or the wire.
#ifndef LONGLEAF_CACHE_STORE_RECORD_H_
#define LONGLEAF_CACHE_STORE_RECORD_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace longleaf::store {

// A SHA-256 value. All zero where it is not yet known.
using Digest = std::array<uint8_t, 32>;

// Numbers are on disk: never renumbered, never reused.
enum class DocumentState : uint8_t {
  kCreating = 1,    // text still arriving; resumable
  kQueued = 2,      // text complete and durable, waiting for its prefill
  kPrefilling = 3,  // being read
  kActive = 4,      // read; stays so when its snapshot is evicted
  kFailed = 5,      // failure_code and failure_message say why
};

// One document. Times are microseconds since the Unix epoch. Plain data, copyable.
// Fields marked [store] are set by the store alone; what a caller puts there is ignored.
struct DocumentRecord {
  std::string tenant;        // [store] whose it is; empty in what was written before version 2
  std::string id;            // 1..255 bytes, unique within its tenant
  std::string display_name;  // at most 4 KiB
  std::map<std::string, std::string> labels;

  int64_t create_time_us = 0;  // [store]
  int64_t update_time_us = 0;  // [store] of the last change that raised `revision` or brought text
  int64_t expire_time_us = 0;  // 0: never
  int64_t last_asked_time_us = 0;  // 0: never; written lazily, may fall back a little in a crash

  int64_t serial = 0;      // [store] never reused: tells two documents of the same id apart
  int64_t revision = 0;    // [store] 1 at creation, +1 with FinalizeUpload and UpdateDocument
  std::string request_id;  // empty: none; at most 255 bytes

  DocumentState state = DocumentState::kCreating;
  int32_t failure_code = 0;     // the caller's own number, 0 unless kFailed
  std::string failure_message;  // at most 64 KiB

  int64_t text_bytes = 0;   // [store] committed bytes of text: the next write_offset
  Digest text_sha256 = {};  // [store] of the whole text; all zero until FinalizeUpload

  Digest token_fingerprint = {};   // what the stored tokens are valid for (tokenizer, seams)
  int64_t token_count = 0;         // [store] committed tokens: the next first_token
  int64_t tokenized_bytes = 0;     // [store] offset in the text where tokenising goes on
  int64_t token_stored_bytes = 0;  // [store] bytes that the tokens take on disk

  // How far a model has ever read the document, in tokens of its input (NoteRead): what is read
  // again below that is read twice. Written lazily, may fall back a little in a crash.
  int64_t read_tokens = 0;  // [store]

  bool operator==(const DocumentRecord&) const = default;
};

// What a request id was used for, so that the same request again gets the first result.
struct RequestRecord {
  std::string document_id;
  int64_t serial = 0;
  Digest fingerprint = {};  // the caller's digest of the request

  bool operator==(const RequestRecord&) const = default;
};

// Canonical bytes. INVALID_ARGUMENT where a field is outside its limits above.
absl::StatusOr<std::string> EncodeDocument(const DocumentRecord& record);
absl::StatusOr<std::string> EncodeRequest(const RequestRecord& record);

// DATA_LOSS for damaged bytes, FAILED_PRECONDITION (naming both numbers) for an unknown version.
absl::StatusOr<DocumentRecord> DecodeDocument(std::string_view bytes);
absl::StatusOr<RequestRecord> DecodeRequest(std::string_view bytes);

// "CREATING", ...; "UNKNOWN" for a value outside the enum.
std::string_view DocumentStateName(DocumentState state);

}  // namespace longleaf::store

#endif  // LONGLEAF_CACHE_STORE_RECORD_H_
