// How fast a device attends: prefill of whole documents in chunks (TFLOP/s), decoding of many
// answers on documents of their own (GB/s), and of many answers on one document, full attention
// beside CCA. Small results are compared with the reference before anything is timed.
//
//   attention_bench [--device auto] [--lengths 32768,65536,131072] [--chunk 2048] [--shapes 7b,8b]
//                   [--parts prefill,decode,shared] [--batches 1,16,64] [--answers 64]
//                   [--dtype bf16] [--memory-gb 100] [--repeats 5] [--markdown FILE]
//
// Only useful work is counted: 4 d operations for each (query, head, visible position); of a decode
// step, each key and value that an answer sees, also where answers see the same ones.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/state_rounding.h"
#include "tests/gpu/device/bench_support.h"

namespace longleaf::kernels {
namespace {

using Clock = std::chrono::steady_clock;

double Since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// The attention of a model: heads, and how many layers it has.
struct Model {
  const char* name;
  int64_t query_heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t layers;
};
constexpr Model kModels[] = {
    {"7b", 32, 32, 128, 32}, {"8b", 32, 8, 128, 32}, {"tiny", 4, 2, 64, 2}};

Rotary RotaryOf(const StateShape& shape) {
  Rotary rotary;
  for (int64_t k = 0; k < shape.head_dim / 2; ++k) {
    rotary.inverse_frequencies.push_back(
        std::pow(5e5, -2.0 * static_cast<double>(k) / static_cast<double>(shape.head_dim)));
  }
  return rotary;
}

int64_t QkvCols(const StateShape& shape) {
  return (shape.query_heads + 2 * shape.kv_heads) * shape.head_dim;
}

double PairsOf(const AttentionPolicy& policy, int64_t first, int64_t rows) {
  double pairs = 0;
  for (int64_t i = first + 1; i <= first + rows; ++i) {
    pairs += static_cast<double>(policy.CoresVisible(i) + i - policy.FirstRaw(i));
  }
  return pairs;
}

// Bytes of a layer's keys and values that the next token sees.
double BytesSeen(const StateShape& shape, int64_t tokens) {
  const int64_t rows = shape.policy.CoresVisible(tokens) * shape.core_heads() +
                       (tokens - shape.policy.FirstRaw(tokens)) * shape.kv_heads;
  return 2.0 * static_cast<double>(rows * shape.row_bytes());
}

// States on a backend, fed with the same random rows again and again. `attend` says what happens
// in a layer after the rows are there.
class Feeder {
 public:
  Feeder(Backend& backend, const StateShape& shape, int64_t most_rows)
      : backend_(backend),
        shape_(shape),
        rotary_(RotaryOf(shape)),
        qkv_(RandomBuffer(backend, most_rows, QkvCols(shape), 7)),
        out_(Take(backend.Allocate(most_rows, shape.query_heads * shape.head_dim))) {}

  Tensor out() const { return out_->tensor(); }

  // One step of `rows` rows for each of `states`; seconds of the attention, waited for before and
  // after, when `timed`.
  double Step(const std::vector<State*>& states, int64_t rows, bool attend, bool timed) {
    std::vector<BatchItem> batch;
    for (State* const state : states) batch.push_back({state, rows, rows, nullptr});
    const int64_t all = rows * static_cast<int64_t>(states.size());
    double seconds = 0;
    Check(backend_.BeginStep(batch));
    for (int64_t layer = 0; layer < shape_.layers; ++layer) {
      Check(backend_.RotaryAppendPool(layer, batch, rotary_, qkv_->tensor().Rows(all)));
      if (!attend) continue;
      if (timed) WaitFor(backend_, qkv_->tensor());
      const Clock::time_point begin = Clock::now();
      Check(
          backend_.Attention(layer, batch, Rows::kAll, qkv_->tensor().Rows(all), out().Rows(all)));
      if (timed) WaitFor(backend_, out());
      seconds += Since(begin);
    }
    backend_.CommitStep(batch);
    return seconds;
  }

  std::unique_ptr<State> Document(int64_t tokens, int64_t chunk) {
    std::unique_ptr<State> state = Take(backend_.NewState(shape_));
    while (state->tokens() < tokens) {
      Step({state.get()}, std::min(chunk, tokens - state->tokens()), false, false);
    }
    WaitFor(backend_, qkv_->tensor());
    return state;
  }

 private:
  Backend& backend_;
  const StateShape shape_;
  const Rotary rotary_;
  const std::unique_ptr<Buffer> qkv_;  // [most_rows, (H + 2 Hkv) d]
  const std::unique_ptr<Buffer> out_;  // [most_rows, H d]
};

class Bench {
 public:
  Bench(const Flags& flags)
      : flags_(flags),
        memory_(flags.Number("memory-gb") << 30),
        dtype_(Take(ParseStateType(flags.Text("dtype")))),
        backend_(MakeBackend(flags.Text("device"), memory_, flags.Text("hopper") == "on")) {}

  void Run() {
    for (const Model& model : kModels) {
      if (flags_.Has("shapes", model.name)) Validate(model);
    }
    if (flags_.Has("parts", "prefill")) Prefill();
    if (flags_.Has("parts", "decode")) Decode();
    if (flags_.Has("parts", "shared")) Shared();
  }

 private:
  StateShape ShapeOf(const Model& model, const AttentionPolicy& policy, int64_t layers) const {
    return {layers, model.query_heads, model.kv_heads, model.head_dim, policy, dtype_};
  }
  static std::vector<AttentionPolicy> PoliciesOf(const Model& model) {
    std::vector<AttentionPolicy> policies = {AttentionPolicy::Full(),
                                             AttentionPolicy::Cca(16, 1024, CoreHeads::kQuery)};
    if (model.kv_heads != model.query_heads) {
      policies.push_back(AttentionPolicy::Cca(16, 1024, CoreHeads::kKeyValue));
    }
    return policies;
  }

  // Two chunks and a token against the reference.
  void Validate(const Model& model) {
    for (const AttentionPolicy& policy : PoliciesOf(model)) {
      const StateShape shape = ShapeOf(model, policy, 1);
      std::unique_ptr<Backend> reference = Take(CreateReferenceBackend(int64_t{1} << 30));
      std::vector<float> rows[2];
      int64_t which = 0;
      for (Backend* const backend : {backend_.get(), reference.get()}) {
        Feeder feeder(*backend, shape, 1100);
        std::unique_ptr<State> state = Take(backend->NewState(shape));
        for (const int64_t count : {1100, 93, 1}) feeder.Step({state.get()}, count, true, false);
        rows[which].resize(static_cast<size_t>(feeder.out().cols));
        Check(backend->ToHost(feeder.out().Rows(1), rows[which++].data()));
      }
      double largest = 0, gap = 0;
      for (size_t i = 0; i < rows[0].size(); ++i) {
        largest = std::max(largest, std::abs(double{rows[1][i]}));
        const double difference = std::abs(double{rows[0][i]} - rows[1][i]);
        gap = difference <= gap ? gap : difference;  // NaN shows
      }
      std::printf("%s %s: error %.1e of the largest\n", model.name, policy.ToString().c_str(),
                  gap / largest);
      if (!(gap <= 2e-2 * largest)) Fail("WRONG: the result differs from the reference");
    }
  }

  void Prefill() {
    Report report(
        absl::StrCat("Prefill attention, one layer, ", flags_.Text("dtype"), " states, chunks of ",
                     flags_.Text("chunk"), ", Hopper's kernel ", flags_.Text("hopper")),
        {"model", "tokens", "attention", "ms", "TFLOP/s", "last chunk TFLOP/s"});
    const int64_t chunk = flags_.Number("chunk");
    for (const Model& model : kModels) {
      if (!flags_.Has("shapes", model.name)) continue;
      for (const AttentionPolicy& policy : PoliciesOf(model)) {
        const StateShape shape = ShapeOf(model, policy, 1);
        Feeder feeder(*backend_, shape, chunk);
        for (const int64_t length : flags_.Numbers("lengths")) {
          std::unique_ptr<State> state = Take(backend_->NewState(shape));
          feeder.Step({Take(backend_->NewState(shape)).get()}, std::min(chunk, length), true, true);
          double seconds = 0, last = 0;
          while (state->tokens() < length) {
            last =
                feeder.Step({state.get()}, std::min(chunk, length - state->tokens()), true, true);
            seconds += last;
          }
          const double pair = 4.0 * static_cast<double>(shape.query_heads * shape.head_dim);
          const int64_t rest = length - (length - 1) / chunk * chunk;
          report.Add({model.name, absl::StrCat(length), policy.ToString(), Fixed(seconds * 1e3, 2),
                      Fixed(pair * PairsOf(policy, 0, length) / seconds / 1e12, 1),
                      Fixed(pair * PairsOf(policy, length - rest, rest) / last / 1e12, 1)});
        }
      }
    }
    report.Finish(flags_.Text("markdown"));
  }

  // Seconds of a step in which each of `states` adds one token to every layer.
  double StepSeconds(Feeder& feeder, const std::vector<State*>& states) {
    const auto repeats = static_cast<int>(flags_.Number("repeats"));
    return SecondsOf(*backend_, feeder.out(), repeats, 8,
                     [&] { feeder.Step(states, 1, true, false); });
  }

  void Decode() {
    Report report(absl::StrCat("Decode attention, each answer on a document of its own, ",
                               flags_.Text("dtype"), " states"),
                  {"model", "tokens", "attention", "answers", "layers", "ms a layer", "GB/s"});
    const int64_t chunk = flags_.Number("chunk");
    for (const Model& model : kModels) {
      if (!flags_.Has("shapes", model.name)) continue;
      for (const AttentionPolicy& policy : PoliciesOf(model)) {
        for (const int64_t length : flags_.Numbers("lengths")) {
          for (const int64_t answers : flags_.Numbers("batches")) {
            // As many layers as there is room for: the caches must not hold them.
            const double layer =
                BytesSeen(ShapeOf(model, policy, 1), length) * static_cast<double>(answers) * 1.1;
            const int64_t layers = std::min<int64_t>(
                model.layers, static_cast<int64_t>(static_cast<double>(memory_) / layer));
            if (layers < 1) continue;
            const StateShape shape = ShapeOf(model, policy, layers);
            Feeder feeder(*backend_, shape, std::max(chunk, answers));
            std::vector<std::unique_ptr<State>> documents;
            std::vector<State*> states;
            for (int64_t i = 0; i < answers; ++i) {
              documents.push_back(feeder.Document(length, chunk));
              states.push_back(documents.back().get());
            }
            AddDecode(report, model, shape, length, answers, StepSeconds(feeder, states));
          }
        }
      }
    }
    report.Finish(flags_.Text("markdown"));
  }

  void Shared() {
    const int64_t answers = flags_.Number("answers");
    Report report(absl::StrCat("Decode attention, all answers on one document, ",
                               flags_.Text("dtype"), " states"),
                  {"model", "tokens", "attention", "answers", "layers", "ms a layer",
                   "GB/s if each read its own"});
    const int64_t chunk = flags_.Number("chunk");
    for (const Model& model : kModels) {
      if (!flags_.Has("shapes", model.name)) continue;
      for (const AttentionPolicy& policy : PoliciesOf(model)) {
        const int64_t length = flags_.Numbers("lengths").back();
        const StateShape shape = ShapeOf(model, policy, std::min<int64_t>(4, model.layers));
        Feeder feeder(*backend_, shape, std::max(chunk, 24 * answers));
        const std::unique_ptr<State> document = feeder.Document(length, chunk);
        std::vector<std::unique_ptr<State>> branches;
        std::vector<State*> states;
        for (int64_t i = 0; i < answers; ++i) {
          branches.push_back(Take(backend_->Branch(*document)));
          states.push_back(branches.back().get());
        }
        feeder.Step(states, 24, true, false);  // their questions
        AddDecode(report, model, shape, length, answers, StepSeconds(feeder, states));
      }
    }
    report.Finish(flags_.Text("markdown"));
  }

  static void AddDecode(Report& report, const Model& model, const StateShape& shape, int64_t length,
                        int64_t answers, double seconds) {
    const double layer = seconds / static_cast<double>(shape.layers);
    const double bytes = BytesSeen(shape, length) * static_cast<double>(answers);
    report.Add({model.name, absl::StrCat(length), shape.policy.ToString(), absl::StrCat(answers),
                absl::StrCat(shape.layers), Fixed(layer * 1e3, 4), Fixed(bytes / layer / 1e9, 1)});
  }

  const Flags& flags_;
  const int64_t memory_;
  const DType dtype_;
  const std::unique_ptr<Backend> backend_;
};

}  // namespace
}  // namespace longleaf::kernels

int main(int argc, char** argv) {
  longleaf::kernels::Flags flags({{"device", "auto"},
                                  {"hopper", "off"},
                                  {"lengths", "32768,65536,131072"},
                                  {"chunk", "2048"},
                                  {"shapes", "7b,8b"},
                                  {"parts", "prefill,decode,shared"},
                                  {"batches", "1,16,64"},
                                  {"answers", "64"},
                                  {"dtype", "bf16"},
                                  {"memory-gb", "100"},
                                  {"repeats", "5"},
                                  {"markdown", ""}});
  flags.Parse(argc, argv);
  longleaf::kernels::Bench(flags).Run();
  return 0;
}
