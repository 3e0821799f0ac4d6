// Asking in batches, for the tests of BatchAsk: requests, and reading all that comes of one.
#ifndef LONGLEAF_TESTS_SERVICE_BATCH_FIXTURE_H_
#define LONGLEAF_TESTS_SERVICE_BATCH_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/service/server_fixture.h"

namespace longleaf::service {

inline constexpr char kQuestion[] = "What stood by the road?";

inline grpc::Status ToGrpc(const google::rpc::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), status.message(),
                      status.SerializeAsString());
}

class BatchAskTest : public ServerTest {
 protected:
  struct Result {
    grpc::Status status;          // of the call
    std::vector<Answer> answers;  // with the status of each
    std::vector<int> ended;       // indices, in the order in which they ended
  };

  static v1::BatchAskRequest Batch(const std::string& id, size_t questions,
                                   const std::string& text = kQuestion) {
    v1::BatchAskRequest request;
    request.set_document("documents/" + id);
    for (size_t i = 0; i < questions; ++i) {
      request.add_questions()->set_question(text);
    }
    return request;
  }
  // Any token is as likely as another at this temperature: the end of text comes once in thousands.
  static void MakeLong(int tokens, v1::Sampling* sampling) {
    sampling->set_max_tokens(tokens);
    sampling->set_temperature(100);
    sampling->set_seed(1);
  }

  Result BatchAsk(const v1::BatchAskRequest& request) {
    grpc::ClientContext context;
    return ReadAll(request, questions_->BatchAsk(&context, request).get());
  }
  // Checks the order of every question's events.
  static Result ReadAll(const v1::BatchAskRequest& request,
                        grpc::ClientReader<v1::BatchAskResponse>* reader) {
    Result result;
    result.answers.resize(static_cast<size_t>(request.questions_size()));
    std::vector<bool> started(result.answers.size(), false);
    std::vector<bool> ended(result.answers.size(), false);
    v1::BatchAskResponse event;
    while (reader->Read(&event)) {
      const auto i = static_cast<size_t>(event.index());
      if (i >= result.answers.size()) {
        ADD_FAILURE() << "index " << event.index();
        continue;
      }
      EXPECT_FALSE(ended[i]) << "an event after the last one of " << i;
      Answer& answer = result.answers[i];
      switch (event.event_case()) {
        case v1::BatchAskResponse::kProgress:
          EXPECT_FALSE(started[i]);
          answer.progress.push_back(event.progress());
          continue;
        case v1::BatchAskResponse::kStarted:
          EXPECT_FALSE(started[i]);
          started[i] = true;
          answer.started = event.started();
          continue;
        case v1::BatchAskResponse::kText:
          EXPECT_TRUE(started[i]);
          answer.text += event.text().text();
          answer.logprobs.insert(answer.logprobs.end(), event.text().logprobs().begin(),
                                 event.text().logprobs().end());
          continue;
        case v1::BatchAskResponse::kFinished:
          EXPECT_TRUE(started[i]);
          answer.finished = event.finished();
          break;
        case v1::BatchAskResponse::kFailed:
          answer.status = ToGrpc(event.failed());
          break;
        case v1::BatchAskResponse::EVENT_NOT_SET:
          ADD_FAILURE() << "an event without content";
      }
      ended[i] = true;
      result.ended.push_back(static_cast<int>(i));
    }
    result.status = reader->Finish();
    if (result.status.ok()) {
      EXPECT_THAT(ended, ::testing::Each(true));
    }
    return result;
  }
  // The path in BadRequest.
  static std::string WrongField(const grpc::Status& status) {
    google::rpc::BadRequest details;
    return HasDetail(status, &details) && details.field_violations_size() == 1
               ? details.field_violations(0).field()
               : "none";
  }
};

}  // namespace longleaf::service

#endif  // LONGLEAF_TESTS_SERVICE_BATCH_FIXTURE_H_
