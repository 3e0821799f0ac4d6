#include "tests/soak/random_client.h"

#include <chrono>
#include <thread>
#include <vector>

namespace longleaf::soak {

RandomClient::RandomClient(int64_t number, int64_t slots, uint64_t seed, Link* link,
                           Library* library, Tally* tally)
    : number_(number),
      slots_(slots),
      random_(seed * 7919 + static_cast<uint64_t>(number)),
      link_(link),
      library_(library),
      tally_(tally) {}

void RandomClient::Run() {
  Order order = Order::kWork;
  while (order != Order::kStop) {
    if (const std::optional<Order> next = link_->NextOrder(&epoch_)) {
      order = *next;
      if (order == Order::kVerifyAll || order == Order::kDeleteAll) {
        Obey(order);
        link_->Done();
      }
      continue;
    }
    if (order == Order::kWork && Connect()) {
      WorkOnce();
    } else if (order != Order::kStop) {
      // Its order is done, the others' are not: a short look away.
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
}

// To the server that is up now. What was acknowledged by the one before is looked at first.
bool RandomClient::Connect() {
  const std::optional<Link::Target> target = link_->WaitUp();
  if (!target.has_value()) {
    return false;
  }
  if (target->generation == generation_) {
    return true;
  }
  calls_ = std::make_unique<Calls>(target->address);
  generation_ = target->generation;
  if (!litter_.empty()) {
    calls_->Delete(litter_);
    litter_.clear();
  }
  std::vector<std::string> ids;
  for (const auto& [id, known] : known_) {
    if (known.maybe_deleted || known.maybe_named.has_value() || random_.OneIn(2)) {
      ids.push_back(id);
    }
  }
  for (const std::string& id : ids) {
    if (!Verify(id)) {
      break;
    }
  }
  return link_->Steady(generation_);
}

void RandomClient::Obey(Order order) {
  while (Connect()) {
    if (order == Order::kVerifyAll) {
      VerifyAll();
    } else {
      for (int tries = 0; tries < 1000 && !known_.empty() && link_->Steady(generation_); ++tries) {
        const std::string id = known_.begin()->first;  // its own, not the map's that it leaves
        Delete(id);
      }
    }
    if (link_->Steady(generation_)) {
      return;
    }
  }
}

void RandomClient::WorkOnce() {
  // Half of the time on questions: that is what the service is for.
  const int64_t dice = random_.Below(100);
  const std::string complete = Pick(/*complete=*/true);
  const std::string unfinished = Pick(/*complete=*/false);
  if (complete.empty() || dice < 12) {
    const std::string id = RandomId();
    known_.count(id) == 0 ? Put(id) : Watch(id);
  } else if (dice < 17) {
    const std::string id = RandomId();
    if (known_.count(id) == 0) {
      BreakOff(id, random_.OneIn(2) ? UploadEnd::kBrokenOff : UploadEnd::kHalfClosed);
    }
  } else if (dice < 24) {
    unfinished.empty() ? Repeat(complete) : static_cast<void>(FinishUpload(unfinished));
  } else if (dice < 26) {
    Overwrite(complete);
  } else if (dice < 56) {
    Question(complete, Manner::kPlain);
  } else if (dice < 60) {
    Question(complete, Manner::kPartial);
  } else if (dice < 63) {
    Question(complete, Manner::kCancelled);
  } else if (dice < 66) {
    Question(complete, Manner::kShortDeadline);
  } else if (dice < 67) {
    Question(complete, Manner::kDeletedMeanwhile);
  } else if (dice < 72) {
    Watch(complete);
  } else if (dice < 77) {
    Update(complete);
  } else if (dice < 81) {
    List();
  } else if (dice < 86) {
    Read(complete, random_.OneIn(3));
  } else if (dice < 91) {
    Verify(random_.OneIn(4) ? RandomId() : complete);
  } else if (dice < 97) {
    Delete(random_.OneIn(3) || unfinished.empty() ? complete : unfinished);
  } else {
    Nonsense();
  }
}

std::string RandomClient::RandomId() {
  return "c" + std::to_string(number_) + "-" + std::to_string(random_.Below(slots_));
}

std::string RandomClient::Pick(bool complete) {
  std::vector<std::string> ids;
  for (const auto& [id, known] : known_) {
    if (known.complete == complete) {
      ids.push_back(id);
    }
  }
  return ids.empty() ? ""
                     : ids[static_cast<size_t>(random_.Below(static_cast<int64_t>(ids.size())))];
}

RandomClient::Fate RandomClient::Judge(const std::string& what, const grpc::Status& status) {
  tally_->Count("operations");
  tally_->Count("op: " + what);
  const bool steady = link_->Steady(generation_);
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return Fate::kOk;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      tally_->Count("refused: " + ReasonOf(status));
      return Fate::kBusy;
    case grpc::StatusCode::UNAVAILABLE:
      if (steady && ReasonOf(status) == "STORE_UNAVAILABLE") {
        tally_->Count("refused: STORE_UNAVAILABLE");
        return Fate::kBusy;
      }
      break;
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      // A connection that breaks shows as any of these; the server's own say why.
      if (steady || !ReasonOf(status).empty()) {
        Unexpected(what, "", status);
      }
      break;
    default:
      return Fate::kRefused;
  }
  if (steady) {
    tally_->Finding("gone while up", what + ": " + Describe(status));
  }
  tally_->Count("broken by the server's end");
  return Fate::kUnknown;
}

void RandomClient::Unexpected(const std::string& what, const std::string& id,
                              const grpc::Status& status) {
  tally_->Finding("unexpected status", what + " " + id + ": " + Describe(status));
}

void RandomClient::Lost(const std::string& id, const std::string& what) {
  tally_->Finding("lost", id + ": " + what);
  known_.erase(id);
}

}  // namespace longleaf::soak
