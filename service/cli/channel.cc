#include "service/cli/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "service/version.h"

namespace longleaf::service::cli {
namespace {

// The server has to allow pings this often, also through a silent prefill.
constexpr int kKeepaliveMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
constexpr int kConnectMs = 5'000;
constexpr int kMostReconnectBackoffMs = 5'000;
// A page of the list may hold a thousand documents with their labels.
constexpr int kMostReceiveBytes = 64 << 20;

bool IsLoopback(absl::string_view target) {
  return absl::StartsWith(target, "127.") || absl::StartsWith(target, "localhost:") ||
         absl::StartsWith(target, "[::1]:") || absl::StartsWith(target, "unix:");
}

}  // namespace

std::string Target(const std::string& server) {
  absl::string_view target = server;
  absl::ConsumePrefix(&target, "http://");
  absl::ConsumeSuffix(&target, "/");
  const size_t colon = target.rfind(':');
  const bool bare_ipv6 = absl::EndsWith(target, "]");
  if (colon == absl::string_view::npos || bare_ipv6) {
    return absl::StrCat(target, ":", kDefaultPort);
  }
  return std::string(target);
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server) {
  const std::string target = Target(server);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  // Pings go on while an upload, an answer or a watch has nothing to send for long.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMs);  // also the connect timeout
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 250);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMostReconnectBackoffMs);
  arguments.SetMaxReceiveMessageSize(kMostReceiveBytes);
  arguments.SetUserAgentPrefix(absl::StrCat("longleaf/", kVersion));
  if (IsLoopback(target)) {
    // An http_proxy in the environment is not meant for this machine.
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  }
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace longleaf::service::cli
