#include "service/documents.h"

#include <array>
#include <random>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "service/engine.h"
#include "service/errors.h"
#include "service/time_conversion.h"

namespace longleaf::service {
namespace {

constexpr absl::string_view kCollection = "documents/";
constexpr absl::string_view kPageToken = "list1:";  // what every page token begins with
constexpr size_t kMostPageBytes = 1 << 20;          // clients refuse messages above 4 MiB

// Ends the page where its documents become too many bytes for one message.
void CutPage(store::DocumentPage* page) {
  size_t bytes = 0;
  for (size_t i = 0; i < page->documents.size(); ++i) {
    const store::DocumentRecord& record = page->documents[i];
    bytes += 512 + record.display_name.size() + record.failure_message.size();
    for (const auto& [key, value] : record.labels) {
      bytes += 16 + key.size() + value.size();
    }
    if (i > 0 && bytes > kMostPageBytes) {
      page->resume_key = record.id;
      page->documents.resize(i);
      return;
    }
  }
}

}  // namespace

absl::Status CheckDocumentId(absl::string_view id, absl::string_view field) {
  bool good = !id.empty() && id.size() <= 63 && id.front() != '-';
  for (const char c : id) {
    good = good && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-');
  }
  return good ? absl::OkStatus()
              : InvalidField(field,
                             "an id is 1-63 characters of a-z, 0-9 and '-', the first not '-'");
}

absl::StatusOr<std::string> ParseDocumentName(absl::string_view name, absl::string_view field) {
  if (!absl::StartsWith(name, kCollection)) {
    return InvalidField(field, "expected documents/{id}");
  }
  name.remove_prefix(kCollection.size());
  if (absl::Status status = CheckDocumentId(name, field); !status.ok()) {
    return status;
  }
  return std::string(name);
}

std::string DocumentResourceName(absl::string_view id) { return absl::StrCat(kCollection, id); }

absl::Status CheckLabels(const Labels& labels) {
  if (labels.size() > 64) {
    return InvalidField("labels", "at most 64");
  }
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > 63 || value.size() > 255) {
      return InvalidField("labels", "keys have 1-63 bytes, values at most 255");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckDisplayName(absl::string_view name) {
  return name.size() <= 512 ? absl::OkStatus() : InvalidField("display_name", "at most 512 bytes");
}

std::string RandomUuid() {
  std::random_device device;
  std::array<uint32_t, 4> words;
  for (uint32_t& word : words) {
    word = device();
  }
  words[1] = (words[1] & 0xffff0fffu) | 0x00004000u;
  words[2] = (words[2] & 0x3fffffffu) | 0x80000000u;
  return absl::StrFormat("%08x-%04x-%04x-%04x-%04x%08x", words[0], words[1] >> 16,
                         words[1] & 0xffff, words[2] >> 16, words[2] & 0xffff, words[3]);
}

std::string Etag(const store::DocumentRecord& record) {
  return absl::StrCat(absl::Hex(record.serial), "-", absl::Hex(record.revision));
}

absl::StatusOr<store::DocumentRecord> Documents::Get(const std::string& id) {
  absl::StatusOr<store::DocumentRecord> record = store_->GetDocument(kTenant, id);
  if (!record.ok()) {
    return FromStore(record.status(), id);
  }
  if (record->expire_time_us != 0 && record->expire_time_us <= NowMicros()) {
    return Error(absl::StatusCode::kNotFound, reason::kExpired,
                 absl::StrCat("documents/", id, " has expired"));
  }
  return record;
}

absl::StatusOr<store::DocumentPage> Documents::List(int32_t page_size,
                                                    absl::string_view page_token) {
  if (page_size < 0 || page_size > 1000) {
    return InvalidField("page_size", "0 to 1000");
  }
  std::string token;
  if (!absl::WebSafeBase64Unescape(page_token, &token) ||
      (!page_token.empty() && !absl::StartsWith(token, kPageToken))) {
    return InvalidField("page_token", "not one that this server gave out");
  }
  const absl::string_view resume_key = absl::StripPrefix(token, kPageToken);
  absl::StatusOr<store::DocumentPage> page = store_->ListDocuments(
      kTenant, page_size == 0 ? 50 : page_size, {resume_key.data(), resume_key.size()});
  if (!page.ok()) {
    return absl::IsInvalidArgument(page.status())
               ? InvalidField("page_token", "not one that this server gave out")
               : FromStore(page.status(), "");
  }
  CutPage(&*page);
  const int64_t now = NowMicros();
  std::erase_if(page->documents, [now](const store::DocumentRecord& record) {
    return record.expire_time_us != 0 && record.expire_time_us <= now;
  });
  if (!page->resume_key.empty()) {
    page->resume_key = absl::WebSafeBase64Escape(absl::StrCat(kPageToken, page->resume_key));
  }
  return page;
}

absl::StatusOr<store::DocumentRecord> Documents::Update(const std::string& id,
                                                        const DocumentChange& change) {
  if (absl::StatusOr<store::DocumentRecord> current = Get(id); !current.ok()) {
    return current;
  }
  if (change.display_name.has_value()) {
    if (absl::Status status = CheckDisplayName(*change.display_name); !status.ok()) {
      return status;
    }
  }
  if (change.labels.has_value()) {
    if (absl::Status status = CheckLabels(*change.labels); !status.ok()) {
      return status;
    }
  }
  absl::StatusOr<store::DocumentRecord> record = store_->UpdateDocument(
      kTenant, id, [&change](store::DocumentRecord& document) -> absl::Status {
        if (!change.etag.empty() && change.etag != Etag(document)) {
          return Error(absl::StatusCode::kAborted, reason::kEtagMismatch,
                       "the document has changed since this etag");
        }
        if (change.display_name.has_value()) {
          document.display_name = *change.display_name;
        }
        if (change.labels.has_value()) {
          document.labels = *change.labels;
        }
        if (change.expire_time_us.has_value()) {
          document.expire_time_us = *change.expire_time_us;
        }
        return absl::OkStatus();
      });
  if (!record.ok()) {
    return FromStore(record.status(), id);
  }
  return record;
}

absl::Status Documents::Delete(const std::string& id) {
  if (absl::Status status = store_->DeleteDocument(kTenant, id); !status.ok()) {
    return FromStore(status, id);
  }
  engine_->Forget({kTenant, id});
  return absl::OkStatus();
}

absl::StatusOr<std::string> Documents::ReadText(const std::string& id, int64_t serial,
                                                int64_t offset, int64_t length) {
  absl::StatusOr<std::string> text = store_->ReadText(kTenant, id, offset, length, serial);
  if (!text.ok()) {
    return FromStore(text.status(), id);
  }
  return text;
}

int64_t Documents::DeleteExpired() {
  int64_t deleted = 0;
  const int64_t now = NowMicros();
  for (const store::DocumentName& name : store_->ExpiredDocuments(now, 64)) {
    // Its expiry may have been put off meanwhile, or its id used again.
    const absl::Status status =
        store_->DeleteDocumentIf(name.tenant, name.id, [now](const store::DocumentRecord& record) {
          return record.expire_time_us != 0 && record.expire_time_us <= now;
        });
    if (status.ok()) {
      engine_->Forget(name);
      ++deleted;
    }
  }
  return deleted;
}

int64_t Documents::DeleteAbandonedUploads(int64_t seconds) {
  int64_t deleted = 0;
  const int64_t before_us = NowMicros() - seconds * 1'000'000;
  for (const store::DocumentName& name : store_->AbandonedUploads(before_us, 64)) {
    const absl::Status status = store_->DeleteDocumentIf(
        name.tenant, name.id, [before_us](const store::DocumentRecord& record) {
          return record.state == store::DocumentState::kCreating &&
                 record.update_time_us < before_us;
        });
    deleted += status.ok() ? 1 : 0;
  }
  return deleted;
}

}  // namespace longleaf::service
