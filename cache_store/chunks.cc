// See chunks.h and FORMAT.md.
#include "cache_store/chunks.h"

#include <limits>
#include <memory>
#include <utility>

#include "cache_store/coding.h"
#include "cache_store/keys.h"
#include "cache_store/limits.h"
#include "cache_store/message.h"

namespace longleaf::store::internal {
namespace {

constexpr uint8_t kTextVersion = 1;
constexpr uint8_t kTokenVersion = 1;

// Walks the chunks of one family that cover [from, end). `use(offset, bytes)` returns the chunk's
// length in the units of its offsets.
absl::Status Walk(Database& database, Family family, std::string_view what,
                  const std::string& tenant, const std::string& id, int64_t from, int64_t end,
                  absl::FunctionRef<absl::StatusOr<int64_t>(int64_t, std::string_view)> use) {
  if (from >= end) return absl::OkStatus();
  const std::string prefix = NamePrefix(tenant, id);
  const std::string last = OffsetEnd(prefix);
  const rocksdb::Slice lower(prefix);
  const rocksdb::Slice upper(last);
  const std::unique_ptr<rocksdb::Iterator> row = database.Scan(family, &lower, &upper);
  const auto lost = [&](int64_t offset, std::string_view how) {
    return absl::DataLossError(
        Message("document ", id, ": ", what, " at offset ", offset, ": ", how));
  };
  int64_t at = from;
  for (row->SeekForPrev(OffsetKey(prefix, from)); at < end; row->Next()) {
    if (!row->Valid()) {
      if (!row->status().ok() && !row->status().IsCorruption()) return FromRocks(row->status());
      return lost(at, row->status().ok() ? "is missing" : row->status().ToString());
    }
    int64_t offset = 0;
    if (!ParseOffset(FromSlice(row->key()), prefix, &offset)) return lost(at, "key is damaged");
    // The first chunk may begin before `from`; the others follow each other without a gap.
    if (offset > at || (at > from && offset != at)) return lost(at, "is missing");
    const absl::StatusOr<int64_t> length = use(offset, FromSlice(row->value()));
    if (!length.ok()) return lost(offset, std::string(length.status().message()));
    if (*length <= 0 || *length > std::numeric_limits<int64_t>::max() - offset ||
        offset + *length <= at) {
      return lost(at, "is missing");
    }
    at = offset + *length;
  }
  return absl::OkStatus();
}

absl::Status CheckPlace(Decoder& in, int64_t serial, int64_t offset) {
  const int64_t found_serial = in.NonNegative();
  const int64_t found_offset = in.NonNegative();
  if (in.ok() && found_serial == serial && found_offset == offset) return absl::OkStatus();
  return absl::DataLossError(Message("belongs to offset ", found_offset, " of document number ",
                                     found_serial, ", not to ", offset, " of ", serial));
}

}  // namespace

std::string EncodeTextChunk(int64_t serial, int64_t offset, std::string_view text) {
  Encoder out(RecordKind::kTextChunk, kTextVersion);
  out.Reserve(text.size() + 32);
  out.I64(serial);
  out.I64(offset);
  out.Raw(text);
  return out.Seal();
}

absl::StatusOr<std::string_view> DecodeTextChunk(std::string_view bytes, int64_t serial,
                                                 int64_t offset) {
  absl::StatusOr<Decoder> in =
      Decoder::Open(bytes, RecordKind::kTextChunk, kTextVersion, "text chunk");
  if (!in.ok()) return in.status();
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckPlace(*in, serial, offset));
  return in->Raw(in->remaining());
}

std::string EncodeTokenChunk(int64_t serial, int64_t first, int64_t base_byte,
                             absl::Span<const TextToken> tokens) {
  Encoder out(RecordKind::kTokenChunk, kTokenVersion);
  out.Reserve(tokens.size() * 4 + 48);
  out.I64(serial);
  out.I64(first);
  out.I64(base_byte);
  out.U32(static_cast<uint32_t>(tokens.size()));
  int64_t end = base_byte;
  for (const TextToken& token : tokens) {
    out.Varint(static_cast<uint64_t>(token.id));
    out.Varint(static_cast<uint64_t>(token.end_byte - end));
    end = token.end_byte;
  }
  return out.Seal();
}

absl::StatusOr<std::vector<TextToken>> DecodeTokenChunk(std::string_view bytes, int64_t serial,
                                                        int64_t first) {
  constexpr std::string_view kWhat = "token chunk";
  absl::StatusOr<Decoder> in = Decoder::Open(bytes, RecordKind::kTokenChunk, kTokenVersion, kWhat);
  if (!in.ok()) return in.status();
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckPlace(*in, serial, first));
  int64_t end = in->NonNegative();
  const uint32_t count = in->U32();
  if (count > kMaxTokensPerChunk) in->Fail();
  std::vector<TextToken> tokens;
  if (in->ok()) tokens.reserve(count);
  for (uint32_t i = 0; i < count && in->ok(); ++i) {
    const uint64_t id = in->Varint();
    const uint64_t length = in->Varint();
    if (id > static_cast<uint64_t>(std::numeric_limits<int32_t>::max()) ||
        length > static_cast<uint64_t>(std::numeric_limits<int64_t>::max() - end)) {
      in->Fail();
      break;
    }
    end += static_cast<int64_t>(length);
    tokens.push_back({static_cast<int32_t>(id), end});
  }
  LONGLEAF_STORE_RETURN_IF_ERROR(in->Finish(kWhat));
  return tokens;
}

absl::Status VisitText(Database& database, const std::string& tenant, const DocumentRecord& record,
                       int64_t offset, int64_t end,
                       absl::FunctionRef<void(int64_t, std::string_view)> visit) {
  return Walk(database, Family::kText, "text", tenant, record.id, offset, end,
              [&](int64_t at, std::string_view bytes) -> absl::StatusOr<int64_t> {
                const absl::StatusOr<std::string_view> text =
                    DecodeTextChunk(bytes, record.serial, at);
                if (!text.ok()) return text.status();
                visit(at, *text);
                return static_cast<int64_t>(text->size());
              });
}

absl::Status VisitTokens(Database& database, const std::string& tenant,
                         const DocumentRecord& record, int64_t first, int64_t end,
                         absl::FunctionRef<void(int64_t, absl::Span<const TextToken>)> visit) {
  return Walk(database, Family::kTokens, "tokens", tenant, record.id, first, end,
              [&](int64_t at, std::string_view bytes) -> absl::StatusOr<int64_t> {
                const absl::StatusOr<std::vector<TextToken>> tokens =
                    DecodeTokenChunk(bytes, record.serial, at);
                if (!tokens.ok()) return tokens.status();
                visit(at, *tokens);
                return static_cast<int64_t>(tokens->size());
              });
}

}  // namespace longleaf::store::internal
