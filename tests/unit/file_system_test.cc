#include "store/keys/file_system.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace mayfly::store
