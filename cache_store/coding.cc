// See coding.h.
#include "cache_store/coding.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "cache_store/message.h"

namespace longleaf::store::internal {
namespace {

constexpr size_t kFrameHead = 2;
constexpr size_t kFrameTail = 8;

}  // namespace

uint64_t Xxh3(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Encoder::Encoder(RecordKind kind, uint8_t version) {
  U8(static_cast<uint8_t>(kind));
  U8(version);
}

void Encoder::Varint(uint64_t value) {
  while (value >= 0x80) {
    U8(static_cast<uint8_t>(value | 0x80));
    value >>= 7;
  }
  U8(static_cast<uint8_t>(value));
}

void Encoder::String(std::string_view value) {
  U32(static_cast<uint32_t>(value.size()));
  Raw(value);
}

void Encoder::Sha(const Digest& value) {
  bytes_.append(reinterpret_cast<const char*>(value.data()), value.size());
}

std::string Encoder::Seal() {
  U64(Xxh3(bytes_));
  return std::move(bytes_);
}

absl::StatusOr<Decoder> Decoder::Open(std::string_view frame, RecordKind kind, uint8_t version,
                                      std::string_view what) {
  absl::StatusOr<Decoder> body = OpenFrame(frame, kind, what);
  if (!body.ok()) return body.status();
  if (body->version_ != version) {
    return absl::FailedPreconditionError(
        Message(what, ": format version ", body->version_, ", this program reads ", version));
  }
  return body;
}

absl::StatusOr<Decoder> Decoder::OpenUpTo(std::string_view frame, RecordKind kind, uint8_t newest,
                                          std::string_view what) {
  absl::StatusOr<Decoder> body = OpenFrame(frame, kind, what);
  if (!body.ok()) return body.status();
  if (body->version_ < 1 || body->version_ > newest) {
    return absl::FailedPreconditionError(
        Message(what, ": format version ", body->version_, ", this program reads 1 to ", newest));
  }
  return body;
}

absl::StatusOr<Decoder> Decoder::OpenFrame(std::string_view frame, RecordKind kind,
                                           std::string_view what) {
  if (frame.size() < kFrameHead + kFrameTail) {
    return absl::DataLossError(Message(what, ": cut short"));
  }
  const std::string_view covered = frame.substr(0, frame.size() - kFrameTail);
  Decoder checksum(frame.substr(covered.size()));
  if (checksum.U64() != Xxh3(covered)) {
    return absl::DataLossError(Message(what, ": checksum does not agree"));
  }
  Decoder body(covered);
  if (const uint8_t found = body.U8(); found != static_cast<uint8_t>(kind)) {
    return absl::DataLossError(
        Message(what, ": is of kind ", found, ", not ", static_cast<int>(kind)));
  }
  body.version_ = body.U8();
  return body;
}

int64_t Decoder::NonNegative() {
  const int64_t value = I64();
  if (value >= 0) return value;
  Fail();
  return 0;
}

uint64_t Decoder::Varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const uint8_t byte = U8();
    if (!ok_) return 0;
    const uint64_t bits = byte & 0x7f;
    if ((shift == 63 && bits > 1) || (shift > 0 && byte == 0)) break;  // too big; not shortest
    value |= bits << shift;
    if (byte < 0x80) return value;
  }
  Fail();
  return 0;
}

std::string_view Decoder::String(size_t limit) {
  const uint32_t length = U32();
  if (length > limit) {
    Fail();
    return {};
  }
  return Raw(length);
}

std::string_view Decoder::Raw(size_t length) {
  if (length > rest_.size()) {
    Fail();
    return {};
  }
  const std::string_view raw = rest_.substr(0, length);
  rest_.remove_prefix(length);
  return raw;
}

Digest Decoder::Sha() {
  Digest digest = {};
  const std::string_view raw = Raw(digest.size());
  std::copy(raw.begin(), raw.end(), reinterpret_cast<char*>(digest.data()));
  return digest;
}

absl::Status Decoder::Finish(std::string_view what) const {
  if (!ok_) return absl::DataLossError(Message(what, ": fields do not fit its length"));
  if (!rest_.empty()) {
    return absl::DataLossError(Message(what, ": ", rest_.size(), " bytes too many"));
  }
  return absl::OkStatus();
}

}  // namespace longleaf::store::internal
