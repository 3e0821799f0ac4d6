// longleaf-eval random-model: a checkpoint of a known shape with random weights, as Hugging Face
// lays it out, so that speed and size can be measured without a download.
//
// Weights are N(0, 1/columns), so that activations keep their size through the layers. The output
// rows of tokens that the tokenizer does not have are zero: they never win against the others, and
// what the model "says" can be printed.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "kernels/attention_policy.h"
#include "model/checksums.h"
#include "model/tokenizer.h"
#include "nlohmann/json.hpp"
#include "service/eval/commands.h"
#include "service/eval/model_shape.h"
#include "service/eval/progress.h"
#include "service/eval/random_weights.h"
#include "service/eval/tensor_file.h"

namespace longleaf::service::eval {
namespace {

constexpr int64_t kShardBytes = int64_t{5} << 30;  // of tensor data in one file, as people cut them
constexpr int64_t kPieceElements = int64_t{4} << 20;

struct RandomModelOptions {
  std::string shape;
  std::string out;
  std::string dtype = "bf16";
  std::string cca;
  std::string tokenizer = "model/demo";
  int64_t context = 131072;
  uint64_t seed = 1;
};

nlohmann::ordered_json Config(const ModelShape& shape, const RandomModelOptions& options,
                              const kernels::AttentionPolicy* cca) {
  nlohmann::ordered_json config = {
      {"architectures",
       {shape.model_type == "mistral" ? "MistralForCausalLM" : "LlamaForCausalLM"}},
      {"model_type", shape.model_type},
      {"vocab_size", shape.vocab},
      {"hidden_size", shape.hidden},
      {"intermediate_size", shape.intermediate},
      {"num_hidden_layers", shape.layers},
      {"num_attention_heads", shape.heads},
      {"num_key_value_heads", shape.kv_heads},
      {"head_dim", shape.head_dim},
      {"hidden_act", "silu"},
      {"rms_norm_eps", 1e-5},
      {"rope_theta", shape.rope_theta},
      {"rope_scaling", nullptr},
      {"max_position_embeddings", options.context},
      {"tie_word_embeddings", shape.tied_embeddings},
      {"attention_bias", false},
      {"mlp_bias", false},
      {"bos_token_id", 1},
      {"eos_token_id", 2},
      {"torch_dtype", options.dtype == "bf16"  ? "bfloat16"
                      : options.dtype == "f16" ? "float16"
                                               : "float32"},
  };
  if (shape.rope_factor > 0) {
    config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", shape.rope_factor},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 8192}};
  }
  if (cca != nullptr) {
    config["cca"] = {
        {"group_size", cca->group},
        {"window", cca->window},
        {"core_heads", cca->core_heads == kernels::CoreHeads::kKeyValue ? "kv" : "query"}};
  }
  return config;
}

absl::Status WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) return absl::UnavailableError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

// Whole tensors to files of at most kShardBytes each, in order.
std::vector<std::vector<TensorSpec>> CutIntoShards(const std::vector<TensorSpec>& tensors) {
  std::vector<std::vector<TensorSpec>> shards(1);
  int64_t bytes = 0;
  for (const TensorSpec& tensor : tensors) {
    if (bytes + tensor.bytes() > kShardBytes && !shards.back().empty()) {
      shards.emplace_back();
      bytes = 0;
    }
    bytes += tensor.bytes();
    shards.back().push_back(tensor);
  }
  return shards;
}

// Writes the tensors' data; `pieces` are the tokens that the tokenizer has.
class WeightWriter {
 public:
  WeightWriter(const ModelShape& shape, uint64_t seed, int64_t pieces)
      : output_(shape.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight"),
        pieces_(pieces),
        random_(seed),
        progress_("parameters", shape.Parameters()) {}

  absl::Status Write(const TensorSpec& tensor, TensorFileWriter& file) {
    const int64_t element = TensorElementBytes(tensor.dtype);
    const int64_t columns = tensor.shape.back();
    const bool norm = tensor.shape.size() == 1;
    const int64_t random_elements =
        tensor.name == output_ ? std::min(pieces_, tensor.shape[0]) * columns : tensor.elements();
    const bool embedding = tensor.name == "model.embed_tokens.weight";
    const float scale = embedding ? 1.0F : static_cast<float>(1 / std::sqrt(columns));
    for (int64_t at = 0; at < tensor.elements(); at += kPieceElements) {
      const int64_t count = std::min(kPieceElements, tensor.elements() - at);
      buffer_.assign(static_cast<size_t>(count * element), std::byte{0});
      const absl::Span<std::byte> out(buffer_);
      if (norm) {
        FillOnes(tensor.dtype, out);
      } else if (at < random_elements) {
        const int64_t filled = std::min(count, random_elements - at);
        weights_.Fill(random_.Next(), tensor.dtype, scale,
                      out.subspan(0, static_cast<size_t>(filled * element)));
      }
      if (absl::Status status = file.Append(out); !status.ok()) return status;
      progress_.Update(done_ += count);
    }
    return absl::OkStatus();
  }

 private:
  static void FillOnes(const std::string& dtype, absl::Span<std::byte> out) {
    const uint32_t one = EncodeElement(dtype, 1);
    const auto element = static_cast<size_t>(TensorElementBytes(dtype));
    for (size_t at = 0; at < out.size(); at += element) std::memcpy(&out[at], &one, element);
  }

  const std::string output_;
  const int64_t pieces_;
  SplitMix64 random_;
  const RandomWeights weights_;
  std::vector<std::byte> buffer_;
  Progress progress_;
  int64_t done_ = 0;
};

absl::Status WriteWeights(const ModelShape& shape, const RandomModelOptions& options,
                          int64_t pieces) {
  const std::vector<TensorSpec> tensors = shape.Tensors(absl::AsciiStrToUpper(options.dtype));
  const std::vector<std::vector<TensorSpec>> shards = CutIntoShards(tensors);
  WeightWriter writer(shape, options.seed, pieces);
  nlohmann::ordered_json weight_map;
  int64_t total_bytes = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shards.size() == 1 ? "model.safetensors"
                                                : absl::StrFormat("model-%05d-of-%05d.safetensors",
                                                                  i + 1, shards.size());
    auto file = TensorFileWriter::Create(absl::StrCat(options.out, "/", name), shards[i]);
    if (!file.ok()) return file.status();
    for (const TensorSpec& tensor : shards[i]) {
      if (absl::Status status = writer.Write(tensor, **file); !status.ok()) return status;
      weight_map[tensor.name] = name;
      total_bytes += tensor.bytes();
    }
    if (absl::Status status = (*file)->Finish(); !status.ok()) return status;
  }
  if (shards.size() == 1) return absl::OkStatus();
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", total_bytes}}},
                                        {"weight_map", weight_map}};
  return WriteText(absl::StrCat(options.out, "/model.safetensors.index.json"),
                   index.dump(2) + "\n");
}

// Of all files that are there.
absl::Status WriteChecksums(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(directory, error)) {
    names.push_back(file.path().filename());
  }
  if (error) return absl::UnavailableError(absl::StrCat(directory, ": ", error.message()));
  std::sort(names.begin(), names.end());
  std::string lines;
  for (const std::string& name : names) {
    auto line = model::ChecksumLine(directory, name);
    if (!line.ok()) return line.status();
    lines += *line;
  }
  return WriteText(absl::StrCat(directory, "/", model::kChecksumsFile), lines);
}

absl::Status Run(const RandomModelOptions& options) {
  auto shape = FindShape(options.shape);
  if (!shape.ok()) return shape.status();
  kernels::AttentionPolicy cca;
  if (!options.cca.empty()) {
    auto parsed = kernels::AttentionPolicy::Parse(absl::StrCat("cca:", options.cca));
    if (!parsed.ok()) return parsed.status();
    cca = *parsed;
  }
  auto tokenizer = model::Tokenizer::Load(options.tokenizer);
  if (!tokenizer.ok()) return tokenizer.status();
  const int64_t pieces = (*tokenizer)->vocab_size();
  if (pieces > shape->vocab) {
    return absl::InvalidArgumentError(absl::StrCat(options.tokenizer, " has ", pieces,
                                                   " pieces, more than the ", shape->vocab, " of ",
                                                   shape->name));
  }
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error) return absl::UnavailableError(absl::StrCat(options.out, ": ", error.message()));
  if (!std::filesystem::is_empty(options.out, error) || error) {
    return absl::AlreadyExistsError(absl::StrCat(options.out, " is not an empty folder"));
  }
  if (absl::Status status = WriteWeights(*shape, options, pieces); !status.ok()) return status;
  std::filesystem::copy_file(absl::StrCat(options.tokenizer, "/tokenizer.model"),
                             absl::StrCat(options.out, "/tokenizer.model"), error);
  if (error) return absl::UnavailableError(absl::StrCat(options.tokenizer, ": ", error.message()));
  const std::string config =
      Config(*shape, options, options.cca.empty() ? nullptr : &cca).dump(2) + "\n";
  // Last, so that a folder that was not finished is not taken for a model.
  absl::Status status = WriteText(absl::StrCat(options.out, "/config.json"), config);
  if (status.ok()) status = WriteChecksums(options.out);
  if (!status.ok()) return status;
  absl::PrintF("%s: %s, %.2f billion parameters, %s, seed %d\n", options.out, shape->name,
               static_cast<double>(shape->Parameters()) / 1e9, options.dtype, options.seed);
  return absl::OkStatus();
}

}  // namespace

void AddRandomModelCommand(CLI::App& app, Action& chosen) {
  CLI::App* command =
      app.add_subcommand("random-model", "Write a checkpoint of a known shape with random weights");
  auto options = std::make_shared<RandomModelOptions>();
  command
      ->add_option("--shape", options->shape,
                   absl::StrCat("One of ", absl::StrJoin(KnownShapes(), ", ",
                                                         [](std::string* out, const ModelShape& s) {
                                                           out->append(s.name);
                                                         })))
      ->required();
  command->add_option("--out", options->out, "Folder to write; created, or empty")->required();
  command->add_option("--dtype", options->dtype, "Type of the weights")
      ->check(CLI::IsMember({"bf16", "f16", "f32"}))
      ->capture_default_str();
  command->add_option("--cca", options->cca,
                      "Mark the checkpoint as tuned to CCA, e.g. g=16,w=1024,heads=kv");
  command
      ->add_option(
          "--tokenizer", options->tokenizer,
          "Folder whose tokenizer.model is copied; it may have fewer pieces than the shape")
      ->capture_default_str();
  command->add_option("--context", options->context, "Longest sequence, max_position_embeddings")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Seed of the weights")->capture_default_str();
  command->callback([options, &chosen] { chosen = [options] { return Run(*options); }; });
}

}  // namespace longleaf::service::eval
