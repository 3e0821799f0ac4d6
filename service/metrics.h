// The metrics of the service: what each means stands at its name in metrics.cc.
#ifndef LONGLEAF_SERVICE_METRICS_H_
#define LONGLEAF_SERVICE_METRICS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace prometheus {
class Collectable;
class Registry;
}  // namespace prometheus

namespace longleaf::service {

enum class RequestKind { kDocument, kQuestion };

// What is read at scrape time rather than counted along the way.
struct GaugeReadings {
  int64_t documents[6] = {};  // by store::DocumentState
  int64_t state_bytes_memory = 0;
  int64_t state_bytes_disk = 0;
  int64_t state_capacity_memory = 0;
  int64_t state_pool_bytes = 0;
  int64_t state_reserved_bytes = 0;
  int64_t weight_bytes = 0;
  int64_t working_bytes = 0;
  int64_t weight_passes = 0;
  int64_t state_capacity_disk = 0;
  std::map<std::string, int64_t> disk_drops;  // snapshots removed since start, by reason
  int64_t store_text_bytes = 0;
  int64_t store_token_bytes = 0;
  int64_t store_damaged_documents = 0;
  int64_t store_damaged_reads = 0;
  int64_t store_damaged_files = 0;
  bool store_damaged_log = false;
  bool store_writes_failing = false;
  bool store_write_stopped = false;
  int64_t store_delayed_write_rate = 0;
  int64_t store_pending_compaction_bytes = 0;
};

// Thread-safe. Counters and histograms never block.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void SetBuildInfo(const std::string& version, const std::string& device,
                    const std::string& model);
  // `read` runs at every scrape, on the exposer's thread.
  void SetGaugeReader(std::function<GaugeReadings()> read);

  // ---- requests
  void Waiting(RequestKind kind, int64_t change);
  void Running(int64_t change);
  void Finished(RequestKind kind, absl::string_view reason);
  void Rejected(absl::string_view reason);
  void QueueSeconds(double seconds);
  void TimeToFirstToken(double seconds);
  void InterTokenLatency(double seconds);
  void PrefillSeconds(double seconds);
  void RequestSeconds(RequestKind kind, double seconds);

  // ---- work
  void DocumentTokens(int64_t n);
  void QuestionTokens(int64_t n);
  void GeneratedTokens(int64_t n);
  void ReusedTokens(int64_t n);
  void RereadTokens(int64_t n);
  void UploadBytes(int64_t n);
  void AbandonedUploads(int64_t n);
  void Step(int64_t tokens, double seconds);

  // ---- states
  void StateLookup(absl::string_view tier, absl::string_view result);
  void StateLoadSeconds(absl::string_view tier, double seconds);
  void StateSaveSeconds(double seconds);
  void StateSaveFailed();
  void MemoryStateEvicted();  // the disk's evictions are the store's to count
  void StateRejected(absl::string_view reason);

  // Both are to be registered with the exposer.
  std::shared_ptr<prometheus::Registry> registry() const;
  std::shared_ptr<prometheus::Collectable> readings() const;
  // The text of one scrape.
  std::string Render() const;

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_METRICS_H_
