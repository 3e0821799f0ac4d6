#include "service/metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <sstream>
#include <utility>
#include <vector>

#include "kernels/mutex.h"

namespace longleaf::service {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using Buckets = Histogram::BucketBoundaries;

// Up to the longest prefill: a 128K document on two cores takes hours.
const Buckets kLongSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                              0.5,   1,      2.5,   5,    10,    30,   60,  120,
                              300,   600,    1800,  3600, 7200,  21600};
const Buckets kTokenSeconds = {0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032,
                               0.064,  0.128, 0.256, 0.512, 1,     2,     4};
const Buckets kStepTokens = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192};

std::string KindName(RequestKind kind) {
  return kind == RequestKind::kDocument ? "document" : "question";
}

// The gauges that mirror the store and the engine's memory, filled at scrape time.
class Readings : public prometheus::Collectable {
 public:
  void CountMemoryEviction() { memory_evictions_.fetch_add(1, std::memory_order_relaxed); }

  void Set(std::function<GaugeReadings()> read) {
    MutexLock lock(&mutex_);
    read_ = std::move(read);
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    std::function<GaugeReadings()> read;
    {
      MutexLock lock(&mutex_);
      read = read_;
    }
    if (!read) {
      return {};
    }
    const GaugeReadings now = read();
    static constexpr const char* kStates[] = {nullptr,      "creating", "queued",
                                              "prefilling", "active",   "failed"};
    std::vector<prometheus::MetricFamily> out;
    out.reserve(32);  // references to its elements are held below
    auto& documents = Gauge(out, "longleaf_documents", "Documents by state");
    for (int i = 1; i <= 5; ++i) {
      Add(documents, static_cast<double>(now.documents[i]), {{"state", kStates[i]}});
    }
    auto& bytes = Gauge(out, "longleaf_state_bytes", "Bytes of states by tier");
    Add(bytes, static_cast<double>(now.state_bytes_memory), {{"tier", "memory"}});
    Add(bytes, static_cast<double>(now.state_bytes_disk), {{"tier", "disk"}});
    auto& capacity = Gauge(out, "longleaf_state_capacity_bytes",
                           "The cap by tier (disk: states and text together); 0: none");
    Add(capacity, static_cast<double>(now.state_capacity_memory), {{"tier", "memory"}});
    Add(capacity, static_cast<double>(now.state_capacity_disk), {{"tier", "disk"}});
    Add(Gauge(out, "longleaf_state_pool_bytes",
              "Memory taken from the machine for states: those in use, and free pages kept for the "
              "next"),
        static_cast<double>(now.state_pool_bytes), {});
    Add(Gauge(out, "longleaf_state_reserved_bytes",
              "Of the memory for states: held by documents ready to be asked, and promised to what "
              "runs"),
        static_cast<double>(now.state_reserved_bytes), {});
    Add(Gauge(out, "longleaf_weight_bytes", "Memory of the device that the model's weights take"),
        static_cast<double>(now.weight_bytes), {});
    Add(Gauge(out, "longleaf_working_bytes",
              "Memory of the device for activations and what operations need while they run"),
        static_cast<double>(now.working_bytes), {});
    Add(Counter(out, "longleaf_weight_passes_total",
                "Times the model's weights were read: once a step, for everybody in it"),
        static_cast<double>(now.weight_passes), {});
    const auto dropped = [&now](const char* reason) {
      const auto found = now.disk_drops.find(reason);
      return found == now.disk_drops.end() ? 0.0 : static_cast<double>(found->second);
    };
    auto& drops = Counter(out, "longleaf_store_snapshots_removed_total",
                          "Stored states removed from disk, by reason; capacity: evicted");
    for (const char* reason :
         {"capacity", "replaced", "deleted", "corrupt", "fingerprint", "unreadable"}) {
      Add(drops, dropped(reason), {{"reason", reason}});
    }
    auto& evictions =
        Counter(out, "longleaf_state_evictions_total", "States let go for want of space, by tier");
    Add(evictions, static_cast<double>(memory_evictions_.load(std::memory_order_relaxed)),
        {{"reason", "capacity"}, {"tier", "memory"}});
    Add(evictions, dropped("capacity"), {{"reason", "capacity"}, {"tier", "disk"}});
    Add(Gauge(out, "longleaf_store_text_bytes", "Bytes of document text in the store"),
        static_cast<double>(now.store_text_bytes), {});
    Add(Gauge(out, "longleaf_store_token_bytes", "Bytes of the documents' stored tokens"),
        static_cast<double>(now.store_token_bytes), {});
    Add(Gauge(out, "longleaf_store_writes_failing",
              "1 while the disk is full or fails; writes are tried again until it works"),
        now.store_writes_failing ? 1 : 0, {});
    Add(Gauge(out, "longleaf_store_damaged_documents",
              "Documents whose record was damaged when the store was opened"),
        static_cast<double>(now.store_damaged_documents), {});
    Add(Gauge(out, "longleaf_store_damaged_log",
              "1 when the store's log was found damaged before its end: the last writes before the "
              "stop may be missing"),
        now.store_damaged_log ? 1 : 0, {});
    Add(Counter(out, "longleaf_store_damaged_reads_total",
                "Reads of text, tokens or states that found damage"),
        static_cast<double>(now.store_damaged_reads), {});
    Add(Counter(out, "longleaf_store_damaged_files_total",
                "Files of states found damaged when the store was opened, and removed"),
        static_cast<double>(now.store_damaged_files), {});
    Add(Gauge(out, "longleaf_store_write_stopped", "1 while RocksDB refuses writes"),
        now.store_write_stopped ? 1 : 0, {});
    Add(Gauge(out, "longleaf_store_delayed_write_bytes_per_second",
              "Rate that RocksDB slows writes down to; 0: not slowed"),
        static_cast<double>(now.store_delayed_write_rate), {});
    Add(Gauge(out, "longleaf_store_pending_compaction_bytes", "Bytes RocksDB has yet to compact"),
        static_cast<double>(now.store_pending_compaction_bytes), {});
    return out;
  }

 private:
  using Labels = std::vector<prometheus::ClientMetric::Label>;

  static prometheus::MetricFamily& Gauge(std::vector<prometheus::MetricFamily>& out,
                                         const char* name, const char* help) {
    return Family(out, name, help, prometheus::MetricType::Gauge);
  }
  static prometheus::MetricFamily& Counter(std::vector<prometheus::MetricFamily>& out,
                                           const char* name, const char* help) {
    return Family(out, name, help, prometheus::MetricType::Counter);
  }
  static prometheus::MetricFamily& Family(std::vector<prometheus::MetricFamily>& out,
                                          const char* name, const char* help,
                                          prometheus::MetricType type) {
    prometheus::MetricFamily family;
    family.name = name;
    family.help = help;
    family.type = type;
    out.push_back(std::move(family));
    return out.back();
  }
  static void Add(prometheus::MetricFamily& family, double value, Labels labels) {
    prometheus::ClientMetric metric;
    metric.label = std::move(labels);
    (family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) =
        value;
    family.metric.push_back(std::move(metric));
  }

  std::atomic<int64_t> memory_evictions_{0};
  mutable Mutex mutex_;
  std::function<GaugeReadings()> read_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

struct Metrics::Rep {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::shared_ptr<Readings> readings = std::make_shared<Readings>();

  Family<Counter>& CounterFamily(const char* name, const char* help) {
    return BuildCounter().Name(name).Help(help).Register(*registry);
  }
  Family<Gauge>& GaugeFamily(const char* name, const char* help) {
    return BuildGauge().Name(name).Help(help).Register(*registry);
  }
  Family<Histogram>& HistogramFamily(const char* name, const char* help) {
    return BuildHistogram().Name(name).Help(help).Register(*registry);
  }

  Family<Gauge>& build_info =
      GaugeFamily("longleaf_build_info", "1, with what is running as labels");
  Family<Gauge>& waiting =
      GaugeFamily("longleaf_requests_waiting", "Documents and questions waiting for the engine");
  Gauge& running =
      GaugeFamily("longleaf_requests_running", "Questions and documents in the engine's steps")
          .Add({});
  Family<Counter>& finished = CounterFamily("longleaf_requests_finished_total",
                                            "Questions and documents that ended, by reason");
  Family<Counter>& rejected =
      CounterFamily("longleaf_requests_rejected_total", "Requests refused before any work");
  Histogram& queue =
      HistogramFamily("longleaf_queue_seconds", "Waiting for the engine").Add({}, kLongSeconds);
  Histogram& first_token = HistogramFamily("longleaf_time_to_first_token_seconds",
                                           "From a question's arrival to its first token")
                               .Add({}, kLongSeconds);
  Histogram& inter_token =
      HistogramFamily("longleaf_inter_token_latency_seconds", "Between two tokens of an answer")
          .Add({}, kTokenSeconds);
  Histogram& prefill =
      HistogramFamily("longleaf_prefill_seconds", "Reading one document, from first step to last")
          .Add({}, kLongSeconds);
  Family<Histogram>& request =
      HistogramFamily("longleaf_request_seconds", "From arrival to end, by kind");
  Counter& document_tokens =
      CounterFamily("longleaf_document_tokens_total", "Document tokens read by the model").Add({});
  Counter& question_tokens =
      CounterFamily("longleaf_question_tokens_total", "Question tokens read by the model").Add({});
  Counter& generated_tokens =
      CounterFamily("longleaf_generated_tokens_total", "Answer tokens generated").Add({});
  Counter& reused_tokens =
      CounterFamily("longleaf_reused_tokens_total", "Tokens answered from a state, not read again")
          .Add({});
  Counter& reread_tokens =
      CounterFamily("longleaf_reread_tokens_total",
                    "Those of longleaf_document_tokens_total that had been read before: after a "
                    "crash, or for want of a stored state")
          .Add({});
  Counter& abandoned_uploads = CounterFamily("longleaf_uploads_abandoned_total",
                                             "Uploads deleted because nobody went on with them")
                                   .Add({});
  Counter& upload_bytes =
      CounterFamily("longleaf_upload_bytes_total", "Bytes of text made durable").Add({});
  Counter& steps =
      CounterFamily("longleaf_steps_total", "Engine steps that were committed").Add({});
  Histogram& step_seconds =
      HistogramFamily("longleaf_step_seconds", "One step").Add({}, kTokenSeconds);
  Histogram& step_tokens =
      HistogramFamily("longleaf_step_batch_tokens", "Tokens in one step").Add({}, kStepTokens);
  Family<Counter>& lookups =
      CounterFamily("longleaf_state_lookups_total", "Looks for a document's state");
  Family<Histogram>& load =
      HistogramFamily("longleaf_state_load_seconds", "Making a stored state usable, by tier");
  Histogram& save = HistogramFamily("longleaf_state_save_seconds", "Storing a state or checkpoint")
                        .Add({}, kLongSeconds);
  Counter& save_failures =
      CounterFamily("longleaf_state_save_failures_total", "States that could not be stored")
          .Add({});
  Family<Counter>& state_rejected =
      CounterFamily("longleaf_state_rejected_total", "Stored states refused before use, by reason");
};

Metrics::Metrics() : rep_(std::make_unique<Rep>()) {
  // Label values that are known are there from the start, so that rates have a first point.
  for (const RequestKind kind : {RequestKind::kDocument, RequestKind::kQuestion}) {
    rep_->waiting.Add({{"kind", KindName(kind)}});
  }
  for (const char* tier : {"memory", "disk"}) {
    rep_->lookups.Add({{"tier", tier}, {"result", "hit"}});
    rep_->lookups.Add({{"tier", tier}, {"result", "miss"}});
  }
  for (const char* reason : {"corrupt", "fingerprint", "unreadable"}) {
    rep_->state_rejected.Add({{"reason", reason}});
  }
  rep_->rejected.Add({{"reason", "queue_full"}});
  rep_->rejected.Add({{"reason", "deadline"}});
  rep_->load.Add({{"tier", "disk"}}, kLongSeconds);
  for (const RequestKind kind : {RequestKind::kDocument, RequestKind::kQuestion}) {
    rep_->request.Add({{"kind", KindName(kind)}}, kLongSeconds);
  }
  rep_->finished.Add({{"kind", "document"}, {"reason", "read"}});
  rep_->finished.Add({{"kind", "document"}, {"reason", "failed"}});
  rep_->finished.Add({{"kind", "question"}, {"reason", "end_of_text"}});
}

Metrics::~Metrics() = default;

void Metrics::SetBuildInfo(const std::string& version, const std::string& device,
                           const std::string& model) {
  rep_->build_info.Add({{"version", version}, {"device", device}, {"model", model}}).Set(1);
}

void Metrics::SetGaugeReader(std::function<GaugeReadings()> read) {
  rep_->readings->Set(std::move(read));
}

void Metrics::Waiting(RequestKind kind, int64_t change) {
  rep_->waiting.Add({{"kind", KindName(kind)}}).Increment(static_cast<double>(change));
}
void Metrics::Running(int64_t change) { rep_->running.Increment(static_cast<double>(change)); }
void Metrics::Finished(RequestKind kind, absl::string_view reason) {
  rep_->finished.Add({{"kind", KindName(kind)}, {"reason", std::string(reason)}}).Increment();
}
void Metrics::Rejected(absl::string_view reason) {
  rep_->rejected.Add({{"reason", std::string(reason)}}).Increment();
}
void Metrics::QueueSeconds(double seconds) { rep_->queue.Observe(seconds); }
void Metrics::TimeToFirstToken(double seconds) { rep_->first_token.Observe(seconds); }
void Metrics::InterTokenLatency(double seconds) { rep_->inter_token.Observe(seconds); }
void Metrics::PrefillSeconds(double seconds) { rep_->prefill.Observe(seconds); }
void Metrics::RequestSeconds(RequestKind kind, double seconds) {
  rep_->request.Add({{"kind", KindName(kind)}}, kLongSeconds).Observe(seconds);
}
void Metrics::DocumentTokens(int64_t n) { rep_->document_tokens.Increment(static_cast<double>(n)); }
void Metrics::QuestionTokens(int64_t n) { rep_->question_tokens.Increment(static_cast<double>(n)); }
void Metrics::GeneratedTokens(int64_t n) {
  rep_->generated_tokens.Increment(static_cast<double>(n));
}
void Metrics::ReusedTokens(int64_t n) { rep_->reused_tokens.Increment(static_cast<double>(n)); }
void Metrics::RereadTokens(int64_t n) { rep_->reread_tokens.Increment(static_cast<double>(n)); }
void Metrics::AbandonedUploads(int64_t n) {
  rep_->abandoned_uploads.Increment(static_cast<double>(n));
}
void Metrics::UploadBytes(int64_t n) { rep_->upload_bytes.Increment(static_cast<double>(n)); }
void Metrics::Step(int64_t tokens, double seconds) {
  rep_->steps.Increment();
  rep_->step_seconds.Observe(seconds);
  rep_->step_tokens.Observe(static_cast<double>(tokens));
}
void Metrics::StateLookup(absl::string_view tier, absl::string_view result) {
  rep_->lookups.Add({{"tier", std::string(tier)}, {"result", std::string(result)}}).Increment();
}
void Metrics::StateLoadSeconds(absl::string_view tier, double seconds) {
  rep_->load.Add({{"tier", std::string(tier)}}, kLongSeconds).Observe(seconds);
}
void Metrics::StateSaveSeconds(double seconds) { rep_->save.Observe(seconds); }
void Metrics::MemoryStateEvicted() { rep_->readings->CountMemoryEviction(); }
void Metrics::StateSaveFailed() { rep_->save_failures.Increment(); }
void Metrics::StateRejected(absl::string_view reason) {
  rep_->state_rejected.Add({{"reason", std::string(reason)}}).Increment();
}

std::shared_ptr<prometheus::Registry> Metrics::registry() const { return rep_->registry; }

std::shared_ptr<prometheus::Collectable> Metrics::readings() const { return rep_->readings; }

std::string Metrics::Render() const {
  std::vector<prometheus::MetricFamily> families = rep_->registry->Collect();
  for (prometheus::MetricFamily& family : rep_->readings->Collect()) {
    families.push_back(std::move(family));
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return text.str();
}

}  // namespace longleaf::service
