#include "tests/soak/long_life.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

namespace longleaf::soak {
namespace {

namespace fs = std::filesystem;

// Gauges that are zero when there is no document and no request.
constexpr const char* kEmptyGauges[] = {
    "longleaf_documents{state=\"creating\"}",
    "longleaf_documents{state=\"queued\"}",
    "longleaf_documents{state=\"prefilling\"}",
    "longleaf_documents{state=\"active\"}",
    "longleaf_documents{state=\"failed\"}",
    "longleaf_state_bytes{tier=\"memory\"}",
    "longleaf_state_bytes{tier=\"disk\"}",
    "longleaf_store_text_bytes",
    "longleaf_requests_running",
    "longleaf_requests_waiting{kind=\"document\"}",
    "longleaf_requests_waiting{kind=\"question\"}",
};

int64_t CountEntries(const std::string& directory) {
  int64_t n = 0;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    ++n;
  }
  return n;
}

int64_t Median(const std::vector<Sample>& samples, size_t begin, size_t end,
               const std::function<int64_t(const Sample&)>& value) {
  std::vector<int64_t> values;
  for (size_t i = begin; i < end; ++i) {
    values.push_back(value(samples[i]));
  }
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

}  // namespace

std::map<std::string, double> Scrape(const std::string& metrics_address) {
  const size_t colon = metrics_address.rfind(':');
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(metrics_address.c_str() + colon + 1)));
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  std::string answer;
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0 &&
      send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size())) {
    char buffer[65536];
    ssize_t got = 0;
    while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
      answer.append(buffer, static_cast<size_t>(got));
    }
  }
  close(fd);
  std::map<std::string, double> metrics;
  std::istringstream lines(answer);
  std::string line;
  while (std::getline(lines, line)) {
    const size_t space = line.rfind(' ');
    if (line.rfind("longleaf_", 0) == 0 && space != std::string::npos) {
      metrics[line.substr(0, space)] = std::atof(line.c_str() + space + 1);
    }
  }
  return metrics;
}

double MetricOf(const std::map<std::string, double>& metrics, const std::string& name) {
  const auto it = metrics.find(name);
  return it == metrics.end() ? -1 : it->second;
}

Sample TakeSample(const SoakServer& server, const std::string& store, double seconds) {
  Sample sample;
  sample.seconds = seconds;
  const std::string proc = "/proc/" + std::to_string(server.pid());
  std::ifstream statm(proc + "/statm");
  int64_t pages = 0;
  statm >> pages >> pages;
  sample.rss_bytes = pages * sysconf(_SC_PAGESIZE);
  sample.descriptors = CountEntries(proc + "/fd");
  sample.threads = CountEntries(proc + "/task");
  std::error_code error;
  for (fs::recursive_directory_iterator it(store, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;  // RocksDB deletes files meanwhile
    if (it->is_regular_file(gone)) {
      const auto bytes = it->file_size(gone);
      if (!gone) {
        ++sample.files;
        sample.file_bytes += static_cast<int64_t>(bytes);
      }
    }
  }
  sample.metrics = Scrape(server.metrics_address());
  return sample;
}

void LongLife::SampleEmpty(const SoakServer& server, double seconds, double patience) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(patience);
  std::string held;
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    held.clear();
    const std::map<std::string, double> metrics = Scrape(server.metrics_address());
    for (const char* gauge : kEmptyGauges) {
      if (MetricOf(metrics, gauge) != 0) {
        held += std::string(" ") + gauge + "=" + std::to_string(MetricOf(metrics, gauge));
      }
    }
  } while (!held.empty() && std::chrono::steady_clock::now() < end);
  if (!held.empty()) {
    tally_->Finding("held without a document", held);
  }
  samples_.push_back(TakeSample(server, store_, seconds));
}

void LongLife::Judge(const Allowance& allowance) const {
  std::printf("\nWith every document deleted:\n%9s %9s %6s %8s %6s %10s %10s %10s\n", "seconds",
              "rss MiB", "fds", "threads", "files", "store MiB", "answers", "doc tokens");
  for (const Sample& sample : samples_) {
    std::printf("%9.0f %9.1f %6lld %8lld %6lld %10.2f %10.0f %10.0f\n", sample.seconds,
                static_cast<double>(sample.rss_bytes) / (1 << 20),
                static_cast<long long>(sample.descriptors), static_cast<long long>(sample.threads),
                static_cast<long long>(sample.files),
                static_cast<double>(sample.file_bytes) / (1 << 20),
                MetricOf(sample.metrics, "longleaf_time_to_first_token_seconds_count"),
                MetricOf(sample.metrics, "longleaf_document_tokens_total"));
  }
  if (samples_.size() < 6) {
    return;
  }
  const size_t third = samples_.size() / 3;
  const auto check = [&](const char* name, const std::function<int64_t(const Sample&)>& value,
                         int64_t allowed, int64_t percent) {
    const int64_t first = Median(samples_, 0, third, value);
    const int64_t last = Median(samples_, samples_.size() - third, samples_.size(), value);
    const int64_t limit = first + allowed + first * percent / 100;
    std::printf("%-12s first third %12lld   last third %12lld   allowed %12lld\n", name,
                static_cast<long long>(first), static_cast<long long>(last),
                static_cast<long long>(limit));
    if (last > limit) {
      tally_->Finding("growth", std::string(name) + " grew from " + std::to_string(first) + " to " +
                                    std::to_string(last));
    }
  };
  check(
      "rss", [](const Sample& s) { return s.rss_bytes; }, allowance.rss_bytes,
      allowance.rss_percent);
  check(
      "descriptors", [](const Sample& s) { return s.descriptors; }, allowance.descriptors, 0);
  check(
      "threads", [](const Sample& s) { return s.threads; }, allowance.threads, 0);
  check(
      "files", [](const Sample& s) { return s.files; }, allowance.files, 0);
  check(
      "file bytes", [](const Sample& s) { return s.file_bytes; }, allowance.file_bytes, 0);
}

}  // namespace longleaf::soak
