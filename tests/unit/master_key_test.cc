#include "store/keys/master_key.h"

#include <algorithm>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "tests/support/key_bytes.h"
#include "tests/support/sanitized.h"
#include "tests/support/temp_dir.h"

namespace mayfly::store {
namespace {

using mayfly::testing::ReadFile;
using mayfly::testing::TempDir;
using mayfly::testing::WriteFile;

std::string BytesOf(const SecretKey& key) {
  return std::string(key.bytes().begin(), key.bytes().end());
}

void ExpectSealed(const std::filesystem::path& file, const std::string& remedy) {
  const Result<SecretKey> key = LoadMasterKey(file);
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().code, ErrorCode::kSealed);
  EXPECT_NE(key.error().message.find(file.string()), std::string::npos) << key.error().message;
  EXPECT_NE(key.error().message.find(remedy), std::string::npos) << key.error().message;
}

TEST(MasterKey, IsCreatedOnceAndLoads) {
  const TempDir dir;
  ASSERT_TRUE(CreateMasterKey(dir / "master"));
  struct stat info = {};
  ASSERT_EQ(stat((dir / "master").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0400u);
  const std::string text = ReadFile(dir / "master");
  EXPECT_EQ(text.size(), 16u + 64 + 1 + 8 + 1);
  EXPECT_TRUE(text.starts_with("mayfly-master-1 "));
  const Result<SecretKey> first = LoadMasterKey(dir / "master");
  const Result<SecretKey> second = LoadMasterKey(dir / "master");
  ASSERT_TRUE(first);
  ASSERT_TRUE(second);
  EXPECT_TRUE(BytesOf(*first) == BytesOf(*second));
  EXPECT_FALSE(BytesOf(*first) == std::string(32, '\0'));

  const Status again = CreateMasterKey(dir / "master");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(ReadFile(dir / "master"), text);
}

TEST(MasterKey, GoldenText) {
  const TempDir dir;
  // The checksum is the start of P32(key, "mf-master-sum-1", "").
  const std::string text =
      "mayfly-master-1 a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf 21fecad2";
  for (const std::string& line : {text, text + "\n"}) {
    WriteFile(dir / "master", line);
    ASSERT_EQ(chmod((dir / "master").c_str(), 0400), 0);
    const Result<SecretKey> key = LoadMasterKey(dir / "master");
    ASSERT_TRUE(key) << key.error().message;
    EXPECT_TRUE(BytesOf(*key) == BytesOf(mayfly::testing::FixedKey(0xA0)));
    ASSERT_EQ(unlink((dir / "master").c_str()), 0);
  }
}

TEST(MasterKey, AMissingFileIsSealed) {
  const TempDir dir;
  ExpectSealed(dir / "master", "mayfly init");
}

TEST(MasterKey, ADamagedFileIsSealed) {
  const TempDir dir;
  ASSERT_TRUE(CreateMasterKey(dir / "master"));
  ASSERT_EQ(chmod((dir / "master").c_str(), 0600), 0);
  const std::string text = ReadFile(dir / "master");
  std::vector<std::string> damaged = {"", "mayfly-master-1 ", text + "\n", text + text};
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string changed = text;
    changed[at] = changed[at] == '0' ? '1' : '0';
    damaged.push_back(changed);
    if (at + 1 < text.size()) damaged.push_back(text.substr(0, at));
  }
  for (const std::string& bytes : damaged) {
    WriteFile(dir / "master", bytes);
    ExpectSealed(dir / "master", "damaged");
  }
}

TEST(MasterKey, AFileOpenToOthersIsSealed) {
  const TempDir dir;
  ASSERT_TRUE(CreateMasterKey(dir / "master"));
  for (const mode_t mode : {0440, 0404, 0420, 0402, 0644, 0401}) {
    ASSERT_EQ(chmod((dir / "master").c_str(), mode), 0);
    ExpectSealed(dir / "master", "chmod 0400");
  }
  ASSERT_EQ(chmod((dir / "master").c_str(), 0600), 0);
  EXPECT_TRUE(LoadMasterKey(dir / "master"));
}

// The service manager grants a credential to the service's user by an access list; the group bits
// then show the list's mask.
TEST(MasterKey, AnAccessListForOurOwnUserIsAccepted) {
  const TempDir dir;
  ASSERT_TRUE(CreateMasterKey(dir / "master"));
  const auto list = [](std::uint32_t user, std::uint8_t group_permissions) {
    std::string bytes("\2\0\0\0", 4);
    const auto entry = [&](std::uint8_t tag, std::uint8_t permissions, std::uint32_t id) {
      for (const std::uint8_t byte : {tag, std::uint8_t{0}, permissions, std::uint8_t{0}}) {
        bytes.push_back(static_cast<char>(byte));
      }
      for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(id >> shift));
    };
    const std::uint32_t none = 0xFFFFFFFF;
    entry(0x01, 4, none);
    entry(0x02, 4, user);
    entry(0x04, group_permissions, none);
    entry(0x10, 4, none);
    entry(0x20, 0, none);
    return bytes;
  };
  const auto set = [&](const std::string& bytes) {
    return setxattr((dir / "master").c_str(), "system.posix_acl_access", bytes.data(), bytes.size(),
                    0) == 0;
  };
  if (!set(list(geteuid(), 0))) GTEST_SKIP() << "this file system has no access lists";
  struct stat info = {};
  ASSERT_EQ(stat((dir / "master").c_str(), &info), 0);
  ASSERT_EQ(info.st_mode & 0777, 0440u);
  EXPECT_TRUE(LoadMasterKey(dir / "master"));
  ASSERT_TRUE(set(list(geteuid() + 1, 0)));
  ExpectSealed(dir / "master", "chmod 0400");
  ASSERT_TRUE(set(list(geteuid(), 4)));
  ExpectSealed(dir / "master", "chmod 0400");
}

TEST(MasterKey, ADirectoryWritableByOthersIsRefused) {
  const TempDir dir;
  ASSERT_TRUE(CreateMasterKey(dir / "master"));
  for (const mode_t mode : {0720, 0702, 01777}) {
    ASSERT_EQ(chmod(dir.path().c_str(), mode), 0);
    ExpectSealed(dir / "master", "chmod go-w");
    const Status made = CreateMasterKey(dir / "another");
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kInvalidArgument);
    EXPECT_FALSE(std::filesystem::exists(dir / "another"));
  }
  ASSERT_EQ(chmod(dir.path().c_str(), 0755), 0);
  EXPECT_TRUE(LoadMasterKey(dir / "master"));
}

TEST(MasterKey, TheNextOneTakesThePlaceOfTheOldOneAtEachStep) {
  const TempDir dir;
  const std::filesystem::path file = dir / "master";
  const std::filesystem::path next = NextMasterKeyFile(file);
  EXPECT_FALSE(AdoptNextMasterKey(file));
  ASSERT_TRUE(CreateMasterKey(file));
  const std::string before = ReadFile(file);
  ASSERT_TRUE(AdoptNextMasterKey(file));  // nothing to do
  EXPECT_EQ(ReadFile(file), before);
  ASSERT_TRUE(CreateMasterKey(next));
  const std::string wanted = ReadFile(next);
  const auto expect_adopted = [&] {
    ASSERT_TRUE(AdoptNextMasterKey(file));
    EXPECT_EQ(ReadFile(file), wanted);
    EXPECT_FALSE(std::filesystem::exists(next));
    EXPECT_TRUE(LoadMasterKey(file));
  };
  expect_adopted();
  // Interrupted after the old one was overwritten, in part or whole, and after it was gone.
  for (const std::size_t zeros : {std::size_t{1}, before.size() / 2, before.size()}) {
    std::filesystem::rename(file, next);
    WriteFile(file, std::string(zeros, '\0') + before.substr(zeros));
    expect_adopted();
  }
  std::filesystem::rename(file, next);
  expect_adopted();
  // A next one that is damaged costs nothing.
  ASSERT_EQ(chmod(file.c_str(), 0400), 0);
  WriteFile(next, "half a key");
  ASSERT_EQ(chmod(next.c_str(), 0400), 0);
  EXPECT_FALSE(AdoptNextMasterKey(file));
  EXPECT_EQ(ReadFile(file), wanted);
}

TEST(MasterKey, OnlyARegularFileIsRead) {
  const TempDir dir;
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0400), 0);
  ExpectSealed(dir / "pipe", "not a regular file");
  ExpectSealed(dir.path(), "not a regular file");
}

TEST(SecretKey, MovesAndNeverCopies) {
  SecretKey a = mayfly::testing::FixedKey(1);
  SecretKey b = std::move(a);
  EXPECT_TRUE(a.empty());  // NOLINT: the state after a move is promised
  EXPECT_EQ(b.bytes()[31], 32);
  b = SecretKey::Random();
  EXPECT_FALSE(b.empty());
  static_assert(!std::is_copy_constructible_v<SecretKey>);
}

// In a process of its own that may lock nothing: root may whatever the limit is.
TEST(SecretKey, OneThatCannotBeLockedIsCounted) {
  if (mayfly::testing::kSanitized) GTEST_SKIP() << "a sanitizer says of every lock that it holds";
  const SecretKey here = SecretKey::Random();
  EXPECT_EQ(UnlockedKeys(), 0u);
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none = {0, 0};
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0 || (geteuid() == 0 && setuid(65534) != 0)) _exit(9);
    const SecretKey key = SecretKey::Random();
    _exit(UnlockedKeys() == 1 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(P32, LabelsSeparate) {
  const SecretKey key = mayfly::testing::FixedKey(1);
  EXPECT_EQ(P32(key.bytes(), "a", {}), P32(key.bytes(), "a", {}));
  EXPECT_NE(P32(key.bytes(), "a", {}), P32(key.bytes(), "b", {}));
  EXPECT_DEATH(P32(key.bytes(), "seventeen-letters", {}), "longer than 16");
}

}  // namespace
}  // namespace mayfly::store
