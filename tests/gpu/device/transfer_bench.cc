// How fast states come from a device and go back to it, in canonical bytes, by several threads at
// once, as the server's disk threads do it: LLaMA-2-7B's multi-head states under CCA. What came
// back must be what went.
//
//   transfer_bench [--device auto] [--tokens 131072] [--layers 32] [--heads 32] [--dtype bf16]
//                  [--threads 1,2,4] [--repeats 3] [--memory-gb 16] [--markdown FILE]
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/state_rounding.h"
#include "tests/gpu/device/bench_support.h"

namespace longleaf::kernels {
namespace {

constexpr int64_t kHeadDim = 128;
constexpr int64_t kChunk = 2048;

// A part of a layer, and where its bytes lie.
struct Piece {
  int64_t layer = 0;
  StatePart part = StatePart::kCore;
  int64_t first = 0;
  int64_t count = 0;
  int64_t offset = 0;
  int64_t bytes = 0;
};

std::vector<Piece> PiecesOf(const State& state) {
  const StateShape& shape = state.shape();
  std::vector<Piece> pieces;
  int64_t offset = 0;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (const StatePart part : {StatePart::kCore, StatePart::kRaw}) {
      const bool core = part == StatePart::kCore;
      const int64_t first = core ? 0 : state.first_raw();
      const int64_t count = core ? state.cores() : state.tokens() - first;
      const int64_t heads = core ? shape.core_heads() : shape.kv_heads;
      const int64_t bytes = 2 * count * heads * shape.row_bytes();
      if (count > 0) pieces.push_back({layer, part, first, count, offset, bytes});
      offset += bytes;
    }
  }
  return pieces;
}

// Calls `move` for every piece, on `threads` threads; seconds.
template <typename Move>
double Each(const std::vector<Piece>& pieces, int64_t threads, const Move& move) {
  const auto begin = std::chrono::steady_clock::now();
  std::atomic<size_t> next{0};
  std::vector<std::thread> workers;
  for (int64_t i = 0; i < threads; ++i) {
    workers.emplace_back([&] {
      for (size_t at = next++; at < pieces.size(); at = next++) Check(move(pieces[at]));
    });
  }
  for (std::thread& worker : workers) worker.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void Run(const Flags& flags) {
  const std::unique_ptr<Backend> backend =
      MakeBackend(flags.Text("device"), flags.Number("memory-gb") << 30);
  const int64_t heads = flags.Number("heads");
  const StateShape shape{flags.Number("layers"),
                         heads,
                         heads,
                         kHeadDim,
                         AttentionPolicy::Cca(16, 1024, CoreHeads::kQuery),
                         Take(ParseStateType(flags.Text("dtype")))};
  Rotary rotary;
  rotary.inverse_frequencies.assign(kHeadDim / 2, 0.001);

  const std::unique_ptr<Buffer> qkv = RandomBuffer(*backend, kChunk, 3 * heads * kHeadDim, 9);
  std::unique_ptr<State> state = Take(backend->NewState(shape));
  while (state->tokens() < flags.Number("tokens")) {
    const int64_t rows = std::min(kChunk, flags.Number("tokens") - state->tokens());
    const BatchItem item{state.get(), rows, 0, nullptr};
    Check(backend->BeginStep({&item, 1}));
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      Check(backend->RotaryAppendPool(layer, {&item, 1}, rotary, qkv->tensor().Rows(rows)));
    }
    backend->CommitStep({&item, 1});
  }
  WaitFor(*backend, qkv->tensor());

  const std::vector<Piece> pieces = PiecesOf(*state);
  const int64_t bytes = pieces.back().offset + pieces.back().bytes;
  std::vector<std::byte> stored(static_cast<size_t>(bytes));
  std::vector<std::byte> again(stored.size());
  const auto span = [](std::vector<std::byte>& all, const Piece& piece) {
    return absl::MakeSpan(all).subspan(static_cast<size_t>(piece.offset),
                                       static_cast<size_t>(piece.bytes));
  };
  const auto get = [&](const State& from, std::vector<std::byte>& to, const Piece& p) {
    return backend->Export(from, p.layer, p.part, p.first, p.count, span(to, p));
  };
  Report report(absl::StrCat("Saving and restoring ", flags.Text("tokens"), " tokens, ",
                             Fixed(static_cast<double>(bytes) / 1e9, 2), " GB"),
                {"threads", "save GB/s", "restore GB/s"});
  for (const int64_t threads : flags.Numbers("threads")) {
    double save = 1e30, restore = 1e30;
    for (int64_t repeat = 0; repeat < flags.Number("repeats"); ++repeat) {
      save = std::min(
          save, Each(pieces, threads, [&](const Piece& p) { return get(*state, stored, p); }));
      std::unique_ptr<State> copy = Take(backend->NewState(shape));
      Check(backend->PrepareImport(*copy, state->tokens(), state->first_raw()));
      restore = std::min(restore, Each(pieces, threads, [&](const Piece& p) {
                           return backend->Import(*copy, p.layer, p.part, p.first, p.count,
                                                  span(stored, p));
                         }));
      Each(pieces, threads, [&](const Piece& p) { return get(*copy, again, p); });
      if (again != stored) Fail("WRONG: what was restored is not what was saved");
    }
    const auto rate = [bytes](double seconds) {
      return Fixed(static_cast<double>(bytes) / seconds / 1e9, 2);
    };
    report.Add({absl::StrCat(threads), rate(save), rate(restore)});
  }
  report.Finish(flags.Text("markdown"));
}

}  // namespace
}  // namespace longleaf::kernels

int main(int argc, char** argv) {
  longleaf::kernels::Flags flags({{"device", "auto"},
                                  {"tokens", "131072"},
                                  {"layers", "32"},
                                  {"heads", "32"},
                                  {"dtype", "bf16"},
                                  {"threads", "1,2,4"},
                                  {"repeats", "3"},
                                  {"memory-gb", "16"},
                                  {"markdown", ""}});
  flags.Parse(argc, argv);
  longleaf::kernels::Run(flags);
  return 0;
}
