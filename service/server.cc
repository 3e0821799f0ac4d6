#include "service/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "service/call_context.h"
#include "service/document_service.h"
#include "service/log.h"
#include "service/metrics_server.h"
#include "service/model_service.h"
#include "service/question_service.h"
#include "service/version.h"

namespace longleaf::service {
namespace {

constexpr std::chrono::seconds kExpirySweep(2);
constexpr const char* kServices[] = {"longleaf.v1.DocumentService", "longleaf.v1.QuestionService",
                                     "longleaf.v1.ModelService"};

void ReportWeightCache(const model::WeightCacheReport& cache) {
  if (!cache.found.ok()) {
    log::Warn("the weights in the cache are of no use and were packed again",
              {{"file", cache.path}, {"reason", std::string(cache.found.message())}});
  }
  if (!cache.failed.ok()) {
    log::Warn("the packed weights were not kept: the next start takes as long as this one",
              {{"file", cache.path}, {"reason", std::string(cache.failed.message())}});
  }
  if (cache.used || cache.kept) {
    log::Info(
        cache.used ? "weights taken from the cache" : "packed weights kept for the next start",
        {{"file", cache.path}, {"bytes", absl::StrCat(cache.bytes)}});
  }
}

}  // namespace

// Members are destroyed from the last to the first: what uses goes before what is used.
struct Server::Rep {
  Options options;
  Metrics metrics;
  std::unique_ptr<store::Store> store;
  std::unique_ptr<ServedModel> model;
  std::unique_ptr<Executor> io;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Documents> documents;
  std::unique_ptr<Executor> disk;
  std::unique_ptr<Executor> executor;
  std::unique_ptr<Executor> delivery;
  CallContext context;
  std::unique_ptr<DocumentServiceImpl> document_service;
  std::unique_ptr<QuestionServiceImpl> question_service;
  std::unique_ptr<ModelServiceImpl> model_service;
  std::unique_ptr<grpc::Server> grpc_server;
  std::unique_ptr<MetricsServer> metrics_server;
  std::string listen_address;

  Mutex sweep_mutex;
  CondVar sweep_wake;
  bool sweep_stop ABSL_GUARDED_BY(sweep_mutex) = false;
  std::thread sweeper;
  bool down = false;

  absl::Status OpenStore(const StoreOpener& open_store);
  absl::Status LoadModel();
  void StartEngine(const DeviceLost& device_lost);
  absl::Status Listen();
  absl::Status ExposeMetrics();
  absl::Status ResumeReading();
  void Sweep();
  GaugeReadings Read();
  void Shutdown();
};

absl::Status Server::Rep::OpenStore(const StoreOpener& open_store) {
  store::StoreOptions store_options;
  store_options.path = options.store_path;
  store_options.disk_cap_bytes = options.disk_cap_bytes;
  absl::StatusOr<std::unique_ptr<store::Store>> opened = open_store(store_options);
  if (!opened.ok()) {
    return absl::Status(opened.status().code(), absl::StrCat("--store ", options.store_path, ": ",
                                                             opened.status().message()));
  }
  store = *std::move(opened);
  const store::StoreStats stats = store->Stats();
  if (stats.damaged_log) {
    log::Error("the store's write-ahead log is damaged: what was stored last may be missing",
               {{"store", options.store_path}});
  }
  if (stats.damaged_files_removed > 0 || stats.rebuilt_counters > 0) {
    log::Warn("parts of the store were damaged and are made again",
              {{"files of states", absl::StrCat(stats.damaged_files_removed)},
               {"counters", absl::StrCat(stats.rebuilt_counters)}});
  }
  return absl::OkStatus();
}

absl::Status Server::Rep::LoadModel() {
  const auto begun = std::chrono::steady_clock::now();
  absl::StatusOr<std::unique_ptr<ServedModel>> loaded = ServedModel::Load(options);
  if (!loaded.ok()) {
    return loaded.status();
  }
  model = *std::move(loaded);
  metrics.SetBuildInfo(kVersion, model->device(), model->display_name());
  log::Info(
      "model loaded",
      {{"model", model->display_name()},
       {"device", model->device()},
       {"attention", model->policy().ToString()},
       {"context", absl::StrCat(model->context_length())},
       {"fingerprint", model->fingerprint_hex()},
       {"seconds",
        absl::StrCat(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count())}});
  if (!model->no_cuda().empty()) {
    log::Info("the CPU computes, not a GPU", {{"reason", model->no_cuda()}});
  }
  ReportWeightCache(model->weight_cache());
  if (!model->config().unknown_keys.empty()) {
    log::Warn("config.json has keys that this server does not know",
              {{"keys", absl::StrJoin(model->config().unknown_keys, ",")}});
  }
  if (!model->weights_checked()) {
    log::Warn(
        "the weights cannot be checked for damage: no SHA256SUMS in the model directory names "
        "them",
        {{"model", options.model_path}});
  }
  if (model->attention_overridden()) {
    log::Warn("attention is the operator's choice, not what this checkpoint was tuned for",
              {{"attention", model->policy().ToString()}});
  }
  return absl::OkStatus();
}

void Server::Rep::StartEngine(const DeviceLost& device_lost) {
  EngineOptions engine_options;
  engine_options.device_lost = device_lost;
  engine_options.prefill_chunk = model->prefill_chunk();
  engine_options.min_prefill_chunk = options.min_prefill_chunk;
  engine_options.max_slowdown = options.max_slowdown;
  engine_options.max_running_questions = options.max_running_questions;
  engine_options.max_reading_documents = options.max_reading_documents;
  engine_options.checkpoint_tokens = options.checkpoint_tokens;
  engine_options.checkpoint_seconds = options.checkpoint_seconds;
  engine_options.max_questions = options.max_questions;
  io = std::make_unique<Executor>(static_cast<int>(options.io_threads));
  engine = std::make_unique<Engine>(engine_options, model.get(), store.get(), io.get(), &metrics);
  documents = std::make_unique<Documents>(store.get(), engine.get());
  disk = std::make_unique<Executor>(static_cast<int>(options.rpc_threads));
  executor = std::make_unique<Executor>(static_cast<int>(options.rpc_threads));
  delivery = std::make_unique<Executor>(2);
  context.options = &options;
  context.model = model.get();
  context.store = store.get();
  context.engine = engine.get();
  context.metrics = &metrics;
  context.documents = documents.get();
  context.disk = disk.get();
  context.executor = executor.get();
  context.delivery = delivery.get();
}

absl::Status Server::Rep::Listen() {
  absl::StatusOr<HostPort> address = SplitAddress(options.listen, "--listen");
  if (!address.ok()) {
    return address.status();
  }
  document_service = std::make_unique<DocumentServiceImpl>(&context);
  question_service = std::make_unique<QuestionServiceImpl>(&context);
  model_service = std::make_unique<ModelServiceImpl>(&context);

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(document_service.get());
  builder.RegisterService(question_service.get());
  builder.RegisterService(model_service.get());
  // Above the limits of the rpcs (wire_message.h), whose errors say more than gRPC's.
  builder.SetMaxReceiveMessageSize(static_cast<int>(std::min<int64_t>(
      std::numeric_limits<int>::max(),
      std::max(options.max_upload_message_bytes,
               MaxBatchBytes(options.max_question_bytes, options.max_batch_questions)) +
          2 * kMaxRequestBytes)));
  // gRPC looks at a message's size only once it has unpacked it: two megabytes could become two
  // gigabytes. Clients are told what is not supported, and gRPC's own do not compress unasked.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.SetResourceQuota(grpc::ResourceQuota("longleaf").Resize(size_t{512} << 20));
  // Clients may ping through a long silent prefill; a client that vanished is noticed in a minute.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  // Each may hold a message that has not arrived whole: the quota above does not bound those.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 256);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 16 << 10);
  // Another server on the same port would answer half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  grpc_server = builder.BuildAndStart();
  if (grpc_server == nullptr || port == 0) {
    return absl::UnavailableError(
        absl::StrCat("--listen ", options.listen, ": cannot listen there (is the port taken?)"));
  }
  listen_address = absl::StrCat(address->host, ":", port);
  return absl::OkStatus();
}

absl::Status Server::Rep::ExposeMetrics() {
  metrics.SetGaugeReader([this] { return Read(); });
  absl::StatusOr<std::unique_ptr<MetricsServer>> started =
      MetricsServer::Start(options.metrics_listen, metrics);
  if (!started.ok()) {
    return started.status();
  }
  metrics_server = *std::move(started);
  return absl::OkStatus();
}

// Documents whose reading a stop interrupted are read on, from their last checkpoint.
absl::Status Server::Rep::ResumeReading() {
  std::string resume_key;
  do {
    absl::StatusOr<store::DocumentPage> page = store->ListDocuments(kTenant, 500, resume_key);
    if (!page.ok()) {
      return page.status();
    }
    for (const store::DocumentRecord& record : page->documents) {
      if (record.state == store::DocumentState::kQueued ||
          record.state == store::DocumentState::kPrefilling) {
        engine->ReadDocument({kTenant, record.id}, record.token_count);
      }
    }
    for (const std::string& id : page->damaged_ids) {
      log::Error("document record damaged", {{"document", id}});
    }
    resume_key = page->resume_key;
  } while (!resume_key.empty());
  return absl::OkStatus();
}

void Server::Rep::Sweep() {
  MutexLock lock(&sweep_mutex);
  while (!sweep_stop) {
    sweep_wake.WaitUntil(&sweep_mutex, std::chrono::steady_clock::now() + kExpirySweep);
    if (!sweep_stop) {
      sweep_mutex.Unlock();
      const int64_t deleted = documents->DeleteExpired();
      if (deleted > 0) {
        log::Info("expired documents deleted", {{"documents", absl::StrCat(deleted)}});
      }
      const int64_t abandoned =
          documents->DeleteAbandonedUploads(options.unfinished_upload_hours * 3600);
      if (abandoned > 0) {
        log::Info("abandoned uploads deleted", {{"documents", absl::StrCat(abandoned)}});
        metrics.AbandonedUploads(abandoned);
      }
      sweep_mutex.Lock();
    }
  }
}

GaugeReadings Server::Rep::Read() {
  const store::StoreStats stats = store->Stats();
  GaugeReadings now;
  for (const auto& [state, count] : stats.documents) {
    const auto index = static_cast<size_t>(state);
    if (index < std::size(now.documents)) {
      now.documents[index] = count;
    }
  }
  const Engine::Memory memory = engine->memory();
  now.state_bytes_memory = memory.state_bytes;
  now.state_pool_bytes = memory.state_pool_bytes;
  now.weight_bytes = memory.weight_bytes;
  now.working_bytes = memory.working_bytes;
  now.state_reserved_bytes = memory.reserved_bytes;
  now.weight_passes = model->weight_passes();
  now.state_capacity_memory = model->state_capacity_bytes();
  now.state_bytes_disk = stats.snapshot_bytes;
  now.state_capacity_disk = stats.capacity_bytes;
  now.store_text_bytes = stats.text_bytes;
  now.store_token_bytes = stats.token_bytes;
  now.store_damaged_documents = stats.damaged_documents;
  now.store_damaged_reads = stats.damaged_reads;
  now.store_damaged_files = stats.damaged_files_removed;
  now.store_damaged_log = stats.damaged_log;
  now.store_writes_failing = stats.writes_failing;
  now.store_write_stopped = stats.write_stopped;
  now.store_delayed_write_rate = stats.delayed_write_rate;
  now.store_pending_compaction_bytes = stats.pending_compaction_bytes;
  for (const auto& [reason, count] : stats.drops) {
    now.disk_drops[std::string(store::DropReasonName(reason))] = count;
  }
  return now;
}

void Server::Rep::Shutdown() {
  if (down) {
    return;
  }
  down = true;
  context.draining = true;
  if (grpc_server != nullptr) {
    if (auto* health = grpc_server->GetHealthCheckService()) {
      health->SetServingStatus(false);
    }
  }
  const auto now = std::chrono::steady_clock::now();
  const auto bound = std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(options.drain_seconds));
  if (engine != nullptr) {
    engine->Drain(now + bound);
  }
  if (grpc_server != nullptr) {
    // Answers are complete: what is still open (uploads, watchers, slow readers) gets two seconds.
    grpc_server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
    grpc_server->Wait();
  }
  {
    MutexLock lock(&sweep_mutex);
    sweep_stop = true;
  }
  sweep_wake.NotifyAll();
  if (sweeper.joinable()) {
    sweeper.join();
  }
  metrics_server.reset();
  // Their queues may hold the last word of a call.
  delivery.reset();
  executor.reset();
  disk.reset();
  grpc_server.reset();
  // The engine has ended, and a task of its may be about to have said its last word to it.
  io.reset();
  engine.reset();
}

Server::Server(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Server::~Server() { rep_->Shutdown(); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Options& options,
                                                      const StoreOpener& open_store,
                                                      const DeviceLost& device_lost) {
  std::unique_ptr<Server> server(new Server(std::make_unique<Rep>()));
  Rep& rep = *server->rep_;
  rep.options = options;
  if (absl::Status status = rep.OpenStore(open_store); !status.ok()) {
    return status;
  }
  if (absl::Status status = rep.LoadModel(); !status.ok()) {
    return status;
  }
  rep.StartEngine(device_lost);
  if (absl::Status status = rep.ResumeReading(); !status.ok()) {
    return status;
  }
  if (absl::Status status = rep.Listen(); !status.ok()) {
    return status;
  }
  if (absl::Status status = rep.ExposeMetrics(); !status.ok()) {
    return status;
  }
  rep.sweeper = std::thread([&rep] { rep.Sweep(); });
  if (auto* health = rep.grpc_server->GetHealthCheckService()) {
    for (const char* name : kServices) {
      health->SetServingStatus(name, true);
    }
  }
  return server;
}

const std::string& Server::listen_address() const { return rep_->listen_address; }
const std::string& Server::metrics_address() const { return rep_->metrics_server->address(); }

void Server::Shutdown() { rep_->Shutdown(); }

}  // namespace longleaf::service
