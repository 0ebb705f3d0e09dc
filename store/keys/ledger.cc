#include "store/keys/ledger.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "store/keys/internal.h"

namespace mayfly::store {
namespace {

constexpr const char* kName = "ledger";
constexpr std::string_view kMagic{"mayfly-ledger\0\0\0", 16};
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kVersionAt = 16;
constexpr std::size_t kGenerationAt = 24;
constexpr std::size_t kMacAt = 32;

std::array<std::uint8_t, 32> Mac(KeyBytes root, const Page& page) {
  auto key = P32(root, "mf-ledger-1", {});
  const internal::WipeAtEnd wipe(key.data(), key.size());
  return P32(key, "mf-ledger-mac", std::span(page.bytes).first(kMacAt));
}

}  // namespace

Page EncodeLedger(KeyBytes root, std::uint64_t generation) {
  Page page;
  std::copy(kMagic.begin(), kMagic.end(), page.bytes.begin());
  page.bytes[kVersionAt] = kVersion;
  internal::Put64(page.bytes.data() + kGenerationAt, generation);
  const auto mac = Mac(root, page);
  std::copy(mac.begin(), mac.end(), page.bytes.begin() + kMacAt);
  return page;
}

std::optional<std::uint64_t> DecodeLedger(KeyBytes root, const Page& page) {
  const auto* const in = page.bytes.data() + kGenerationAt;
  const std::uint64_t generation =
      std::uint64_t{internal::Get32(in)} << 32 | internal::Get32(in + 4);
  // There is one page for a number, so the whole of it is compared.
  const Page expected = EncodeLedger(root, generation);
  if (sodium_memcmp(page.bytes.data(), expected.bytes.data(), kPageBytes) != 0) return std::nullopt;
  return generation;
}

Status Ledger::Load(KeyBytes root) {
  MAYFLY_ASSIGN_OR_RETURN(const std::vector<Page> pages, ReadMirroredPage(dir_, kName));
  std::uint64_t highest = 0;
  for (const Page& page : pages) highest = std::max(highest, DecodeLedger(root, page).value_or(0));
  generation_.store(highest, std::memory_order_release);
  return {};
}

Status Ledger::Raise(KeyBytes root) {
  const std::uint64_t next = generation() + 1;
  MAYFLY_RETURN_IF_ERROR(WriteMirroredPage(dir_, kName, EncodeLedger(root, next), sync_));
  generation_.store(next, std::memory_order_release);
  return {};
}

}  // namespace mayfly::store
