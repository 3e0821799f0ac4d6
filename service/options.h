// What an operator can set. Every default is stated here and nowhere else.
#ifndef LONGLEAF_SERVICE_OPTIONS_H_
#define LONGLEAF_SERVICE_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/device.h"

namespace longleaf::service {

struct Options {
  // Where
  std::string listen = "127.0.0.1:7070";
  std::string metrics_listen = "127.0.0.1:7071";
  std::string store_path = "longleaf-store";

  // Model
  std::string model_path;
  std::string attention;             // empty: as config.json's `cca` says
  std::string device = "auto";       // auto, cpu, cuda, reference
  std::string weights;               // f32, bf16, fp8, int8, int4; empty: as the device's defaults
  std::string state_dtype = "bf16";  // f32, bf16, int8
  std::string weight_cache;  // directory of packed weights; empty: <store>/weights; or "off"
  int64_t threads = 0;       // 0: one for each core

  // Limits
  int64_t state_memory_bytes = 0;  // 0: half of what the weights leave; of a GPU, most of it
  int64_t disk_cap_bytes = int64_t{64} << 30;  // text and snapshots; 0: no cap but the disk
  int64_t max_document_bytes = int64_t{1} << 30;
  int64_t max_document_tokens = 0;     // 0: the model's context, less room for question and answer
  int64_t answer_reserve_tokens = 0;   // 0: the prompt file's answer length plus 256 for a question
  int64_t max_queued_documents = 256;  // uploads in progress and documents waiting to be read
  int64_t max_questions = 256;         // questions waiting or running
  int64_t max_question_bytes = 64 << 10;
  int64_t max_batch_questions = 64;     // of one BatchAsk
  int64_t max_question_seconds = 3600;  // the server's own deadline for a question
  int64_t max_waiting_calls = 1024;     // that wait for a thread, on each executor
  int64_t max_streams = 1024;           // that watch documents and read texts
  int64_t max_upload_message_bytes = 4 << 20;
  int64_t unfinished_upload_hours = 168;  // an upload that got nothing for this long is deleted
  int64_t upload_idle_seconds = 120;      // an upload call must bring, in this time,
  int64_t upload_min_bytes = 1024;        // at least this
  int64_t stream_idle_seconds = 120;      // a client must take a message in this time

  // Scheduling
  int64_t prefill_chunk = 0;  // tokens read in a step while nobody waits for one; 0: the device's
  int64_t min_prefill_chunk = 16;      // and beside answers at least
  double max_slowdown = 1.6;           // how much longer reading may make the steps of answers
  int64_t max_running_questions = 64;  // questions answered at once; others wait their turn
  int64_t max_reading_documents = 16;  // documents read at once
  int64_t checkpoint_tokens = 16384;   // a document's state is stored at least this often
  double checkpoint_seconds = 60;      // and this often
  int64_t io_threads = 2;
  int64_t rpc_threads = 4;  // for the blocking part of calls

  // Process
  double drain_seconds = 20;  // questions may finish for this long after SIGTERM
  std::string log_level = "info";
  std::string log_format = "text";  // text, json
};

// What is chosen for the device where the operator has said nothing.
struct DeviceDefaults {
  const char* weights = nullptr;
  int64_t prefill_chunk = 0;
};
constexpr DeviceDefaults DefaultsOf(kernels::Device device) {
  return device == kernels::Device::kCuda ? DeviceDefaults{.weights = "bf16", .prefill_chunk = 2048}
                                          : DeviceDefaults{.weights = "int8", .prefill_chunk = 512};
}

// Parses the command line, then the environment (LONGLEAF_*), then --config FILE; the first that
// names an option wins. A --help or --version gives CANCELLED with the text to print as message;
// INVALID_ARGUMENT says what is wrong in one line.
absl::StatusOr<Options> ParseOptions(int argc, const char* const* argv);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_OPTIONS_H_
