#include "tests/soak/link.h"

#include <cstdio>

namespace longleaf::soak {

void Link::Up(const std::string& address) {
  {
    MutexLock lock(&mutex_);
    target_ = {address, target_.generation + 1};
    up_ = true;
  }
  changed_.NotifyAll();
}

void Link::Down() {
  MutexLock lock(&mutex_);
  up_ = false;
}

void Link::OrderAll(Order order, int64_t clients) {
  {
    MutexLock lock(&mutex_);
    order_ = order;
    ++epoch_;
    done_ = 0;
  }
  changed_.NotifyAll();
  if (order == Order::kWork || order == Order::kStop) {
    return;
  }
  MutexLock lock(&mutex_);
  while (done_ < clients) {
    changed_.Wait(&mutex_);
  }
}

std::optional<Link::Target> Link::WaitUp() {
  MutexLock lock(&mutex_);
  while (!up_ && order_ != Order::kStop) {
    changed_.Wait(&mutex_);
  }
  if (order_ == Order::kStop) {
    return std::nullopt;
  }
  return target_;
}

bool Link::Steady(int64_t generation) const {
  MutexLock lock(&mutex_);
  return up_ && target_.generation == generation;
}

std::optional<Order> Link::NextOrder(int64_t* epoch) const {
  MutexLock lock(&mutex_);
  if (*epoch == epoch_) {
    return std::nullopt;
  }
  *epoch = epoch_;
  return order_;
}

void Link::Done() {
  {
    MutexLock lock(&mutex_);
    ++done_;
  }
  changed_.NotifyAll();
}

void Tally::Count(const std::string& name, int64_t n) {
  MutexLock lock(&mutex_);
  counts_[name] += n;
}

int64_t Tally::Of(const std::string& name) const {
  MutexLock lock(&mutex_);
  const auto it = counts_.find(name);
  return it == counts_.end() ? 0 : it->second;
}

void Tally::Finding(const std::string& kind, const std::string& what) {
  MutexLock lock(&mutex_);
  if (++findings_[kind] > 30) {
    return;  // counted; a server that is gone fails every call
  }
  std::printf("FINDING %s: %s\n", kind.c_str(), what.c_str());
  std::fflush(stdout);
}

int64_t Tally::findings() const {
  MutexLock lock(&mutex_);
  int64_t all = 0;
  for (const auto& [kind, n] : findings_) {
    all += n;
  }
  return all;
}

void Tally::Print() const {
  MutexLock lock(&mutex_);
  for (const auto& [name, n] : counts_) {
    std::printf("  %-34s %12lld\n", name.c_str(), static_cast<long long>(n));
  }
  for (const auto& [kind, n] : findings_) {
    std::printf("  FINDING %-26s %12lld\n", kind.c_str(), static_cast<long long>(n));
  }
  std::fflush(stdout);
}

}  // namespace longleaf::soak
