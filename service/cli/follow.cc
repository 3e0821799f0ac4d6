#include "service/cli/follow.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "service/cli/exit_code.h"
#include "service/cli/json_output.h"
#include "service/cli/quantity.h"
#include "service/cli/retry.h"
#include "service/cli/terminal_text.h"

namespace longleaf::service::cli {
namespace {

constexpr int kMostTries = 9;

bool IsFinal(v1::DocumentState state) {
  return state == v1::DOCUMENT_STATE_ACTIVE || state == v1::DOCUMENT_STATE_FAILED;
}

void Show(const v1::WatchDocumentResponse& event, ProgressBar* bar) {
  const v1::Progress& progress = event.progress();
  switch (event.state()) {
    case v1::DOCUMENT_STATE_CREATING:
      bar->set_label("upload not finished");
      break;
    case v1::DOCUMENT_STATE_QUEUED:
      bar->set_label("waiting to be read");
      break;
    default:
      bar->set_label("reading");
  }
  std::optional<absl::Duration> left;
  if (progress.has_eta()) {
    left = ToDuration(progress.eta());
  }
  bar->Update(progress.tokens_done(), progress.tokens_total(), left);
}

std::string ReadyLine(const std::string& name, const v1::Progress& progress, absl::Duration elapsed,
                      bool saw_work) {
  std::string line = absl::StrCat(EscapeLine(name),
                                  " is ready: ", FormatCount(progress.tokens_total()), " tokens");
  if (saw_work) {
    absl::StrAppend(&line, " in ", FormatSpan(elapsed));
  }
  if (progress.tokens_reused() > 0) {
    absl::StrAppend(&line, ", ", FormatCount(progress.tokens_reused()), " of them reused");
  }
  return line;
}

// One stream. `last` is the last event of it, `any` whether there was one.
grpc::Status FollowOnce(Session& session, const std::string& name,
                        const std::function<bool(const v1::WatchDocumentResponse&)>& on_event,
                        ProgressBar* bar, v1::WatchDocumentResponse* last, bool* any,
                        bool* saw_work) {
  Call call(session);
  v1::WatchDocumentRequest request;
  request.set_name(name);
  const auto stream = session.documents().WatchDocument(call.context(), request);
  v1::WatchDocumentResponse event;
  while (stream->Read(&event)) {
    *any = true;
    *last = event;
    if (!IsFinal(event.state())) {
      *saw_work = true;
      Show(event, bar);
    }
    if (on_event && !on_event(event)) {
      call.context()->TryCancel();
    }
  }
  return stream->Finish();
}

}  // namespace

int Follow(Session& session, const std::string& name,
           const std::function<bool(const v1::WatchDocumentResponse&)>& on_event) {
  const bool reached = session.Reached();
  ProgressBar bar("reading", ProgressUnit::kTokens, session.ProgressSurface());
  v1::WatchDocumentResponse last;
  bool saw_work = false;
  Retry retry(kMostTries);
  for (;;) {
    bool any = false;
    grpc::Status status = FollowOnce(session, name, on_event, &bar, &last, &any, &saw_work);
    if (any) {
      retry.Reset();
    }
    if (status.ok() && any && IsFinal(last.state())) {
      break;
    }
    if (status.ok()) {
      status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the watch ended early");
    }
    if (!reached || !retry.Again(status, session.deadline(), &session.interrupt())) {
      bar.Finish("");
      return session.Fail(status);
    }
  }
  if (last.state() == v1::DOCUMENT_STATE_FAILED) {
    bar.Finish("");
    return session.FailLocally(
        absl::StrCat(name, " cannot be asked: ", last.failure(), " (DOCUMENT_FAILED)"), kRefused);
  }
  bar.Finish(session.json() ? "" : ReadyLine(name, last.progress(), bar.elapsed(), saw_work));
  return kOk;
}

}  // namespace longleaf::service::cli
