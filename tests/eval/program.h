// Runs a program of the build and collects what it prints.
#ifndef LONGLEAF_TESTS_EVAL_PROGRAM_H_
#define LONGLEAF_TESTS_EVAL_PROGRAM_H_

#include <string>
#include <vector>

namespace longleaf::testing {

struct ProgramResult {
  int exit_code = -1;  // -1: it could not be started or was killed
  std::string out;     // stdout
  std::string err;     // stderr
};

// Runs `<build>/bin/longleaf-eval arguments...` in the source folder and waits for its end.
ProgramResult RunEval(const std::vector<std::string>& arguments);

// A folder of its own for the running test, empty, below the build folder.
std::string ScratchFolder();

}  // namespace longleaf::testing

#endif  // LONGLEAF_TESTS_EVAL_PROGRAM_H_
