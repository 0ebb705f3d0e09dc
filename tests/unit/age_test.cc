// The age format, held to its own test vectors' rules and to the age program where it is installed;
// and zip files that come out as they went in.
#include "service/access/age.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/access/zip.h"
#include "tests/support/temp_dir.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;
using mayfly::testing::TempDir;

std::string Bytes(std::size_t size) {
  std::string bytes(size, '\0');
  std::uint32_t seed = static_cast<std::uint32_t>(size) + 1;
  for (char& byte : bytes) {
    seed = seed * 1664525u + 1013904223u;
    byte = static_cast<char>(seed >> 24);
  }
  return bytes;
}

std::string Seal(const AgeKey& recipient, const std::string& plain, std::size_t at_once = 1'000) {
  AgeSealer sealer = *AgeSealer::Begin(recipient);
  std::string sealed;
  for (std::size_t at = 0; at < plain.size(); at += at_once) {
    sealer.Append(std::string_view(plain).substr(at, at_once), &sealed);
  }
  sealer.Finish(&sealed);
  return sealed;
}

Result<std::string> Open(const AgeIdentity& identity, const std::string& sealed,
                         std::size_t at_once = 999) {
  AgeOpener opener(identity);
  std::string plain;
  for (std::size_t at = 0; at < sealed.size(); at += at_once) {
    MAYFLY_RETURN_IF_ERROR(opener.Append(std::string_view(sealed).substr(at, at_once), &plain));
  }
  MAYFLY_RETURN_IF_ERROR(opener.Finish(&plain));
  return plain;
}

bool OpensTo(const AgeIdentity& identity, const std::string& sealed, const std::string& plain) {
  const auto opened = Open(identity, sealed);
  return opened && *opened == plain;
}

constexpr std::size_t kSizes[] = {
    0, 1, 999, kAgeChunkBytes - 1, kAgeChunkBytes, kAgeChunkBytes + 1, 2 * kAgeChunkBytes, 200'000};

TEST(Age, WhatIsSealedOpensForOneAndNobodyElse) {
  const AgeIdentity identity = AgeIdentity::Make();
  const AgeIdentity other = AgeIdentity::Make();
  for (const std::size_t size : kSizes) {
    const std::string plain = Bytes(size);
    const std::string sealed = Seal(identity.Recipient(), plain);
    EXPECT_TRUE(OpensTo(identity, sealed, plain)) << size;
    EXPECT_FALSE(Open(other, sealed)) << size;
    EXPECT_EQ(Open(identity, sealed, 1 << 20).value(), plain);
  }
  EXPECT_NE(Seal(identity.Recipient(), "x"), Seal(identity.Recipient(), "x"));
}

TEST(Age, NothingThatWasCutOrChangedOpensWhole) {
  const AgeIdentity identity = AgeIdentity::Make();
  const std::string plain = Bytes(kAgeChunkBytes + 100);
  const std::string sealed = Seal(identity.Recipient(), plain);
  for (std::size_t at = 0; at < sealed.size(); at += at < 400 ? 1 : 997) {
    std::string changed = sealed;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_FALSE(OpensTo(identity, changed, plain)) << "changed at " << at;
    EXPECT_FALSE(Open(identity, sealed.substr(0, at))) << "cut at " << at;
  }
  EXPECT_FALSE(Open(identity, sealed.substr(0, sealed.size() - 116))) << "without its last chunk";
  EXPECT_FALSE(Open(identity, sealed + "x"));
  EXPECT_FALSE(Open(identity, ""));
  EXPECT_FALSE(Open(identity, std::string(100'000, 'x')));
}

TEST(Age, KeysHaveOneText) {
  // The example of the format's specification.
  const AgeIdentityText text(
      std::string("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"));
  const AgeIdentity identity = AgeIdentity::Parse(text).value();
  EXPECT_EQ(identity.Text(), text);
  EXPECT_EQ(FormatAgeRecipient(identity.Recipient()),
            "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj");
  const std::string recipient = FormatAgeRecipient(identity.Recipient());
  EXPECT_EQ(ParseAgeRecipient(recipient).value(), identity.Recipient());
  for (std::size_t at = 0; at < recipient.size(); ++at) {
    std::string changed = recipient;
    changed[at] = changed[at] == 'q' ? 'p' : 'q';
    EXPECT_FALSE(ParseAgeRecipient(changed)) << at;
  }
  EXPECT_FALSE(ParseAgeRecipient(recipient + "q"));
  EXPECT_FALSE(ParseAgeRecipient(""));
  EXPECT_FALSE(AgeSealer::Begin(AgeKey{})) << "anybody could open it";
  const AgeIdentityText with_remarks("# created: today\r\n# public key: age1...\n" + text.Reveal() +
                                     "\n");
  EXPECT_EQ(AgeIdentity::Parse(with_remarks).value().Text(), text);
  for (const char* none : {"", "# nothing\n", "AGE-SECRET-KEY-1X", "age-secret-key-1gfpyysjz"}) {
    EXPECT_FALSE(AgeIdentity::Parse(AgeIdentityText(std::string(none)))) << none;
  }
}

// The reference implementation as a judge, both ways.
TEST(Age, TheAgeProgramAgrees) {
  if (std::system("command -v age >/dev/null 2>&1 && command -v age-keygen >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "the age program is not installed";
  }
  TempDir dir;
  const auto path = [&](const char* name) { return (dir.path() / name).string(); };
  const auto read = [&](const char* name) {
    std::ifstream in(path(name), std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(in)), {});
  };
  ASSERT_EQ(std::system(("age-keygen -o " + path("key") + " 2>/dev/null").c_str()), 0);
  const AgeIdentity identity = AgeIdentity::Parse(AgeIdentityText(read("key"))).value();
  const std::string recipient = FormatAgeRecipient(identity.Recipient());
  EXPECT_THAT(read("key"), ::testing::HasSubstr(recipient));
  for (const std::size_t size : kSizes) {
    const std::string plain = Bytes(size);
    std::ofstream(path("plain"), std::ios::binary) << plain;
    fs::remove(path("out"));  // of nothing, age makes no file
    std::ofstream(path("ours"), std::ios::binary) << Seal(identity.Recipient(), plain);
    ASSERT_EQ(std::system(
                  ("age -d -i " + path("key") + " -o " + path("out") + " " + path("ours")).c_str()),
              0)
        << size;
    EXPECT_TRUE(read("out") == plain) << size;
    ASSERT_EQ(std::system(
                  ("age -r " + recipient + " -o " + path("theirs") + " " + path("plain")).c_str()),
              0);
    EXPECT_TRUE(OpensTo(identity, read("theirs"), plain)) << size;
  }
}

TEST(Zip, WhatWentInComesOut) {
  const std::map<std::string, std::string> files = {
      {"about.txt", "hello"}, {"empty", ""}, {"attachments/000001-1.png", Bytes(300'000)}};
  TempDir dir;
  const fs::path file = dir.path() / "package.zip";
  {
    std::ofstream out(file, std::ios::binary);
    ZipWriter zip([&](std::string_view bytes) { out << bytes; }, TimePoint());
    for (const auto& [name, bytes] : files) {
      ASSERT_TRUE(zip.Begin(name));
      for (std::size_t at = 0; at < bytes.size(); at += 70'000) {
        ASSERT_TRUE(zip.Write(std::string_view(bytes).substr(at, 70'000)));
      }
      ASSERT_TRUE(zip.End());
    }
    ASSERT_TRUE(zip.Finish());
  }
  std::map<std::string, std::string> read;
  std::string name;
  const Status done = ReadZip(
      file,
      [&](const std::string& entry) -> Status {
        name = entry;
        read[name];
        return {};
      },
      [&](std::string_view bytes) -> Status {
        read[name] += bytes;
        return {};
      });
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(read, files);
  std::ofstream(file, std::ios::trunc) << "no zip file";
  EXPECT_FALSE(ReadZip(file, nullptr, nullptr));
}

}  // namespace
}  // namespace mayfly::service
