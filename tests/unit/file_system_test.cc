#include "store/keys/file_system.h"

#include <cstdlib>
#include <iostream>
#include <sys/mount.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "store/keys/key_vault.h"
#include "tests/support/key_bytes.h"
#include "tests/support/temp_dir.h"

namespace mayfly::store {
namespace {

using mayfly::testing::TempDir;

constexpr long kExt4 = 0xEF53, kXfs = 0x58465342, kBtrfs = 0x9123683E, kTmpfs = 0x01021994;

TEST(FileSystem, WhereOverwritingHoldsAndWhereNot) {
  struct Case {
    FileSystemFacts facts;
    const char* name;
    const char* reason;  // a word of it; empty: it holds
  };
  for (const Case& c : std::vector<Case>{
           {{.type = kExt4, .direct_io = true}, "ext4", ""},
           {{.type = kExt4, .direct_io = false}, "ext4", "data=ordered"},  // data=journal
           {{.type = kExt4}, "ext4", "older than 6.1"},
           {{.type = kXfs, .shared = false}, "xfs", ""},
           {{.type = kXfs, .shared = true}, "xfs", "reflink"},
           {{.type = kXfs}, "xfs", "does not say"},
           {{.type = kBtrfs, .copy_on_write = true, .shared = false}, "btrfs", "chattr +C"},
           {{.type = kBtrfs, .shared = false}, "btrfs", "chattr +C"},
           {{.type = kBtrfs, .copy_on_write = false, .shared = false}, "btrfs", ""},
           {{.type = kBtrfs, .copy_on_write = false, .shared = true}, "btrfs", "snapshot"},
           {{.type = kTmpfs}, "tmpfs", ""},
           {{.type = 0x2FC12FC1}, "zfs", "ext4 or xfs"},
           {{.type = static_cast<int>(0xCA451A4E)}, "bcachefs", "ext4 or xfs"},  // sign extended
           {{.type = static_cast<long>(0xF2F52010)}, "f2fs", "ext4 or xfs"},
           {{.type = 0x794C7630}, "overlayfs", "volume of their own"},
           {{.type = 0x6969}, "nfs", "local disk"},
           {{.type = static_cast<long>(0xFE534D42)}, "smb", "local disk"},
           {{.type = 0x01021997}, "9p", "local disk"},
           {{.type = 0x65735546}, "fuse", "local disk"},
           {{.type = 0x12345678}, "an unknown file system", "nobody has tried"},
       }) {
    const FileSystemVerdict verdict = Judge(c.facts);
    EXPECT_EQ(verdict.name, c.name);
    EXPECT_EQ(verdict.holds(), std::string(c.reason).empty()) << c.name << ": " << verdict.reason;
    EXPECT_NE(verdict.reason.find(c.reason), std::string::npos) << c.name << verdict.reason;
  }
}

TEST(FileSystem, AFileOfOursIsLookedAt) {
  const TempDir dir;
  EXPECT_EQ(LookAtFileSystem(dir / "none").error().code, ErrorCode::kNotFound);
  mayfly::testing::WriteFile(dir / "file", std::string(70'000, 'x'));
  const auto facts = LookAtFileSystem(dir / "file");
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_NE(facts->type, 0);
  std::cout << "[          ] here: " << Judge(*facts).name << ": "
            << (Judge(*facts).holds() ? "overwriting holds" : Judge(*facts).reason) << "\n";
}

// An ext4 on a loop device, where root may mount one.
class LoopExt4 {
 public:
  explicit LoopExt4(const std::filesystem::path& dir)
      : image_((dir / "image").string()), at_((dir / "mounted").string()) {
    std::filesystem::create_directory(at_);
    made_ = ::geteuid() == 0 && Run("truncate -s 16M '" + image_ + "'") &&
            Run("mkfs.ext4 -q '" + image_ + "'");
  }
  ~LoopExt4() { Unmount(); }
  LoopExt4(const LoopExt4&) = delete;
  LoopExt4& operator=(const LoopExt4&) = delete;
  std::filesystem::path at() const { return at_; }
  bool Mount(const std::string& options) {
    mounted_ = made_ && Run("mount -o loop," + options + " '" + image_ + "' '" + at_ + "'");
    return mounted_;
  }
  void Unmount() {
    EXPECT_TRUE(!mounted_ || ::umount2(at_.c_str(), 0) == 0);
    mounted_ = false;
  }

 private:
  static bool Run(const std::string& command) {
    return std::system((command + " 2>/dev/null").c_str()) == 0;
  }
  std::string image_;
  std::string at_;
  bool made_ = false;
  bool mounted_ = false;
};

// Between the start and a destruction the file system may become another one; here it is mounted so
// that its journal keeps what is overwritten.
TEST(FileSystem, ADestructionThatWouldDestroyNothingIsRefused) {
  const TempDir dir;
  LoopExt4 disk(dir.path());
  if (!disk.Mount("data=ordered")) GTEST_SKIP() << "no file system can be mounted here";
  const std::filesystem::path keys = disk.at() / "keys";
  const SecretKey master = mayfly::testing::FixedKey(7);
  ASSERT_TRUE(CreateKeyVault({.dir = keys}, master));
  auto opened = OpenKeyVault({.dir = keys}, SecretKey::FromBytes(master.bytes()));
  ASSERT_TRUE(opened) << opened.error().message;
  KeyVault& vault = **opened;
  EXPECT_TRUE(vault.FileSystem().holds()) << vault.FileSystem().reason;
  const ExpiryDay day{std::chrono::days(20872)};
  ASSERT_TRUE(vault.OpenDate(day));
  const Slot slot = *vault.TakeSlot(day);

  disk.Unmount();
  ASSERT_TRUE(disk.Mount("data=journal"));
  EXPECT_FALSE(vault.FileSystem().holds());
  const std::string before = mayfly::testing::ReadFile(keys / "D20270223.a");
  const std::uint64_t generation = vault.Generation();
  const Status one = vault.DestroySlots(day, {slot});
  ASSERT_FALSE(one);
  EXPECT_EQ(one.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(one.error().message.find("Nothing was overwritten"), std::string::npos);
  const Status all = vault.DestroyDate(day);
  ASSERT_FALSE(all);
  EXPECT_EQ(all.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(mayfly::testing::ReadFile(keys / "D20270223.a"), before);
  EXPECT_EQ(vault.Dates(), std::vector<ExpiryDay>{day}) << "still to be destroyed";
  EXPECT_FALSE(vault.PairFor(day, slot)) << "and not readable meanwhile";
  EXPECT_EQ(vault.Generation(), generation);
  EXPECT_FALSE(vault.RotateMaster(mayfly::testing::FixedKey(9)));
  EXPECT_FALSE(OpenKeyVault({.dir = keys}, SecretKey::FromBytes(master.bytes())));
  EXPECT_TRUE(
      OpenKeyVault({.dir = keys, .any_file_system = true}, SecretKey::FromBytes(master.bytes())));
  disk.Unmount();
  ASSERT_TRUE(disk.Mount("data=ordered"));
  EXPECT_TRUE(vault.DestroyDate(day));
  EXPECT_EQ(vault.DestroyedDates(), std::vector<ExpiryDay>{day});
}

}  // namespace
}  // namespace mayfly::store
