// Random requests for the simulator.
#ifndef LONGLEAF_TESTS_UNIT_SERVICE_SCHEDULER_WORKLOAD_H_
#define LONGLEAF_TESTS_UNIT_SERVICE_SCHEDULER_WORKLOAD_H_

#include <cstdint>
#include <vector>

#include "tests/unit/service/scheduler/simulator.h"

namespace longleaf::service::simulation {

struct Mix {
  int count = 200;
  double seconds = 60;  // over which they come, at random
  int tenants = 4;
  double documents = 0.1;  // part of the requests that are uploads
  int64_t max_document_tokens = 8192;
  int64_t max_question_tokens = 200;
  int64_t max_answer_tokens = 100;
  double rebuilds = 0.1;  // parts of the questions
  double cancels = 0.1;
  double deadlines = 0.1;
  double pauses = 0.05;
  double max_deadline_seconds = 60;
};

std::vector<Request> RandomRequests(uint64_t seed, const Mix& mix);

// A machine between a laptop and an accelerator.
Machine RandomMachine(uint64_t seed);

// LONGLEAF_SIMULATION_SEEDS, or `few`.
int Seeds(int few);

}  // namespace longleaf::service::simulation

#endif  // LONGLEAF_TESTS_UNIT_SERVICE_SCHEDULER_WORKLOAD_H_
