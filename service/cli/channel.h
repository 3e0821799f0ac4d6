// The connection to a server.
#ifndef LONGLEAF_SERVICE_CLI_CHANNEL_H_
#define LONGLEAF_SERVICE_CLI_CHANNEL_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>

namespace longleaf::service::cli {

inline constexpr char kDefaultPort[] = "7070";

// `server` as gRPC wants it: "http://" taken off, the default port added where there is none.
// Targets with a scheme of gRPC's ("unix:", "dns:") stay.
std::string Target(const std::string& server);

// Plain text (no TLS). Connects at the first call, fails fast when nobody listens, and notices
// within half a minute or so when the other side is gone without a word.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& server);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_CHANNEL_H_
