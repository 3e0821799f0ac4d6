// longleaf-eval perplexity: how well a model predicts a text under several attention policies, in
// all and by position, where forgetting shows.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "service/eval/answer.h"
#include "service/eval/commands.h"
#include "service/eval/progress.h"
#include "service/eval/read_file.h"
#include "service/eval/session.h"
#include "service/eval/table.h"

namespace longleaf::service::eval {
namespace {

struct PerplexityOptions {
  SessionOptions session;
  std::string text;
  std::vector<std::string> attention;
  int64_t max_tokens = 0;  // 0: all that the context takes
  bool json = false;
};

// Mean loss over a range of positions, in nats.
struct Bucket {
  int64_t begin = 0;  // positions begin..end-1 of the predicted token
  int64_t end = 0;
  double loss = 0;
  int64_t tokens = 0;
};

// 1..1023, 1024..2047, 2048..4095 and so on, each twice as far as the one before.
std::vector<Bucket> MakeBuckets(int64_t tokens) {
  std::vector<Bucket> buckets;
  for (int64_t begin = 1, end = 1024; begin < tokens; begin = end, end *= 2) {
    buckets.push_back({begin, std::min(end, tokens), 0, 0});
  }
  return buckets;
}

// -log softmax(logits)[token]; logits: [vocab].
double Loss(const float* logits, int64_t vocab, int32_t token) {
  const float largest = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (int64_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(logits[i] - largest));
  return std::log(sum) - static_cast<double>(logits[token] - largest);
}

absl::StatusOr<std::vector<Bucket>> Measure(Session& session,
                                            const kernels::AttentionPolicy& policy,
                                            const std::vector<int32_t>& tokens) {
  auto state = session.NewState(policy);
  if (!state.ok()) return state.status();
  const auto count = static_cast<int64_t>(tokens.size());
  std::vector<Bucket> buckets = MakeBuckets(count);
  size_t bucket = 0;
  int64_t position = 1;  // of the token that the next row predicts
  std::vector<float> rows;
  Progress progress(policy.ToString(), count);
  const auto add = [&](int64_t done, const kernels::Tensor& logits) -> absl::Status {
    progress.Update(done);
    rows.resize(static_cast<size_t>(logits.rows * logits.cols));
    if (absl::Status status = session.backend().ToHost(logits, rows.data()); !status.ok()) {
      return status;
    }
    for (int64_t row = 0; row < logits.rows && position < count; ++row, ++position) {
      if (position == buckets[bucket].end) ++bucket;
      buckets[bucket].loss += Loss(&rows[static_cast<size_t>(row * logits.cols)], logits.cols,
                                   tokens[static_cast<size_t>(position)]);
      ++buckets[bucket].tokens;
    }
    return absl::OkStatus();
  };
  if (absl::Status status = session.Read(**state, tokens, count, add); !status.ok()) return status;
  return buckets;
}

nlohmann::ordered_json ToJson(const std::string& policy, const std::vector<Bucket>& buckets) {
  Bucket all;
  nlohmann::ordered_json positions = nlohmann::ordered_json::array();
  for (const Bucket& bucket : buckets) {
    all.loss += bucket.loss;
    all.tokens += bucket.tokens;
    positions.push_back({{"begin", bucket.begin},
                         {"end", bucket.end},
                         {"tokens", bucket.tokens},
                         {"perplexity", std::exp(bucket.loss / bucket.tokens)}});
  }
  return {{"attention", policy},
          {"tokens", all.tokens},
          {"loss", all.loss / all.tokens},
          {"perplexity", std::exp(all.loss / all.tokens)},
          {"positions", positions}};
}

void PrintTable(const nlohmann::ordered_json& runs) {
  std::vector<std::string> header = {"attention", "perplexity"};
  for (const auto& bucket : runs[0]["positions"]) {
    header.push_back(
        absl::StrCat(bucket["begin"].get<int64_t>(), "..", bucket["end"].get<int64_t>() - 1));
  }
  Table table(header);
  for (const auto& run : runs) {
    std::vector<std::string> row = {run["attention"].get<std::string>(),
                                    absl::StrFormat("%.4f", run["perplexity"].get<double>())};
    for (const auto& bucket : run["positions"]) {
      row.push_back(absl::StrFormat("%.4f", bucket["perplexity"].get<double>()));
    }
    table.Add(std::move(row));
  }
  absl::PrintF("%d tokens predicted; by position of the predicted token:\n%s",
               runs[0]["tokens"].get<int64_t>(), table.ToString());
}

absl::Status Run(const PerplexityOptions& options) {
  auto session = Session::Open(options.session, /*wanted_outputs=*/0);
  if (!session.ok()) return session.status();
  auto text_model = TextModel::Load(**session);
  if (!text_model.ok()) return text_model.status();
  auto text = ReadFile(options.text);
  if (!text.ok()) return text.status();
  auto tokens = (*text_model)->DocumentIds(*text);
  if (!tokens.ok()) return tokens.status();
  auto policies = (*session)->Policies(options.attention);
  if (!policies.ok()) return policies.status();
  const int64_t context = (*session)->config().context;
  const int64_t most = options.max_tokens > 0 ? std::min(options.max_tokens, context) : context;
  if (static_cast<int64_t>(tokens->size()) > most) tokens->resize(static_cast<size_t>(most));
  if (tokens->size() < 2) return absl::InvalidArgumentError("the text has fewer than two tokens");

  nlohmann::ordered_json runs = nlohmann::ordered_json::array();
  for (const kernels::AttentionPolicy& policy : *policies) {
    auto buckets = Measure(**session, policy, *tokens);
    if (!buckets.ok()) return buckets.status();
    runs.push_back(ToJson(policy.ToString(), *buckets));
  }
  if (options.json) {
    const nlohmann::ordered_json report = {{"model", options.session.model},
                                           {"weights", options.session.weights},
                                           {"state_dtype", options.session.state_dtype},
                                           {"text", options.text},
                                           {"runs", runs}};
    absl::PrintF("%s\n", report.dump(2));
  } else {
    PrintTable(runs);
  }
  return absl::OkStatus();
}

}  // namespace

void AddPerplexityCommand(CLI::App& app, Action& chosen) {
  CLI::App* command = app.add_subcommand(
      "perplexity", "How well the model predicts a text, by policy and position");
  auto options = std::make_shared<PerplexityOptions>();
  AddSessionFlags(*command, options->session);
  command->add_option("--text", options->text, "UTF-8 text file, read as a document")->required();
  AddAttentionFlag(*command, options->attention);
  command->add_option("--max-tokens", options->max_tokens, "Use the first N tokens; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &chosen] { chosen = [options] { return Run(*options); }; });
}

}  // namespace longleaf::service::eval
