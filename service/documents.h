// What can be done with documents besides uploading them: names and limits checked, expiry
// honoured, the engine told. No gRPC here; document_service.h puts it on the wire.
#ifndef LONGLEAF_SERVICE_DOCUMENTS_H_
#define LONGLEAF_SERVICE_DOCUMENTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cache_store/store.h"

namespace longleaf::service {

class Engine;

// The one tenant until there is authentication; every key already carries it.
inline constexpr char kTenant[] = "default";

using Labels = std::map<std::string, std::string>;

// INVALID_ARGUMENT naming `field` unless `id` is 1-63 characters of [a-z0-9-] that start with a
// letter or digit.
absl::Status CheckDocumentId(absl::string_view id, absl::string_view field);
// "documents/{id}" -> id.
absl::StatusOr<std::string> ParseDocumentName(absl::string_view name, absl::string_view field);
std::string DocumentResourceName(absl::string_view id);
// At most 64 labels, keys of 1-63 and values of at most 255 bytes; display names of at most 512;
// all UTF-8.
absl::Status CheckLabels(const Labels& labels);
absl::Status CheckDisplayName(absl::string_view name);
// A random version 4 UUID in lower case.
std::string RandomUuid();
// Names a revision: changes whenever the document does.
std::string Etag(const store::DocumentRecord& record);

struct DocumentChange {
  std::optional<std::string> display_name;
  std::optional<Labels> labels;
  std::optional<int64_t> expire_time_us;  // 0: never
  std::string etag;                       // not empty: the revision that is to be changed
};

// Thread-safe; every call may block on the disk.
class Documents {
 public:
  // None owned; all must outlive it.
  Documents(store::Store* store, Engine* engine) : store_(store), engine_(engine) {}

  // NOT_FOUND for an expired one as well.
  absl::StatusOr<store::DocumentRecord> Get(const std::string& id);
  // `page_token` as given out as resume_key of the page before.
  absl::StatusOr<store::DocumentPage> List(int32_t page_size, absl::string_view page_token);
  absl::StatusOr<store::DocumentRecord> Update(const std::string& id, const DocumentChange& change);
  absl::Status Delete(const std::string& id);
  // Of the document with this serial: its id may be another's by now, and that is NOT_FOUND.
  absl::StatusOr<std::string> ReadText(const std::string& id, int64_t serial, int64_t offset,
                                       int64_t length);
  // Deletes what has expired. Returns how many.
  int64_t DeleteExpired();
  // Deletes uploads that got nothing for `seconds`. Returns how many.
  int64_t DeleteAbandonedUploads(int64_t seconds);

 private:
  store::Store* const store_;
  Engine* const engine_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_DOCUMENTS_H_
