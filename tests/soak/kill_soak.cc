// longleafd under random clients, killed at random moments, over and over: what was acknowledged is
// there, answers stay the same, and in the end the store has no damage.
//
// kill_soak [--kills N] [--clients N] [--slots N] [--seed N] [--dir DIR] [--max-uptime-ms N]

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <thread>

#include "tests/soak/clients.h"
#include "tests/soak/flags.h"
#include "tests/soak/long_life.h"

namespace longleaf::soak {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kLargest = 34'000;  // bytes of the largest texts: the model takes 38,000
const char kBin[] = LONGLEAF_BINARY_DIR "/bin/";

// Rounds differ in what is scarce.
service::Options OptionsOfRound(const std::string& store, int64_t round) {
  service::Options options = SoakOptions(store);
  if (round % 4 == 1 || round % 4 == 3) {
    options.state_memory_bytes = int64_t{48} << 20;
  }
  if (round % 4 == 2 || round % 4 == 3) {
    options.disk_cap_bytes = int64_t{24} << 20;
  }
  return options;
}

class KillSoak {
 public:
  KillSoak(const std::string& directory, uint64_t seed, int64_t max_uptime_ms)
      : store_(directory + "/store"),
        log_(directory + "/longleafd.log"),
        max_uptime_ms_(max_uptime_ms),
        random_(seed),
        library_(seed, /*texts=*/48, kLargest, &tally_),
        server_(std::string(kBin) + "longleafd", log_),
        life_(store_, &tally_) {}

  // `slots`: documents of each client, at most.
  bool Run(int64_t kills, int64_t clients, int64_t slots, uint64_t seed) {
    // Kills between two verifications of everything.
    const int64_t round = std::clamp<int64_t>(kills / 4, 1, 50);
    {
      Clients working(clients, slots, seed, &link_, &library_, &tally_);
      for (int64_t kill = 0; kill < kills; ++kill) {
        Live(kill / round);
        if ((kill + 1) % round == 0) {
          EndRound(working, kill / round);
        }
      }
      Last(working, kills / round);
    }
    Report(kills);
    return tally_.findings() == 0;
  }

 private:
  // One life of the server, from its start to its violent end.
  void Live(int64_t round) {
    // Now and then it dies before it is ready, in the middle of its recovery.
    for (int64_t early = 0; random_.OneIn(4) && early < 3; ++early) {
      server_.Launch(OptionsOfRound(store_, round));
      const std::string state = server_.WaitReady(random_.Below(150));
      if (state == "not yet") {
        Killed("kills during recovery");
      } else if (state.empty()) {
        Killed("kills");
      } else {
        tally_.Finding("server ended by itself", state);
      }
    }
    if (!Start(round)) {
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(random_.Below(max_uptime_ms_)));
    CountTokens();
    link_.Down();
    Killed("kills");
  }

  void Killed(const char* what) {
    const std::string wrong = server_.Kill();
    tally_.Count(what);
    if (!wrong.empty()) {
      tally_.Finding("server ended by itself", wrong);
    }
  }

  bool Start(int64_t round) {
    const Clock::time_point begun = Clock::now();
    const std::string wrong = server_.Start(OptionsOfRound(store_, round));
    if (!wrong.empty()) {
      tally_.Finding("no start", wrong);
      return false;
    }
    longest_start_ =
        std::max(longest_start_, std::chrono::duration<double>(Clock::now() - begun).count());
    link_.Up(server_.address());
    return true;
  }

  void Terminate() {
    CountTokens();
    link_.Down();
    const std::string wrong = server_.Stop();
    if (!wrong.empty()) {
      tally_.Finding("no clean end", wrong);
    }
  }

  void CountTokens() {
    const auto metrics = Scrape(server_.metrics_address());
    for (const auto& [name, value] : metrics) {
      if (name.rfind("longleaf_state_bytes", 0) == 0 || name == "longleaf_store_text_bytes") {
        auto& most = most_[name];
        most = std::max(most, static_cast<int64_t>(value));
      }
      if (name == "longleaf_document_tokens_total" || name == "longleaf_reused_tokens_total" ||
          name.rfind("longleaf_reread_tokens_total", 0) == 0 ||
          name.rfind("longleaf_state_rejected_total", 0) == 0 ||
          name.rfind("longleaf_state_evictions_total", 0) == 0) {
        tally_.Count("metric " + name, static_cast<int64_t>(value));
      }
    }
  }

  void EndRound(Clients& working, int64_t round) {
    if (!Start(round)) {
      return;
    }
    working.Do(Order::kVerifyAll);
    if (round % 2 == 1) {
      working.Do(Order::kDeleteAll);
      life_.SampleEmpty(server_, Seconds(), /*patience=*/120);
    }
    working.Do(Order::kWork);
    Terminate();
    std::printf(
        "%6.0f s  %6lld kills  %8lld operations  %6lld documents acknowledged  %lld findings\n",
        Seconds(), static_cast<long long>(tally_.Of("kills")),
        static_cast<long long>(tally_.Of("operations")),
        static_cast<long long>(tally_.Of("documents acknowledged")),
        static_cast<long long>(tally_.findings()));
    std::fflush(stdout);
  }

  // Everything verified, then everything deleted but what a last round of work leaves; a clean end;
  // and every byte of the store looked at.
  void Last(Clients& working, int64_t round) {
    if (!Start(round)) {
      return;
    }
    working.Do(Order::kVerifyAll);
    Terminate();
    VerifyStore();
    if (!Start(round)) {
      return;
    }
    working.Do(Order::kVerifyAll);
    working.Do(Order::kDeleteAll);
    life_.SampleEmpty(server_, Seconds(), /*patience=*/120);
    working.Stop();
    Terminate();
    VerifyStore();
  }

  void VerifyStore() {
    const std::string command = std::string(kBin) + "longleaf-eval verify-store --store " + store_ +
                                " >> " + log_ + " 2>&1";
    const int status = std::system(command.c_str());
    tally_.Count("stores verified offline");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      tally_.Finding("damage in the store", "see " + log_);
    }
  }

  double Seconds() const { return std::chrono::duration<double>(Clock::now() - begun_).count(); }

  void Report(int64_t kills) {
    Allowance allowance;  // every sample is of a fresh process: only the store can grow
    allowance.rss_percent = 50;
    allowance.descriptors = 64;
    allowance.threads = 16;
    allowance.files = 40;  // every restart flushes: a few files a family until they are merged
    allowance.file_bytes = int64_t{32} << 20;
    life_.Judge(allowance);
    library_.JudgeTruth();
    std::printf("\n");
    tally_.Print();
    for (const auto& [name, value] : most_) {
      std::printf("  most %-40s %12lld\n", name.c_str(), static_cast<long long>(value));
    }
    std::printf(
        "kill_soak: %lld kills (%lld during recovery), %lld operations, "
        "%lld documents acknowledged, longest start %.2f s, %.0f s, %lld findings\n",
        static_cast<long long>(tally_.Of("kills") + tally_.Of("kills during recovery")),
        static_cast<long long>(tally_.Of("kills during recovery")),
        static_cast<long long>(tally_.Of("operations")),
        static_cast<long long>(tally_.Of("documents acknowledged")), longest_start_, Seconds(),
        static_cast<long long>(tally_.findings()));
    if (tally_.Of("kills") < kills) {
      tally_.Finding("too few kills", std::to_string(tally_.Of("kills")));
    }
  }

  const std::string store_;
  const std::string log_;
  const int64_t max_uptime_ms_;
  const Clock::time_point begun_ = Clock::now();
  Random random_;
  Tally tally_;
  Link link_;
  Library library_;
  ServerProcess server_;
  LongLife life_;
  double longest_start_ = 0;
  std::map<std::string, int64_t> most_;  // of gauges, ever seen
};

}  // namespace
}  // namespace longleaf::soak

int main(int argc, char** argv) {
  namespace soak = longleaf::soak;
  soak::Flags flags(argc, argv);
  const int64_t kills = flags.Number("--kills", 8);
  const int64_t clients = flags.Number("--clients", 4);
  const int64_t slots = flags.Number("--slots", 8);
  const auto seed = static_cast<uint64_t>(flags.Number("--seed", 1));
  const int64_t max_uptime_ms = flags.Number("--max-uptime-ms", 2000);
  std::string directory = flags.Text("--dir", "");
  if (!flags.Check()) {
    return 2;
  }
  const bool own = directory.empty();
  if (own) {
    directory = (std::filesystem::temp_directory_path() / "longleaf-kill-XXXXXX").string();
    if (mkdtemp(directory.data()) == nullptr) {
      return 2;
    }
  }
  std::filesystem::create_directories(directory);
  const bool good = soak::KillSoak(directory, seed, max_uptime_ms).Run(kills, clients, slots, seed);
  if (good && own) {
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  } else {
    std::printf("kept: %s\n", directory.c_str());
  }
  return good ? 0 : 1;
}
