// `longleaf text`: the document's text as it was uploaded.
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "service/cli/commands.h"
#include "service/cli/exit_code.h"
#include "service/cli/json_output.h"
#include "service/cli/names.h"
#include "service/cli/retry.h"
#include "service/cli/terminal.h"
#include "service/cli/terminal_text.h"

namespace longleaf::service::cli {
namespace {

constexpr int kMostTries = 6;

// Byte for byte into a file or a pipe; escaped on a terminal; for scripts as JSON objects, each
// with a piece and the piece's offset.
class TextPrinter {
 public:
  TextPrinter(bool json, int64_t offset)
      : json_(json), escape_(IsTerminal(STDOUT_FILENO)), offset_(offset) {}

  bool Print(const std::string& chunk) {
    if (json_) {
      pending_ += chunk;
      return PrintPieces(WholeCharacters(pending_));
    }
    const std::string shown = escape_ ? escaper_.Add(chunk) : chunk;
    ended_line_ = shown.empty() ? ended_line_ : shown.back() == '\n';
    return WriteOutput(shown);
  }
  // Leaves a terminal at the start of a line.
  bool Finish() {
    if (json_) {
      return PrintPieces(pending_.size());
    }
    return !escape_ || WriteOutput(escaper_.Finish() + (ended_line_ ? "" : "\n"));
  }

 private:
  // The first `bytes` of what is pending.
  bool PrintPieces(size_t bytes) {
    if (bytes == 0) {
      return true;
    }
    const bool written = PrintJson({{"offset", offset_}, {"text", pending_.substr(0, bytes)}});
    pending_.erase(0, bytes);
    offset_ += static_cast<int64_t>(bytes);
    return written;
  }

  const bool json_;
  const bool escape_;
  int64_t offset_;       // in the document, of what is pending
  std::string pending_;  // for JSON: a character that the chunk's end cuts
  TerminalEscaper escaper_;
  bool ended_line_ = true;
};

}  // namespace

int Text(Session& session, const TextOptions& options) {
  const bool reached = session.Reached();
  TextPrinter printer(session.json(), options.offset);
  v1::ReadDocumentTextRequest request;
  request.set_name(DocumentName(options.document));
  request.set_offset(options.offset);
  request.set_limit(options.limit);
  Retry retry(kMostTries);
  for (;;) {
    grpc::Status status;
    bool written = true;
    {
      Call call(session);
      const auto stream = session.documents().ReadDocumentText(call.context(), request);
      v1::ReadDocumentTextResponse response;
      while (stream->Read(&response)) {
        written = written && printer.Print(response.chunk());
        if (!written) {
          call.context()->TryCancel();
          continue;
        }
        // Should the connection break, the next stream begins here.
        const auto size = static_cast<int64_t>(response.chunk().size());
        request.set_offset(request.offset() + size);
        if (options.limit > 0) {
          request.set_limit(request.limit() - size);
        }
        retry.Reset();
      }
      status = stream->Finish();
    }
    // When all that was asked for has come, how the stream ended does not matter; and to ask again
    // for nothing would ask for everything.
    const bool complete = status.ok() || (options.limit > 0 && request.limit() <= 0);
    if (!written || (complete && !printer.Finish())) {
      return session.FailLocally("cannot write the output", kRefused);
    }
    if (complete) {
      return kOk;
    }
    if (!reached || !retry.Again(status, session.deadline(), &session.interrupt())) {
      printer.Finish();
      return session.Fail(status);
    }
  }
}

}  // namespace longleaf::service::cli
