#include "tests/service/cli/client_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace longleaf::service::cli {
namespace {

constexpr int kPatienceMs = 240'000;

void CloseOne(int* fd) {
  if (*fd >= 0) {
    close(*fd);
    *fd = -1;
  }
}

// Appends what there is to read; closes the descriptor at its end. A terminal whose other side is
// gone reports EIO.
void ReadSome(int* fd, std::string* text) {
  std::array<char, 65536> bytes;
  const ssize_t n = read(*fd, bytes.data(), bytes.size());
  if (n > 0) {
    text->append(bytes.data(), static_cast<size_t>(n));
  } else if (n == 0 || errno != EINTR) {
    CloseOne(fd);
  }
}

}  // namespace

ClientProcess::ClientProcess(const std::string& server, const std::vector<std::string>& arguments,
                             Streams streams) {
  signal(SIGPIPE, SIG_IGN);  // a client that does not read its input is not the test's end
  std::vector<std::string> words = {LONGLEAF_BINARY_DIR "/bin/longleaf", "--server", server};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  std::vector<std::string> variables = {"TERM=xterm", "TZ=UTC", "NO_COLOR=1"};
  for (const char* sanitizer : {"ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"}) {
    if (const char* value = getenv(sanitizer)) {
      variables.push_back(std::string(sanitizer) + "=" + value);
    }
  }
  std::vector<char*> environment;
  for (std::string& variable : variables) {
    environment.push_back(variable.data());
  }
  environment.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  std::vector<int> theirs;
  if (streams == Streams::kTerminal) {
    out_ = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_GE(out_, 0);
    EXPECT_EQ(grantpt(out_), 0);
    EXPECT_EQ(unlockpt(out_), 0);
    winsize size = {};
    size.ws_row = 24;
    size.ws_col = 100;
    EXPECT_EQ(ioctl(out_, TIOCSWINSZ, &size), 0);
    // A session leader's first terminal becomes its controlling one: Ctrl-C works.
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    const char* name = ptsname(out_);
    posix_spawn_file_actions_addopen(&actions, 0, name, O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, 0, 2);
  } else {
    int pipes[3][2];
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(pipe2(pipes[i], O_CLOEXEC), 0);
      const int theirs_end = pipes[i][i == 0 ? 0 : 1];
      posix_spawn_file_actions_adddup2(&actions, theirs_end, i);
      theirs.push_back(theirs_end);
    }
    in_ = pipes[0][1];
    out_ = pipes[1][0];
    err_ = pipes[2][0];
  }
  const int error =
      posix_spawn(&pid_, argv[0], &actions, &attributes, argv.data(), environment.data());
  EXPECT_EQ(error, 0) << argv[0];
  if (error != 0) {
    pid_ = -1;
  }
  for (const int fd : theirs) {
    close(fd);
  }
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
}

ClientProcess::~ClientProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  CloseOne(&in_);
  CloseOne(&out_);
  CloseOne(&err_);
}

void ClientProcess::Write(const std::string& text) {
  size_t at = 0;
  while (at < text.size()) {
    const ssize_t n = write(in_ >= 0 ? in_ : out_, text.data() + at, text.size() - at);
    if (n <= 0) {
      return;
    }
    at += static_cast<size_t>(n);
  }
}

void ClientProcess::CloseInput() { CloseOne(&in_); }

void ClientProcess::Interrupt() { kill(pid_, SIGINT); }

bool ClientProcess::Pump() {
  if (out_ < 0 && err_ < 0) {
    return false;
  }
  // poll passes over negative descriptors.
  std::array<pollfd, 2> fds = {{{out_, POLLIN, 0}, {err_, POLLIN, 0}}};
  const int ready = poll(fds.data(), fds.size(), kPatienceMs);
  if (ready == 0) {
    ADD_FAILURE() << "the client hangs; it said so far: " << result_.out << result_.err;
    return false;
  }
  if (fds[0].revents != 0) {
    ReadSome(&out_, &result_.out);
  }
  if (fds[1].revents != 0) {
    ReadSome(&err_, &result_.err);
  }
  return true;
}

bool ClientProcess::WaitFor(const std::string& text) {
  for (;;) {
    if (result_.out.find(text) != std::string::npos ||
        result_.err.find(text) != std::string::npos) {
      return true;
    }
    if (!Pump()) {
      return false;
    }
  }
}

ClientProcess::Result ClientProcess::Finish() {
  CloseInput();
  while (Pump()) {
  }
  if (pid_ > 0 && out_ < 0 && err_ < 0) {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    result_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return result_;
}

ClientProcess::Result RunClient(const std::string& server,
                                const std::vector<std::string>& arguments,
                                const std::string& input) {
  ClientProcess client(server, arguments);
  client.Write(input);
  return client.Finish();
}

}  // namespace longleaf::service::cli
