// longleaf-eval as people run it: the real binary, its output and its exit code.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "program.h"

namespace longleaf::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kDemo[] = "model/demo";

struct Array {
  std::vector<int64_t> shape;
  std::vector<float> values;  // of F32 tensors only
};

// The F32 tensors of a safetensors file; empty where it is none.
std::map<std::string, Array> ReadTensors(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream stream;
  stream << file.rdbuf();
  const std::string bytes = stream.str();
  std::map<std::string, Array> arrays;
  if (bytes.size() < 8) return arrays;
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  const auto header = nlohmann::json::parse(bytes.substr(8, length), nullptr, false);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__" || entry["dtype"] != "F32") continue;
    Array& array = arrays[name];
    array.shape = entry["shape"].get<std::vector<int64_t>>();
    const auto begin = entry["data_offsets"][0].get<size_t>();
    const auto end = entry["data_offsets"][1].get<size_t>();
    array.values.resize((end - begin) / sizeof(float));
    std::memcpy(array.values.data(), bytes.data() + 8 + length + begin, end - begin);
  }
  return arrays;
}

// Row by row, max|got - want| / max|want|; infinite where the shapes differ.
double WorstRow(const Array& got, const Array& want) {
  if (got.shape != want.shape || want.shape.size() != 2) return INFINITY;
  const auto columns = static_cast<size_t>(want.shape[1]);
  double worst = 0;
  for (size_t at = 0; at < want.values.size(); at += columns) {
    double difference = 0;
    double largest = 0;
    for (size_t i = at; i < at + columns; ++i) {
      difference = std::max<double>(difference, std::abs(got.values[i] - want.values[i]));
      largest = std::max<double>(largest, std::abs(want.values[i]));
    }
    worst = std::max(worst, difference / largest);
  }
  return worst;
}

// "logits.cca_g4_w8_query" -> "cca:g=4,w=8,heads=query".
std::string PolicyOf(const std::string& tensor) {
  int group = 0;
  int window = 0;
  char heads[8] = "";
  if (std::sscanf(tensor.c_str(), "logits.cca_g%d_w%d_%7s", &group, &window, heads) != 3) {
    return "full";
  }
  return absl::StrCat("cca:g=", group, ",w=", window, ",heads=", heads);
}

class GoldenLogitsTest : public ::testing::TestWithParam<const char*> {};

TEST_P(GoldenLogitsTest, AreReproducedByTheProgram) {
  const std::string folder = absl::StrCat("tests/golden/data/", GetParam());
  const std::string expected_path = folder + "/expected.safetensors";
  const auto expected = ReadTensors(expected_path);
  ASSERT_FALSE(expected.empty()) << expected_path;
  const std::string out = ScratchFolder() + "/logits.safetensors";
  const std::string first = GetParam() == std::string("far") ? "100000" : "0";
  for (const auto& [name, want] : expected) {
    for (const char* chunk : {"7", "256"}) {
      const ProgramResult result =
          RunEval({"logits", "--model", folder, "--tokens", expected_path, "--attention",
                   PolicyOf(name), "--first-position", first, "--last", absl::StrCat(want.shape[0]),
                   "--chunk", chunk, "--out", out});
      ASSERT_EQ(result.exit_code, 0) << result.err;
      const auto got = ReadTensors(out);
      ASSERT_TRUE(got.contains("logits"));
      EXPECT_LE(WorstRow(got.at("logits"), want), 1e-4) << name << " chunk " << chunk;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenLogitsTest,
                         ::testing::Values("mha", "gqa", "linear_rope_tied", "llama3_rope", "far",
                                           "paper"));

TEST(EvalTest, WithoutACommandSaysWhatThereIs) {
  const ProgramResult result = RunEval({});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, StartsWith("longleaf-eval: "));
  const ProgramResult help = RunEval({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const char* command :
       {"logits", "perplexity", "needle", "qa", "ask", "bench", "random-model", "verify-store"}) {
    EXPECT_THAT(help.out, HasSubstr(command));
  }
}

struct BadCall {
  std::vector<std::string> arguments;
  int exit_code;
  std::string message;  // part of the one line
};

TEST(EvalTest, BadArgumentsGiveOneClearLine) {
  const std::string scratch = ScratchFolder();
  const std::string not_tensors = scratch + "/tokens";
  std::ofstream(not_tensors) << "these are no tensors";
  const std::vector<BadCall> calls = {
      {{"logits", "--model", kDemo}, 2, "--tokens"},
      {{"logits", "--model", "no/such/model", "--tokens",
        "tests/golden/data/mha/expected.safetensors", "--out", scratch + "/o"},
       1,
       "no/such/model"},
      {{"logits", "--model", kDemo, "--tokens", not_tensors, "--out", scratch + "/o"},
       2,
       not_tensors},
      {{"logits", "--model", kDemo, "--tokens", "tests/golden/data/mha/expected.safetensors",
        "--out", scratch + "/o", "--attention", "cca:g=8,w=12"},
       2,
       "multiple of g"},
      {{"logits", "--model", kDemo, "--tokens", "tests/golden/data/mha/expected.safetensors",
        "--out", scratch + "/o", "--device", "tpu"},
       2,
       "--device"},
      {{"logits", "--model", kDemo, "--tokens", "tests/golden/data/mha/expected.safetensors",
        "--out", scratch + "/o", "--weights", "int3"},
       2,
       "--weights"},
      {{"bench", "--model", kDemo, "--length", "0"}, 2, "--length"},
      {{"needle", "--model", kDemo, "--lengths", "100"}, 2, "100"},
      {{"random-model", "--shape", "gpt", "--out", scratch + "/m"}, 2, "tinyllama-1.1b"},
      {{"random-model", "--shape", "tiny", "--out", kDemo}, 1, "not an empty folder"},
  };
  for (const BadCall& call : calls) {
    const ProgramResult result = RunEval(call.arguments);
    EXPECT_EQ(result.exit_code, call.exit_code) << result.err;
    EXPECT_THAT(result.err, StartsWith("longleaf-eval: "));
    EXPECT_THAT(result.err, HasSubstr(call.message));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_EQ(result.out, "");
  }
}

TEST(EvalTest, CudaIsNotReplacedByTheCpu) {
  const ProgramResult result = RunEval(
      {"bench", "--model", kDemo, "--length", "64", "--device", "cuda", "--weights", "int8"});
  // Without a GPU, or without CUDA in this build: 1. Where there is all of it, int8 is refused: 2.
  EXPECT_TRUE(result.exit_code == 1 || result.exit_code == 2) << result.err;
  EXPECT_THAT(result.err, HasSubstr(result.exit_code == 1 ? "--device cuda: " : "--weights int8"));
  EXPECT_EQ(result.out, "");
}

TEST(EvalTest, BenchStoresNothingWhenToldSo) {
  const std::string scratch = ScratchFolder();
  const ProgramResult result = RunEval({"bench", "--model", kDemo, "--length", "256", "--device",
                                        "cpu", "--memory-only", "--json", "--store", scratch});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto report = nlohmann::json::parse(result.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << result.out;
  EXPECT_EQ(report["runs"][0]["state_bytes"], 0);
  EXPECT_EQ(report["runs"][0]["save_seconds"], 0);
  EXPECT_GT(report["runs"][0]["ttft_memory_seconds"], 0);
  EXPECT_GT(report["runs"][0]["memory_state_bytes"], 0);
}

TEST(EvalTest, BenchMeasuresEverythingOnTheDemoModel) {
  const ProgramResult result = RunEval({"bench", "--model", kDemo, "--length", "2048",
                                        "--attention", "cca:g=8,w=64,heads=query", "--attention",
                                        "full", "--json", "--store", ScratchFolder()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto report = nlohmann::json::parse(result.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << result.out;
  EXPECT_GT(report["machine"]["matmul_gflops"], 0);
  ASSERT_EQ(report["runs"].size(), 2);
  for (const auto& run : report["runs"]) {
    EXPECT_EQ(run["tokens"], 2048);
    for (const char* field :
         {"prefill_seconds", "prefill_tokens_per_second", "prefill_gflops", "matmul_ratio",
          "save_seconds", "restore_seconds", "plain_write_seconds", "plain_read_seconds",
          "ttft_memory_seconds", "ttft_disk_seconds", "decode_tokens_per_second",
          "peak_memory_bytes"}) {
      ASSERT_TRUE(run.contains(field)) << field;
      EXPECT_GT(run[field], 0) << field;
    }
    // 4 layers, 6 heads of 32, keys and values of 4 bytes.
    EXPECT_EQ(run["full_cache_bytes"], 4 * 2 * 2048 * 6 * 32 * 4);
    // Within 2% of the arithmetic, but for the slack of the raw tail: g + 64 tokens here.
    const double arithmetic = run["state_bytes_arithmetic"];
    const bool full = run["attention"] == "full";
    EXPECT_GE(run["state_bytes"], arithmetic);
    EXPECT_LE(run["state_bytes"], arithmetic * 1.02 + (full ? 0 : 72 * 4 * 2 * 6 * 32 * 4));
  }
  EXPECT_LT(report["runs"][0]["state_bytes"], report["runs"][1]["state_bytes"]);
}

TEST(EvalTest, AskAnswersFromADocumentAsTheServerWould) {
  const std::string document = ScratchFolder() + "/document.txt";
  std::ofstream(document) << "It rained all day, and nobody came to the door. The market of the "
                             "town of Brembley is held on Thursday. We went home by the river.\n";
  const ProgramResult result =
      RunEval({"ask", "--model", kDemo, "--document", document, "--question",
               "On which day is the market of the town of Brembley?"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "Thursday\n");
}

TEST(EvalTest, PerplexityOfATextByPosition) {
  const ProgramResult result =
      RunEval({"perplexity", "--model", kDemo, "--text", "model/demo/document.txt", "--max-tokens",
               "1500", "--attention", "cca:g=8,w=64,heads=query", "--attention", "full", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto report = nlohmann::json::parse(result.out, nullptr, false);
  ASSERT_EQ(report["runs"].size(), 2) << result.out;
  for (const auto& run : report["runs"]) {
    // 3,072 pieces: worse than guessing among all of them would be a broken model.
    EXPECT_GT(run["perplexity"], 1);
    EXPECT_LT(run["perplexity"], 3072);
    EXPECT_EQ(run["tokens"], 1499);
    ASSERT_EQ(run["positions"].size(), 2);
    EXPECT_EQ(run["positions"][1]["begin"], 1024);
    EXPECT_EQ(run["positions"][1]["end"], 1500);
    // The same loss in another unit.
    const double bits = run["loss"].get<double>() * 1499 / std::log(2.0);
    EXPECT_NEAR(run["bits_per_byte"].get<double>() * run["bytes"].get<double>() / bits, 1, 1e-9);
    EXPECT_GT(run["bytes"], 1499);
  }
}

TEST(EvalTest, PerplexityInRangesAsWanted) {
  const std::string scratch = ScratchFolder();
  const std::string file = scratch + "/report.json";
  const std::string text = scratch + "/text.txt";
  std::ofstream(text) << "It rained all day, and nobody came to the door. We went home.";
  const ProgramResult result = RunEval(
      {"perplexity", "--model", kDemo, "--text", text, "--buckets", "3,8,5000", "--json", file});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("61 bytes"));
  EXPECT_THAT(result.out, HasSubstr("1..2"));
  std::ifstream stream(file);
  const auto report = nlohmann::json::parse(stream, nullptr, false);
  const auto& run = report["runs"][0];
  ASSERT_EQ(run["positions"].size(), 3) << report.dump();
  double loss = 0;
  for (const auto& range : run["positions"]) {
    loss += std::log(range["perplexity"].get<double>()) * range["tokens"].get<double>();
  }
  EXPECT_NEAR(loss / run["tokens"].get<double>(), run["loss"].get<double>(), 1e-9);
  EXPECT_EQ(run["bytes"], 61);
  const ProgramResult bad =
      RunEval({"perplexity", "--model", kDemo, "--text", text, "--buckets", "8,3"});
  EXPECT_EQ(bad.exit_code, 2);
}

// What rounding states costs is far below what a text's perplexity is known to.
TEST(EvalTest, PerplexityFromRoundedStates) {
  std::vector<double> perplexity;
  for (const std::string type : {"f32", "bf16", "int8"}) {
    const ProgramResult result =
        RunEval({"perplexity", "--model", kDemo, "--text", "model/demo/document.txt",
                 "--max-tokens", "1500", "--state-dtype", type, "--json"});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto report = nlohmann::json::parse(result.out, nullptr, false);
    EXPECT_EQ(report["state_dtype"], type) << result.out;
    perplexity.push_back(report["runs"][0]["perplexity"]);
  }
  for (const size_t rounded : {size_t{1}, size_t{2}}) {
    EXPECT_NEAR(perplexity[rounded] / perplexity[0], 1, 0.002);
    EXPECT_NE(perplexity[rounded], perplexity[0]);
  }
}

TEST(EvalTest, RandomModelLoadsAndGivesFiniteLogits) {
  const std::string scratch = ScratchFolder();
  const std::string model = scratch + "/model";
  for (const char* dtype : {"f32", "bf16", "f16"}) {
    std::filesystem::remove_all(model);
    const ProgramResult made = RunEval({"random-model", "--shape", "tiny", "--out", model,
                                        "--dtype", dtype, "--cca", "g=16,w=128,heads=kv"});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    const std::string out = scratch + "/logits.safetensors";
    // The tokens of a golden case are ids below 320, so the model has them.
    const ProgramResult result =
        RunEval({"logits", "--model", model, "--tokens",
                 "tests/golden/data/mha/expected.safetensors", "--last", "3", "--out", out});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto got = ReadTensors(out);
    ASSERT_TRUE(got.contains("logits"));
    EXPECT_EQ(got.at("logits").shape, (std::vector<int64_t>{3, 4096}));
    float largest = 0;
    for (const float value : got.at("logits").values) {
      ASSERT_TRUE(std::isfinite(value));
      largest = std::max(largest, std::abs(value));
    }
    EXPECT_GT(largest, 0.1F) << dtype;
  }
}

}  // namespace
}  // namespace longleaf::testing
