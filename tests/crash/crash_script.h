// A script of everything that a store does, for tests that stop the disk or fail it on the way.
#ifndef LONGLEAF_TESTS_CRASH_CRASH_SCRIPT_H_
#define LONGLEAF_TESTS_CRASH_CRASH_SCRIPT_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/crash/crash_fixture.h"

namespace longleaf::store {

class CrashScript : public CrashFixture {
 protected:
  CrashScript() { options_.disk_cap_bytes = 110'000; }
  void SetUp() override {}  // each run of the script begins with Begin()

  // The long form of a test.
  static bool All() { return FromEnvironment("LONGLEAF_CRASH_ALL", 0) != 0; }
  // To come to an operation that failed without all those before it.
  static int64_t FirstOperation() { return FromEnvironment("LONGLEAF_CRASH_FIRST", 1); }

  using Step = std::function<absl::Status()>;

  static std::vector<TextToken> Tokens(int64_t first_byte, int64_t count) {
    std::vector<TextToken> tokens;
    for (int64_t i = 0; i < count; ++i) {
      tokens.push_back({static_cast<int32_t>(i * 7), first_byte + i + 1});
    }
    return tokens;
  }

  Checkpoint At(int64_t tokens, const std::string& document, int64_t core_bytes = 9000) {
    Checkpoint checkpoint;
    checkpoint.key = KeyOf(SomeTokens(tokens));
    checkpoint.document_id = document;
    checkpoint.core_bytes = core_bytes;
    checkpoint.tail_bytes = 5000;
    checkpoint.seed = static_cast<uint64_t>(tokens);
    return checkpoint;
  }
  // An append whose tokens go on from so much text and so many tokens; nothing where one of the
  // steps that lead there was refused.
  absl::Status AppendAfter(size_t text_bytes, size_t tokens_before, const DocumentName& name,
                           const std::string& text, const std::vector<TextToken>& tokens) {
    const ModelDocument* const document = model_.Find(name);
    if (document != nullptr &&
        (document->text.size() != text_bytes || document->tokens.size() != tokens_before)) {
      return absl::OkStatus();
    }
    return AppendOne(name, text, tokens);
  }
  absl::Status CommitAfter(int64_t base, int64_t tokens, const std::string& document) {
    Checkpoint checkpoint = At(tokens, document);
    checkpoint.base = KeyOf(SomeTokens(base));
    checkpoint.replace_base = true;
    if (!model_.snapshots.contains(*checkpoint.base)) return absl::OkStatus();  // was refused
    return CommitOne(checkpoint);
  }

  std::vector<Step> FirstLife() {
    const DocumentName a{"t", "a"};
    const DocumentName b{"t", "b"};
    return {
        [=, this] { return CreateOne(a, "r1", 5000); },
        [=, this] { return AppendOne(a, SomeText(2500, 1), Tokens(0, 900)); },
        [=, this] { return AppendAfter(2500, 900, a, SomeText(1500, 2), Tokens(2500, 300)); },
        [=, this] { return CreateOne(a, "r1", 5000); },
        [=, this] { return FinalizeOne(a); },
        [=, this] { return UpdateOne(a, "named"); },
        [=, this] { return CommitOne(At(10, "a")); },
        [=, this] { return CommitAfter(10, 20, "a"); },
        [=, this] { return CommitAfter(20, 30, "a"); },
        [this] { return Reclaimed(); },
        [=, this] { return CreateOne(b, "r2"); },
        [=, this] { return AppendOne(b, SomeText(3000, 3), Tokens(0, 10)); },
        [=, this] { return ResetOne(b); },
        [=, this] { return AppendAfter(3000, 0, b, "", Tokens(0, 20)); },
        [=, this] { return CommitOne(At(40, "b")); },
        [=, this] { return DropOne(KeyOf(SomeTokens(40))); },
        [=, this] { return CommitOne(At(50, "b")); },
        [=, this] { return CommitOne(At(60, "")); },
        [=, this] { return CommitOne(At(70, "", 30'000)); },  // evicts
        [=, this] { return CommitOne(At(80, "a", 30'000)); },
        [=, this] { return DeleteOne(b); },
        [this] { return Reclaimed(); },
    };
  }

  std::vector<Step> SecondLife() {
    const DocumentName c{"t", "c"};
    return {
        [=, this] { return CreateOne(c, "r3"); },
        [=, this] { return AppendOne(c, SomeText(2000, 4), Tokens(0, 100)); },
        [=, this] { return CommitOne(At(90, "c")); },
        [=, this] { return FinalizeOne(c); },
        [=, this] {
          return DeleteOne({"t", "a"});
        },
        [this] { return Reclaimed(); },
    };
  }

  absl::Status Reclaimed() {
    store_->WaitForReclaim();
    return absl::OkStatus();
  }

  using Refused = std::function<void(const absl::Status&)>;

  // Runs the whole; true: the disk was frozen on the way. What the disk refuses is handed to
  // `refused`, which makes it work again when it was the opening; without it that is a failure.
  bool RunScript(const Refused& refused = {}) {
    if (!Run(FirstLife(), refused)) return true;
    if (!LeaveOrphans(refused)) return true;
    absl::StatusOr<std::unique_ptr<Store>> opened = OpenWithFileSystem(options_, file_system_);
    if (opened.ok()) store_ = *std::move(opened);
    if (disk_->frozen()) return true;
    if (store_ == nullptr) {
      if (refused) refused(opened.status());
      Reopen();
      if (store_ == nullptr) return false;
    }
    Resolve();
    return !Run(SecondLife(), refused);
  }

 private:
  bool Run(const std::vector<Step>& steps, const Refused& refused) {
    for (size_t i = 0; i < steps.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "step " << i);
      const absl::Status status = steps[i]();
      if (disk_->frozen()) return false;
      if (status.ok()) continue;
      if (!refused) {
        ADD_FAILURE() << status;
        return true;
      }
      refused(status);
    }
    return true;
  }

  // What a crash leaves for the next start: segments of a snapshot that was dropped while somebody
  // read it, half a file in incoming/, a row that belongs to nothing.
  bool LeaveOrphans(const Refused& refused) {
    const SnapshotKey key = KeyOf(SomeTokens(15));
    if (!Run({[this] { return CommitOne(At(15, "")); }}, refused)) return false;
    {
      const absl::StatusOr<SnapshotPtr> pinned = store_->FindSnapshot(key);
      if (!Run({[&, this] { return DropOne(key); }}, refused)) return false;
      store_.reset();
    }
    if (disk_->frozen()) return false;
    std::ofstream(options_.path + "/incoming/77.sst") << "half a segm";
    RawDatabase(options_.path).Put("asked", "nobody's", "");
    return true;
  }
};

}  // namespace longleaf::store

#endif  // LONGLEAF_TESTS_CRASH_CRASH_SCRIPT_H_
