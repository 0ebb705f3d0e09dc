#include "store/keys/passphrase.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "store/keys/internal.h"
#include "store/keys/key_file.h"

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic{"mayfly-argon2id\0", 16};
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kVersionAt = 16;
constexpr std::size_t kPassesAt = 20;
constexpr std::size_t kMemoryAt = 24;
constexpr std::size_t kSaltAt = 32;
constexpr std::size_t kCommitmentAt = 48;
constexpr std::size_t kCheckAt = 80;
constexpr std::size_t kEnd = 112;
static_assert(kCommitmentAt - kSaltAt == crypto_pwhash_argon2id_SALTBYTES);
// A record that asks for more was not written by us: it must not use up the machine.
constexpr std::uint32_t kPassesMax = 1'000;
constexpr std::uint64_t kMemoryBytesMax = std::uint64_t{4} << 30;

const char* NameOf(PassphraseRecord record) {
  return record == PassphraseRecord::kCurrent ? "passphrase" : "passphrase-next";
}

std::array<std::uint8_t, 32> Check(const Page& page) {
  std::array<std::uint8_t, 32> check;
  crypto_generichash_blake2b(check.data(), check.size(), page.bytes.data(), kCheckAt, nullptr, 0);
  return check;
}

std::array<std::uint8_t, 32> Commitment(const SecretKey& key, const Page& page) {
  return P32(key.bytes(), "mf-passphrase-1", std::span(page.bytes).first(kCommitmentAt));
}

PassphraseCost CostOf(const Page& page) {
  const auto* const in = page.bytes.data();
  return {.passes = internal::Get32(in + kPassesAt),
          .memory_bytes = std::uint64_t{internal::Get32(in + kMemoryAt)} << 32 |
                          internal::Get32(in + kMemoryAt + 4)};
}

bool IsAffordable(const PassphraseCost& cost) {
  return cost.passes >= crypto_pwhash_argon2id_OPSLIMIT_MIN && cost.passes <= kPassesMax &&
         cost.memory_bytes >= crypto_pwhash_argon2id_MEMLIMIT_MIN &&
         cost.memory_bytes <= kMemoryBytesMax;
}

bool IsWhole(const Page& page) {
  const auto check = Check(page);
  return std::equal(kMagic.begin(), kMagic.end(), page.bytes.begin()) &&
         page.bytes[kVersionAt] == kVersion &&
         std::equal(check.begin(), check.end(), page.bytes.begin() + kCheckAt) &&
         sodium_is_zero(page.bytes.data() + kEnd, kPageBytes - kEnd) == 1 &&
         IsAffordable(CostOf(page));
}

Result<Page> ReadRecord(const fs::path& dir, PassphraseRecord record) {
  MAYFLY_ASSIGN_OR_RETURN(const std::vector<Page> pages, ReadMirroredPage(dir, NameOf(record)));
  for (const Page& page : pages) {
    if (IsWhole(page)) return page;
  }
  const bool absent = std::all_of(pages.begin(), pages.end(), [](const Page& page) {
    return page.IsZero();  // its creation or its removal was cut off
  });
  if (absent) return Fail(ErrorCode::kNotFound, "there is no passphrase for these keys");
  return Fail(ErrorCode::kCorrupt,
              fmt::format("both mirrors of {} are damaged", (dir / NameOf(record)).string()));
}

Result<SecretKey> Derive(const Passphrase& passphrase, const Page& page) {
  internal::EnsureSodium();
  std::array<std::uint8_t, 32> key;
  const internal::WipeAtEnd wipe(key.data(), key.size());
  const PassphraseCost cost = CostOf(page);
  if (crypto_pwhash(key.data(), key.size(), passphrase.Reveal().data(), passphrase.size(),
                    page.bytes.data() + kSaltAt, cost.passes,
                    static_cast<std::size_t>(cost.memory_bytes),
                    crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return Fail(ErrorCode::kUnavailable,
                fmt::format("a passphrase needs {} MiB of memory for a moment, and they are not "
                            "there; give the service more",
                            cost.memory_bytes >> 20));
  }
  return SecretKey::FromBytes(KeyBytes(key));
}

}  // namespace

Result<SecretKey> SetPassphrase(const fs::path& keys_dir, PassphraseRecord record,
                                const Passphrase& passphrase, const PassphraseCost& cost,
                                bool sync) {
  internal::EnsureSodium();
  if (passphrase.size() < kPassphraseBytesMin || passphrase.size() > kPassphraseBytesMax) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("a passphrase has {} to {} bytes; take six words that nobody would put "
                            "together",
                            kPassphraseBytesMin, kPassphraseBytesMax));
  }
  if (!IsAffordable(cost)) {
    return Fail(ErrorCode::kInvalidArgument, "a cost that no passphrase may have");
  }
  Page page;
  auto* const out = page.bytes.data();
  std::copy(kMagic.begin(), kMagic.end(), out);
  out[kVersionAt] = kVersion;
  internal::Put32(out + kPassesAt, cost.passes);
  internal::Put64(out + kMemoryAt, cost.memory_bytes);
  randombytes_buf(out + kSaltAt, crypto_pwhash_argon2id_SALTBYTES);
  MAYFLY_ASSIGN_OR_RETURN(SecretKey key, Derive(passphrase, page));
  const auto commitment = Commitment(key, page);
  std::copy(commitment.begin(), commitment.end(), out + kCommitmentAt);
  const auto check = Check(page);
  std::copy(check.begin(), check.end(), out + kCheckAt);
  MAYFLY_RETURN_IF_ERROR(WriteMirroredPage(keys_dir, NameOf(record), page, sync));
  return key;
}

Result<SecretKey> OpenPassphrase(const fs::path& keys_dir, PassphraseRecord record,
                                 const Passphrase& passphrase) {
  MAYFLY_ASSIGN_OR_RETURN(const Page page, ReadRecord(keys_dir, record));
  MAYFLY_ASSIGN_OR_RETURN(SecretKey key, Derive(passphrase, page));
  const auto commitment = Commitment(key, page);
  if (sodium_memcmp(commitment.data(), page.bytes.data() + kCommitmentAt, commitment.size()) != 0) {
    return Fail(ErrorCode::kSealed, "this is not the passphrase of these keys");
  }
  return key;
}

bool HasPassphrase(const fs::path& keys_dir, PassphraseRecord record) {
  return ReadRecord(keys_dir, record).has_value();
}

Status AdoptNextPassphrase(const fs::path& keys_dir, bool sync) {
  const Result<Page> next = ReadRecord(keys_dir, PassphraseRecord::kNext);
  if (!next && next.error().code == ErrorCode::kNotFound) return DropNextPassphrase(keys_dir, sync);
  if (!next) return Fail(next.error());
  MAYFLY_RETURN_IF_ERROR(
      WriteMirroredPage(keys_dir, NameOf(PassphraseRecord::kCurrent), *next, sync));
  return DropNextPassphrase(keys_dir, sync);
}

Status DropNextPassphrase(const fs::path& keys_dir, bool sync) {
  return RemoveMirroredPage(keys_dir, NameOf(PassphraseRecord::kNext), sync);
}

}  // namespace mayfly::store
