#include "service/engine.h"

#include <utility>

#include "service/engine_loop.h"

namespace longleaf::service {

Engine::Engine(const EngineOptions& options, ServedModel* model, store::Store* store, Executor* io,
               Metrics* metrics)
    : loop_(std::make_unique<Loop>(options, model, store, io, metrics)) {}

Engine::~Engine() = default;

void Engine::ReadDocument(const store::DocumentName& name, int64_t tokens) {
  loop_->Post([loop = loop_.get(), name, tokens] { loop->ReadDocument(name, tokens); });
}

void Engine::Forget(const store::DocumentName& name) {
  loop_->Post([loop = loop_.get(), name] { loop->Forget(name); });
}

absl::Status Engine::Ask(QuestionRequest request, std::shared_ptr<AnswerStream> stream) {
  return loop_->Ask(std::move(request), std::move(stream));
}

int64_t Engine::queued_documents() const { return loop_->queued_documents(); }

double Engine::SecondsUntilRoomForDocument() const { return loop_->SecondsUntilRoomForDocument(); }

ProgressBoard& Engine::board() { return loop_->board(); }

Engine::Memory Engine::memory() const { return loop_->memory(); }

void Engine::Drain(std::chrono::steady_clock::time_point deadline) { loop_->Drain(deadline); }

}  // namespace longleaf::service
