// Writes and reads one snapshot through the store's own interface, beside a plain file of the same
// bytes on the same disk, and prints MB/s. What was read is compared before anything is timed.
//
//   store_bench DIRECTORY [MEGABYTES] [REPEATS]
//
// DIRECTORY must not exist; it is left behind with one snapshot in it. Its reads come from the page
// cache. For a cold one, drop the cache (echo 3 > /proc/sys/vm/drop_caches) and run
//
//   store_bench --read DIRECTORY
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cache_store/store.h"

namespace longleaf::store {
namespace {

constexpr int64_t kSegmentBytes = int64_t{32} << 20;
constexpr size_t kPieceBytes = size_t{1} << 20;

// Cheap to make and different everywhere, so that a value in the wrong place is seen.
void Fill(std::vector<std::byte>& piece, uint64_t seed) {
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (size_t i = 0; i + 8 <= piece.size(); i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::copy_n(reinterpret_cast<const std::byte*>(&state), 8, piece.data() + i);
  }
}

double Seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

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

SnapshotKey KeyOf(int64_t token_count) {
  SnapshotKey key;
  key.tenant = "bench";
  key.token_count = token_count;
  return key;
}

SnapshotPtr Write(Store& store, const std::vector<std::vector<std::byte>>& data, int64_t number) {
  CommitSpec spec;
  const int64_t pieces = static_cast<int64_t>(data.size());
  const int64_t per_segment = kSegmentBytes / static_cast<int64_t>(kPieceBytes);
  spec.key = KeyOf(pieces + number * (pieces + 1));
  for (int64_t first = 0; first < pieces; first += per_segment) {
    const int64_t last = std::min(first + per_segment, pieces);
    auto writer = Take(store.NewSegment({"bench", SegmentKind::kCore, first, last,
                                         (last - first) * static_cast<int64_t>(kPieceBytes)}));
    for (int64_t i = first; i < last; ++i) Check(writer->Append(data[static_cast<size_t>(i)]));
    spec.segments.push_back(Take(writer->Finish()));
  }
  auto tail = Take(store.NewSegment(
      {"bench", SegmentKind::kTail, pieces, spec.key.token_count, int64_t{1} << 20}));
  Check(tail->Append(data.front()));
  spec.segments.push_back(Take(tail->Finish()));
  return Take(store.CommitSnapshot(spec));
}

// Reads every core value once; `threads` share the segments.
void Read(Store& store, const Snapshot& snapshot, int threads,
          const std::vector<std::vector<std::byte>>* expected) {
  std::vector<std::thread> readers;
  std::vector<std::string> errors(static_cast<size_t>(threads));
  const int64_t cores = static_cast<int64_t>(snapshot.cores().size());
  for (int t = 0; t < threads; ++t) {
    readers.emplace_back([&, t] {
      ValueBuffer buffer;
      for (int64_t s = t; s < cores; s += threads) {
        const SegmentInfo& info = snapshot.cores()[static_cast<size_t>(s)]->info();
        for (int64_t v = 0; v < info.value_count(); ++v) {
          const auto value = store.ReadValue(snapshot, s, v, buffer);
          if (!value.ok()) {
            errors[static_cast<size_t>(t)] = value.status().ToString();
            return;
          }
          if (expected != nullptr) {
            const auto& piece = (*expected)[static_cast<size_t>(info.first_token + v)];
            if (!std::equal(value->begin(), value->end(), piece.begin(), piece.end())) {
              errors[static_cast<size_t>(t)] = "a value is not what was written";
              return;
            }
          }
        }
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  for (const std::string& error : errors) {
    if (!error.empty()) throw Fatal{error};
  }
}

void WriteFile(const std::string& path, const std::vector<std::vector<std::byte>>& data) {
  const int file = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0644);
  if (file < 0) throw Fatal{"cannot create " + path};
  for (const auto& piece : data) {
    if (write(file, piece.data(), piece.size()) != static_cast<ssize_t>(piece.size())) {
      throw Fatal{"cannot write " + path};
    }
  }
  if (fdatasync(file) != 0) throw Fatal{"cannot sync " + path};
  close(file);
}

void ReadFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY);
  if (file < 0) throw Fatal{"cannot open " + path};
  std::vector<std::byte> buffer(kPieceBytes);
  ssize_t got = 0;
  while ((got = read(file, buffer.data(), buffer.size())) > 0) {
  }
  close(file);
  if (got < 0) throw Fatal{"cannot read " + path};
}

void Row(const char* what, double megabytes, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  std::printf("%-28s %7.0f MB/s median, %7.0f best\n", what,
              megabytes / seconds[seconds.size() / 2], megabytes / seconds.front());
}

void Run(const std::string& directory, int64_t megabytes, int repeats) {
  StoreOptions options;
  options.path = directory;
  std::filesystem::create_directories(directory);
  std::vector<std::vector<std::byte>> data(static_cast<size_t>(megabytes));
  for (size_t i = 0; i < data.size(); ++i) {
    data[i].resize(kPieceBytes);
    Fill(data[i], i + 1);
  }
  auto store = Take(Store::Open(options));
  const double size = static_cast<double>(megabytes) * 1.048576;
  const SnapshotPtr first = Write(*store, data, 0);
  Read(*store, *first, 1, &data);
  std::vector<double> write, read1, read4, file_write, file_read;
  const std::string file = directory + "/plain";
  for (int i = 0; i < repeats; ++i) {
    SnapshotPtr snapshot;
    write.push_back(Seconds([&] { snapshot = Write(*store, data, i + 1); }));
    read1.push_back(Seconds([&] { Read(*store, *snapshot, 1, nullptr); }));
    read4.push_back(Seconds([&] { Read(*store, *snapshot, 4, nullptr); }));
    Check(store->DropSnapshot(snapshot->key(), DropReason::kDeleted));
    snapshot.reset();
    store->WaitForReclaim();
    file_write.push_back(Seconds([&] { WriteFile(file, data); }));
    file_read.push_back(Seconds([&] { ReadFile(file); }));
    std::filesystem::remove(file);
  }
  Row("store, write", size, write);
  Row("store, read, 1 thread", size, read1);
  Row("store, read, 4 threads", size, read4);
  Row("plain file, write+fdatasync", size, file_write);
  Row("plain file, read, 1 thread", size, file_read);
}

void ReadOnly(const std::string& directory) {
  StoreOptions options;
  options.path = directory;
  std::unique_ptr<Store> store;
  const double open_seconds = Seconds([&] { store = Take(Store::Open(options)); });
  // What Run leaves is its first snapshot: as many tokens as it has core megabytes, and a tail of
  // one.
  const SnapshotPtr snapshot = Take(store->FindSnapshot(
      KeyOf(static_cast<int64_t>(store->Stats().snapshot_bytes) / (1 << 20) - 1)));
  std::vector<double> seconds = {Seconds([&] { Read(*store, *snapshot, 4, nullptr); })};
  std::printf("open %.3f s\n", open_seconds);
  Row("store, first read, 4 threads", static_cast<double>(snapshot->bytes()) / 1e6, seconds);
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: store_bench [--read] DIRECTORY [MEGABYTES [REPEATS]]\n");
    return 2;
  }
  try {
    if (std::string(argv[1]) == "--read" && argc == 3) {
      ReadOnly(argv[2]);
    } else {
      Run(argv[1], argc > 2 ? std::atoll(argv[2]) : 384, argc > 3 ? std::atoi(argv[3]) : 5);
    }
  } catch (const Fatal& fatal) {
    std::fprintf(stderr, "store_bench: %s\n", fatal.message.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace longleaf::store

int main(int argc, char** argv) { return longleaf::store::Main(argc, argv); }
