// What the tests have to know of the demo model, read from its folder: its weights and its shape
// change.
#ifndef LONGLEAF_TESTS_EVAL_DEMO_MODEL_H_
#define LONGLEAF_TESTS_EVAL_DEMO_MODEL_H_

#include <cstdint>
#include <string>

namespace longleaf::testing {

inline constexpr char kDemoModel[] = "model/demo";

struct DemoModel {
  int64_t context = 0;
  std::string attention;    // the policy that it was trained with
  std::string window_only;  // the same without core tokens
};

// All empty when config.json has not what it should.
DemoModel ReadDemoModel();

// The whole of a file; empty when there is none.
std::string ReadText(const std::string& path);

}  // namespace longleaf::testing

#endif  // LONGLEAF_TESTS_EVAL_DEMO_MODEL_H_
