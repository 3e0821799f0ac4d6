#include "service/bench/options.h"

#include <CLI/CLI.hpp>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "service/cli/exit_code.h"
#include "service/cli/quantity.h"
#include "service/version.h"

namespace longleaf::service::bench {
namespace {

constexpr char kFooter[] =
    R"(What the figures mean (p50, p95, p99: nearest rank over all samples; above 262,144 samples of a kind
a logarithmic histogram, right to half a percent):
  TTFT      from the moment a question was due to its first text, on this side of the network. Due:
            in the open loop its planned arrival, whether or not this program could send it then; in
            the closed loop when it was sent. Compare closed loops with care: a slow server is asked
            less often.
  ITL       between one text of an answer and the next. A text is one token as a rule; where the
            server holds text back (a character of several tokens, a stop string that may begin), or
            joins what could not be sent in time, it is more. With --count-tokens the server says how
            many, and the time is divided by them. The undivided times, which are what a reader
            waits, are in the report as text_gap_seconds.
  mean ITL  one sample for an answer: decode seconds / (tokens - 1), by the server's clock.
  tokens/s  answer tokens that came within the time measured, whoever asked for them.
An answer may end early: tokens are counted, never assumed. The built-in model says little;
--temperature 100 makes it go on.

Documents are uploaded for the run and deleted after it (--keep: not); should that fail, they expire
after a day. Ctrl-C ends the run and prints what was measured so far.

Examples:
  longleaf-bench closed --clients 1,4,16,64 --plot load.svg --json load.json
  longleaf-bench open --rate 2,4,8 --documents 8 --document-tokens 8000
  longleaf-bench interference --readers 4 --prefill-tokens 32000
  longleaf-bench batching --document-tokens 32000 --metrics 127.0.0.1:9090
  longleaf-bench cold --document-tokens 32000 --evict-with 8

Exit status:
  0 measured   1 the server refused or failed, or a file could not be written   2 wrong usage
  3 the server cannot be reached   130 interrupted)";

void AddSeconds(CLI::App* app, const std::string& name, double* seconds, const std::string& help) {
  app->add_option_function<std::string>(
         name,
         [name, seconds](const std::string& text) {
           const absl::StatusOr<absl::Duration> parsed = cli::ParseDuration(text);
           if (!parsed.ok() && text != "0") {
             throw CLI::ValidationError(name, std::string(parsed.status().message()));
           }
           *seconds = parsed.ok() ? absl::ToDoubleSeconds(*parsed) : 0;
         },
         absl::StrCat(help, " [", absl::FormatDuration(absl::Seconds(*seconds)), "]"))
      ->option_text("TIME");
}

void AddCount(CLI::App* app, const std::string& name, int64_t* count, int64_t least,
              const std::string& help) {
  app->add_option(name, *count, absl::StrCat(help, " [", *count, "]"))
      ->check(CLI::Range(least, int64_t{1} << 40).description(""))
      ->option_text("N");
}

void AddGlobal(CLI::App* app, Options* o) {
  app->add_option("--address", o->address, "Server's address [127.0.0.1:7070, or $LONGLEAF_SERVER]")
      ->envname("LONGLEAF_SERVER")
      ->option_text("HOST:PORT");
  app->add_option("--metrics", o->metrics,
                  "Server's metrics: reads the counters around each measurement")
      ->option_text("HOST:PORT");
  app->add_option("--json", o->json, "Write everything that was measured")->option_text("FILE");
  app->add_option("--plot", o->plot, "Write TTFT, ITL and throughput as SVG (closed, open)")
      ->option_text("FILE.svg");
  app->add_flag("--quiet", o->quiet, "No progress on standard error");
  app->add_flag("--keep", o->keep, "Leave the uploaded documents there, and print their names");
  AddCount(app, "--connections", &o->connections, 1, "Connections that the questions share");
  app->add_option("--seed", o->seed, "Of texts, arrivals and sampling [1]")->option_text("N");
  AddSeconds(app, "--timeout", &o->timeout_seconds, "Deadline of a question");
}

void AddQuestions(CLI::App* app, Options* o) {
  AddCount(app, "--document-tokens", &o->document_tokens, 1, "Length of each document, about");
  AddCount(app, "--question-tokens", &o->question_tokens, 1, "Length of each question, about");
  AddCount(app, "--questions-per-document", &o->questions_per_document, 1, "Distinct questions");
  AddCount(app, "--answer-tokens", &o->answer_tokens, 1, "Longest answer");
  app->add_option("--temperature", o->temperature, "Of sampling; 0 is greedy [0]")
      ->check(CLI::Range(0.0, 100.0).description(""))
      ->option_text("T");
  app->add_flag("--count-tokens", o->count_tokens,
                "Ask for log-probabilities, which tell how many tokens a text is");
}

void AddDocuments(CLI::App* app, Options* o) {
  AddCount(app, "--documents", &o->documents, 1, "Upload this many, of distinct texts");
  app->add_option("--document", o->existing, "Ask this one, which is there; may be repeated")
      ->allow_extra_args(false)
      ->option_text("ID");
}

void AddLength(CLI::App* app, Options* o) {
  AddSeconds(app, "--duration", &o->duration_seconds, "Each measurement");
  AddSeconds(app, "--warmup", &o->warmup_seconds, "Before each, not measured");
}

void AddRequests(CLI::App* app, Options* o) {
  AddCount(app, "--requests", &o->requests, 0, "Questions in each measurement, not a duration");
  AddSeconds(app, "--drain", &o->drain_seconds, "Wait so long for the last answers");
}

CLI::App* AddMode(CLI::App* app, Options* o, Mode mode, const std::string& help) {
  CLI::App* command = app->add_subcommand(ModeName(mode), help);
  command->fallthrough();
  command->footer("What the figures mean, and the options of all: longleaf-bench --help.");
  command->callback([o, mode] { o->mode = mode; });
  return command;
}

void AddModes(CLI::App* app, Options* o) {
  CLI::App* closed =
      AddMode(app, o, Mode::kClosed, "N clients, each asking again as soon as it is answered");
  closed->add_option("--clients", o->clients, "Numbers of clients, one after another [1,4,16]")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 16).description(""))
      ->option_text("N,N,...");
  CLI::App* open = AddMode(app, o, Mode::kOpen,
                           "Questions arrive at random (Poisson), whatever the server does");
  open->add_option("--rate", o->rates, "Questions a second, one rate after another [1,2,4]")
      ->delimiter(',')
      ->check(CLI::Range(1e-3, 1e5).description(""))
      ->option_text("R,R,...");
  AddCount(open, "--max-outstanding", &o->most_outstanding, 1,
           "Above so many in flight, arrivals are not sent but counted");
  for (CLI::App* command : {closed, open}) {
    AddDocuments(command, o);
    AddQuestions(command, o);
    AddLength(command, o);
    AddRequests(command, o);
  }
  CLI::App* interference = AddMode(app, o, Mode::kInterference,
                                   "ITL of running answers, idle and while a document is read");
  AddCount(interference, "--readers", &o->readers, 1, "Answers that run all the time");
  AddCount(interference, "--prefill-tokens", &o->prefill_tokens, 1, "The long document, about");
  AddCount(interference, "--prefills", &o->prefills, 1, "So many of them, one after another");
  interference->add_flag("--skip-alone", o->skip_alone,
                         "Do not measure how fast it is read with nobody beside it");
  AddDocuments(interference, o);
  AddQuestions(interference, o);
  AddLength(interference, o);
  CLI::App* batching =
      AddMode(app, o, Mode::kBatching, "One question; N on one document; N on N documents");
  AddCount(batching, "--batch", &o->batch, 2, "The N");
  batching
      ->add_option("--engine-rate", o->engine_rate,
                   "Tokens/s of such a batch without gRPC (longleaf-eval bench --batch)")
      ->check(CLI::NonNegativeNumber.description(""))
      ->option_text("R");
  AddQuestions(batching, o);
  AddLength(batching, o);
  CLI::App* cold =
      AddMode(app, o, Mode::kCold,
              "First token on a document whose state is not in memory, to its prefill");
  cold->add_option("--existing", o->existing,
                   "Ask this document, the server having been restarted since")
      ->expected(1)
      ->option_text("ID");
  cold->add_option("--prefill-seconds", o->prefill_seconds, "What reading the existing one took")
      ->check(CLI::NonNegativeNumber.description(""))
      ->option_text("S");
  AddCount(cold, "--evict-with", &o->evict_with, 0,
           "Upload so many more before asking, to push its state out of memory");
  AddQuestions(cold, o);
}

}  // namespace

const char* ModeName(Mode mode) {
  switch (mode) {
    case Mode::kClosed:
      return "closed";
    case Mode::kOpen:
      return "open";
    case Mode::kInterference:
      return "interference";
    case Mode::kBatching:
      return "batching";
    case Mode::kCold:
      return "cold";
  }
  return "";
}

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  CommandLine result;
  Options& o = result.options;
  CLI::App app("longleaf-bench: load for a Longleaf server, and what came of it");
  app.set_version_flag("--version", absl::StrCat("longleaf-bench ", kVersion));
  app.require_subcommand(1);
  app.footer(kFooter);
  AddGlobal(&app, &o);
  AddModes(&app, &o);
  try {
    app.parse(argc, argv);
    if (!o.plot.empty() && o.mode != Mode::kClosed && o.mode != Mode::kOpen) {
      throw CLI::ValidationError("--plot", "only closed and open have a plot");
    }
    if (o.requests == 0 && o.duration_seconds <= 0) {
      throw CLI::ValidationError("--duration", "must be longer than 0");
    }
    result.run = true;
  } catch (const CLI::ParseError& error) {
    result.exit_code = app.exit(error) == 0 ? cli::kOk : cli::kUsage;
  }
  return result;
}

}  // namespace longleaf::service::bench
