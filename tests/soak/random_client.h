// A client that does whatever comes to its mind with documents of its own, and knows what the
// server has acknowledged to it. Every answer is checked against that; what was under way when the
// server died may or may not have happened, and is asked about.
#ifndef LONGLEAF_TESTS_SOAK_RANDOM_CLIENT_H_
#define LONGLEAF_TESTS_SOAK_RANDOM_CLIENT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/soak/calls.h"
#include "tests/soak/library.h"
#include "tests/soak/link.h"

namespace longleaf::soak {

// Not thread-safe: one thread runs it. Its documents' ids begin with its number, so that no other
// client touches them.
class RandomClient {
 public:
  // None owned; all must outlive it. `slots`: how many documents it has at most.
  RandomClient(int64_t number, int64_t slots, uint64_t seed, Link* link, Library* library,
               Tally* tally);

  // Works, verifies and deletes as the link orders, until it orders to stop.
  void Run();

 private:
  // What the server has acknowledged of one document.
  struct Known {
    v1::UploadHeader header;  // as uploaded
    int64_t text = 0;         // in the library
    bool complete = false;
    bool active = false;       // seen so
    int64_t committed = 0;     // of an unfinished upload: said to be durable
    size_t sent = 0;           // and at most this much was sent
    std::string display_name;  // now
    std::map<std::string, std::string> labels;
    int64_t expires_us = 0;  // 0: never. It may be gone from then on
    std::string etag;        // of the ACTIVE document; empty: not known
    // Calls that broke: done or not, the next look tells.
    bool maybe_deleted = false;
    std::optional<std::pair<std::string, std::map<std::string, std::string>>> maybe_named;
  };
  enum class Fate {
    kOk,
    kRefused,  // for good; the caller knows whether rightly
    kBusy,     // not done; later perhaps
    kUnknown,  // the server went away: done or not
  };

  // ---- random_client.cc: what to do
  bool Connect();
  void Obey(Order order);
  void WorkOnce();
  std::string RandomId();
  // A document of its own that satisfies this, or empty.
  std::string Pick(bool complete);
  Fate Judge(const std::string& what, const grpc::Status& status);
  void Unexpected(const std::string& what, const std::string& id, const grpc::Status& status);
  void Lost(const std::string& id, const std::string& what);

  // ---- client_uploads.cc
  void Put(const std::string& id);
  // Brings an unfinished upload to its end. False when it stays unfinished.
  bool FinishUpload(const std::string& id);
  // Where the server says it is; false when it cannot be said now or there is none.
  bool AskOffset(const std::string& id, int64_t* offset, bool* complete);
  void BreakOff(const std::string& id, UploadEnd end);
  void Repeat(const std::string& id);
  void Overwrite(const std::string& id);
  void Acknowledged(const std::string& id, const v1::Document& document);

  // ---- client_questions.cc
  enum class Manner { kPlain, kCancelled, kShortDeadline, kPartial, kDeletedMeanwhile };
  void Question(const std::string& id, Manner manner);
  void CheckEvidence(const Text& text, const AskResult& answer);

  // ---- client_documents.cc: everything else on documents
  void Watch(const std::string& id);
  void Update(const std::string& id);
  void Delete(const std::string& id);
  void Read(const std::string& id, bool whole);
  void Compare(const std::string& id, Known& known, const v1::Document& document);
  bool MayBeGone(const Known& known) const;

  // ---- client_checks.cc: the whole, and what is none
  void List();
  void Nonsense();
  void Nothing(const std::string& id);  // is there
  void VerifyAll();
  bool Verify(const std::string& id);

  const int64_t number_;
  const int64_t slots_;
  Random random_;
  Link* const link_;
  Library* const library_;
  Tally* const tally_;
  std::map<std::string, Known> known_;
  std::unique_ptr<Calls> calls_;
  int64_t generation_ = 0;
  int64_t epoch_ = 0;
  int64_t requests_ = 0;
  std::string litter_;  // an id to clear away; empty: none
};

}  // namespace longleaf::soak

#endif  // LONGLEAF_TESTS_SOAK_RANDOM_CLIENT_H_
