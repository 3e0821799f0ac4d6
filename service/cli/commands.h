// The commands of the client: what each can be told, and the functions that carry them out. All of
// them return an ExitCode and have printed everything, errors included. Names and ids of documents
// are taken in both forms, "documents/whale" and "whale".
#ifndef LONGLEAF_SERVICE_CLI_COMMANDS_H_
#define LONGLEAF_SERVICE_CLI_COMMANDS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "longleaf/v1/question.pb.h"
#include "service/cli/session.h"

namespace longleaf::service::cli {

using Labels = std::vector<std::pair<std::string, std::string>>;

struct UploadOptions {
  std::string path;  // "-": standard input
  std::string id;
  std::optional<std::string> display_name;  // absent: the file's name
  Labels labels;
  absl::Duration ttl = absl::InfiniteDuration();
  std::string request_id;
  bool wait = false;
};
int Upload(Session& session, const UploadOptions& options);

struct AskOptions {
  std::string document;
  // None, and no file: a prompt for one after another. Several are asked at the same time.
  std::vector<std::string> questions;
  std::string questions_path;  // of a file with one in each line; "-": standard input
  v1::Sampling sampling;
  int32_t evidence = 0;
  bool partial = false;
};
int Ask(Session& session, const AskOptions& options);

int Watch(Session& session, const std::string& document);

struct ListOptions {
  int64_t limit = 0;  // 0: all
};
int List(Session& session, const ListOptions& options);
int Show(Session& session, const std::string& document);

struct UpdateOptions {
  std::string document;
  std::optional<std::string> display_name;
  Labels labels;                              // added or changed
  std::vector<std::string> unlabels;          // removed
  absl::Duration ttl = absl::ZeroDuration();  // zero: unchanged; infinite: never expires
};
int Update(Session& session, const UpdateOptions& options);
int Delete(Session& session, const std::vector<std::string>& documents);

struct TextOptions {
  std::string document;
  int64_t offset = 0;
  int64_t limit = 0;  // 0: to the end
};
int Text(Session& session, const TextOptions& options);

int ShowModel(Session& session);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_COMMANDS_H_
