// From a request to a question that the engine can be asked: everything that can be said about one
// before the engine sees it. Ask and BatchAsk share it.
#ifndef LONGLEAF_SERVICE_QUESTION_INTAKE_H_
#define LONGLEAF_SERVICE_QUESTION_INTAKE_H_

#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "cache_store/store.h"
#include "longleaf/v1/question.pb.h"
#include "service/call_context.h"
#include "service/engine.h"

namespace longleaf::service {

// One question as the client put it.
struct QuestionText {
  const std::string* question = nullptr;  // not owned
  longleaf::v1::Sampling sampling;
  int64_t max_evidence = 0;
  // Where the question is in its request, to go before the names of its fields in errors: "" or
  // "questions[3].".
  std::string path;
};

// INVALID_ARGUMENT for what is wrong with the question whatever the document is: cheap to tell.
absl::Status CheckQuestion(const CallContext& context, const QuestionText& question);

// The record of the document `name` ("documents/{id}"): there, and in a state to be asked
// (FAILED_PRECONDITION otherwise). May read the disk.
absl::StatusOr<store::DocumentRecord> FindAskable(const CallContext& context,
                                                  const std::string& name, bool allow_partial);

// Tokens and sampling of a checked question over that document; arrival and deadline are left to
// the caller. INVALID_ARGUMENT as above, and when document and question fill the model's context.
absl::StatusOr<QuestionRequest> PrepareQuestion(const CallContext& context,
                                                const store::DocumentRecord& document,
                                                const QuestionText& question, bool allow_partial);

// When the questions of a call that arrived at `arrival` have to be answered: the client's
// deadline, or the server's.
std::chrono::steady_clock::time_point QuestionDeadline(
    const CallContext& context, const grpc::CallbackServerContext& call,
    std::chrono::steady_clock::time_point arrival);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_QUESTION_INTAKE_H_
