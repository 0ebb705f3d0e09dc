// A person asks what is held of them. The officer gets a package that only they can open, with all
// of it and nothing of anybody else, and can tell whether somebody changed it.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/service_process.h"

namespace mayfly::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

const TimePoint kStart = *ParseRfc3339("2026-11-22T12:00:00Z");
constexpr const char* kPlatform = "bluesky";

std::string Bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {(std::istreambuf_iterator<char>(in)), {}};
}

class Access : public ::testing::Test {
 protected:
  void SetUp() override {
    platform_ = StartPlatform(kPlatform, service_);
    service_.Start();
    service_.MakeTokens();
    service_.ConnectAccount(kPlatform, platform_->office());
    const RunResult made = RunProgram({Mayfly(), "package-key", Path("officer.key")});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    recipient_ = made.out.substr(0, made.out.find('\n'));
    receipt_key_ = service_.Ask("", "GET", "/v1/about").Text("receipt_key");
  }

  static std::string Mayfly() { return ProgramDir() + "/mayfly"; }
  std::string Path(const std::string& name) const { return (service_.dir() / name).string(); }
  Answer AskFor(const std::string& role, const std::string& message, const std::string& recipient) {
    return service_.Ask(role, "POST", "/v1/access-packages",
                        "{\"message_id\":\"" + message + "\",\"recipient\":\"" + recipient + "\"}");
  }
  RunResult Open(const std::string& package, const std::string& to, const std::string& identity,
                 const std::string& key) {
    std::ofstream(Path("package"), std::ios::binary) << package;
    std::vector<std::string> words = {Mayfly(),       "open-package", Path("package"), "--identity",
                                      Path(identity), "--to",         Path(to)};
    if (!key.empty()) words.insert(words.end(), {"--key", key});
    return RunProgram(words);
  }

  ServiceProcess service_{kStart, RateFor(kPlatform)};
  std::unique_ptr<connectors::PlatformSimulator> platform_;
  std::string recipient_, receipt_key_;
};

TEST_F(Access, ThePackageHoldsAllOfThePersonAndNothingOfAnybodyElse) {
  // More than one page of them, and of any kind.
  std::vector<std::string> theirs = {"<script>alert(1)</script> & more",
                                     "\u05e9\u05dc\u05d5\u05dd"};
  for (int i = 0; i < 130; ++i) theirs.push_back("anna-number-" + std::to_string(i));
  for (const std::string& text : theirs) ASSERT_TRUE(platform_->Write(0, text));
  ASSERT_TRUE(platform_->Write(1, "bert-writes-too"));
  const std::string message = service_.AwaitMessage(theirs.back());
  service_.AwaitMessage("bert-writes-too");
  ASSERT_TRUE(Eventually([&] { return service_.ReadAll().size() == theirs.size() + 1; }));

  EXPECT_EQ(AskFor("comms", message, recipient_).status, 403);
  EXPECT_EQ(AskFor("privacy", message, "age1nobody").status, 400);
  EXPECT_EQ(AskFor("privacy", "msg_20270222_00000000000000000000000000000000", recipient_).status,
            404);
  const Answer answer = AskFor("privacy", message, recipient_);
  ASSERT_EQ(answer.status, 200) << answer.body.substr(0, 200);
  EXPECT_THAT(answer.body, Not(HasSubstr("anna-number-7")));

  const RunResult opened = Open(answer.body, "opened", "officer.key", receipt_key_);
  ASSERT_EQ(opened.exit_code, 0) << opened.out << opened.err;
  EXPECT_THAT(opened.out, HasSubstr("Signed by the installation"));
  const std::string lines = Bytes(service_.dir() / "opened" / "messages.ndjson");
  EXPECT_EQ(static_cast<std::size_t>(std::count(lines.begin(), lines.end(), '\n')), theirs.size());
  for (const std::string& text : theirs) EXPECT_THAT(lines, HasSubstr(text));
  const std::string page = Bytes(service_.dir() / "opened" / "messages.html");
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"));
  EXPECT_THAT(page, Not(HasSubstr("<script>")));
  EXPECT_THAT(Bytes(service_.dir() / "opened" / "about.txt"), HasSubstr(platform_->HandleOf(0)));
  for (const auto& entry : fs::recursive_directory_iterator(service_.dir() / "opened")) {
    if (!entry.is_regular_file()) continue;
    EXPECT_THAT(Bytes(entry.path()), Not(HasSubstr("bert-writes")));
  }
  EXPECT_EQ(fs::status(service_.dir() / "opened").permissions(), fs::perms::owner_all);

  // Nobody else opens it, and no byte of it can be changed.
  ASSERT_EQ(RunProgram({Mayfly(), "package-key", Path("other.key")}).exit_code, 0);
  EXPECT_NE(RunProgram({Mayfly(), "package-key", Path("other.key")}).exit_code, 0)
      << "nothing is overwritten";
  EXPECT_EQ(Open(answer.body, "by-others", "other.key", receipt_key_).exit_code, 1);
  std::string changed = answer.body;
  changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 1);
  EXPECT_EQ(Open(changed, "changed", "officer.key", receipt_key_).exit_code, 1);
  EXPECT_EQ(
      Open(answer.body.substr(0, answer.body.size() - 100), "cut", "officer.key", receipt_key_)
          .exit_code,
      1);
  for (const char* none : {"by-others", "changed", "cut"}) {
    EXPECT_FALSE(fs::exists(service_.dir() / none)) << none;
  }
  // Of another installation.
  std::string another = receipt_key_;
  another[3] = another[3] == 'A' ? 'B' : 'A';
  EXPECT_NE(Open(answer.body, "another", "officer.key", another).exit_code, 0);
  EXPECT_NE(Open(answer.body, "opened", "officer.key", receipt_key_).exit_code, 0)
      << "nothing is overwritten";
  // Nothing of it was kept, and nobody's words stand in the log.
  EXPECT_THAT(service_.Log(), Not(HasSubstr("anna-number-7")));
  EXPECT_THAT(FindMarker(ReadTree(service_.data_dir()), "anna-number-7"), ::testing::IsEmpty());
}

}  // namespace
}  // namespace mayfly::testing
