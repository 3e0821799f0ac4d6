// What a server takes while it lives: memory, file descriptors, threads, files; and whether its
// counters agree with what is there. Samples that are taken when nothing is left to hold must not
// grow.
#ifndef LONGLEAF_TESTS_SOAK_LONG_LIFE_H_
#define LONGLEAF_TESTS_SOAK_LONG_LIFE_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/soak/link.h"
#include "tests/soak/soak_server.h"

namespace longleaf::soak {

struct Sample {
  double seconds = 0;  // since the run began
  int64_t rss_bytes = 0;
  int64_t descriptors = 0;
  int64_t threads = 0;
  int64_t files = 0;  // below the store's directory
  int64_t file_bytes = 0;
  std::map<std::string, double> metrics;  // name and labels, as they are served
};

// One GET of /metrics; empty when it cannot be had.
std::map<std::string, double> Scrape(const std::string& metrics_address);
double MetricOf(const std::map<std::string, double>& metrics, const std::string& name);
Sample TakeSample(const SoakServer& server, const std::string& store, double seconds);

// What may grow between the first and the last third of the empty samples.
struct Allowance {
  int64_t rss_bytes = 0;
  int64_t rss_percent = 0;
  int64_t descriptors = 0;
  int64_t threads = 0;
  int64_t files = 0;
  int64_t file_bytes = 0;
};

// Not thread-safe.
class LongLife {
 public:
  LongLife(std::string store, Tally* tally) : store_(std::move(store)), tally_(tally) {}

  // Call when every client has deleted all it had: waits until the server has let go of everything,
  // at most `patience` seconds, and takes a sample. What does not become nothing is a finding.
  void SampleEmpty(const SoakServer& server, double seconds, double patience);
  // Prints the samples as a table, and compares the medians of the first and the last third (from
  // six samples on).
  void Judge(const Allowance& allowance) const;

 private:
  const std::string store_;
  Tally* const tally_;
  std::vector<Sample> samples_;
};

}  // namespace longleaf::soak

#endif  // LONGLEAF_TESTS_SOAK_LONG_LIFE_H_
