// A server keeps its packed weights beside its documents, and its next start goes by them: the same
// model, the same answers, from states that are still valid.
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

namespace fs = std::filesystem;

class WeightCacheTest : public ServerTest {
 protected:
  std::string folder() const { return options_.store_path + "/weights"; }
  // The one file of packed weights; empty when there is none, or several.
  std::string File() const {
    std::string found;
    int count = 0;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder(), error)) {
      if (entry.path().extension() == ".packed") {
        found = entry.path();
        ++count;
      }
    }
    return count == 1 ? found : "";
  }
  ino_t Inode() const {
    struct stat info = {};
    EXPECT_EQ(::stat(File().c_str(), &info), 0);
    return info.st_ino;
  }
  std::string Fingerprint() {
    grpc::ClientContext context;
    v1::Model model;
    EXPECT_TRUE(models_->GetModel(&context, v1::GetModelRequest(), &model).ok());
    return model.fingerprint();
  }
};

TEST_F(WeightCacheTest, TheNextStartGoesByThem) {
  Start();
  const std::string fingerprint = Fingerprint();
  UploadAndWait("a", Filler(2000));
  const Answer first = Ask("a", "Who?");
  ASSERT_TRUE(first.status.ok()) << first.status.error_message();
  ASSERT_NE(File(), "");
  // Held open, so that its number is not given to another file.
  std::ifstream held(File());
  const ino_t inode = Inode();

  Restart();
  EXPECT_EQ(Inode(), inode) << "it was written again";
  EXPECT_EQ(Fingerprint(), fingerprint);
  const Answer second = Ask("a", "Who?");
  EXPECT_EQ(second.text, first.text);
  EXPECT_EQ(second.started.tokens_prefilled(), first.started.tokens_prefilled());

  Stop();
  {
    std::fstream file(File(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1, std::ios::end);
    const char last = static_cast<char>(file.get());
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(last ^ 1));
  }
  Start();
  EXPECT_NE(Inode(), inode) << "a damaged file was used";
  EXPECT_EQ(Fingerprint(), fingerprint);
  EXPECT_EQ(Ask("a", "Who?").text, first.text);
}

TEST_F(WeightCacheTest, OffAndElsewhere) {
  options_.weight_cache = "off";
  Start();
  EXPECT_FALSE(fs::exists(folder()));
  Stop();
  options_.weight_cache = directory_ + "/elsewhere";
  Start();
  EXPECT_FALSE(fs::exists(folder()));
  EXPECT_TRUE(fs::exists(directory_ + "/elsewhere/LOCK"));
}

TEST_F(WeightCacheTest, AServerStartsWithoutAPlaceForThem) {
  fs::create_directories(options_.store_path);
  std::ofstream(folder()) << "in the way";
  Start();
  UploadAndWait("a", Filler(500));
  EXPECT_TRUE(Ask("a", "Who?").status.ok());
}

}  // namespace
}  // namespace longleaf::service
