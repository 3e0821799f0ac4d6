// longleaf-eval verify-store: every byte of a store that no server has open, checked.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cache_store/verify.h"
#include "kernels/attention_policy.h"
#include "kernels/state_rounding.h"
#include "model/config.h"
#include "model/fingerprint.h"
#include "model/prompt.h"
#include "model/safetensors.h"
#include "model/state_codec.h"
#include "model/tokenizer.h"
#include "nlohmann/json.hpp"
#include "service/eval/commands.h"
#include "service/eval/table.h"
#include "service/options.h"

namespace longleaf::service::eval {
namespace {

struct VerifyStoreOptions {
  std::string store;
  std::string model;
  std::string attention;
  std::string weights = DefaultsOf(kernels::Device::kCpu).weights;  // a server's
  std::string state_dtype = Options().state_dtype;
  bool json = false;
};

// Whose snapshots are looked into, and how many of them there were.
struct ModelCheck {
  store::Digest fingerprint = {};
  kernels::StateShape shape;
  int64_t own = 0;
  int64_t others = 0;

  absl::Status operator()(const store::Manifest& manifest);
};

absl::StatusOr<ModelCheck> LoadModelCheck(const VerifyStoreOptions& options) {
  auto config = model::Config::Load(options.model);
  if (!config.ok()) return config.status();
  kernels::AttentionPolicy policy = config->policy;
  if (!options.attention.empty()) {
    auto parsed = kernels::AttentionPolicy::Parse(options.attention);
    if (!parsed.ok()) return parsed.status();
    policy = *parsed;
  }
  auto weights = model::WeightFiles::Open(options.model);
  if (!weights.ok()) return weights.status();
  auto format = kernels::ParseWeightFormat(options.weights);
  if (!format.ok()) return format.status();
  auto dtype = kernels::ParseStateType(options.state_dtype);
  if (!dtype.ok()) return dtype.status();
  auto tokenizer = model::Tokenizer::Load(
      options.model,
      {.bos_id = config->bos_id, .eos_ids = config->eos_ids, .model_vocab_size = config->vocab});
  if (!tokenizer.ok()) return tokenizer.status();
  auto prompt_file = model::PromptFile::Load(options.model);
  if (!prompt_file.ok()) return prompt_file.status();
  auto prompt = model::Prompt::Create(*std::move(prompt_file), tokenizer->get());
  if (!prompt.ok()) return prompt.status();
  ModelCheck check;
  check.fingerprint = model::ComputeFingerprint({.weights = model::DigestWeights(*weights),
                                                 .tokenizer = (*tokenizer)->digest(),
                                                 .prompt = prompt->digest(),
                                                 .config = config->Canonical(),
                                                 .policy = policy,
                                                 .weight_format = *format,
                                                 .state_dtype = *dtype});
  check.shape = config->StateShape(policy, *dtype);
  return check;
}

absl::Status ModelCheck::operator()(const store::Manifest& manifest) {
  if (manifest.key.fingerprint != fingerprint) {
    ++others;
    return absl::OkStatus();
  }
  ++own;
  auto layout = model::SnapshotLayout::FromMeta(manifest.meta, shape);
  if (!layout.ok()) return layout.status();
  const auto differs = [](const std::string& what) {
    return absl::DataLossError(absl::StrCat("its meta does not agree with its ", what));
  };
  if (layout->tokens() != manifest.key.token_count) return differs("token count");
  if (layout->segments() + 1 != static_cast<int64_t>(manifest.segments.size())) {
    return differs("number of segments");
  }
  for (int64_t i = 0; i <= layout->segments(); ++i) {
    const store::SegmentInfo& segment = manifest.segments[static_cast<size_t>(i)];
    const bool tail = i == layout->segments();
    const model::TokenSpan span = tail ? layout->tail_span() : layout->span(i);
    if (segment.first_token != span.begin || segment.last_token != span.end ||
        segment.bytes != (tail ? layout->TailBytes() : layout->SegmentBytes())) {
      return differs(absl::StrCat("segment ", i));
    }
  }
  return absl::OkStatus();
}

const char* NameOf(store::Severity severity) {
  return severity == store::Severity::kDamage ? "damage" : "orphan";
}

void PrintText(const store::VerifyReport& report, const ModelCheck* check) {
  Table table({"checked", "rows", "bytes"});
  for (const store::VerifyCount& count : report.counts) {
    table.Add({count.name, absl::StrCat(count.rows), absl::StrCat(count.bytes)});
  }
  absl::PrintF("%s", table.ToString());
  for (const store::VerifyFinding& finding : report.findings) {
    // Ids and messages may hold anything; one finding stays one line.
    absl::PrintF("%s: %s\n", NameOf(finding.severity),
                 absl::StrReplaceAll(absl::StrCat(finding.where, ": ", finding.what),
                                     {{"\n", "\\n"}, {"\r", "\\r"}, {"\x1b", "\\e"}}));
  }
  const int64_t untold =
      report.damage + report.orphans - static_cast<int64_t>(report.findings.size());
  if (untold > 0) absl::PrintF("and %d more\n", untold);
  if (check != nullptr) {
    absl::PrintF("%d snapshots of this model, %d of others\n", check->own, check->others);
  }
  absl::PrintF("%d documents, %d snapshots, %d damaged, %d orphans\n", report.documents,
               report.snapshots, report.damage, report.orphans);
}

void PrintJson(const store::VerifyReport& report, const ModelCheck* check) {
  nlohmann::ordered_json json = {{"documents", report.documents},
                                 {"snapshots", report.snapshots},
                                 {"damage", report.damage},
                                 {"orphans", report.orphans}};
  if (check != nullptr) {
    json["snapshots_of_this_model"] = check->own;
    json["snapshots_of_other_models"] = check->others;
  }
  for (const store::VerifyCount& count : report.counts) {
    json["checked"][count.name] = {{"rows", count.rows}, {"bytes", count.bytes}};
  }
  json["findings"] = nlohmann::ordered_json::array();
  for (const store::VerifyFinding& finding : report.findings) {
    json["findings"].push_back(
        {{"severity", NameOf(finding.severity)}, {"where", finding.where}, {"what", finding.what}});
  }
  // Ids need not be UTF-8.
  absl::PrintF("%s\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

absl::Status Run(const VerifyStoreOptions& options) {
  std::optional<ModelCheck> check;
  store::VerifyOptions verify;
  verify.path = options.store;
  if (!options.model.empty()) {
    auto loaded = LoadModelCheck(options);
    if (!loaded.ok()) return loaded.status();
    check = *loaded;
    verify.check_manifest = [&check](const store::Manifest& manifest) {
      return (*check)(manifest);
    };
  }
  const auto report = store::VerifyStore(verify);
  if (!report.ok()) return report.status();
  (options.json ? PrintJson : PrintText)(*report, check.has_value() ? &*check : nullptr);
  if (report->damage == 0) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(options.store, " is damaged in ", report->damage,
                                          report->damage == 1 ? " place" : " places"));
}

}  // namespace

void AddVerifyStoreCommand(CLI::App& app, Action& chosen) {
  CLI::App* command = app.add_subcommand(
      "verify-store", "Check every byte of a store whose server is stopped; it is only read");
  auto options = std::make_shared<VerifyStoreOptions>();
  command->add_option("--store", options->store, "The server's --store")->required();
  command->add_option("--model", options->model,
                      "Also look into the snapshots of this model directory");
  command->add_option("--attention", options->attention,
                      "With --model: the server's --attention, where it has one");
  command
      ->add_option("--weights", options->weights,
                   "With --model: the server's --weights (bf16 if it ran on a GPU)")
      ->check(CLI::IsMember({"f32", "bf16", "fp8", "int8", "int4"}))
      ->capture_default_str();
  command
      ->add_option("--state-dtype", options->state_dtype,
                   "With --model: the server's --state-dtype")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON object");
  command->callback([options, &chosen] { chosen = [options] { return Run(*options); }; });
}

}  // namespace longleaf::service::eval
