// longleaf-eval perplexity: how well a model predicts a text under several attention policies, in
// all and by position, where forgetting shows.
#include <algorithm>
#include <cmath>
#include <cstdint>
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
#include "service/eval/report_file.h"
#include "service/eval/session.h"
#include "service/eval/table.h"

namespace longleaf::service::eval {
namespace {

struct PerplexityOptions {
  SessionOptions session;
  std::string text;
  std::vector<std::string> attention;
  std::vector<int64_t> buckets;
  int64_t max_tokens = 0;  // 0: all that the context takes
  JsonFlag json;
};

// A text as the model reads it.
struct TokenText {
  std::vector<int32_t> ids;    // with what the prompt puts in front
  std::vector<int64_t> bytes;  // [ids] of the text that each stands for
  int64_t first = 1;           // the first token that is predicted: of the text, and not the start
};

// Loss over a range of positions, in nats.
struct Bucket {
  int64_t begin = 0;  // positions begin..end-1 of the predicted token
  int64_t end = 0;
  double loss = 0;
  int64_t tokens = 0;
  int64_t bytes = 0;

  void Add(const Bucket& other) {
    loss += other.loss;
    tokens += other.tokens;
    bytes += other.bytes;
  }
  double perplexity() const { return std::exp(loss / static_cast<double>(tokens)); }
  double bits_per_byte() const {
    return loss / std::log(2.0) / static_cast<double>(std::max<int64_t>(1, bytes));
  }
};

absl::StatusOr<TokenText> Tokenise(const TextModel& model, const std::string& text,
                                   int64_t max_tokens) {
  auto tokens = model.tokenizer().Encode(text, model.prompt().document_start());
  if (!tokens.ok()) return tokens.status();
  TokenText read;
  read.ids = model.prompt().prefix_ids();
  read.bytes.resize(read.ids.size());
  read.first = std::max<int64_t>(1, static_cast<int64_t>(read.ids.size()));
  int64_t begin = 0;
  for (const model::Token& token : *tokens) {
    if (static_cast<int64_t>(read.ids.size()) == max_tokens) break;
    read.ids.push_back(token.id);
    read.bytes.push_back(token.end_byte - begin);
    begin = token.end_byte;
  }
  if (static_cast<int64_t>(read.ids.size()) <= read.first) {
    return absl::InvalidArgumentError("the text has fewer than two tokens");
  }
  return read;
}

// Ranges that end at `ends`, and one for what is beyond; without any, at 1024, 2048, 4096 and so
// on.
std::vector<Bucket> MakeBuckets(const TokenText& text, std::vector<int64_t> ends) {
  const auto count = static_cast<int64_t>(text.ids.size());
  if (ends.empty()) {
    for (int64_t end = 1024; end < count; end *= 2) ends.push_back(end);
  }
  ends.push_back(count);
  std::vector<Bucket> buckets;
  int64_t begin = text.first;
  for (int64_t end : ends) {
    end = std::min(end, count);
    if (end <= begin) continue;
    Bucket& bucket = buckets.emplace_back();
    bucket.begin = std::exchange(begin, end);
    bucket.end = end;
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

absl::Status Measure(Session& session, const kernels::AttentionPolicy& policy,
                     const TokenText& text, std::vector<Bucket>& buckets) {
  auto state = session.NewState(policy);
  if (!state.ok()) return state.status();
  const auto count = static_cast<int64_t>(text.ids.size());
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
      if (position < text.first) continue;
      if (position == buckets[bucket].end) ++bucket;
      const auto at = static_cast<size_t>(position);
      buckets[bucket].loss +=
          Loss(&rows[static_cast<size_t>(row * logits.cols)], logits.cols, text.ids[at]);
      buckets[bucket].bytes += text.bytes[at];
      ++buckets[bucket].tokens;
    }
    return absl::OkStatus();
  };
  return session.Read(**state, text.ids, count, add);
}

nlohmann::ordered_json ToJson(const std::string& policy, const std::vector<Bucket>& buckets) {
  Bucket all;
  nlohmann::ordered_json positions = nlohmann::ordered_json::array();
  for (const Bucket& bucket : buckets) {
    all.Add(bucket);
    positions.push_back({{"begin", bucket.begin},
                         {"end", bucket.end},
                         {"tokens", bucket.tokens},
                         {"perplexity", bucket.perplexity()},
                         {"bits_per_byte", bucket.bits_per_byte()}});
  }
  return {{"attention", policy},
          {"tokens", all.tokens},
          {"bytes", all.bytes},
          {"loss", all.loss / static_cast<double>(all.tokens)},
          {"perplexity", all.perplexity()},
          {"bits_per_byte", all.bits_per_byte()},
          {"positions", positions}};
}

void PrintTable(const nlohmann::ordered_json& runs) {
  std::vector<std::string> header = {"attention", "perplexity", "bits/byte"};
  for (const auto& bucket : runs[0]["positions"]) {
    header.push_back(
        absl::StrCat(bucket["begin"].get<int64_t>(), "..", bucket["end"].get<int64_t>() - 1));
  }
  Table table(header);
  for (const auto& run : runs) {
    std::vector<std::string> row = {run["attention"].get<std::string>(),
                                    absl::StrFormat("%.4f", run["perplexity"].get<double>()),
                                    absl::StrFormat("%.4f", run["bits_per_byte"].get<double>())};
    for (const auto& bucket : run["positions"]) {
      row.push_back(absl::StrFormat("%.4f", bucket["perplexity"].get<double>()));
    }
    table.Add(std::move(row));
  }
  absl::PrintF("%d tokens predicted, %d bytes; perplexity by position of the predicted token:\n%s",
               runs[0]["tokens"].get<int64_t>(), runs[0]["bytes"].get<int64_t>(), table.ToString());
}

absl::Status Run(const PerplexityOptions& options) {
  if (!std::is_sorted(options.buckets.begin(), options.buckets.end())) {
    return absl::InvalidArgumentError("--buckets: positions that do not rise");
  }
  auto session = Session::Open(options.session, /*wanted_outputs=*/0);
  if (!session.ok()) return session.status();
  auto model = TextModel::Load(**session);
  if (!model.ok()) return model.status();
  auto content = ReadFile(options.text);
  if (!content.ok()) return content.status();
  auto policies = (*session)->Policies(options.attention);
  if (!policies.ok()) return policies.status();
  const int64_t context = (*session)->config().context;
  auto text = Tokenise(**model, *content,
                       options.max_tokens > 0 ? std::min(options.max_tokens, context) : context);
  if (!text.ok()) return text.status();
  auto json = ReportFile::Create(options.json.file);
  if (!json.ok()) return json.status();

  nlohmann::ordered_json runs = nlohmann::ordered_json::array();
  for (const kernels::AttentionPolicy& policy : *policies) {
    std::vector<Bucket> buckets = MakeBuckets(*text, options.buckets);
    absl::Status status = Measure(**session, policy, *text, buckets);
    if (!status.ok()) return status;
    runs.push_back(ToJson(policy.ToString(), buckets));
  }
  if (!options.json.instead_of_tables()) PrintTable(runs);
  const nlohmann::ordered_json report = {{"model", options.session.model},
                                         {"weights", options.session.weights},
                                         {"state_dtype", options.session.state_dtype},
                                         {"device", (*session)->backend().name()},
                                         {"text", options.text},
                                         {"runs", runs}};
  return WriteJson(options.json, *json, report);
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
  command
      ->add_option("--buckets", options->buckets,
                   "Positions at which ranges end, e.g. 512,4096; default: powers of two from 1024")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  AddJsonFlag(*command, options->json);
  command->callback([options, &chosen] { chosen = [options] { return Run(*options); }; });
}

}  // namespace longleaf::service::eval
