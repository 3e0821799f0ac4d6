// Every request message of every rpc through the real handlers of a whole server.
//
// An input is a short program of calls, one byte after the other: which rpc, its deadline, whether
// it is cancelled in the middle or held open while the next calls run, and its messages: valid ones
// with fields made hostile, or plain bytes. After each input every call must have ended with a
// status of the contract and a reason, every response must be a valid message, no document may be
// stuck, and nothing may be left: no document, no text, no running work.
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/json_util.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "longleaf/v1/document.pb.h"
#include "longleaf/v1/model.pb.h"
#include "longleaf/v1/question.pb.h"
#include "tests/fuzz/hostile_message.h"
#include "tests/fuzz/served_channel.h"

namespace longleaf::fuzz {
namespace {

namespace v1 = longleaf::v1;
using google::protobuf::Message;
using Messages = std::vector<std::unique_ptr<Message>>;

// ---- The rpcs, and a valid request of each
// -------------------------------------------------------

struct Rpc {
  std::string method;
  Messages (*requests)(Input& input);
  const Message* response;
  bool endless = false;      // ends only when something happens to the document
  bool can_be_long = false;  // an answer of thousands of tokens is one, too
};

template <typename M>
Messages One(M message) {
  Messages out;
  out.push_back(std::make_unique<M>(std::move(message)));
  return out;
}

template <typename M>
Messages Named(Input& input) {
  M message;
  message.set_name(input.Byte() % 4 == 3 ? "documents/b" : "documents/a");
  return One(std::move(message));
}

Messages Upload(Input& input) {
  const uint8_t shape = input.Byte();
  Messages out;
  auto header = std::make_unique<v1::UploadDocumentRequest>();
  header->mutable_header()->set_document_id((shape & 1) != 0 ? "b" : "a");
  if ((shape & 2) != 0) {
    header->mutable_header()->set_request_id("one");
  }
  out.push_back(std::move(header));
  for (int chunks = (shape >> 2) % 4; chunks > 0; --chunks) {
    auto chunk = std::make_unique<v1::UploadDocumentRequest>();
    chunk->set_chunk("The mill stood by the river. ");
    out.push_back(std::move(chunk));
  }
  if ((shape & 0x10) == 0) {
    auto last = std::make_unique<v1::UploadDocumentRequest>();
    last->set_chunk("The end.");
    last->set_finish_write(true);
    out.push_back(std::move(last));
  }
  return out;
}

Messages Update(Input&) {
  v1::UpdateDocumentRequest message;
  message.mutable_document()->set_name("documents/a");
  message.mutable_document()->set_display_name("A mill");
  (*message.mutable_document()->mutable_labels())["year"] = "1911";
  message.mutable_update_mask()->add_paths("display_name");
  message.mutable_update_mask()->add_paths("labels");
  return One(std::move(message));
}

Messages Ask(Input&) {
  v1::AskRequest message;
  message.set_document("documents/a");
  message.set_question("Where is the mill?");
  message.mutable_sampling()->set_max_tokens(4);
  message.mutable_sampling()->set_temperature(1);
  message.set_max_evidence(1);
  return One(std::move(message));
}

Messages BatchAsk(Input& input) {
  v1::BatchAskRequest message;
  message.set_document("documents/a");
  message.mutable_sampling()->set_max_tokens(4);
  for (int questions = 1 + input.Byte() % 4; questions > 0; --questions) {
    message.add_questions()->set_question("Where is the mill?");
  }
  message.mutable_questions(0)->mutable_sampling()->set_temperature(1);
  message.mutable_questions(0)->set_max_evidence(1);
  return One(std::move(message));
}

Messages List(Input&) { return One(v1::ListDocumentsRequest()); }
Messages GetModel(Input&) { return One(v1::GetModelRequest()); }

constexpr char kDocuments[] = "/longleaf.v1.DocumentService/";

const std::vector<Rpc>& Rpcs() {
  static const auto* const rpcs = new std::vector<Rpc>{
      {std::string(kDocuments) + "UploadDocument", Upload, &v1::Document::default_instance()},
      {std::string(kDocuments) + "QueryUpload", Named<v1::QueryUploadRequest>,
       &v1::QueryUploadResponse::default_instance()},
      {std::string(kDocuments) + "GetDocument", Named<v1::GetDocumentRequest>,
       &v1::Document::default_instance()},
      {std::string(kDocuments) + "ListDocuments", List,
       &v1::ListDocumentsResponse::default_instance()},
      {std::string(kDocuments) + "UpdateDocument", Update, &v1::Document::default_instance()},
      {std::string(kDocuments) + "DeleteDocument", Named<v1::DeleteDocumentRequest>,
       &google::protobuf::Empty::default_instance()},
      {std::string(kDocuments) + "ReadDocumentText", Named<v1::ReadDocumentTextRequest>,
       &v1::ReadDocumentTextResponse::default_instance()},
      {std::string(kDocuments) + "WatchDocument", Named<v1::WatchDocumentRequest>,
       &v1::WatchDocumentResponse::default_instance(), /*endless=*/true, /*can_be_long=*/false},
      {"/longleaf.v1.QuestionService/Ask", Ask, &v1::AskResponse::default_instance(),
       /*endless=*/false, /*can_be_long=*/true},
      {"/longleaf.v1.ModelService/GetModel", GetModel, &v1::Model::default_instance()},
      {"/longleaf.v1.QuestionService/BatchAsk", BatchAsk, &v1::BatchAskResponse::default_instance(),
       /*endless=*/false, /*can_be_long=*/true},
  };
  return *rpcs;
}

// ---- What must hold
// ------------------------------------------------------------------------------

void CheckStatus(const RawCall& call, const grpc::Status& status) {
  using grpc::StatusCode;
  static const auto* const kContract = new std::set<StatusCode>{
      StatusCode::OK,        StatusCode::INVALID_ARGUMENT,    StatusCode::NOT_FOUND,
      StatusCode::ABORTED,   StatusCode::FAILED_PRECONDITION, StatusCode::ALREADY_EXISTS,
      StatusCode::CANCELLED, StatusCode::RESOURCE_EXHAUSTED,  StatusCode::DEADLINE_EXCEEDED};
  const StatusCode code = status.error_code();
  const std::string what = call.method() + " ended with " + std::to_string(code) + " \"" +
                           status.error_message().substr(0, 200) + "\"";
  if (kContract->count(code) == 0 || (code == StatusCode::CANCELLED && !call.cancelled()) ||
      (code == StatusCode::DEADLINE_EXCEEDED && !call.has_deadline())) {
    Fail(what);
  }
  if (status.ok() || code == StatusCode::CANCELLED || code == StatusCode::DEADLINE_EXCEEDED) {
    return;  // the last two are mostly the client's own
  }
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (!details.ParseFromString(status.error_details()) || details.details_size() == 0 ||
      !details.details(0).UnpackTo(&info) || info.domain() != "longleaf" || info.reason().empty() ||
      info.reason() == "INTERNAL") {
    Fail(what + " without a reason");
  }
}

// A response can be read, and written as JSON: so its strings, times and durations are valid.
void CheckResponse(const RawCall& call, const Message& type, const std::string& bytes) {
  const std::unique_ptr<Message> message(type.New());
  std::string json;
  if (!message->ParseFromString(bytes) ||
      !google::protobuf::util::MessageToJsonString(*message, &json).ok()) {
    Fail(call.method() + " answered with an invalid message");
  }
}

template <typename Response>
grpc::Status Unary(ServedChannel& server, const std::string& method, const Message& request,
                   Response* response) {
  RawCall call(server, method, 0);
  call.Write(request.SerializeAsString());
  call.CloseWrites();
  std::string bytes;
  if (call.Read(&bytes) && !response->ParseFromString(bytes)) {
    Fail(method + " answered with an invalid message");
  }
  return call.Finish();
}

using Clock = std::chrono::steady_clock;

// Runs `done` until it says so; half a minute is too long for what is waited for here.
template <typename Done>
void WaitFor(const std::string& what, Done done) {
  const Clock::time_point limit = Clock::now() + std::chrono::seconds(120);
  while (!done()) {
    if (Clock::now() > limit) {
      Fail("waited in vain for: " + what);
    }
    std::this_thread::yield();
  }
}

// Uploaded documents come to an end: ACTIVE or FAILED.
void WaitUntilRead(ServedChannel& server, const std::string& name) {
  v1::GetDocumentRequest request;
  request.set_name(name);
  WaitFor(name + " to be read", [&] {
    v1::Document document;
    const grpc::Status status =
        Unary(server, std::string(kDocuments) + "GetDocument", request, &document);
    return !status.ok() || (document.state() != v1::DOCUMENT_STATE_QUEUED &&
                            document.state() != v1::DOCUMENT_STATE_PREFILLING);
  });
}

void CheckAlive(ServedChannel& server) {
  v1::Model model;
  const grpc::Status status =
      Unary(server, "/longleaf.v1.ModelService/GetModel", v1::GetModelRequest(), &model);
  if (!status.ok() || model.context_length() == 0) {
    Fail("GetModel: " + status.error_message());
  }
}

void DeleteAll(ServedChannel& server) {
  v1::ListDocumentsRequest request;
  v1::ListDocumentsResponse page;
  const grpc::Status listed =
      Unary(server, std::string(kDocuments) + "ListDocuments", request, &page);
  if (!listed.ok()) {
    Fail("ListDocuments: " + listed.error_message());
  }
  for (const v1::Document& document : page.documents()) {
    WaitUntilRead(server, document.name());
    v1::DeleteDocumentRequest deletion;
    deletion.set_name(document.name());
    google::protobuf::Empty empty;
    const grpc::Status status =
        Unary(server, std::string(kDocuments) + "DeleteDocument", deletion, &empty);
    if (!status.ok() && status.error_code() != grpc::StatusCode::NOT_FOUND) {
      Fail("DeleteDocument: " + status.error_message());
    }
  }
}

// Everything can be deleted, and then nothing is left. What a cancelled upload sent may still be on
// its way, so it is looked for again.
void CleanUp(ServedChannel& server) {
  WaitFor("nothing to be left", [&] {
    DeleteAll(server);
    const std::string metrics = server.Metrics();
    for (const char* const gauge :
         {"longleaf_documents{state=\"creating\"}", "longleaf_documents{state=\"queued\"}",
          "longleaf_documents{state=\"active\"}", "longleaf_documents{state=\"failed\"}",
          "longleaf_store_text_bytes", "longleaf_requests_running",
          "longleaf_requests_waiting{kind=\"question\"}",
          "longleaf_requests_waiting{kind=\"document\"}"}) {
      if (metrics.find(std::string("\n") + gauge + " 0\n") == std::string::npos) {
        return false;
      }
    }
    return true;
  });
}

// ---- The program
// ---------------------------------------------------------------------------------

// Ends a call as its byte says: after how many responses it is cancelled, if at all.
void End(RawCall& call, const Rpc& rpc, uint8_t how) {
  call.CloseWrites();
  int reads = (how & 0x80) != 0 ? how % 8 : -1;
  if (reads < 0 && rpc.can_be_long) {
    reads = 8;
  }
  std::string bytes;
  while (reads != 0 && call.Read(&bytes)) {
    CheckResponse(call, *rpc.response, bytes);
    --reads;
  }
  if (reads == 0) {
    call.Cancel();
  }
  CheckStatus(call, call.Finish());
}

struct Held {
  const Rpc* rpc;
  uint8_t how;
  std::unique_ptr<RawCall> call;
};

void Run(ServedChannel& server, Input& input) {
  constexpr int kDeadlines[] = {0, 0, 0, 0, 0, 1, 5, 20};
  std::vector<Held> held;
  for (int operations = 0; operations < 8 && !input.empty(); ++operations) {
    const uint8_t which = input.Byte();
    if ((which & 0x0f) == 0x0f) {
      WaitUntilRead(server, "documents/a");
      continue;
    }
    const Rpc& rpc = Rpcs()[(which & 0x0f) % Rpcs().size()];
    const int deadline_ms = rpc.endless && (which >> 5) < 5 ? 50 : kDeadlines[which >> 5];
    const uint8_t how = input.Byte();
    auto call = std::make_unique<RawCall>(server, rpc.method, deadline_ms);
    if ((which & 0x10) != 0) {
      for (int messages = input.Byte() % 4; messages > 0; --messages) {
        call->Write(input.Bytes(input.Byte()));
      }
    } else {
      for (const std::unique_ptr<Message>& message : rpc.requests(input)) {
        MakeHostile(input, message.get());
        call->Write(message->SerializePartialAsString());
      }
    }
    if ((how & 0x40) != 0 && held.size() < 3) {
      held.push_back({&rpc, how, std::move(call)});
    } else {
      End(*call, rpc, how);
    }
  }
  for (Held& open : held) {
    End(*open.call, *open.rpc, open.how);
  }
}

}  // namespace
}  // namespace longleaf::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Goes with the process; protobuf would say of every broken string that it is one.
  static const google::protobuf::LogSilencer silencer;
  static longleaf::fuzz::ServedChannel server;
  longleaf::fuzz::Input input(data, size);
  longleaf::fuzz::Run(server, input);
  longleaf::fuzz::CheckAlive(server);
  longleaf::fuzz::CleanUp(server);
  return 0;
}
