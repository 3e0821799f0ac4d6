#include "service/bench/options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace longleaf::service::bench {
namespace {

CommandLine Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "longleaf-bench");
  return ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
}

TEST(OptionsTest, ModesAndTheirOptions) {
  const CommandLine closed =
      Parse({"--address", "host:1", "closed", "--clients", "1,4,64", "--duration", "1m30s",
             "--warmup", "0", "--documents", "3", "--count-tokens", "--json", "x.json"});
  ASSERT_TRUE(closed.run);
  EXPECT_EQ(closed.options.mode, Mode::kClosed);
  EXPECT_EQ(closed.options.address, "host:1");
  EXPECT_EQ(closed.options.clients, (std::vector<int64_t>{1, 4, 64}));
  EXPECT_EQ(closed.options.duration_seconds, 90);
  EXPECT_EQ(closed.options.warmup_seconds, 0);
  EXPECT_EQ(closed.options.documents, 3);
  EXPECT_TRUE(closed.options.count_tokens);
  EXPECT_EQ(closed.options.json, "x.json");

  const CommandLine open = Parse({"open", "--rate", "0.5,8", "--max-outstanding", "9", "--seed",
                                  "5", "--document", "a", "--document", "b", "--plot", "x.svg"});
  ASSERT_TRUE(open.run);
  EXPECT_EQ(open.options.mode, Mode::kOpen);
  EXPECT_EQ(open.options.rates, (std::vector<double>{0.5, 8}));
  EXPECT_EQ(open.options.most_outstanding, 9);
  EXPECT_EQ(open.options.seed, 5);
  EXPECT_EQ(open.options.existing, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(open.options.plot, "x.svg");

  EXPECT_EQ(Parse({"interference", "--readers", "7"}).options.readers, 7);
  EXPECT_EQ(Parse({"batching", "--batch", "8"}).options.batch, 8);
  const CommandLine cold = Parse({"cold", "--existing", "whale", "--prefill-seconds", "12.5"});
  ASSERT_TRUE(cold.run);
  EXPECT_EQ(cold.options.existing, std::vector<std::string>{"whale"});
  EXPECT_EQ(cold.options.prefill_seconds, 12.5);
}

TEST(OptionsTest, WrongUsageIsExitTwo) {
  const std::vector<std::vector<const char*>> wrong = {
      {},
      {"dance"},
      {"closed", "--clients", "0"},
      {"closed", "--clients", "1,x"},
      {"closed", "--duration", "soon"},
      {"closed", "--duration", "0"},
      {"closed", "--rate", "1"},
      {"closed", "--temperature", "-1"},
      {"open", "--rate", "0"},
      {"open", "--rate", "-3"},
      {"batching", "--batch", "1"},
      {"cold", "--plot", "x.svg"},
      {"interference", "--readers"},
  };
  for (const std::vector<const char*>& arguments : wrong) {
    const CommandLine command = Parse(arguments);
    EXPECT_FALSE(command.run) << ::testing::PrintToString(arguments);
    EXPECT_EQ(command.exit_code, 2) << ::testing::PrintToString(arguments);
  }
}

TEST(OptionsTest, HelpAndVersionAreNoFailure) {
  for (const char* flag : {"--help", "--version"}) {
    const CommandLine command = Parse({flag});
    EXPECT_FALSE(command.run);
    EXPECT_EQ(command.exit_code, 0);
  }
}

}  // namespace
}  // namespace longleaf::service::bench
