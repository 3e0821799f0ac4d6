#include "service/bench/scrape.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace longleaf::service::bench {
namespace {

constexpr int kSeconds = 10;
constexpr size_t kMostBytes = 16 << 20;

int Connect(const addrinfo* addresses) {
  for (const addrinfo* a = addresses; a != nullptr; a = a->ai_next) {
    const int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) {
      continue;
    }
    const timeval timeout = {.tv_sec = kSeconds, .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) {
      return fd;
    }
    close(fd);
  }
  return -1;
}

}  // namespace

Counters ParseMetrics(absl::string_view page) {
  Counters counters;
  for (absl::string_view line : absl::StrSplit(page, '\n')) {
    if (line.empty() || line.front() == '#') {
      continue;
    }
    // A label's value may hold spaces, so the number is looked for behind the labels.
    const size_t brace = line.find('{');
    const size_t name_end = brace != absl::string_view::npos ? brace : line.find(' ');
    const size_t labels_end = brace != absl::string_view::npos ? line.rfind('}') : name_end;
    if (name_end == absl::string_view::npos || labels_end == absl::string_view::npos) {
      continue;
    }
    const std::vector<absl::string_view> rest =
        absl::StrSplit(line.substr(labels_end + (brace != absl::string_view::npos ? 1 : 0)), ' ',
                       absl::SkipEmpty());
    double value = 0;
    if (!rest.empty() && absl::SimpleAtod(rest.front(), &value)) {
      counters[std::string(line.substr(0, name_end))] += value;
    }
  }
  return counters;
}

absl::StatusOr<Counters> Scrape(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("'", address, "' is not HOST:PORT"));
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* addresses = nullptr;
  if (getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &addresses) != 0) {
    return absl::UnavailableError(absl::StrCat("metrics: no address for ", address));
  }
  const absl::Cleanup free_addresses = [addresses] { freeaddrinfo(addresses); };
  const int fd = Connect(addresses);
  if (fd < 0) {
    return absl::UnavailableError(absl::StrCat("metrics: nobody listens at ", address));
  }
  const absl::Cleanup close_fd = [fd] { close(fd); };
  // HTTP/1.0: the page comes in one piece and ends with the connection.
  const std::string request = absl::StrCat("GET /metrics HTTP/1.0\r\nHost: ", host, "\r\n\r\n");
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    return absl::UnavailableError(absl::StrCat("metrics: ", address, " does not take a request"));
  }
  std::string page;
  std::array<char, 64 << 10> buffer;
  for (ssize_t got = 0;
       page.size() < kMostBytes && (got = recv(fd, buffer.data(), buffer.size(), 0)) > 0;) {
    page.append(buffer.data(), static_cast<size_t>(got));
  }
  const size_t body = page.find("\r\n\r\n");
  if (body == std::string::npos || !absl::StrContains(page.substr(0, page.find('\r')), " 200")) {
    return absl::UnavailableError(absl::StrCat("metrics: ", address, " has no /metrics"));
  }
  return ParseMetrics(absl::string_view(page).substr(body + 4));
}

}  // namespace longleaf::service::bench
