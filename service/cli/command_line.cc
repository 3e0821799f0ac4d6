#include "service/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "service/cli/commands.h"
#include "service/cli/exit_code.h"
#include "service/cli/option_kinds.h"
#include "service/cli/status_text.h"
#include "service/cli/terminal.h"
#include "service/version.h"

namespace longleaf::service::cli {
namespace {

constexpr char kFooter[] =
    R"(Examples:
  longleaf upload moby-dick.txt --id whale --wait
  longleaf ask whale "Who is the captain of the Pequod?"
  longleaf ask whale                     a prompt for one question after another
  longleaf --json ask whale "Who?" | jq -r .text
  longleaf list

Exit status:
  0 done   1 the server refused or failed   2 wrong usage, or a local file cannot be read
  3 the server cannot be reached   4 no such document   5 not ready, try again later
  130 interrupted)";

constexpr char kUploadFooter[] =
    R"(The name of the document is printed. A connection that breaks is taken up again where the server
has the text already; to go on in another run, give the same --id and --request-id.

Examples:
  longleaf upload moby-dick.txt --wait
  longleaf upload report.txt --id report --name "Annual report" --label year=2026 --ttl 30d
  pdftotext paper.pdf - | longleaf upload - --id paper)";

constexpr char kAskFooter[] =
    R"(Without a question there is a prompt for one after another; from a pipe, each line is a question.
Several questions in quotes, or the lines of a file, are asked at the same time; the answers come in
their order, each under its question. Without options decoding is greedy: the same question has the
same answer.

Examples:
  longleaf ask whale "Who is the captain of the Pequod?" --evidence 3
  longleaf ask whale "Who is the captain?" "Where is he from?" "What does he hunt?"
  longleaf ask whale --questions questions.txt
  longleaf ask whale --temperature 0.7 --top-p 0.9 --seed 1 "Tell of the sea."
  longleaf --json ask whale < questions.txt > answers.jsonl
  longleaf ask whale -- "--what does this mean?")";

constexpr char kUpdateFooter[] =
    R"(Examples:
  longleaf update whale --name "Moby-Dick; or, The Whale" --label shelf=fiction
  longleaf update whale --ttl 7d
  longleaf update whale --remove-label shelf --keep)";

// All that a command line can set. CLI11 keeps pointers into it while it parses.
struct Values {
  CommandLine result;
  UploadOptions upload;
  AskOptions ask;
  std::vector<std::string> question_words;
  std::string document;  // of show and watch
  ListOptions list;
  UpdateOptions update;
  bool keep = false;
  std::vector<std::string> deleted;
  TextOptions text;
};

void AddLabels(CLI::App* app, Labels* labels, const std::string& help) {
  AddRepeated(
      app, "--label", "KEY=VALUE",
      [labels](const std::string& text) {
        const size_t equals = text.find('=');
        if (equals == std::string::npos || equals == 0) {
          throw CLI::ValidationError("--label", "'" + text + "' is not KEY=VALUE");
        }
        labels->emplace_back(text.substr(0, equals), text.substr(equals + 1));
      },
      help);
}

void AddDocument(CLI::App* app, std::string* document) {
  app->add_option("DOCUMENT", *document, "documents/ID, or ID alone")->required()->option_text(" ");
}

// A command; when chosen, `run` will be.
CLI::App* AddCommand(CLI::App* app, Values* values, const std::string& name,
                     const std::string& help, const std::string& footer,
                     std::function<int(Session&)> run) {
  CLI::App* command = app->add_subcommand(name, help);
  command->group("Commands");
  command->fallthrough();  // --json and its like are understood after the command's name, too
  command->footer(absl::StrCat(footer, footer.empty() ? "" : "\n\n",
                               "Also --server, --json, --quiet, --timeout: see longleaf --help."));
  command->callback([values, run = std::move(run)] { values->result.run = run; });
  return command;
}

void AddUpload(CLI::App* app, Values* values) {
  UploadOptions& options = values->upload;
  CLI::App* command =
      AddCommand(app, values, "upload", "Bring a text to the server", kUploadFooter,
                 [values](Session& session) { return Upload(session, values->upload); });
  command->add_option("FILE", options.path, "UTF-8 text; - is standard input")
      ->required()
      ->option_text(" ");
  AddText(
      command, "--id", "ID", [&](const std::string& v) { options.id = v; },
      "documents/ID is its name: a-z, 0-9, hyphens. Else after the file");
  AddText(
      command, "--name", "TEXT", [&](const std::string& v) { options.display_name = v; },
      "Title to show. Else the file's name");
  AddLabels(command, &options.labels, "A label; may be repeated");
  AddDuration(command, "--ttl", &options.ttl,
              "Delete it after this time: 90m, 24h, 7d. Else never");
  command->add_flag("--wait", options.wait, "Wait until the model has read it");
  AddText(
      command, "--request-id", "ID", [&](const std::string& v) { options.request_id = v; },
      "The same id again never makes a second document. Else random");
}

void AddSampling(CLI::App* app, v1::Sampling* sampling) {
  Add<int32_t>(
      app, "--max-tokens", "N", [=](int32_t v) { sampling->set_max_tokens(v); }, "Longest answer");
  Add<float>(
      app, "--temperature", "T", [=](float v) { sampling->set_temperature(v); },
      "0 is greedy (the default); up to 100");
  Add<int32_t>(
      app, "--top-k", "K", [=](int32_t v) { sampling->set_top_k(v); },
      "Only the K likeliest tokens; 0 is no limit");
  Add<float>(
      app, "--top-p", "P", [=](float v) { sampling->set_top_p(v); },
      "Only the likeliest tokens that sum up to P");
  Add<float>(
      app, "--min-p", "P", [=](float v) { sampling->set_min_p(v); },
      "Only tokens at least P times as likely as the likeliest");
  Add<float>(
      app, "--repetition-penalty", "R", [=](float v) { sampling->set_repetition_penalty(v); },
      "1 is none");
  Add<uint64_t>(
      app, "--seed", "N", [=](uint64_t v) { sampling->set_seed(v); },
      "The same seed gives the same answer");
  AddRepeated(
      app, "--stop", "TEXT", [=](const std::string& v) { sampling->add_stop(v); },
      "End the answer before this text; may be repeated");
  Add<int32_t>(
      app, "--logprobs", "N", [=](int32_t v) { sampling->set_logprobs(v); },
      "Log-probability of each token, and of N alternatives");
}

void AddAsk(CLI::App* app, Values* values) {
  AskOptions& options = values->ask;
  CLI::App* command =
      AddCommand(app, values, "ask", "Ask about a document; without a question, open a prompt",
                 kAskFooter, [values](Session& session) { return Ask(session, values->ask); });
  AddDocument(command, &options.document);
  CLI::Option* const questions =
      command
          ->add_option_function<std::vector<std::string>>(
              "QUESTION",
              [&options](const std::vector<std::string>& words) {
                options.questions = QuestionsOf(words);
              },
              "A question, or several in quotes; words without quotes\nare one question")
          ->option_text(" ");
  command
      ->add_option("--questions", options.questions_path,
                   "One in each line of FILE; - is standard input")
      ->excludes(questions)
      ->option_text("FILE");
  Add<int32_t>(
      command, "--evidence", "N", [&](int32_t v) { options.evidence = v; },
      "Point at up to N passages that the answer attended to");
  command->add_flag("--partial", options.partial,
                    "Answer from what has been read so far, if not all has");
  AddSampling(command, &options.sampling);
}

void AddUpdate(CLI::App* app, Values* values) {
  UpdateOptions& options = values->update;
  CLI::App* command =
      AddCommand(app, values, "update", "Change a document's title, labels or expiry",
                 kUpdateFooter, [values](Session& session) {
                   if (values->keep) {
                     values->update.ttl = absl::InfiniteDuration();
                   }
                   return Update(session, values->update);
                 });
  AddDocument(command, &options.document);
  AddText(
      command, "--name", "TEXT", [&](const std::string& v) { options.display_name = v; },
      "New title");
  AddLabels(command, &options.labels, "Add or change a label; may be repeated");
  AddRepeated(
      command, "--remove-label", "KEY",
      [&](const std::string& v) { options.unlabels.push_back(v); },
      "Remove a label; may be repeated");
  AddDuration(command, "--ttl", &options.ttl, "Delete it after this time from now");
  command->add_flag("--keep", values->keep, "Never delete it by itself")
      ->excludes("--ttl")
      ->option_text(" ");
}

void AddOthers(CLI::App* app, Values* values) {
  CLI::App* list = AddCommand(app, values, "list", "List the documents", "",
                              [values](Session& s) { return List(s, values->list); });
  list->add_option("--limit", values->list.limit, "At most this many")
      ->check(AtLeast(1))
      ->option_text("N");
  AddDocument(AddCommand(app, values, "show", "Show a document's metadata", "",
                         [values](Session& s) { return Show(s, values->document); }),
              &values->document);
  AddDocument(AddCommand(app, values, "watch", "Follow a document until the model has read it", "",
                         [values](Session& s) { return Watch(s, values->document); }),
              &values->document);
  CLI::App* text = AddCommand(app, values, "text", "Print a document's text", "",
                              [values](Session& s) { return Text(s, values->text); });
  AddDocument(text, &values->text.document);
  text->add_option("--offset", values->text.offset, "Begin at this byte")
      ->check(AtLeast(0))
      ->option_text("N");
  text->add_option("--limit", values->text.limit, "At most this many bytes")
      ->check(AtLeast(1))
      ->option_text("N");
  AddUpdate(app, values);
  AddCommand(app, values, "delete", "Delete documents with all that was made of them", "",
             [values](Session& s) { return Delete(s, values->deleted); })
      ->add_option("DOCUMENT", values->deleted, "documents/ID, or ID alone; several may be given")
      ->required()
      ->option_text(" ");
  AddCommand(app, values, "model", "Show what is served, and what a document costs", "",
             &ShowModel);
}

void AddGlobal(CLI::App* app, GlobalOptions* global) {
  app->add_option("--server", global->server,
                  "Server's address (default 127.0.0.1:7070, or $LONGLEAF_SERVER)")
      ->envname("LONGLEAF_SERVER")
      ->option_text("HOST:PORT");
  app->add_flag("--json", global->json, "Output for scripts: one JSON object per line");
  app->add_flag("-q,--quiet", global->quiet, "No progress and no notes on standard error");
  AddDuration(app, "--timeout", &global->timeout, "Give up after this time, like 30s. Else never");
  app->set_version_flag("--version", absl::StrCat("longleaf ", kVersion));
}

std::string UsageError(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<const CLI::App*> chosen =
      app.get_subcommands([&app](const CLI::App* command) { return app.got_subcommand(command); });
  if (!chosen.empty()) {
    return absl::StrCat(error.what(), "; see longleaf ", chosen.back()->get_name(), " --help");
  }
  const std::vector<std::string> words = app.remaining();
  return absl::StrCat(words.empty()
                          ? "a command is needed"
                          : absl::StrCat("no such command or option '", words.front(), "'"),
                      "; see longleaf --help");
}

}  // namespace

CommandLine ParseCommandLine(int argc, const char* const* argv) {
  // The chosen command outlives the parser, and refers to the values.
  auto values = std::make_shared<Values>();
  CLI::App app("Ask questions about long documents that a Longleaf server has read.", "longleaf");
  app.get_formatter()->column_width(30);
  app.get_formatter()->label("Positionals", "Arguments");
  app.get_formatter()->label("SUBCOMMAND", "COMMAND ...");
  app.get_formatter()->label("OPTIONS", "options");
  app.footer(kFooter);
  app.require_subcommand(1);
  AddGlobal(&app, &values->result.global);
  AddUpload(&app, values.get());
  AddAsk(&app, values.get());
  AddOthers(&app, values.get());
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help and --version
    app.exit(success);
    values->result.run = nullptr;
    return values->result;
  } catch (const CLI::ParseError& error) {
    WriteError(LocalErrorLine(UsageError(app, error)));
    values->result.run = nullptr;
    values->result.exit_code = kUsage;
    return values->result;
  }
  CommandLine result = values->result;
  result.run = [values, run = std::move(values->result.run)](Session& session) {
    return run(session);
  };
  return result;
}

}  // namespace longleaf::service::cli
