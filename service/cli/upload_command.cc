// `longleaf upload`.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "service/cli/commands.h"
#include "service/cli/exit_code.h"
#include "service/cli/follow.h"
#include "service/cli/json_output.h"
#include "service/cli/names.h"
#include "service/cli/quantity.h"
#include "service/cli/terminal.h"
#include "service/cli/terminal_text.h"
#include "service/cli/upload_source.h"
#include "service/cli/uploader.h"

namespace longleaf::service::cli {
namespace {

v1::UploadHeader Header(const UploadOptions& options) {
  v1::UploadHeader header;
  header.set_request_id(options.request_id.empty() ? NewRequestId() : options.request_id);
  header.set_document_id(options.id.empty() ? DocumentIdFor(options.path, header.request_id())
                                            : options.id);
  const std::string base = BaseName(options.path);
  header.set_display_name(options.display_name.value_or(IsValidUtf8(base) ? base : ""));
  for (const auto& [key, value] : options.labels) {
    (*header.mutable_labels())[key] = value;
  }
  if (options.ttl != absl::InfiniteDuration()) {
    const int64_t seconds = absl::ToInt64Seconds(options.ttl);
    header.mutable_ttl()->set_seconds(seconds);
    header.mutable_ttl()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(options.ttl - absl::Seconds(seconds))));
  }
  return header;
}

// In single quotes for a shell, if it needs any.
std::string ShellWord(const std::string& word) {
  constexpr char kPlain[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
    return word;
  }
  std::string quoted = "'";
  for (const char c : word) {
    quoted += c == '\'' ? "'\\''" : std::string(1, c);
  }
  return quoted + "'";
}

// How to go on after giving up, for what the server may hold of the upload.
void SayHowToGoOn(const Session& session, const UploadOptions& options,
                  const v1::UploadHeader& header) {
  if (options.path != "-") {
    session.Say(EscapeLine(absl::StrCat(
        "to go on where it broke off: longleaf upload ", ShellWord(options.path), " --id ",
        ShellWord(header.document_id()), " --request-id ", ShellWord(header.request_id()))));
  }
}

int ReportFailure(Session& session, const UploadOptions& options, const v1::UploadHeader& header,
                  const Uploader& uploader, const grpc::Status& status) {
  int code = kUsage;
  if (!uploader.local_error().ok() && !session.interrupt().requested()) {
    code = session.FailLocally(std::string(uploader.local_error().message()), kUsage);
  } else {
    code = session.Fail(status);
  }
  const bool may_go_on = code == kUnreachable || code == kTryLater || code == kInterrupted;
  if (uploader.began() && may_go_on) {
    SayHowToGoOn(session, options, header);
  }
  return code;
}

}  // namespace

int Upload(Session& session, const UploadOptions& options) {
  absl::StatusOr<std::unique_ptr<UploadSource>> source =
      UploadSource::Open(options.path, &session.interrupt());
  if (!source.ok()) {
    return session.FailLocally(std::string(source.status().message()), kUsage);
  }
  const v1::UploadHeader header = Header(options);
  v1::Document document;
  {
    ProgressBar bar("uploading", ProgressUnit::kBytes, session.ProgressSurface());
    const int64_t total = (*source)->total().value_or(0);
    int64_t sent = 0;
    Uploader uploader(session, header, **source, [&](int64_t bytes) {
      sent = bytes;
      bar.Update(sent, total);
    });
    const grpc::Status status = uploader.Run(!options.request_id.empty(), &document);
    if (!status.ok()) {
      bar.Finish("");
      return ReportFailure(session, options, header, uploader, status);
    }
    bar.Finish(session.json() ? ""
                              : absl::StrCat("uploaded ", FormatBytes(static_cast<double>(sent)),
                                             " in ", FormatSpan(bar.elapsed())));
  }
  if (options.wait) {
    const int code = Follow(session, document.name(), nullptr);
    if (code != kOk) {
      return code;
    }
    Call call(session);
    v1::GetDocumentRequest request;
    request.set_name(document.name());
    if (const grpc::Status status =
            session.documents().GetDocument(call.context(), request, &document);
        !status.ok()) {
      return session.Fail(status);
    }
  }
  const bool printed = session.json() ? PrintJson(ToJson(document))
                                      : WriteOutput(EscapeLine(document.name()) + "\n");
  return printed ? kOk : session.FailLocally("cannot write the output", kRefused);
}

}  // namespace longleaf::service::cli
