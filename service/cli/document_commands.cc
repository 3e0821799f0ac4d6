// `longleaf list`, `show`, `update`, `delete` and `watch`.
#include <algorithm>
#include <map>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/cli/commands.h"
#include "service/cli/exit_code.h"
#include "service/cli/follow.h"
#include "service/cli/json_output.h"
#include "service/cli/names.h"
#include "service/cli/quantity.h"
#include "service/cli/terminal.h"
#include "service/cli/terminal_text.h"

namespace longleaf::service::cli {
namespace {

constexpr int32_t kPageSize = 200;

int CannotWrite(Session& session) {
  return session.FailLocally("cannot write the output", kRefused);
}

// "active", or with the share of the tokens read while that is not all: "prefilling 41%".
std::string StateText(const v1::Document& document) {
  const v1::Progress& progress = document.progress();
  std::string text = Word(document.state());
  if (document.state() == v1::DOCUMENT_STATE_PREFILLING && progress.tokens_total() > 0) {
    absl::StrAppendFormat(&text, " %d%%", 100 * progress.tokens_done() / progress.tokens_total());
  }
  return text;
}

std::string ExpiryText(const v1::Document& document) {
  return document.has_expire_time()
             ? absl::StrCat("in ", FormatSpan(std::max(ToTime(document.expire_time()) - absl::Now(),
                                                       absl::ZeroDuration())))
             : "never";
}

// Columns as wide as this page needs. What may be long, and may hold any letters, comes last.
std::string Table(const v1::ListDocumentsResponse& page, bool heading) {
  std::vector<std::vector<std::string>> rows;
  if (heading) {
    rows.push_back({"NAME", "STATE", "TOKENS", "SIZE", "EXPIRES", "TITLE"});
  }
  for (const v1::Document& document : page.documents()) {
    rows.push_back({EscapeLine(document.name()), StateText(document),
                    FormatCount(document.token_count()),
                    FormatBytes(static_cast<double>(document.text_bytes())), ExpiryText(document),
                    EscapeLine(document.display_name())});
  }
  std::vector<size_t> widths;
  for (const std::vector<std::string>& row : rows) {
    widths.resize(row.size());
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const std::vector<std::string>& row : rows) {
    std::string line;
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      const std::string pad(widths[i] - row[i].size(), ' ');
      const bool number = i == 2 || i == 3;
      absl::StrAppend(&line, number ? pad : "", row[i], number ? "" : pad, "  ");
    }
    line += row.back();
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string TimeText(const google::protobuf::Timestamp& timestamp) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S %Z", ToTime(timestamp), absl::LocalTimeZone());
}

std::string Describe(const v1::Document& document) {
  std::string text;
  const auto field = [&](const char* name, const std::string& value) {
    if (!value.empty()) {
      absl::StrAppendFormat(&text, "%-9s %s\n", name, EscapeLine(value));
    }
  };
  const v1::Progress& progress = document.progress();
  field("name", document.name());
  field("title", document.display_name());
  std::string state = Word(document.state());
  if (document.state() == v1::DOCUMENT_STATE_PREFILLING && progress.tokens_total() > 0) {
    absl::StrAppend(&state, ", ", FormatCount(progress.tokens_done()), " of ",
                    FormatCount(progress.tokens_total()), " tokens read");
    if (progress.has_eta()) {
      absl::StrAppend(&state, ", ", FormatSpan(ToDuration(progress.eta())), " left");
    }
  }
  field("state", state);
  field("failure", document.failure());
  field("size", absl::StrCat(FormatCount(document.text_bytes()), " bytes, ",
                             FormatCount(document.token_count()), " tokens"));
  const std::map<std::string, std::string> labels(document.labels().begin(),
                                                  document.labels().end());
  std::string label_text;
  for (const auto& [key, value] : labels) {
    absl::StrAppend(&label_text, label_text.empty() ? "" : ", ", key, "=", value);
  }
  field("labels", label_text);
  if (document.has_create_time()) {
    field("created", TimeText(document.create_time()));
  }
  if (document.has_update_time()) {
    field("updated", TimeText(document.update_time()));
  }
  field("expires", document.has_expire_time() ? absl::StrCat(TimeText(document.expire_time()), " (",
                                                             ExpiryText(document), ")")
                                              : "never");
  field("sha256", absl::BytesToHexString(document.text_sha256()));
  field("etag", document.etag());
  return text;
}

grpc::Status Get(Session& session, const std::string& name, v1::Document* document) {
  Call call(session);
  v1::GetDocumentRequest request;
  request.set_name(name);
  return session.documents().GetDocument(call.context(), request, document);
}

int Print(Session& session, const v1::Document& document) {
  const bool printed =
      session.json() ? PrintJson(ToJson(document)) : WriteOutput(Describe(document));
  return printed ? kOk : CannotWrite(session);
}

}  // namespace

int List(Session& session, const ListOptions& options) {
  v1::ListDocumentsRequest request;
  int64_t shown = 0;
  do {
    request.set_page_size(options.limit > 0 ? static_cast<int32_t>(std::min<int64_t>(
                                                  kPageSize, options.limit - shown))
                                            : kPageSize);
    Call call(session);
    v1::ListDocumentsResponse page;
    if (const grpc::Status status =
            session.documents().ListDocuments(call.context(), request, &page);
        !status.ok()) {
      return session.Fail(status);
    }
    if (session.json()) {
      for (const v1::Document& document : page.documents()) {
        if (!PrintJson(ToJson(document))) {
          return CannotWrite(session);
        }
      }
    } else if (page.documents_size() > 0 && !WriteOutput(Table(page, shown == 0))) {
      return CannotWrite(session);
    }
    shown += page.documents_size();
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty() && (options.limit <= 0 || shown < options.limit));
  if (shown == 0) {
    session.Say("no documents yet; longleaf upload FILE brings the first");
  }
  return kOk;
}

int Show(Session& session, const std::string& document) {
  v1::Document found;
  const grpc::Status status = Get(session, DocumentName(document), &found);
  return status.ok() ? Print(session, found) : session.Fail(status);
}

int Update(Session& session, const UpdateOptions& options) {
  v1::UpdateDocumentRequest request;
  v1::Document& changed = *request.mutable_document();
  changed.set_name(DocumentName(options.document));
  if (options.display_name.has_value()) {
    changed.set_display_name(*options.display_name);
    request.mutable_update_mask()->add_paths("display_name");
  }
  if (!options.labels.empty() || !options.unlabels.empty()) {
    // The contract replaces all labels at once; with the etag, nobody else's change gets lost.
    v1::Document present;
    if (const grpc::Status status = Get(session, changed.name(), &present); !status.ok()) {
      return session.Fail(status);
    }
    *changed.mutable_labels() = present.labels();
    changed.set_etag(present.etag());
    for (const std::string& key : options.unlabels) {
      changed.mutable_labels()->erase(key);
    }
    for (const auto& [key, value] : options.labels) {
      (*changed.mutable_labels())[key] = value;
    }
    request.mutable_update_mask()->add_paths("labels");
  }
  if (options.ttl == absl::InfiniteDuration()) {
    request.mutable_update_mask()->add_paths("expire_time");  // named but absent: never
  } else if (options.ttl > absl::ZeroDuration()) {
    changed.mutable_ttl()->set_seconds(absl::ToInt64Seconds(options.ttl));
    changed.mutable_ttl()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(options.ttl % absl::Seconds(1))));
    request.mutable_update_mask()->add_paths("ttl");
  }
  if (request.update_mask().paths().empty()) {
    return session.FailLocally("nothing to change; see longleaf update --help", kUsage);
  }
  Call call(session);
  v1::Document updated;
  const grpc::Status status = session.documents().UpdateDocument(call.context(), request, &updated);
  return status.ok() ? Print(session, updated) : session.Fail(status);
}

int Delete(Session& session, const std::vector<std::string>& documents) {
  for (const std::string& document : documents) {
    Call call(session);
    v1::DeleteDocumentRequest request;
    request.set_name(DocumentName(document));
    google::protobuf::Empty nothing;
    if (const grpc::Status status =
            session.documents().DeleteDocument(call.context(), request, &nothing);
        !status.ok()) {
      return session.Fail(status);
    }
    if (!session.json()) {
      session.Say("deleted " + EscapeLine(request.name()));
    } else if (!PrintJson({{"name", request.name()}, {"deleted", true}})) {
      return CannotWrite(session);
    }
  }
  return kOk;
}

int Watch(Session& session, const std::string& document) {
  const std::string name = DocumentName(document);
  bool written = true;
  const int code = Follow(session, name, [&](const v1::WatchDocumentResponse& event) {
    written = !session.json() || PrintJson(ToJson(name, event));
    return written;
  });
  return written ? code : CannotWrite(session);
}

}  // namespace longleaf::service::cli
