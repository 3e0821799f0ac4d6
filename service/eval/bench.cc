// longleaf-eval bench: how fast this machine reads, stores, restores and answers, and how much that
// takes, beside what the machine can do at best.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/cpu/matmul_rate.h"
#include "nlohmann/json.hpp"
#include "service/eval/bench_case.h"
#include "service/eval/commands.h"
#include "service/eval/device_matmul.h"
#include "service/eval/machine.h"
#include "service/eval/session.h"
#include "service/eval/table.h"

namespace longleaf::service::eval {
namespace {

struct BenchOptions {
  SessionOptions session;
  std::vector<int64_t> lengths;
  std::vector<std::string> attention;
  int64_t question_tokens = 24;
  int64_t decode_tokens = 32;
  std::string store;
  int64_t batch = 0;
  float temperature = 0;
  bool memory_only = false;
  bool json = false;
};

constexpr int64_t kDeviceProduct = 8192;  // rows and columns of a GPU's yardstick

struct Machine {
  std::string cpu = CpuName();
  int64_t cpus = CpuCount();
  int64_t memory_bytes = MemoryBytes();
  double load_average = LoadAverage();
  std::string backend;
  std::string matmul;  // whose, in which numbers
  double matmul_gflops = 0;
};

double PerSecond(double amount, double seconds) { return seconds > 0 ? amount / seconds : 0; }
double Rate(int64_t tokens, double seconds) {
  return PerSecond(static_cast<double>(tokens), seconds);
}

nlohmann::ordered_json ToJson(const Machine& machine) {
  return {{"cpu", machine.cpu},
          {"cpus", machine.cpus},
          {"memory_bytes", machine.memory_bytes},
          {"load_average", machine.load_average},
          {"backend", machine.backend},
          {"matmul", machine.matmul},
          {"matmul_gflops", machine.matmul_gflops}};
}

nlohmann::ordered_json ToJson(const BenchResult& run, const Machine& machine) {
  const double gflops = PerSecond(run.cost.total(), run.prefill_seconds) / 1e9;
  nlohmann::ordered_json json = {
      {"tokens", run.tokens},
      {"attention", run.policy.ToString()},
      {"prefill_seconds", run.prefill_seconds},
      {"prefill_tokens_per_second",
       PerSecond(static_cast<double>(run.tokens), run.prefill_seconds)},
      {"prefill_linear_gflop", run.cost.linear / 1e9},
      {"prefill_attention_gflop", run.cost.attention / 1e9},
      {"prefill_gflops", gflops},
      {"matmul_ratio", gflops / machine.matmul_gflops},
      {"state_bytes", run.state_bytes},
      {"state_bytes_arithmetic", run.state_bytes_arithmetic},
      {"full_cache_bytes", run.full_cache_bytes},
      {"memory_state_bytes", run.memory_state_bytes},
      {"save_seconds", run.save_seconds},
      {"restore_seconds", run.restore_seconds},
      {"plain_write_seconds", run.plain_write_seconds},
      {"plain_read_seconds", run.plain_read_seconds},
      {"ttft_memory_seconds", run.ttft_memory_seconds},
      {"ttft_disk_seconds", run.ttft_disk_seconds},
      {"decode_tokens_per_second",
       PerSecond(static_cast<double>(run.decode_tokens), run.decode_seconds)},
      {"peak_memory_bytes", run.peak_memory_bytes},
  };
  if (run.batch.rounds > 0) {
    json["batch"] = {
        {"tokens_per_second", Rate(run.batch.answer_tokens, run.batch.seconds)},
        {"decode_tokens_per_second", Rate(run.batch.decode_tokens, run.batch.decode_seconds)},
        {"rounds", run.batch.rounds},
        {"answer_tokens", run.batch.answer_tokens}};
  }
  return json;
}

// `answers` at once, where a batch was measured.
void PrintTables(const std::vector<BenchResult>& runs, const Machine& machine, int64_t answers) {
  bool batched = false;
  const auto seconds = [](double value) {
    const int digits = value < 0.01 ? 4 : value < 10 ? 3 : 1;
    return absl::StrFormat("%.*f", digits, value);
  };
  const auto megabytes = [](int64_t bytes) {
    return absl::StrFormat("%.1f", static_cast<double>(bytes) / 1e6);
  };
  absl::PrintF("%s, %d processors, %.0f GB, load %.2f; %s\n", machine.cpu, machine.cpus,
               static_cast<double>(machine.memory_bytes) / 1e9, machine.load_average,
               machine.backend);
  absl::PrintF("%s matmul in this run: %.1f GFLOP/s\n\n", machine.matmul, machine.matmul_gflops);

  Table speed({"tokens", "attention", "prefill s", "tokens/s", "GFLOP/s", "of matmul", "decode/s",
               "TTFT memory s", "TTFT disk s", "peak MB"});
  Table batch({"tokens", "attention", "answers", "tokens/s", "without questions"});
  Table store({"tokens", "attention", "state MB", "arithmetic MB", "full cache MB", "save s",
               "save MB/s", "file MB/s", "restore s", "restore MB/s", "file MB/s"});
  for (const BenchResult& run : runs) {
    const double gflops = PerSecond(run.cost.total(), run.prefill_seconds) / 1e9;
    const std::string tokens = absl::StrCat(run.tokens);
    const std::string policy = run.policy.ToString();
    speed.Add(
        {tokens, policy, seconds(run.prefill_seconds),
         absl::StrFormat("%.1f", PerSecond(static_cast<double>(run.tokens), run.prefill_seconds)),
         absl::StrFormat("%.1f", gflops),
         absl::StrFormat("%.0f%%", 100 * gflops / machine.matmul_gflops),
         absl::StrFormat("%.2f",
                         PerSecond(static_cast<double>(run.decode_tokens), run.decode_seconds)),
         seconds(run.ttft_memory_seconds), seconds(run.ttft_disk_seconds),
         absl::StrFormat("%.0f", static_cast<double>(run.peak_memory_bytes) / 1e6)});
    const auto rate = [&run](double in) {
      return absl::StrFormat("%.0f", PerSecond(static_cast<double>(run.state_bytes) / 1e6, in));
    };
    store.Add({tokens, policy, megabytes(run.state_bytes), megabytes(run.state_bytes_arithmetic),
               megabytes(run.full_cache_bytes), seconds(run.save_seconds), rate(run.save_seconds),
               rate(run.plain_write_seconds), seconds(run.restore_seconds),
               rate(run.restore_seconds), rate(run.plain_read_seconds)});
    if (run.batch.rounds > 0) {
      batched = true;
      batch.Add({tokens, policy, absl::StrCat(answers),
                 absl::StrFormat("%.1f", Rate(run.batch.answer_tokens, run.batch.seconds)),
                 absl::StrFormat("%.1f", Rate(run.batch.decode_tokens, run.batch.decode_seconds))});
    }
  }
  absl::PrintF("%s\n%s", speed.ToString(), store.ToString());
  if (batched) absl::PrintF("\nanswers at once, on one document:\n%s", batch.ToString());
}

// What this session's device multiplies at when nothing else is asked of it.
absl::Status MeasureMatmul(Session& session, Machine& machine) {
  absl::StatusOr<double> rate;
  if (session.device() == kernels::Device::kCuda) {
    const auto format = kernels::ParseWeightFormat(session.options().weights);
    if (!format.ok()) return format.status();
    machine.matmul = absl::StrCat("GPU ", session.options().weights);
    rate = MeasureDeviceMatmul(session.backend(), *format, kDeviceProduct);
  } else {
    machine.matmul = "oneDNN f32";
    rate = kernels::MeasureMatmulRate(session.options().threads);
  }
  if (!rate.ok()) return rate.status();
  machine.matmul_gflops = std::max(machine.matmul_gflops, *rate / 1e9);
  return absl::OkStatus();
}

absl::Status Run(const BenchOptions& options) {
  std::error_code error;
  const std::string folder =
      options.store.empty() ? std::filesystem::temp_directory_path(error).string() : options.store;
  auto session = Session::Open(options.session, std::max<int64_t>(1, options.batch));
  if (!session.ok()) return session.status();
  auto policies = (*session)->Policies(options.attention);
  if (!policies.ok()) return policies.status();
  for (const int64_t length : options.lengths) {
    const int64_t all = length + options.question_tokens + options.decode_tokens;
    if (all > (*session)->config().context) {
      return absl::InvalidArgumentError(
          absl::StrCat(length, " tokens, a question and an answer take ", all,
                       ", more than the model's context of ", (*session)->config().context));
    }
  }

  if (const int64_t chunk = (*session)->options().chunk; options.batch > chunk) {
    return absl::InvalidArgumentError(
        absl::StrCat("a batch of ", options.batch, " does not fit into a step of --chunk ", chunk));
  }

  Machine machine;
  machine.backend = (*session)->backend().name();
  if (absl::Status status = MeasureMatmul(**session, machine); !status.ok()) return status;

  std::vector<BenchResult> runs;
  for (const int64_t length : options.lengths) {
    for (const kernels::AttentionPolicy& policy : *policies) {
      auto result = RunBenchCase(**session, policy,
                                 {.tokens = length,
                                  .question_tokens = options.question_tokens,
                                  .decode_tokens = options.decode_tokens,
                                  .store_folder = options.memory_only ? "" : folder,
                                  .batch = options.batch,
                                  .temperature = options.temperature});
      if (!result.ok()) return result.status();
      runs.push_back(*std::move(result));
    }
  }
  // The yardstick once more: the faster of the two is what the machine can do.
  if (absl::Status status = MeasureMatmul(**session, machine); !status.ok()) return status;

  if (options.json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const BenchResult& run : runs) list.push_back(ToJson(run, machine));
    const nlohmann::ordered_json report = {{"model", options.session.model},
                                           {"weights", options.session.weights},
                                           {"state_dtype", options.session.state_dtype},
                                           {"machine", ToJson(machine)},
                                           {"runs", list}};
    absl::PrintF("%s\n", report.dump(2));
  } else {
    PrintTables(runs, machine, options.batch);
  }
  return absl::OkStatus();
}

}  // namespace

void AddBenchCommand(CLI::App& app, Action& chosen) {
  CLI::App* command = app.add_subcommand(
      "bench", "Speed of prefill, storing, restoring and decoding, beside the machine's limits");
  auto options = std::make_shared<BenchOptions>();
  AddSessionFlags(*command, options->session);
  command->add_option("--length", options->lengths, "Tokens of the document, e.g. 4096,16384")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->required();
  AddAttentionFlag(*command, options->attention);
  command->add_option("--question-tokens", options->question_tokens, "Tokens of the question")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--decode-tokens", options->decode_tokens, "Tokens to generate")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--batch", options->batch,
                   "Also the rate of so many answers at once on the document; 0: not")
      ->check(CLI::Range(int64_t{0}, int64_t{512}))
      ->capture_default_str();
  command->add_option("--temperature", options->temperature, "Of sampling in the batch; 0: greedy")
      ->check(CLI::Range(0.0F, 100.0F))
      ->capture_default_str();
  command->add_option("--store", options->store,
                      "Folder on the disk to measure; default: the system's for temporary files");
  command->add_flag("--memory-only", options->memory_only,
                    "Store nothing: for states that no disk here has room for");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &chosen] { chosen = [options] { return Run(*options); }; });
}

}  // namespace longleaf::service::eval
