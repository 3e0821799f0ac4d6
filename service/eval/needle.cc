// longleaf-eval needle: facts hidden in filler text, asked back at every depth; exact match by
// length, depth and attention policy.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "model/core_state.h"
#include "nlohmann/json.hpp"
#include "service/eval/answer.h"
#include "service/eval/commands.h"
#include "service/eval/facts.h"
#include "service/eval/needle_document.h"
#include "service/eval/progress.h"
#include "service/eval/read_file.h"
#include "service/eval/session.h"
#include "service/eval/table.h"

namespace longleaf::service::eval {
namespace {

constexpr size_t kDepths = 5;  // fifths of the document

struct NeedleOptions {
  SessionOptions session;
  std::vector<int64_t> lengths;
  std::vector<std::string> attention;
  int64_t documents = 4;
  int64_t facts = 16;
  int64_t unstated = 3;
  std::string filler;
  uint64_t seed = 1;
  bool json = false;
};

struct Score {
  int64_t asked = 0;
  int64_t right = 0;

  void Add(bool is_right) {
    ++asked;
    right += is_right ? 1 : 0;
  }
  std::string ToString() const { return asked == 0 ? "-" : absl::StrFormat("%d/%d", right, asked); }
};

// What one policy did at one length.
struct Cell {
  int64_t length = 0;
  std::string attention;
  int64_t state_bytes = 0;  // of the last document
  Score stated;
  Score unstated;
  std::array<Score, kDepths> depths;
};

// One document with its questions, the same for every policy.
struct Trial {
  NeedleDocument document;
  std::vector<int32_t> ids;
  std::vector<Fact> unstated;
};

// Equal but for spaces around it and one full stop at its end.
bool Matches(const std::string& answer, const std::string& expected) {
  const absl::string_view said = absl::StripAsciiWhitespace(answer);
  return said == expected || absl::StripSuffix(said, ".") == expected;
}

absl::StatusOr<Trial> MakeTrial(const NeedleOptions& options, const TextModel& text,
                                const Filler& filler, int64_t length, int64_t number) {
  FactMaker maker(options.seed * 1000003 + static_cast<uint64_t>(number));
  Trial trial;
  std::vector<Fact> facts = maker.Make(options.facts);
  for (int64_t i = 0; i < options.unstated; ++i) trial.unstated.push_back(maker.MakeUnstated());

  // The length counts everything: document, question and answer.
  int64_t longest = 0;
  for (const std::vector<Fact>* some : {&std::as_const(facts), &std::as_const(trial.unstated)}) {
    for (const Fact& fact : *some) {
      auto ids = text.prompt().QuestionIds(fact.question);
      if (!ids.ok()) return ids.status();
      longest = std::max(longest, static_cast<int64_t>(ids->size()));
    }
  }
  const int64_t room = length - longest - text.prompt().file().max_answer_tokens;
  int64_t wanted = room - static_cast<int64_t>(text.prompt().prefix_ids().size());
  SplitMix64 random(options.seed * 7919 + static_cast<uint64_t>(number));
  // Sentences are counted one by one; together they may take a few tokens more.
  for (int attempt = 0; attempt < 4 && wanted > 0; ++attempt) {
    trial.document = MakeNeedleDocument(filler, facts, wanted, text.tokenizer(), random);
    auto ids = text.DocumentIds(trial.document.text);
    if (!ids.ok()) return ids.status();
    const int64_t over = static_cast<int64_t>(ids->size()) - room;
    if (over <= 0) {
      trial.ids = *std::move(ids);
      return trial;
    }
    wanted -= over;
  }
  return absl::InvalidArgumentError(absl::StrCat("a length of ", length, " tokens has no room for ",
                                                 options.facts,
                                                 " facts, a question and an answer"));
}

absl::Status Try(Session& session, const TextModel& text, const Trial& trial,
                 const kernels::AttentionPolicy& policy, Cell& cell) {
  auto state = session.NewState(policy);
  if (!state.ok()) return state.status();
  {
    Progress progress(absl::StrCat(cell.length, " tokens, ", cell.attention),
                      static_cast<int64_t>(trial.ids.size()));
    const auto step_done = [&progress](int64_t done, const kernels::Tensor&) {
      progress.Update(done);
      return absl::OkStatus();
    };
    if (absl::Status status = session.Read(**state, trial.ids, 0, step_done); !status.ok()) {
      return status;
    }
  }
  cell.state_bytes = model::StateBytes((*state)->shape(), (*state)->tokens());
  for (const PlacedFact& placed : trial.document.facts) {
    auto answer = Answer(session, text, **state, placed.fact.question);
    if (!answer.ok()) return answer.status();
    const bool right = Matches(*answer, placed.fact.answer);
    cell.stated.Add(right);
    cell.depths[static_cast<size_t>(placed.depth * kDepths)].Add(right);
  }
  for (const Fact& fact : trial.unstated) {
    auto answer = Answer(session, text, **state, fact.question);
    if (!answer.ok()) return answer.status();
    cell.unstated.Add(Matches(*answer, fact.answer));
  }
  return absl::OkStatus();
}

void PrintJson(const NeedleOptions& options, const std::vector<Cell>& cells) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Cell& cell : cells) {
    nlohmann::ordered_json depths = nlohmann::ordered_json::array();
    for (size_t i = 0; i < kDepths; ++i) {
      depths.push_back({{"from", static_cast<double>(i) / kDepths},
                        {"to", static_cast<double>(i + 1) / kDepths},
                        {"asked", cell.depths[i].asked},
                        {"right", cell.depths[i].right}});
    }
    list.push_back({{"length", cell.length},
                    {"attention", cell.attention},
                    {"state_bytes", cell.state_bytes},
                    {"asked", cell.stated.asked},
                    {"right", cell.stated.right},
                    {"unstated_asked", cell.unstated.asked},
                    {"unstated_right", cell.unstated.right},
                    {"depths", depths}});
  }
  const nlohmann::ordered_json report = {{"model", options.session.model},
                                         {"weights", options.session.weights},
                                         {"state_dtype", options.session.state_dtype},
                                         {"documents", options.documents},
                                         {"facts", options.facts},
                                         {"seed", options.seed},
                                         {"cells", list}};
  absl::PrintF("%s\n", report.dump(2));
}

void PrintTable(const NeedleOptions& options, const std::vector<Cell>& cells) {
  absl::PrintF("exact match; %d documents a cell, %d facts each; by depth of the fact\n",
               options.documents, options.facts);
  std::vector<std::string> header = {"tokens", "attention", "state MB", "right", "%"};
  for (size_t i = 0; i < kDepths; ++i) {
    header.push_back(absl::StrFormat("%d-%d%%", 100 * i / kDepths, 100 * (i + 1) / kDepths));
  }
  header.push_back("not stated");
  Table table(header);
  for (const Cell& cell : cells) {
    std::vector<std::string> row = {
        absl::StrCat(cell.length), cell.attention,
        absl::StrFormat("%.1f", static_cast<double>(cell.state_bytes) / 1e6),
        cell.stated.ToString(),
        absl::StrFormat("%.0f", 100.0 * static_cast<double>(cell.stated.right) /
                                    static_cast<double>(std::max<int64_t>(1, cell.stated.asked)))};
    for (const Score& depth : cell.depths) row.push_back(depth.ToString());
    row.push_back(cell.unstated.ToString());
    table.Add(std::move(row));
  }
  absl::PrintF("%s", table.ToString());
}

absl::Status Run(const NeedleOptions& options) {
  auto session = Session::Open(options.session);
  if (!session.ok()) return session.status();
  auto text = TextModel::Load(**session);
  if (!text.ok()) return text.status();
  auto policies = (*session)->Policies(options.attention);
  if (!policies.ok()) return policies.status();
  auto prose =
      ReadFile(options.filler.empty() ? absl::StrCat(options.session.model, "/document.txt")
                                      : options.filler);
  if (!prose.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model brings no filler text of its own: give --filler FILE (",
                     prose.status().message(), ")"));
  }
  auto filler = Filler::Create(*prose, (*text)->tokenizer());
  if (!filler.ok()) return filler.status();

  std::vector<Cell> cells;
  for (const int64_t length : options.lengths) {
    if (length > (*session)->config().context) {
      return absl::InvalidArgumentError(absl::StrCat("a length of ", length,
                                                     " tokens is beyond the model's context of ",
                                                     (*session)->config().context));
    }
    const size_t first = cells.size();
    for (const kernels::AttentionPolicy& policy : *policies) {
      cells.push_back({.length = length, .attention = policy.ToString()});
    }
    for (int64_t number = 0; number < options.documents; ++number) {
      auto trial = MakeTrial(options, **text, *filler, length, number);
      if (!trial.ok()) return trial.status();
      for (size_t i = 0; i < policies->size(); ++i) {
        const absl::Status status =
            Try(**session, **text, *trial, (*policies)[i], cells[first + i]);
        if (!status.ok()) return status;
      }
    }
  }
  if (options.json) {
    PrintJson(options, cells);
  } else {
    PrintTable(options, cells);
  }
  return absl::OkStatus();
}

}  // namespace

void AddNeedleCommand(CLI::App& app, Action& chosen) {
  CLI::App* command = app.add_subcommand(
      "needle", "Exact match on facts hidden in a long text, by length and depth");
  auto options = std::make_shared<NeedleOptions>();
  AddSessionFlags(*command, options->session);
  command
      ->add_option("--lengths", options->lengths,
                   "Tokens of document, question and answer together, e.g. 1024,4096,16384")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->required();
  AddAttentionFlag(*command, options->attention);
  command->add_option("--documents", options->documents, "Documents a length")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--facts", options->facts, "Facts in a document, all asked, in pairs")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--unstated", options->unstated,
                   "Questions that a document does not answer; right is \"not stated\"")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--filler", options->filler,
                      "Prose between the facts; default: document.txt in the model's folder");
  command->add_option("--seed", options->seed, "Seed of facts and filler")->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &chosen] { chosen = [options] { return Run(*options); }; });
}

}  // namespace longleaf::service::eval
