// The command line of longleaf-bench.
#ifndef LONGLEAF_SERVICE_BENCH_OPTIONS_H_
#define LONGLEAF_SERVICE_BENCH_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace longleaf::service::bench {

enum class Mode { kClosed, kOpen, kInterference, kBatching, kCold };

// Every default stands here, once.
struct Options {
  Mode mode = Mode::kClosed;
  std::string address = "127.0.0.1:7070";
  std::string metrics;  // HOST:PORT; empty: none
  std::string json;     // file; empty: none
  std::string plot;     // SVG file; empty: none
  bool quiet = false;
  bool keep = false;  // uploaded documents
  int64_t connections = 1;
  uint64_t seed = 1;
  double timeout_seconds = 600;

  // ---- what is asked
  std::vector<std::string> existing;  // documents that are there; else `documents` are uploaded
  int64_t documents = 1;
  int64_t document_tokens = 2000;
  int64_t questions_per_document = 16;
  int64_t question_tokens = 16;
  int64_t answer_tokens = 64;
  double temperature = 0;
  bool count_tokens = false;

  // ---- how long
  double duration_seconds = 10;
  double warmup_seconds = 2;
  int64_t requests = 0;  // instead of the duration, when not 0
  double drain_seconds = 60;

  // ---- closed, open
  std::vector<int64_t> clients = {1, 4, 16};
  std::vector<double> rates = {1, 2, 4};
  int64_t most_outstanding = 256;

  // ---- interference
  int64_t readers = 4;
  int64_t prefill_tokens = 8192;
  int64_t prefills = 1;
  bool skip_alone = false;

  // ---- batching
  int64_t batch = 16;
  double engine_rate = 0;  // tokens/s of the same batch without gRPC; 0: unknown

  // ---- cold
  double prefill_seconds = 0;  // of the existing document, measured by an earlier run; 0: unknown
  int64_t evict_with = 0;
};

struct CommandLine {
  Options options;
  bool run = false;   // false: everything is said and done, end with exit_code
  int exit_code = 0;  // an ExitCode of service/cli
};

// Prints help (standard output) and errors of usage (standard error) itself.
CommandLine ParseCommandLine(int argc, const char* const* argv);

// The mode's name on the command line.
const char* ModeName(Mode mode);

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_OPTIONS_H_
