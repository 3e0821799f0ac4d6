// The demonstration through the real server and client, as a visitor runs it: exact greedy answers,
// the same after a restart with nothing read twice, and the control that must fail.
//
// The answers are those of tests/golden/demo, which has a command that computes them for another
// model, apart from this code. What must be true of any built-in model stands here.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace longleaf {
namespace {

using nlohmann::json;

const char kBin[] = LONGLEAF_BINARY_DIR "/bin/";
// As the recorded answers were computed, but for the precision of a float.
const std::vector<std::string> kExact = {"--weights", "f32", "--state-dtype", "f32"};
const char kDemo[] = LONGLEAF_SOURCE_DIR "/model/demo";
const char kRecorded[] = LONGLEAF_SOURCE_DIR "/tests/golden/demo/answers.tsv";
const char kNotStated[] = "not stated";

// What a built-in model has to be good for: questions that it answers as the document does, and
// stated facts that it may know by its window alone, which would be no control.
constexpr int kLeastRight = 12;
constexpr int kMostRightByWindow = 2;
// Logits. A choice of tokens this close may fall either way in float32.
constexpr double kUndecided = 0.002;

struct Case {
  std::string question;
  std::string truth;   // what the document says
  std::string answer;  // what the model says with its core tokens
  double margin;       // by how much the closest of its tokens was decided, in logits
  std::string window;  // what it says with its window alone
  double window_margin;
};

std::vector<std::string> Split(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream stream(line);
  for (std::string field; std::getline(stream, field, '\t');) {
    fields.push_back(field);
  }
  return fields;
}

// What make.py escaped, as it was.
std::string Unescaped(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char next = text[++i];
    out += next == 'n' ? '\n' : next == 't' ? '\t' : next;
  }
  return out;
}

std::vector<std::string> Lines(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
  }
  return lines;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const std::string& line : Lines(kRecorded)) {
    if (line.starts_with('#')) {
      continue;
    }
    const std::vector<std::string> fields = Split(line);
    if (fields.size() != 6) {
      ADD_FAILURE() << kRecorded << ": " << line;
      continue;
    }
    cases.push_back({fields[0], fields[1], Unescaped(fields[2]), std::stod(fields[3]),
                     Unescaped(fields[4]), std::stod(fields[5])});
  }
  return cases;
}

// Of the model, from its config.json: what sees its window and nothing before it.
std::string WindowAlone() {
  std::ifstream file(std::string(kDemo) + "/config.json");
  const json config = json::parse(file, nullptr, false);
  const json window = config.is_object() ? config["cca"]["window"] : json();
  EXPECT_TRUE(window.is_number_integer());
  return "streaming:sinks=0,w=" + window.dump();
}

// longleafd as a child process.
class Daemon {
 public:
  Daemon(const std::string& store, const std::vector<std::string>& flags) {
    int pipe_fds[2];
    EXPECT_EQ(pipe(pipe_fds), 0);
    std::vector<std::string> arguments = {std::string(kBin) + "longleafd",
                                          "--model",
                                          kDemo,
                                          "--store",
                                          store,
                                          "--listen",
                                          "127.0.0.1:0",
                                          "--metrics-listen",
                                          "127.0.0.1:0",
                                          "--log-level",
                                          "warn"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    pid_ = fork();
    if (pid_ == 0) {
      dup2(pipe_fds[1], STDOUT_FILENO);
      close(pipe_fds[0]);
      close(pipe_fds[1]);
      std::vector<char*> argv;
      for (std::string& argument : arguments) {
        argv.push_back(argument.data());
      }
      argv.push_back(nullptr);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(pipe_fds[1]);
    FILE* const out = fdopen(pipe_fds[0], "r");
    char line[1024] = "";
    EXPECT_NE(std::fgets(line, sizeof(line), out), nullptr) << "the server did not start";
    std::fclose(out);
    const std::string text = line;
    EXPECT_EQ(text.rfind("longleafd ready listen=", 0), 0u) << text;
    const size_t begin = text.find('=') + 1;
    address_ = text.substr(begin, text.find(' ', begin) - begin);
  }
  ~Daemon() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  const std::string& address() const { return address_; }

  // As a container runtime stops it. The exit code.
  int Terminate() {
    kill(pid_, SIGTERM);
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = -1;
  std::string address_;
};

// Runs `longleaf --json` and returns the last line that it printed.
json Client(const std::string& address, const std::vector<std::string>& arguments,
            int* exit_code = nullptr) {
  std::string command = std::string(kBin) + "longleaf --server " + address + " --json";
  for (const std::string& argument : arguments) {
    command += " '" + argument + "'";  // none holds a quote
  }
  FILE* const out = popen(command.c_str(), "r");
  std::string last;
  char line[65536];
  while (std::fgets(line, sizeof(line), out) != nullptr) {
    last = line;
  }
  const int status = pclose(out);
  if (exit_code != nullptr) {
    *exit_code = WEXITSTATUS(status);
  } else {
    EXPECT_EQ(WEXITSTATUS(status), 0) << command;
  }
  return json::parse(last, nullptr, false);
}

class DemoAnswersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "longleaf-demo-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    ASSERT_GE(Cases().size(), static_cast<size_t>(kLeastRight));
  }
  void TearDown() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  void Upload(const Daemon& daemon) {
    const json document = Client(daemon.address(), {"upload", std::string(kDemo) + "/document.txt",
                                                    "--id", "demo", "--wait"});
    ASSERT_EQ(document.value("state", ""), "active") << document.dump();
  }
  std::string directory_;
};

// Of the records alone, so that what the other tests hold the server to is worth holding.
TEST_F(DemoAnswersTest, TheRecordsAreOfThisModelAndItIsGoodForSomething) {
  const std::vector<std::string> sums = Lines(std::string(kDemo) + "/SHA256SUMS");
  const std::string first = Lines(kRecorded).at(0);
  const std::string sum = first.substr(first.rfind(' ') + 1);
  EXPECT_EQ(std::count(sums.begin(), sums.end(), sum + "  model.safetensors"), 1)
      << "of another model; run tests/golden/demo/make.py";
  const std::vector<std::string> questions = Lines(std::string(kDemo) + "/questions.tsv");
  const std::vector<Case> cases = Cases();
  ASSERT_EQ(questions.size(), cases.size());
  int right = 0;
  int by_window = 0;
  int undecided = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const std::vector<std::string> fields = Split(questions[i]);
    ASSERT_EQ(fields.size(), 3u);
    EXPECT_EQ(fields[1], c.question);
    EXPECT_EQ(fields[2], c.truth);
    right += c.answer == c.truth ? 1 : 0;
    by_window += c.truth != kNotStated && c.window == c.truth ? 1 : 0;
    undecided += (c.margin < kUndecided ? 1 : 0) + (c.window_margin < kUndecided ? 1 : 0);
  }
  EXPECT_GE(right, kLeastRight);
  EXPECT_LE(by_window, kMostRightByWindow);
  EXPECT_LE(undecided, 1);
}

TEST_F(DemoAnswersTest, ExactAnswersBeforeAndAfterARestart) {
  std::vector<std::string> first;
  {
    Daemon daemon(directory_, kExact);
    Upload(daemon);
    for (const Case& c : Cases()) {
      const json answer = Client(daemon.address(), {"ask", "documents/demo", c.question});
      if (c.margin >= kUndecided) {
        EXPECT_EQ(answer.value("text", ""), c.answer) << c.question;
      }
      EXPECT_EQ(answer.value("state_tier", ""), "memory");
      first.push_back(answer.value("text", ""));
    }
    EXPECT_EQ(daemon.Terminate(), 0);
  }
  Daemon daemon(directory_, kExact);
  const std::vector<Case> cases = Cases();
  for (size_t i = 0; i < cases.size(); ++i) {
    const json answer = Client(daemon.address(), {"ask", "documents/demo", cases[i].question});
    EXPECT_EQ(answer.value("text", ""), first[i]) << cases[i].question;
    EXPECT_EQ(answer.value("state_tier", ""), i == 0 ? "disk" : "memory");
    EXPECT_EQ(answer.value("tokens_prefilled", int64_t{-1}),
              answer.value("question_tokens", int64_t{-2}));
    EXPECT_EQ(answer.value("tokens_reused", int64_t{0}),
              answer.value("document_tokens", int64_t{0}) + 1);  // and BOS
    EXPECT_GT(answer.value("ttft_seconds", 0.0), 0.0);
  }
  EXPECT_EQ(daemon.Terminate(), 0);
}

// Rounding weights and states moves no answer but those that float32 itself could hardly decide.
// The fewer bits, the more of them; how many is the measure of what a format costs.
TEST_F(DemoAnswersTest, TheSameAnswersFromEveryFormat) {
  struct Format {
    std::string weights;
    std::string state;
    double moves;  // logits: what rounding may move
  };
  for (const Format& format :
       std::vector<Format>{{"int8", "bf16", 0.1}, {"int8", "int8", 0.1}, {"int4", "bf16", 0.5}}) {
    SCOPED_TRACE(format.weights + " weights, " + format.state + " states");
    Daemon daemon(directory_ + "/" + format.weights + format.state,
                  {"--weights", format.weights, "--state-dtype", format.state});
    Upload(daemon);
    const std::vector<Case> cases = Cases();
    int firm = 0;
    for (const Case& c : cases) {
      if (c.margin < format.moves) {
        continue;
      }
      ++firm;
      const json answer = Client(daemon.address(), {"ask", "documents/demo", c.question});
      EXPECT_EQ(answer.value("text", ""), c.answer) << c.question;
    }
    EXPECT_GE(3 * firm, 2 * static_cast<int>(cases.size()));
  }
}

TEST_F(DemoAnswersTest, TheWindowAloneAnswersAsRecordedToo) {
  std::vector<std::string> flags = kExact;
  flags.insert(flags.end(), {"--attention", WindowAlone()});
  Daemon daemon(directory_, flags);
  Upload(daemon);
  for (const Case& c : Cases()) {
    if (c.window_margin >= kUndecided) {
      const json answer = Client(daemon.address(), {"ask", "documents/demo", c.question});
      EXPECT_EQ(answer.value("text", ""), c.window) << c.question;
    }
  }
}

TEST_F(DemoAnswersTest, ErrorsAreOneLineAndAnExitCode) {
  Daemon daemon(directory_, {});
  int exit_code = 0;
  Client(daemon.address(), {"ask", "documents/none", "Who?"}, &exit_code);
  EXPECT_EQ(exit_code, 4);
  Client("127.0.0.1:1", {"list"}, &exit_code);
  EXPECT_EQ(exit_code, 3);
}

}  // namespace
}  // namespace longleaf
