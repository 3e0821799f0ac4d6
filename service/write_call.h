// The part that all server-streaming calls share: one write at a time, one Finish, and an object
// that lives until gRPC and every task or callback that still knows it are done with it.
#ifndef LONGLEAF_SERVICE_WRITE_CALL_H_
#define LONGLEAF_SERVICE_WRITE_CALL_H_

#include <grpcpp/alarm.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "kernels/mutex.h"
#include "service/grpc_status.h"
#include "service/wire_message.h"

namespace longleaf::service {

// Thread-safe. Tasks and callbacks of a derived class hold shared_from_this() or a weak_ptr.
template <typename Derived, typename Response>
class WriteCall : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                  public std::enable_shared_from_this<Derived> {
  using Clock = std::chrono::system_clock;  // grpc::Alarm's

 public:
  // A client that takes nothing of a message for `patience` is cancelled: what is in memory for it
  // must not stay there for as long as it likes. `call` outlives the object's use of it.
  WriteCall(grpc::CallbackServerContext* call, std::chrono::system_clock::duration patience)
      : call_(call), patience_(patience) {}

  // Hands the object over to gRPC.
  static Derived* Launch(std::shared_ptr<Derived> call) {
    Derived* const raw = call.get();
    call->self_ = call;
    {
      MutexLock lock(&raw->WriteCall::mutex_);
      raw->WriteCall::WatchClient(Clock::now());
    }
    static_cast<WriteCall*>(raw)->Begin();
    return raw;
  }

 protected:
  // ---- for the derived class to call
  // Sends one message. Only after Begin, or after OnSent for the one before; dropped once ended.
  void Send(const Response& response) {
    MutexLock lock(&mutex_);
    if (finished_ || ending_.has_value()) {
      return;
    }
    writing_ = true;
    write_begun_ = Clock::now();
    response_ = SerializeResponse(response);
    this->StartWrite(&response_);
  }
  // Ends the call, after the write under way if there is one. The first status counts.
  void End(const absl::Status& status) {
    MutexLock lock(&mutex_);
    if (finished_ || ending_.has_value()) {
      return;
    }
    if (writing_) {
      ending_ = status;
    } else {
      finished_ = true;
      this->Finish(ToGrpc(status));
    }
  }

 private:
  // ---- for the derived class to define. They run on gRPC's threads: no blocking.
  virtual void Begin() = 0;
  virtual void OnSent() = 0;
  virtual void OnGone() = 0;   // the client is gone, or the deadline is past
  virtual void OnEnded() = 0;  // nothing can be sent any more

  void OnWriteDone(bool ok) final {
    {
      MutexLock lock(&mutex_);
      writing_ = false;
      if (ending_.has_value() || !ok) {
        finished_ = true;
        this->Finish(ToGrpc(ending_.value_or(absl::CancelledError("the client is gone"))));
        return;
      }
    }
    OnSent();
  }
  void OnCancel() final {
    OnGone();
    End(absl::CancelledError("the client is gone"));
  }
  void OnDone() final {
    {
      MutexLock lock(&mutex_);
      finished_ = true;
      alarm_.Cancel();
    }
    OnEnded();
    // The last reference may go here, and the object with it.
    const std::shared_ptr<Derived> self = std::move(self_);
  }

  // Looks again after `patience_` from `begun`.
  void WatchClient(Clock::time_point begun) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    alarm_.Set(begun + patience_, [weak = this->weak_from_this()](bool expired) {
      if (const std::shared_ptr<Derived> self = weak.lock(); self != nullptr && expired) {
        static_cast<WriteCall*>(self.get())->LookAtClient();
      }
    });
  }
  void LookAtClient() {
    MutexLock lock(&mutex_);
    const Clock::time_point now = Clock::now();
    if (finished_) {
      return;
    }
    if (writing_ && now >= write_begun_ + patience_) {
      call_->TryCancel();
      return;
    }
    WatchClient(writing_ ? write_begun_ : now);
  }

  grpc::CallbackServerContext* const call_;
  const Clock::duration patience_;
  grpc::Alarm alarm_;  // set and cancelled under the lock: it has none of its own
  Mutex mutex_;
  Clock::time_point write_begun_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> ending_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer response_;
  std::shared_ptr<Derived> self_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_WRITE_CALL_H_
