// Restores a stored state of a model's shape by one and by several readers, beside a plain file of
// as many bytes read in the same run; the page cache is emptied of the files before each read. What
// was restored is compared before anything is timed.
//
//   restore_bench DIRECTORY [TOKENS [POLICY [REPEATS [TYPE]]]]
//
// DIRECTORY must not exist. TYPE: f32, bf16, int8. The shape is that of TinyLlama 1.1B. "first
// layer" is when a step could begin.
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/state_rounding.h"
#include "model/state_codec.h"
#include "service/state/state_restore.h"
#include "service/state/stored_state.h"

namespace longleaf::service {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kPieceBytes = size_t{1} << 20;

struct Fatal {
  std::string message;
};
void Check(const absl::Status& status) {
  if (!status.ok()) throw Fatal{status.ToString()};
}
template <typename T>
T Take(absl::StatusOr<T> result) {
  Check(result.status());
  return *std::move(result);
}
double Since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Asks the kernel to forget what it has cached of a folder's files.
void Forget(const std::string& folder) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const int file = open(entry.path().c_str(), O_RDONLY);
    if (file < 0) continue;
    fdatasync(file);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    close(file);
  }
}

// Bytes of a state that nothing can guess: numbers around zero.
class Numbers {
 public:
  explicit Numbers(kernels::DType type) : type_(type) {}
  absl::Status Fill(absl::Span<std::byte> out) {
    for (size_t i = 0; i + 4 <= out.size(); i += 4) {
      const auto random = static_cast<uint32_t>(random_());
      const float value = static_cast<float>(static_cast<int32_t>(random)) * 1e-9f;
      // Small bytes are numbers of the narrower types and scales of int8, wherever they come.
      const uint32_t bits =
          type_ == kernels::DType::kF32 ? std::bit_cast<uint32_t>(value) : random & 0x3f3f3f3fu;
      std::memcpy(out.data() + i, &bits, sizeof(bits));
    }
    return absl::OkStatus();
  }

 private:
  const kernels::DType type_;
  std::minstd_rand random_{7};
};

void WriteFile(const std::string& path, int64_t bytes) {
  const int file = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0644);
  if (file < 0) throw Fatal{"cannot create " + path};
  std::vector<std::byte> piece(kPieceBytes);
  Check(Numbers(kernels::DType::kF32).Fill(absl::MakeSpan(piece)));
  for (int64_t left = bytes; left > 0;) {
    const size_t n = std::min(piece.size(), static_cast<size_t>(left));
    if (write(file, piece.data(), n) != static_cast<ssize_t>(n)) throw Fatal{"cannot write"};
    left -= static_cast<int64_t>(n);
  }
  if (fdatasync(file) != 0) throw Fatal{"cannot sync " + path};
  close(file);
}

void ReadFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY);
  if (file < 0) throw Fatal{"cannot open " + path};
  std::vector<std::byte> buffer(kPieceBytes);
  while (read(file, buffer.data(), buffer.size()) > 0) {
  }
  close(file);
}

class Bench {
 public:
  Bench(std::string directory, int64_t tokens, const char* policy, const char* type)
      : directory_(std::move(directory)),
        layout_(Take(model::SnapshotLayout::For(
            {22, 32, 4, 64, Take(kernels::AttentionPolicy::Parse(policy)),
             Take(kernels::ParseStateType(type))},
            tokens))) {
    std::filesystem::create_directories(directory_);
    store::StoreOptions options;
    options.path = directory_ + "/store";
    std::filesystem::create_directories(options.path);
    store_ = Take(store::Store::Open(options));
    kernels::CpuOptions cpu;
    cpu.threads = 1;
    cpu.state_capacity_bytes = int64_t{8} << 30;
    backend_ = Take(kernels::CreateCpuBackend(cpu));
    plain_ = directory_ + "/plain";
  }

  void Store() {
    auto state = Prepared();
    Numbers numbers(layout_.dtype());
    const auto read = [&numbers](absl::Span<std::byte> out) { return numbers.Fill(out); };
    for (int64_t i = 0; i < layout_.segments(); ++i) {
      Check(model::DecodeSegment(*backend_, layout_, i, read, *state));
    }
    Check(model::DecodeTail(*backend_, layout_, read, *state));
    store::CommitSpec commit;
    commit.key.tenant = "bench";
    commit.key.token_count = layout_.tokens();
    commit.meta = layout_.Meta();
    snapshot_ = Take(WriteState(*store_, *backend_, *state, layout_, std::move(commit)));
    auto again = Prepared();
    Check(ReadState(*store_, *backend_, snapshot_, layout_, 2, *again));
    Compare(*state, *again);
    WriteFile(plain_, layout_.TotalBytes());
  }

  struct Seconds {
    double first = 0;  // until the first layer is there
    double all = 0;    // until all are
    double cpu = 0;    // of all threads
  };
  // Into memory that was never used before.
  Seconds Restore(int readers, bool cold) {
    kernels::CpuOptions cpu;
    cpu.threads = 1;
    cpu.state_capacity_bytes = int64_t{8} << 30;
    backend_ = Take(kernels::CreateCpuBackend(cpu));
    if (cold) Forget(directory_);
    const double cpu_begun = CpuSeconds();
    const Clock::time_point begun = Clock::now();
    auto state = Prepared();
    auto restore = Take(StateRestore::Create(*store_, *backend_, snapshot_, layout_, *state));
    std::vector<std::thread> threads;
    for (int i = 0; i < readers; ++i) {
      threads.emplace_back([&restore] { restore->Read(); });
    }
    Check(restore->Wait(0, Clock::time_point::max()));
    const double first = Since(begun);
    Check(restore->Wait(layout_.shape().layers, Clock::time_point::max()));
    const double all = Since(begun);
    for (std::thread& thread : threads) thread.join();
    return {first, all, CpuSeconds() - cpu_begun};
  }
  double Plain(bool cold) {
    if (cold) Forget(directory_);
    const Clock::time_point begun = Clock::now();
    ReadFile(plain_);
    return Since(begun);
  }
  double megabytes() const { return static_cast<double>(layout_.TotalBytes()) / 1e6; }

 private:
  std::unique_ptr<kernels::State> Prepared() {
    auto state = Take(backend_->NewState(layout_.shape()));
    Check(model::PrepareRestore(*backend_, layout_, *state));
    return state;
  }
  void Compare(const kernels::State& a, const kernels::State& b) {
    std::vector<std::byte> x, y;
    for (int64_t layer = 0; layer < layout_.shape().layers; ++layer) {
      for (const auto& [part, first, end, heads] :
           {std::tuple{kernels::StatePart::kCore, int64_t{0}, a.cores(),
                       layout_.shape().core_heads()},
            std::tuple{kernels::StatePart::kRaw, a.first_raw(), a.tokens(),
                       layout_.shape().kv_heads}}) {
        x.resize(static_cast<size_t>(2 * (end - first) * heads * layout_.shape().row_bytes()));
        y.resize(x.size());
        Check(backend_->Export(a, layer, part, first, end - first, absl::MakeSpan(x)));
        Check(backend_->Export(b, layer, part, first, end - first, absl::MakeSpan(y)));
        if (x != y) throw Fatal{"what was restored is not what was stored"};
      }
    }
  }

  const std::string directory_;
  const model::SnapshotLayout layout_;
  std::string plain_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<kernels::Backend> backend_;
  store::SnapshotPtr snapshot_;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Run(int argc, char** argv) {
  Bench bench(argv[1], argc > 2 ? std::atoll(argv[2]) : 16384,
              argc > 3 ? argv[3] : "cca:g=16,w=1024,heads=query", argc > 5 ? argv[5] : "f32");
  const int repeats = argc > 4 ? std::atoi(argv[4]) : 5;
  bench.Store();
  std::printf("%.1f MB\n", bench.megabytes());
  for (const bool cold : {true, false}) {
    std::vector<double> plain;
    std::vector<std::vector<double>> first(3), all(3), cpu(3);
    for (int i = 0; i < repeats; ++i) {
      plain.push_back(bench.Plain(cold));
      for (size_t r = 0; r < 3; ++r) {
        const auto seconds = bench.Restore(1 << r, cold);
        first[r].push_back(seconds.first);
        all[r].push_back(seconds.all);
        cpu[r].push_back(seconds.cpu);
      }
    }
    const double file = Median(plain);
    std::printf("%s page cache: plain file %7.1f ms, %6.0f MB/s\n", cold ? "cold" : "warm",
                file * 1e3, bench.megabytes() / file);
    for (size_t r = 0; r < 3; ++r) {
      const double seconds = Median(all[r]);
      std::printf(
          "  %d readers: first layer %6.1f ms, all %7.1f ms, %6.0f MB/s, %3.0f%% of plain;"
          " cpu %6.1f ms\n",
          1 << r, Median(first[r]) * 1e3, seconds * 1e3, bench.megabytes() / seconds,
          100 * file / seconds, Median(cpu[r]) * 1e3);
    }
  }
}

}  // namespace
}  // namespace longleaf::service

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: restore_bench DIRECTORY [TOKENS [POLICY [REPEATS [TYPE]]]]\n");
    return 2;
  }
  try {
    longleaf::service::Run(argc, argv);
  } catch (const longleaf::service::Fatal& fatal) {
    std::fprintf(stderr, "restore_bench: %s\n", fatal.message.c_str());
    return 1;
  }
  return 0;
}
