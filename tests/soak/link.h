// Where the server under test is right now, for clients that outlive it; and what the run has seen.
#ifndef LONGLEAF_TESTS_SOAK_LINK_H_
#define LONGLEAF_TESTS_SOAK_LINK_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "kernels/mutex.h"

namespace longleaf::soak {

// What the clients are told to do between their random operations.
enum class Order { kWork, kVerifyAll, kDeleteAll, kStop };

// Thread-safe. The harness moves the server; clients wait for it and do as they are ordered.
class Link {
 public:
  struct Target {
    std::string address;
    int64_t generation = 0;  // grows with every start
  };

  // ---- the harness
  void Up(const std::string& address);
  // Before anything that may break a call.
  void Down();
  // Orders all clients and waits until each has done it; kStop ends them, up or down.
  void OrderAll(Order order, int64_t clients);

  // ---- the clients
  // Waits for the server; nothing when told to stop.
  std::optional<Target> WaitUp();
  // Whether this server has been up, undisturbed, until now.
  bool Steady(int64_t generation) const;
  // The order of this epoch, when it is newer than `epoch`.
  std::optional<Order> NextOrder(int64_t* epoch) const;
  void Done();

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  Target target_ ABSL_GUARDED_BY(mutex_);
  bool up_ ABSL_GUARDED_BY(mutex_) = false;
  Order order_ ABSL_GUARDED_BY(mutex_) = Order::kWork;
  int64_t epoch_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t done_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Thread-safe. What happened, by name, and what must not have happened.
class Tally {
 public:
  void Count(const std::string& name, int64_t n = 1);
  int64_t Of(const std::string& name) const;
  // Something that the server must never do. Printed at once.
  void Finding(const std::string& kind, const std::string& what);
  int64_t findings() const;
  // All counts, one a line, findings last.
  void Print() const;

 private:
  mutable Mutex mutex_;
  std::map<std::string, int64_t> counts_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int64_t> findings_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longleaf::soak

#endif  // LONGLEAF_TESTS_SOAK_LINK_H_
