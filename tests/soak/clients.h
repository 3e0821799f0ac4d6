// Several random clients, each in a thread of its own.
#ifndef LONGLEAF_TESTS_SOAK_CLIENTS_H_
#define LONGLEAF_TESTS_SOAK_CLIENTS_H_

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "tests/soak/random_client.h"

namespace longleaf::soak {

class Clients {
 public:
  Clients(int64_t count, int64_t slots, uint64_t seed, Link* link, Library* library, Tally* tally)
      : link_(link) {
    for (int64_t i = 0; i < count; ++i) {
      clients_.push_back(std::make_unique<RandomClient>(i, slots, seed, link, library, tally));
      threads_.emplace_back([client = clients_.back().get()] { client->Run(); });
    }
  }
  ~Clients() { Stop(); }
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  int64_t count() const { return static_cast<int64_t>(clients_.size()); }

  // Each has done it when this returns. The server must be up.
  void Do(Order order) { link_->OrderAll(order, count()); }
  void Stop() {
    link_->OrderAll(Order::kStop, count());
    for (std::thread& thread : threads_) {
      thread.join();
    }
    threads_.clear();
  }

 private:
  Link* const link_;
  std::vector<std::unique_ptr<RandomClient>> clients_;
  std::vector<std::thread> threads_;
};

}  // namespace longleaf::soak

#endif  // LONGLEAF_TESTS_SOAK_CLIENTS_H_
