// A server that answers every question in the same way unless told otherwise, for the tests of
// `longleaf ask`.
#ifndef LONGLEAF_TESTS_SERVICE_CLI_ASK_FIXTURE_H_
#define LONGLEAF_TESTS_SERVICE_CLI_ASK_FIXTURE_H_

#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "tests/service/cli/client_process.h"
#include "tests/service/cli/fake_server.h"

namespace longleaf::service::cli {

using Writer = grpc::ServerWriter<v1::AskResponse>;

inline void SetSeconds(double seconds, google::protobuf::Duration* duration) {
  duration->set_seconds(static_cast<int64_t>(seconds));
  duration->set_nanos(
      static_cast<int32_t>((seconds - static_cast<double>(duration->seconds())) * 1e9));
}

inline void WriteStarted(Writer* writer) {
  v1::AskResponse event;
  event.mutable_started()->set_tier(v1::STATE_TIER_DISK);
  event.mutable_started()->set_tokens_reused(12345);
  event.mutable_started()->set_tokens_prefilled(23);
  event.mutable_started()->set_document_tokens_visible(12345);
  writer->Write(event);
}

inline void WriteText(Writer* writer, const std::string& text) {
  v1::AskResponse event;
  event.mutable_text()->set_text(text);
  writer->Write(event);
}

inline void WriteFinished(Writer* writer, bool evidence) {
  v1::AskResponse event;
  v1::Finished& finished = *event.mutable_finished();
  finished.set_reason(v1::FINISH_REASON_STOP_STRING);
  finished.mutable_usage()->set_document_tokens(12345);
  finished.mutable_usage()->set_question_tokens(23);
  finished.mutable_usage()->set_answer_tokens(5);
  finished.mutable_usage()->set_tokens_reused(12345);
  finished.mutable_usage()->set_tokens_prefilled(23);
  SetSeconds(0.125, finished.mutable_timings()->mutable_queue());
  SetSeconds(0.25, finished.mutable_timings()->mutable_restore());
  SetSeconds(0.5, finished.mutable_timings()->mutable_prefill());
  SetSeconds(0.875, finished.mutable_timings()->mutable_time_to_first_token());
  SetSeconds(2, finished.mutable_timings()->mutable_decode());
  SetSeconds(2.875, finished.mutable_timings()->mutable_total());
  finished.set_seed(18446744073709551615u);
  if (evidence) {
    v1::Evidence* passage = finished.add_evidence();
    passage->set_begin_byte(12034);
    passage->set_end_byte(12060);
    passage->set_weight(0.25);
    passage->set_text("Captain\n Ahab \x1b[31mstood");
  }
  writer->Write(event);
}

class AskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    script_.ask = [this](const v1::AskRequest& request, grpc::ServerContext*, Writer* writer) {
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      WriteStarted(writer);
      WriteText(writer, " The answer");
      WriteText(writer, " to " + request.question());
      WriteFinished(writer, request.max_evidence() > 0);
      return grpc::Status::OK;
    };
    script_.get = [](const v1::GetDocumentRequest& request, v1::Document* document) {
      document->set_name(request.name());
      document->set_display_name("Moby\x1b[2JDick");
      document->set_token_count(12345);
      document->set_state(v1::DOCUMENT_STATE_ACTIVE);
      return grpc::Status::OK;
    };
  }
  ClientProcess::Result Run(const std::vector<std::string>& arguments,
                            const std::string& input = "") {
    return RunClient(server_.address(), arguments, input);
  }
  std::vector<v1::AskRequest> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

  std::mutex mutex_;
  std::vector<v1::AskRequest> requests_;
  FakeServer::Script script_;
  FakeServer server_{&script_};
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_TESTS_SERVICE_CLI_ASK_FIXTURE_H_
