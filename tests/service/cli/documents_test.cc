// The smaller commands, and what all commands share: help, wrong usage, a server that is not there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/service/cli/client_process.h"
#include "tests/service/cli/fake_server.h"
#include "tests/service/cli/held_port.h"

namespace longleaf::service::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class DocumentsTest : public ::testing::Test {
 protected:
  ClientProcess::Result Run(const std::vector<std::string>& arguments) {
    return RunClient(server_.address(), arguments);
  }
  static v1::Document Whale() {
    v1::Document document;
    document.set_name("documents/whale");
    document.set_display_name("Moby\nDick");
    (*document.mutable_labels())["year"] = "1851";
    (*document.mutable_labels())["shelf"] = "fiction";
    document.set_state(v1::DOCUMENT_STATE_PREFILLING);
    document.mutable_create_time()->set_seconds(1'700'000'000);
    document.set_text_bytes(1'220'112);
    document.set_token_count(301'222);
    document.set_text_sha256(std::string("\x00\xab", 2));
    document.mutable_progress()->set_tokens_total(301'222);
    document.mutable_progress()->set_tokens_done(123'456);
    document.mutable_progress()->mutable_eta()->set_seconds(144);
    document.set_etag("e1");
    return document;
  }

  FakeServer::Script script_;
  FakeServer server_{&script_};
};

TEST_F(DocumentsTest, ShowsADocument) {
  script_.get = [](const v1::GetDocumentRequest& request, v1::Document* document) {
    EXPECT_EQ(request.name(), "documents/whale");
    *document = Whale();
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run({"show", "whale"}).out,
            "name      documents/whale\n"
            "title     Moby\\nDick\n"
            "state     prefilling, 123,456 of 301,222 tokens read, 2 min 24 s left\n"
            "size      1,220,112 bytes, 301,222 tokens\n"
            "labels    shelf=fiction, year=1851\n"
            "created   2023-11-14 22:13:20 UTC\n"
            "expires   never\n"
            "sha256    00ab\n"
            "etag      e1\n");
  EXPECT_EQ(Run({"show", "--json", "documents/whale"}).out,
            R"({"name":"documents/whale","display_name":"Moby\nDick",)"
            R"("labels":{"shelf":"fiction","year":"1851"},"state":"prefilling",)"
            R"("create_time":"2023-11-14T22:13:20Z","text_bytes":1220112,"token_count":301222,)"
            R"("text_sha256":"00ab","progress":{"tokens_total":301222,"tokens_done":123456,)"
            R"("tokens_reused":0,"eta_seconds":144.0},"etag":"e1"})"
            "\n");
}

TEST_F(DocumentsTest, ListsAllPages) {
  std::vector<int> sizes;
  script_.list = [&](const v1::ListDocumentsRequest& request, v1::ListDocumentsResponse* page) {
    sizes.push_back(request.page_size());
    if (request.page_token().empty()) {
      *page->add_documents() = Whale();
      page->set_next_page_token("more");
    } else {
      EXPECT_EQ(request.page_token(), "more");
      page->add_documents()->set_name("documents/a-longer-name");
    }
    return grpc::Status::OK;
  };
  const auto table = Run({"list"});
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_THAT(table.out, StartsWith("NAME             STATE            TOKENS     SIZE  EXPIRES  "
                                    "TITLE\n"
                                    "documents/whale  prefilling 40%  301,222  1.22 MB  never    "
                                    "Moby\\nDick\n"));
  EXPECT_THAT(table.out, HasSubstr("documents/a-longer-name"));
  const auto json = Run({"--json", "list"});
  EXPECT_EQ(std::count(json.out.begin(), json.out.end(), '\n'), 2);
  sizes.clear();
  const auto one = Run({"--json", "list", "--limit", "1"});
  EXPECT_EQ(std::count(one.out.begin(), one.out.end(), '\n'), 1);
  EXPECT_THAT(sizes, ElementsAre(1));
}

TEST_F(DocumentsTest, ChangesADocument) {
  v1::UpdateDocumentRequest sent;
  script_.get = [](const v1::GetDocumentRequest&, v1::Document* document) {
    *document = Whale();
    return grpc::Status::OK;
  };
  script_.update = [&](const v1::UpdateDocumentRequest& request, v1::Document* document) {
    sent = request;
    *document = request.document();
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run({"update", "whale", "--name", "", "--label", "year=1852", "--remove-label", "shelf",
                 "--ttl", "1h"})
                .exit_code,
            0);
  EXPECT_THAT(sent.update_mask().paths(), ElementsAre("display_name", "labels", "ttl"));
  EXPECT_EQ(sent.document().name(), "documents/whale");
  EXPECT_EQ(sent.document().etag(), "e1");
  EXPECT_EQ(sent.document().labels().size(), 1u);
  EXPECT_EQ(sent.document().labels().at("year"), "1852");
  EXPECT_EQ(sent.document().ttl().seconds(), 3600);

  EXPECT_EQ(Run({"update", "whale", "--keep"}).exit_code, 0);
  EXPECT_THAT(sent.update_mask().paths(), ElementsAre("expire_time"));
  EXPECT_FALSE(sent.document().has_expire_time());
  EXPECT_EQ(Run({"update", "whale"}).exit_code, 2);
  EXPECT_EQ(Run({"update", "whale", "--keep", "--ttl", "1h"}).exit_code, 2);
}

TEST_F(DocumentsTest, DeletesUntilSomethingIsWrong) {
  std::vector<std::string> names;
  script_.remove = [&](const v1::DeleteDocumentRequest& request) {
    names.push_back(request.name());
    return request.name() == "documents/b"
               ? RichStatus(grpc::StatusCode::NOT_FOUND, "no document", "DOCUMENT_NOT_FOUND")
               : grpc::Status::OK;
  };
  EXPECT_EQ(Run({"--json", "delete", "a"}).out, "{\"name\":\"documents/a\",\"deleted\":true}\n");
  names.clear();
  EXPECT_EQ(Run({"delete", "a", "documents/b", "c"}).exit_code, 4);
  EXPECT_THAT(names, ElementsAre("documents/a", "documents/b"));
}

TEST_F(DocumentsTest, PrintsTextByteForByteAcrossABreak) {
  const std::string text = "a\x1b[0m\r\nü\xff日本" + std::string(1, '\0') + "end";
  std::vector<int64_t> offsets;
  script_.text = [&](const v1::ReadDocumentTextRequest& request,
                     grpc::ServerWriter<v1::ReadDocumentTextResponse>* writer) {
    offsets.push_back(request.offset());
    v1::ReadDocumentTextResponse response;
    const std::string rest = text.substr(static_cast<size_t>(request.offset()));
    if (offsets.size() == 1) {
      response.set_chunk(rest.substr(0, 8));  // cuts the u umlaut
      writer->Write(response);
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "Socket closed");
    }
    for (const char byte : rest) {
      response.set_chunk(std::string(1, byte));
      writer->Write(response);
    }
    return grpc::Status::OK;
  };
  const auto result = Run({"text", "whale"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, text);
  EXPECT_THAT(offsets, ElementsAre(0, 8));

  ClientProcess client(server_.address(), {"text", "whale"}, ClientProcess::Streams::kTerminal);
  // The terminal itself turns the newline into CR LF.
  EXPECT_EQ(client.Finish().out, "a\\x1b[0m\r\r\nü\\xff日本\\x00end\r\n");
}

TEST_F(DocumentsTest, TextAsJsonKeepsCharactersWhole) {
  script_.text = [&](const v1::ReadDocumentTextRequest& request,
                     grpc::ServerWriter<v1::ReadDocumentTextResponse>* writer) {
    EXPECT_EQ(request.offset(), 100);
    EXPECT_EQ(request.limit(), 9);
    v1::ReadDocumentTextResponse response;
    for (const char* chunk : {"ab\xe6", "\x97",
                              "\xa5"
                              "cde"}) {
      response.set_chunk(chunk);
      writer->Write(response);
    }
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run({"--json", "text", "whale", "--offset", "100", "--limit", "9"}).out,
            "{\"offset\":100,\"text\":\"ab\"}\n{\"offset\":102,\"text\":\"日cde\"}\n");
}

TEST_F(DocumentsTest, WatchesWithALinePerEvent) {
  script_.watch = [](const v1::WatchDocumentRequest&,
                     grpc::ServerWriter<v1::WatchDocumentResponse>* writer) {
    v1::WatchDocumentResponse event;
    event.set_state(v1::DOCUMENT_STATE_QUEUED);
    writer->Write(event);
    event.set_state(v1::DOCUMENT_STATE_ACTIVE);
    event.mutable_progress()->set_tokens_total(9);
    event.mutable_progress()->set_tokens_done(9);
    writer->Write(event);
    return grpc::Status::OK;
  };
  const auto json = Run({"watch", "whale", "--json"});
  EXPECT_EQ(json.exit_code, 0);
  EXPECT_EQ(json.out, R"({"name":"documents/whale","state":"queued","progress":{"tokens_total":0,)"
                      R"("tokens_done":0,"tokens_reused":0}})"
                      "\n"
                      R"({"name":"documents/whale","state":"active","progress":{"tokens_total":9,)"
                      R"("tokens_done":9,"tokens_reused":0}})"
                      "\n");
  EXPECT_THAT(Run({"watch", "whale"}).err, StartsWith("documents/whale is ready: 9 tokens in "));
  EXPECT_EQ(Run({"watch", "whale", "--quiet"}).err, "");
}

TEST_F(DocumentsTest, ShowsTheModel) {
  script_.model = [](v1::Model* model) {
    model->set_display_name("demo");
    model->set_architecture("LlamaForCausalLM");
    model->set_layers(4);
    model->set_parameters(1'234'567);
    model->set_context_length(32'768);
    model->set_max_document_tokens(32'000);
    model->set_attention("cca:g=16,w=256,heads=kv");
    model->set_state_dtype("f32");
    model->set_state_bytes_per_token(64);
    model->set_state_bytes_fixed(1'000'000);
    model->set_full_cache_bytes_per_token(1024);
    model->set_device("cpu");
    return grpc::Status::OK;
  };
  const auto shown = Run({"model"});
  EXPECT_THAT(shown.out, HasSubstr("3.05 MB for 32,000 tokens (9% of a full cache, 32.8 MB), f32"));
  const auto json = nlohmann::json::parse(Run({"model", "--json"}).out, nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["context_length"], 32'768);
  EXPECT_EQ(json["attention_overridden"], false);
}

TEST_F(DocumentsTest, SaysAtOnceThatNobodyListens) {
  const HeldPort nobody;
  const std::string address = "127.0.0.1:" + std::to_string(nobody.port());
  for (const std::vector<std::string>& command : {std::vector<std::string>{"list"},
                                                  {"ask", "whale", "q"},
                                                  {"upload", "/dev/null"},
                                                  {"watch", "whale"},
                                                  {"text", "whale"}}) {
    const auto result = RunClient(address, command);
    EXPECT_EQ(result.exit_code, 3) << command[0];
    EXPECT_EQ(result.err, "longleaf: cannot reach a server at " + address +
                              ": Connection refused (UNAVAILABLE)\n")
        << command[0];
  }
}

TEST_F(DocumentsTest, HelpAndUsage) {
  const auto help = Run({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("Examples:"));
  EXPECT_THAT(help.out, HasSubstr("Exit status:"));
  EXPECT_THAT(help.out, HasSubstr("130 interrupted"));
  for (const char* command :
       {"upload", "ask", "list", "show", "watch", "text", "update", "delete", "model"}) {
    const auto one = Run({command, "--help"});
    EXPECT_EQ(one.exit_code, 0) << command;
    EXPECT_THAT(one.out, HasSubstr("Usage: longleaf " + std::string(command))) << command;
    EXPECT_THAT(help.out, HasSubstr("\n  " + std::string(command) + " ")) << command;
  }
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{},
                                                {"sing"},
                                                {"show"},
                                                {"show", "a", "b"},
                                                {"list", "--nope"},
                                                {"ask", "a", "q", "--top-k", "many"},
                                                {"upload", "f", "--label", "novalue"},
                                                {"list", "--timeout", "never"}}) {
    const auto result = Run(wrong);
    EXPECT_EQ(result.exit_code, 2) << ::testing::PrintToString(wrong);
    EXPECT_THAT(result.err, StartsWith("longleaf: "));
    EXPECT_THAT(result.err, HasSubstr("--help"));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
}

}  // namespace
}  // namespace longleaf::service::cli
