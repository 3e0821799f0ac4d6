// Little-endian building blocks of every stored byte, and the frame that all records share.
//
// A frame is: kind (u8), version (u8), body, XXH3-64 (u64) of everything before it. The frame is
// the same in every version, so damage is told from an unknown version.
#ifndef LONGLEAF_CACHE_STORE_CODING_H_
#define LONGLEAF_CACHE_STORE_CODING_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cache_store/record.h"

#define LONGLEAF_STORE_RETURN_IF_ERROR(expression)            \
  do {                                                        \
    if (absl::Status status_ = (expression); !status_.ok()) { \
      return status_;                                         \
    }                                                         \
  } while (false)

namespace longleaf::store::internal {

// First byte of a stored record or value. On disk: never renumbered, never reused.
enum class RecordKind : uint8_t {
  kSchema = 1,
  kCounter = 2,
  kDocument = 3,
  kRequest = 4,
  kTextChunk = 5,
  kTokenChunk = 6,
  kManifest = 7,
  kAsked = 8,
  kSegmentValue = 9,
};

uint64_t Xxh3(std::string_view bytes);

// Appends to a string.
class Encoder {
 public:
  Encoder(RecordKind kind, uint8_t version);

  void U8(uint8_t value) { bytes_.push_back(static_cast<char>(value)); }
  void U16(uint16_t value) { Fixed(value); }
  void U32(uint32_t value) { Fixed(value); }
  void U64(uint64_t value) { Fixed(value); }
  void I32(int32_t value) { Fixed(static_cast<uint32_t>(value)); }
  void I64(int64_t value) { Fixed(static_cast<uint64_t>(value)); }
  void Varint(uint64_t value);          // LEB128, shortest form
  void String(std::string_view value);  // u32 length, bytes
  void Raw(std::string_view value) { bytes_.append(value); }
  void Sha(const Digest& value);

  size_t size() const { return bytes_.size(); }
  void Reserve(size_t bytes) { bytes_.reserve(bytes); }
  // Closes the frame with its checksum. The encoder is spent.
  std::string Seal();
  // The bytes as they are, for what carries its checksum elsewhere. The encoder is spent.
  std::string Take() { return std::move(bytes_); }

 private:
  template <typename T>
  void Fixed(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) U8(static_cast<uint8_t>(value >> (8 * i)));
  }
  std::string bytes_;
};

// Reads from bytes it does not own. The first read beyond the end makes ok() false for good, and
// every read from then on gives zero or nothing.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : rest_(bytes) {}

  // Takes a frame apart: DATA_LOSS when it is too short, its checksum is wrong or it is of another
  // kind; FAILED_PRECONDITION for another version. `what` names the record in messages.
  static absl::StatusOr<Decoder> Open(std::string_view frame, RecordKind kind, uint8_t version,
                                      std::string_view what);
  // As Open, for a kind of which versions 1 to `newest` are understood; version() tells which.
  static absl::StatusOr<Decoder> OpenUpTo(std::string_view frame, RecordKind kind, uint8_t newest,
                                          std::string_view what);
  uint8_t version() const { return version_; }

  uint8_t U8() { return Fixed<uint8_t>(); }
  uint16_t U16() { return Fixed<uint16_t>(); }
  uint32_t U32() { return Fixed<uint32_t>(); }
  uint64_t U64() { return Fixed<uint64_t>(); }
  int32_t I32() { return static_cast<int32_t>(Fixed<uint32_t>()); }
  int64_t I64() { return static_cast<int64_t>(Fixed<uint64_t>()); }
  int64_t NonNegative();  // an I64 that must be >= 0
  uint64_t Varint();      // refuses anything but the shortest form
  std::string_view String(size_t limit);
  std::string_view Raw(size_t length);
  Digest Sha();

  size_t remaining() const { return rest_.size(); }
  bool ok() const { return ok_; }
  void Fail() {
    ok_ = false;
    rest_ = {};
  }
  // OK when everything was read and nothing was wrong.
  absl::Status Finish(std::string_view what) const;

 private:
  static absl::StatusOr<Decoder> OpenFrame(std::string_view frame, RecordKind kind,
                                           std::string_view what);
  template <typename T>
  T Fixed() {
    const std::string_view raw = Raw(sizeof(T));
    T value = 0;
    for (size_t i = 0; i < raw.size(); ++i) {
      value = static_cast<T>(value | (static_cast<T>(static_cast<uint8_t>(raw[i])) << (8 * i)));
    }
    return value;
  }
  std::string_view rest_;
  uint8_t version_ = 0;
  bool ok_ = true;
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_CODING_H_
