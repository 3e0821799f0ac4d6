// A server under random clients for a given time; every so often all is deleted, and the server
// must hold nothing then and not have grown.
//
// client_soak [--seconds N] [--clients N] [--seed N] [--daemon] [--restarts] [--quiesce SECONDS]
//   --daemon    longleafd as a child, so that what is measured is the server alone
//   --restarts  the server is drained and started again now and then, in the middle of the work

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "service/log.h"
#include "tests/soak/clients.h"
#include "tests/soak/flags.h"
#include "tests/soak/long_life.h"

namespace longleaf::soak {
namespace {

using Clock = std::chrono::steady_clock;

struct Plan {
  int64_t seconds = 5;
  int64_t clients = 4;
  uint64_t seed = 1;
  double quiesce = 0;  // seconds between two samples
  bool daemon = false;
  bool restarts = false;
  int64_t largest = 0;  // bytes of the largest texts: the model takes 38,000
};

class ClientSoak {
 public:
  ClientSoak(const std::string& directory, const Plan& plan)
      : plan_(plan),
        store_(directory + "/store"),
        library_(plan.seed, /*texts=*/32, plan.largest, &tally_),
        life_(store_, &tally_) {
    if (plan.daemon) {
      server_ = std::make_unique<ServerProcess>(LONGLEAF_BINARY_DIR "/bin/longleafd",
                                                directory + "/longleafd.log");
    } else {
      server_ = ServerInProcess();
    }
  }

  bool Run() {
    if (!Start()) {
      return false;
    }
    {
      Clients working(plan_.clients, /*slots=*/6, plan_.seed, &link_, &library_, &tally_);
      double next = plan_.quiesce;
      while (Seconds() < static_cast<double>(plan_.seconds)) {
        const double until = std::min(next, static_cast<double>(plan_.seconds));
        if (!Work(until)) {
          break;
        }
        if (Seconds() >= next) {
          Quiesce(working);
          next = Seconds() + plan_.quiesce;
        }
      }
      if (up_) {
        working.Do(Order::kVerifyAll);
        Quiesce(working);
      }
    }
    if (up_) {
      Stop();
    }
    Report();
    return tally_.findings() == 0;
  }

 private:
  bool Start() {
    service::Options options = SoakOptions(store_);
    options.threads = 1;
    options.disk_cap_bytes = int64_t{64} << 20;
    options.state_memory_bytes = int64_t{96} << 20;
    const std::string wrong = server_->Start(options);
    if (!wrong.empty()) {
      tally_.Finding("no start", wrong);
      return false;
    }
    up_ = true;
    link_.Up(server_->address());
    return true;
  }

  void Stop() {
    link_.Down();
    up_ = false;
    const std::string wrong = server_->Stop();
    if (!wrong.empty()) {
      tally_.Finding("no clean end", wrong);
    }
  }

  // False when there is no server any more.
  bool Work(double until) {
    while (Seconds() < until) {
      const double rest = until - Seconds();
      if (!plan_.restarts) {
        std::this_thread::sleep_for(std::chrono::duration<double>(rest));
        return true;
      }
      std::this_thread::sleep_for(std::chrono::duration<double>(
          std::min(rest, 0.5 + 0.1 * static_cast<double>(random_.Below(60)))));
      Stop();
      tally_.Count("restarts");
      if (!Start()) {
        return false;
      }
    }
    return true;
  }

  void Quiesce(Clients& working) {
    working.Do(Order::kDeleteAll);
    life_.SampleEmpty(*server_, Seconds(), /*patience=*/120);
    working.Do(Order::kWork);
  }

  double Seconds() const { return std::chrono::duration<double>(Clock::now() - begun_).count(); }

  void Report() {
    // RocksDB's memtables may fill up to 64 MiB, and its write-ahead log with them, before they go
    // to disk. In one process the clients' own channels and answers are in it, too, and a
    // sanitizer's bookkeeping.
    Allowance allowance;
    allowance.rss_bytes = int64_t{72} << 20;
    allowance.rss_percent = plan_.daemon ? 10 : 40;
    allowance.descriptors = 40;
    allowance.threads = 6;
    allowance.files = 40;  // every restart flushes: a few files a family until they are merged
    allowance.file_bytes = int64_t{144} << 20;
    life_.Judge(allowance);
    library_.JudgeTruth();
    std::printf("\n");
    tally_.Print();
    std::printf(
        "client_soak: %lld operations, %lld documents acknowledged, %lld restarts, %.0f s, "
        "%lld findings\n",
        static_cast<long long>(tally_.Of("operations")),
        static_cast<long long>(tally_.Of("documents acknowledged")),
        static_cast<long long>(tally_.Of("restarts")), Seconds(),
        static_cast<long long>(tally_.findings()));
  }

  const Plan plan_;
  const std::string store_;
  const Clock::time_point begun_ = Clock::now();
  Random random_{plan_.seed};
  Tally tally_;
  Link link_;
  Library library_;
  std::unique_ptr<SoakServer> server_;
  LongLife life_;
  bool up_ = false;
};

}  // namespace
}  // namespace longleaf::soak

int main(int argc, char** argv) {
  namespace soak = longleaf::soak;
  soak::Flags flags(argc, argv);
  soak::Plan plan;
  plan.seconds = flags.Number("--seconds", plan.seconds);
  plan.clients = flags.Number("--clients", plan.clients);
  plan.seed = static_cast<uint64_t>(flags.Number("--seed", 1));
  plan.quiesce =
      static_cast<double>(flags.Number("--quiesce", std::max<int64_t>(2, plan.seconds / 20)));
  plan.largest = flags.Number("--largest", 34'000);
  plan.daemon = flags.Given("--daemon");
  plan.restarts = flags.Given("--restarts");
  if (!flags.Check()) {
    return 2;
  }
  longleaf::service::log::Configure("error", "text");
  std::string directory =
      (std::filesystem::temp_directory_path() / "longleaf-soak-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr) {
    return 2;
  }
  const bool good = soak::ClientSoak(directory, plan).Run();
  if (good) {
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  } else {
    std::printf("kept: %s\n", directory.c_str());
  }
  return good ? 0 : 1;
}
