#include "tests/unit/service/scheduler/workload.h"

#include <cmath>
#include <cstdlib>
#include <random>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace longleaf::service::simulation {
namespace {

// Small values are as frequent as large ones.
double LogUniform(std::mt19937_64& random, double low, double high) {
  return std::exp(std::uniform_real_distribution<double>(std::log(low), std::log(high))(random));
}

int64_t LogUniform(std::mt19937_64& random, int64_t high) {
  return static_cast<int64_t>(LogUniform(random, 1.0, static_cast<double>(high)));
}

}  // namespace

std::vector<Request> RandomRequests(uint64_t seed, const Mix& mix) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> part(0, 1);
  std::vector<Request> requests;
  for (int i = 0; i < mix.count; ++i) {
    Request request;
    request.kind = part(random) < mix.documents ? WorkKind::kDocument : WorkKind::kQuestion;
    const bool asks = request.kind == WorkKind::kQuestion;
    // The first tenants have more than the last ones.
    const double who = part(random) * part(random) * mix.tenants;
    request.flow.tenant = absl::StrCat("tenant-", static_cast<int>(who));
    request.flow.document = asks ? absl::StrCat("document-", static_cast<int>(part(random) * 5))
                                 : absl::StrCat("upload-", i);
    request.arrival = part(random) * mix.seconds;
    request.tokens = LogUniform(random, asks ? mix.max_question_tokens : mix.max_document_tokens);
    request.answer_tokens = LogUniform(random, mix.max_answer_tokens);
    if (asks && part(random) < mix.rebuilds) {
      request.rebuild_tokens = LogUniform(random, mix.max_document_tokens / 4);
    }
    if (part(random) < mix.cancels) {
      request.cancel_at = request.arrival + LogUniform(random, 0.001, mix.seconds);
    }
    if (asks && part(random) < mix.deadlines) {
      request.deadline = request.arrival + LogUniform(random, 0.1, mix.max_deadline_seconds);
    }
    if (asks && part(random) < mix.pauses) {
      request.pause_from = request.arrival;
      request.pause_until = request.arrival + LogUniform(random, 0.1, 2 * mix.seconds);
    }
    requests.push_back(request);
  }
  return requests;
}

Machine RandomMachine(uint64_t seed) {
  std::mt19937_64 random(seed ^ 0x5eed);
  Machine machine;
  machine.step_seconds = LogUniform(random, 0.002, 0.05);
  machine.free_rows = LogUniform(random, 128);
  machine.row_seconds = machine.step_seconds / LogUniform(random, 4.0, 256.0);
  machine.position_seconds = machine.row_seconds * 1e-5;
  machine.curvature = std::uniform_real_distribution<double>(0.9, 1.1)(random);
  machine.noise = LogUniform(random, 0.001, 0.1);
  machine.outliers = 0.002;
  return machine;
}

int Seeds(int few) {
  const char* asked = std::getenv("LONGLEAF_SIMULATION_SEEDS");
  int seeds = 0;
  return asked != nullptr && absl::SimpleAtoi(asked, &seeds) && seeds > 0 ? seeds : few;
}

}  // namespace longleaf::service::simulation
