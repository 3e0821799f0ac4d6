#include "service/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "service/version.h"

namespace longleaf::service {
namespace {

// Options that the environment sets (LONGLEAF_<NAME>) and the command line does not, as arguments:
// so they stand before the config file, which CLI11's own order would put first.
std::vector<std::string> FromEnvironment(const CLI::App& app,
                                         const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  std::vector<const CLI::App*> groups = app.get_subcommands([](const CLI::App*) { return true; });
  groups.push_back(&app);
  for (const CLI::App* const group : groups) {
    for (const CLI::Option* const option : group->get_options()) {
      if (option->get_lnames().empty() || option->get_type_size() == 0) {
        continue;  // --help and --version
      }
      const std::string flag = "--" + option->get_lnames().front();
      std::string name = "LONGLEAF_" + option->get_lnames().front();
      for (char& c : name) {
        c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      }
      const char* const value = std::getenv(name.c_str());
      const bool given =
          std::any_of(arguments.begin(), arguments.end(), [&flag](const std::string& argument) {
            return argument == flag || argument.rfind(flag + "=", 0) == 0;
          });
      if (value != nullptr && !given) {
        out.push_back(flag + "=" + value);
      }
    }
  }
  return out;
}

void Declare(CLI::App& app, Options& o) {
  const CLI::AsSizeValue bytes(/*kb_is_1000=*/false);
  const auto group = [&app](const std::string& name) { return app.add_option_group(name); };
  app.set_version_flag("--version", std::string("longleafd ") + kVersion);
  app.set_config("--config", "", "Read options from FILE: lines of name = value")
      ->type_name("FILE");

  auto* where = group("Where");
  where->add_option("--listen", o.listen, "gRPC address; port 0 picks a free one")
      ->type_name("HOST:PORT");
  where
      ->add_option("--metrics-listen", o.metrics_listen,
                   "Prometheus address; port 0 picks a free one")
      ->type_name("HOST:PORT");
  where->add_option("--store", o.store_path, "Directory of documents and states, made if missing")
      ->type_name("DIR");

  auto* model = group("Model");
  model->add_option("--model", o.model_path, "Model directory in Hugging Face layout")
      ->type_name("DIR")
      ->required();
  model
      ->add_option("--attention", o.attention,
                   "full | cca:g=16,w=1024,heads=query|kv | streaming:sinks=4,w=1024\n"
                   "(default: as the model's config.json says)")
      ->type_name("POLICY");
  model
      ->add_option("--device", o.device,
                   "What computes: cpu, cuda, auto (cuda where there is a GPU), or reference\n"
                   "(slow, for checks)")
      ->check(CLI::IsMember({"auto", "cpu", "cuda", "reference"}))
      ->type_name("NAME");
  model
      ->add_option("--weights", o.weights,
                   "How weights are held: f32, bf16, int8 (8.5 bits), int4 (4.5 bits) on the CPU;\n"
                   "f32, bf16 or fp8 on a GPU (default: int8 on the CPU, bf16 on a GPU)")
      ->check(CLI::IsMember({"f32", "bf16", "fp8", "int8", "int4"}))
      ->type_name("FORMAT");
  model
      ->add_option("--state-dtype", o.state_dtype,
                   "How keys and values of states are held and stored: f32, bf16, int8")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}))
      ->type_name("TYPE");
  model
      ->add_option("--weight-cache", o.weight_cache,
                   "Directory of weights as they are held, for a quick next start, or off\n"
                   "(default: weights in --store)")
      ->type_name("DIR");
  model->add_option("--threads", o.threads, "Threads that compute; 0: one for each core")
      ->check(CLI::Range(0, 1024))
      ->type_name("N");

  auto* limits = group("Limits (sizes take KB, MB, GB: powers of 1024)");
  const auto size = [&bytes, limits](const char* name, int64_t& value, const char* text) {
    limits->add_option(name, value, text)->transform(bytes)->type_name("SIZE");
  };
  const auto count = [limits](const char* name, int64_t& value, const char* text, int64_t low,
                              int64_t high) {
    limits->add_option(name, value, text)->check(CLI::Range(low, high))->type_name("N");
  };
  size("--state-memory", o.state_memory_bytes,
       "Memory for states; 0: half of what the weights leave of the machine's,\n"
       "or of the container's limit; nine tenths of what they leave of a GPU's");
  size("--disk-cap", o.disk_cap_bytes, "Text and states on disk together; 0: no cap");
  size("--max-document-bytes", o.max_document_bytes, "Largest text of a document");
  count("--max-document-tokens", o.max_document_tokens,
        "Longest document; 0: the context less room for question and answer", 0, 1LL << 40);
  count("--answer-reserve", o.answer_reserve_tokens,
        "Tokens kept free for question and answer; 0: chosen from the prompt file", 0, 1 << 20);
  count("--max-queued-documents", o.max_queued_documents,
        "Uploads in progress and documents waiting to be read", 1, 1 << 20);
  count("--max-questions", o.max_questions, "Questions waiting or being answered", 1, 1 << 16);
  size("--max-question-bytes", o.max_question_bytes, "Longest question");
  count("--max-batch-questions", o.max_batch_questions, "Questions of one call", 1, 1 << 16);
  count("--max-question-seconds", o.max_question_seconds,
        "Longest time from a question to the end of its answer", 1, 30 * 86400);
  count("--max-waiting-calls", o.max_waiting_calls, "Calls waiting for a thread", 1, 1 << 20);
  count("--max-streams", o.max_streams, "Calls watching documents or reading texts", 1, 1 << 20);
  size("--max-upload-message-bytes", o.max_upload_message_bytes, "Largest message of an upload");
  count("--upload-idle-seconds", o.upload_idle_seconds,
        "An upload call that brings too little for this long is ended (and can be resumed)", 1,
        86400);
  size("--upload-min-bytes", o.upload_min_bytes, "What is too little for --upload-idle-seconds");
  count("--stream-idle-seconds", o.stream_idle_seconds,
        "A call whose client takes nothing of an answer or a text for this long is ended", 1,
        86400);
  count("--unfinished-upload-hours", o.unfinished_upload_hours,
        "An upload that nobody went on with for this long is deleted", 1, 24 * 365);

  auto* schedule = group("Scheduling");
  const auto tokens = [schedule](const char* name, int64_t& value, const char* text, int64_t low,
                                 int64_t high) {
    schedule->add_option(name, value, text)->check(CLI::Range(low, high))->type_name("N");
  };
  schedule
      ->add_option("--prefill-chunk", o.prefill_chunk,
                   "Tokens read in a step while nobody waits for one; 0: 512 on the CPU,\n"
                   "2048 on a GPU")
      ->check(CLI::IsMember({0}) | CLI::Range(16, 8192))
      ->type_name("N");
  tokens("--min-prefill-chunk", o.min_prefill_chunk,
         "Tokens read in a step beside answers, at least", 1, 8192);
  schedule
      ->add_option("--max-slowdown", o.max_slowdown,
                   "How many times longer a step of answers may take because of reading in it")
      ->check(CLI::Range(1.0, 100.0))
      ->type_name("X");
  tokens("--max-running-questions", o.max_running_questions, "Questions answered at once", 1, 4096);
  tokens("--max-reading-documents", o.max_reading_documents, "Documents read at once", 1, 4096);
  tokens("--checkpoint-tokens", o.checkpoint_tokens,
         "A document's state is stored at least this often while it is read", 1024, 1 << 30);
  schedule
      ->add_option("--checkpoint-seconds", o.checkpoint_seconds,
                   "And at least this often while it is read")
      ->check(CLI::Range(0.01, 86400.0))
      ->type_name("S");
  tokens("--io-threads", o.io_threads, "Threads that save and load states", 1, 64);
  tokens("--rpc-threads", o.rpc_threads, "Threads for the blocking part of calls", 1, 256);

  auto* process = group("Process");
  process
      ->add_option("--drain-seconds", o.drain_seconds,
                   "How long questions may finish after SIGTERM")
      ->check(CLI::Range(0.0, 3600.0))
      ->type_name("S");
  process->add_option("--log-level", o.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->type_name("LEVEL");
  process->add_option("--log-format", o.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->type_name("FORMAT");
}

}  // namespace

absl::StatusOr<Options> ParseOptions(int argc, const char* const* argv) {
  Options options;
  CLI::App app{
      "longleafd: answers questions over long documents that it reads once.\n"
      "Every option can also be set as LONGLEAF_<NAME> in the environment or in --config FILE."};
  app.option_defaults()->always_capture_default();
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.get_formatter()->column_width(36);
  try {
    Declare(app, options);
    std::vector<std::string> arguments(argv + 1, argv + argc);
    for (std::string& argument : FromEnvironment(app, arguments)) {
      arguments.push_back(std::move(argument));
    }
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants a vector
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    return absl::CancelledError(app.help());
  } catch (const CLI::CallForVersion&) {
    return absl::CancelledError(absl::StrCat("longleafd ", kVersion, "\n"));
  } catch (const CLI::Error& error) {
    return absl::InvalidArgumentError(absl::StrCat(error.what(), " (longleafd --help lists all)"));
  }
  return options;
}

}  // namespace longleaf::service
