// Documents, their request entries, and their text and tokens to the last chunk.
#include <utility>

#include "cache_store/chunks.h"
#include "cache_store/coding.h"
#include "cache_store/keys.h"
#include "cache_store/message.h"
#include "cache_store/sha256.h"
#include "cache_store/verifier.h"

namespace longleaf::store::internal {
namespace {

constexpr std::string_view kHarmless = "; nothing reads it, and it stays";

// The serial that a chunk says of itself, for documents whose own is not known. 0: too short.
int64_t SerialOf(std::string_view chunk) {
  if (chunk.size() < 10) return 0;
  return Decoder(chunk.substr(2)).NonNegative();
}

}  // namespace

std::string Describe(const DocumentName& name) {
  return Message("document ", name.id, " of tenant ", name.tenant);
}

void Verifier::CheckDocuments() {
  std::map<int64_t, DocumentName> serials;
  EachRow(Family::kDocuments, [&](std::string_view key, std::string_view value) {
    Document document;
    if (!ParseNameKey(key, &document.name) ||
        !CheckName(document.name.tenant, document.name.id).ok()) {
      Damage("documents", "a key that is no document's");
      return;
    }
    const std::string where = Describe(document.name);
    const std::string prefix = NamePrefix(document.name.tenant, document.name.id);
    Document& entry = documents_[prefix] = std::move(document);
    absl::StatusOr<DocumentRecord> record = DecodeDocument(value);
    if (!record.ok()) {
      Damage(where, std::string(record.status().message()));
      return;
    }
    if (record->id != entry.name.id ||
        (!record->tenant.empty() && record->tenant != entry.name.tenant)) {
      Damage(where,
             Message("its record is of document ", record->id, " of tenant ", record->tenant));
      return;
    }
    const auto [other, is_new] = serials.emplace(record->serial, entry.name);
    if (!is_new) {
      Damage(where, Message("has the serial of ", Describe(other->second)));
    }
    if ((record->state == DocumentState::kQueued || record->state == DocumentState::kPrefilling ||
         record->state == DocumentState::kActive) &&
        record->text_sha256 == Digest{}) {
      Damage(where, "is complete, but the digest of its text is not there");
    }
    last_serial_ = std::max(last_serial_, record->serial);
    entry.good = true;
    entry.record = *std::move(record);
    ++report_.documents;
  });
}

void Verifier::CheckRequests() {
  EachRow(Family::kRequests, [&](std::string_view key, std::string_view value) {
    DocumentName name;  // the tenant and the request id
    if (!ParseNameKey(key, &name) || !CheckName(name.tenant, name.id).ok()) {
      Damage("requests", "a key that is no request's");
      return;
    }
    const std::string where = Message("request ", name.id, " of tenant ", name.tenant);
    const absl::StatusOr<RequestRecord> entry = DecodeRequest(value);
    if (!entry.ok()) {
      Damage(where, std::string(entry.status().message()));
      return;
    }
    last_serial_ = std::max(last_serial_, entry->serial);
    const auto found = documents_.find(NamePrefix(name.tenant, entry->document_id));
    if (found == documents_.end() ||
        (found->second.good && found->second.record.serial != entry->serial)) {
      Orphan(where, Message("its document ", entry->document_id, " is not there", kHarmless));
    } else if (found->second.good && found->second.record.request_id != name.id) {
      Damage(where, Message("its entry is of document ", entry->document_id, ", which request ",
                            found->second.record.request_id, " made"));
    } else {
      found->second.requested = true;
    }
  });
  for (const auto& [prefix, document] : documents_) {
    if (document.good && !document.record.request_id.empty() && !document.requested) {
      Damage(Describe(document.name),
             Message("the entry of its request ", document.record.request_id, " is missing"));
    }
  }
}

struct Verifier::ChunkRun {
  std::string prefix;
  DocumentName name;
  const Document* document = nullptr;  // null: there is none
  int64_t next = 0;                    // where the next chunk must begin
  int64_t rows = 0;
  int64_t bytes = 0;  // values
  int64_t end_byte = 0;
  bool broken = false;
  Sha256 sha;
};

void Verifier::CheckChunks(Family family) {
  const std::string_view what = FamilyName(family);
  ChunkRun run;
  std::set<std::string> seen;
  const auto check = [&](int64_t offset, std::string_view value) {
    const bool good = run.document != nullptr && run.document->good;
    const int64_t serial = good ? run.document->record.serial : SerialOf(value);
    last_serial_ = std::max(last_serial_, serial);
    int64_t length = 0;
    absl::Status status;
    if (family == Family::kText) {
      const absl::StatusOr<std::string_view> text = DecodeTextChunk(value, serial, offset);
      status = text.status();
      if (text.ok()) {
        length = static_cast<int64_t>(text->size());
        run.sha.Update(*text);
      }
    } else {
      const absl::StatusOr<std::vector<TextToken>> tokens = DecodeTokenChunk(value, serial, offset);
      status = tokens.status();
      if (tokens.ok()) {
        length = static_cast<int64_t>(tokens->size());
        if (length > 0) run.end_byte = tokens->back().end_byte;
      }
    }
    const std::string where = Message(Describe(run.name), ": ", what, " at offset ", offset);
    if (!status.ok()) Damage(where, std::string(status.message()));
    if (status.ok() && length == 0) Damage(where, "is empty");
    if (good && offset != run.next && !run.broken) {
      Damage(where, Message("should begin at ", run.next));
    }
    // One message for a gap; what follows it is still looked at chunk by chunk.
    run.broken = run.broken || !status.ok() || offset != run.next;
    run.next = offset + length;
  };
  EachRow(
      family,
      [&](std::string_view key, std::string_view value) {
        DocumentName name;
        int64_t offset = 0;
        if (!ParseChunkKey(key, &name, &offset)) {
          Damage(std::string(what), "a key that is no chunk's");
          return;
        }
        const std::string prefix = NamePrefix(name.tenant, name.id);
        if (prefix != run.prefix) {
          if (!run.prefix.empty()) FinishChunks(family, run);
          run = {};
          run.prefix = prefix;
          run.name = name;
          const auto found = documents_.find(prefix);
          if (found != documents_.end()) run.document = &found->second;
          seen.insert(prefix);
        }
        ++run.rows;
        run.bytes += static_cast<int64_t>(value.size());
        check(offset, value);
      },
      [&](const std::string&) {
        // What cannot be read may be of this document and of any after it; on to the next.
        run.broken = true;
        const auto next = documents_.upper_bound(run.prefix);
        return next == documents_.end() ? std::string() : next->first;
      });
  if (!run.prefix.empty()) FinishChunks(family, run);
  for (const auto& [prefix, document] : documents_) {
    if (!document.good || seen.contains(prefix)) continue;
    ChunkRun none;
    none.prefix = prefix;
    none.name = document.name;
    none.document = &document;
    FinishChunks(family, none);
  }
}

void Verifier::FinishChunks(Family family, const ChunkRun& run) {
  const std::string_view what = FamilyName(family);
  const std::string where = Describe(run.name);
  if (run.document == nullptr) {
    Orphan(where, Message(run.rows, " rows of ", what, ", ", run.bytes,
                          " bytes, of a document that is not there", kHarmless));
    return;
  }
  if (!run.document->good || run.broken) return;
  const DocumentRecord& record = run.document->record;
  const int64_t expected = family == Family::kText ? record.text_bytes : record.token_count;
  if (run.next != expected) {
    Damage(where, Message(what, " ends at ", run.next, ", its record says ", expected));
    return;
  }
  if (family == Family::kText) {
    if (record.text_sha256 != Digest{} && run.sha.Value() != record.text_sha256) {
      Damage(where, "its text is not the one its record has the digest of");
    }
    return;
  }
  if (run.bytes != record.token_stored_bytes) {
    Damage(where, Message("its tokens have ", run.bytes, " bytes, its record says ",
                          record.token_stored_bytes));
  }
  if (run.end_byte > record.tokenized_bytes || record.tokenized_bytes > record.text_bytes) {
    Damage(where, "its tokens end behind its text");
  }
}

}  // namespace longleaf::store::internal
