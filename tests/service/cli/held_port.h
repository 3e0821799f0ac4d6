// A port of the loopback that nobody else is given, for a server that comes back at its address, or
// for an address where nobody listens.
#ifndef LONGLEAF_TESTS_SERVICE_CLI_HELD_PORT_H_
#define LONGLEAF_TESTS_SERVICE_CLI_HELD_PORT_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace longleaf::service::cli {

// Bound, but without a listener: connections are refused. A gRPC server, which sets SO_REUSEPORT as
// well, can listen on it.
class HeldPort {
 public:
  HeldPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    EXPECT_EQ(setsockopt(fd_, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~HeldPort() { close(fd_); }
  HeldPort(const HeldPort&) = delete;
  HeldPort& operator=(const HeldPort&) = delete;

  int port() const { return port_; }

 private:
  const int fd_;
  int port_ = 0;
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_TESTS_SERVICE_CLI_HELD_PORT_H_
