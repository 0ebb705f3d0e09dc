// Key files as somebody else may have left them: a header page, a slot and a ledger that were
// sealed properly and then changed. Nothing that was changed opens; what is taken for destroyed
// holds no key.
//
// The input is a list of changes, three bytes each: an offset (12 bits of 16) and the value that is
// put there. Bit 15 of the offset means the slot instead of the page and the ledger, bit 14 that
// the page's check, which needs no key, is made right at the end.
#include <algorithm>
#include <array>
#include <numeric>
#include <sodium.h>
#include <string>

#include "store/keys/key_file.h"
#include "store/keys/ledger.h"
#include "tests/fuzz/fuzz.h"

namespace mayfly::fuzz {
namespace {

using namespace store;

constexpr KeyFileId kId = {.kind = KeyFileKind::kDate, .number = 20'800};
constexpr Slot kSlot = {.number = 70, .generation = kGeneration};
constexpr std::size_t kCheckAt = 168;

template <std::size_t kSize>
std::array<std::uint8_t, kSize> Counting(std::uint8_t first) {
  std::array<std::uint8_t, kSize> bytes;
  std::iota(bytes.begin(), bytes.end(), first);
  return bytes;
}

// Made once: keys live in memory of their own, which is slow to come by.
struct Sealed {
  SecretKey master = SecretKey::FromBytes(Counting<32>(1));
  KeyFileKeys keys = {.first = SecretKey::FromBytes(Counting<32>(40)),
                      .second = SecretKey::FromBytes(Counting<32>(80))};
  std::array<std::uint8_t, 32> subject = Counting<32>(120);
  Page page = EncodeHeader(kId, master, keys, Counting<24>(160));
  Page destroyed_page = EncodeDestroyedHeader(kId);
  Page ledger = EncodeLedger(master.bytes(), 7);
  SlotBytes slot = EncodeSlot(keys.first, kId.number, kSlot, subject, Counting<12>(200));
};

void CheckPage(const Sealed& sealed, const Page& page) {
  const HeaderState state = ClassifyHeader(kId, page);
  const auto opened = DecodeHeader(kId, page, sealed.master);
  Check(opened.has_value() == (page.bytes == sealed.page.bytes),
        "a header opens as long as nothing of it was changed, and not after");
  if (opened) {
    Check(std::ranges::equal(opened->first.bytes(), sealed.keys.first.bytes()) &&
              std::ranges::equal(opened->second.bytes(), sealed.keys.second.bytes()),
          "a header opens to its keys");
    return;
  }
  Check(opened.error().code == ErrorCode::kCorrupt || opened.error().code == ErrorCode::kSealed,
        "a header that does not open says why");
  if (state == HeaderState::kZero) Check(page.IsZero(), "only zeros are a page never written");
  KeyFileId other = kId;
  ++other.number;
  Check(ClassifyHeader(other, page) != HeaderState::kWhole ||
            !DecodeHeader(other, page, sealed.master),
        "no header opens under another date");
}

void CheckLedger(const Sealed& sealed, const Page& ledger) {
  const auto generation = DecodeLedger(sealed.master.bytes(), ledger);
  Check(generation.has_value() == (ledger.bytes == sealed.ledger.bytes),
        "a ledger says something as long as nothing of it was changed, and not after");
  Check(!generation || *generation == 7, "a ledger says what was written");
}

void CheckSlot(const Sealed& sealed, const SlotBytes& slot) {
  std::array<std::uint8_t, 32> subject = {};
  const Status opened = DecodeSlot(sealed.keys.first, kId.number, kSlot, slot, &subject);
  Check(opened.has_value() == (slot == sealed.slot),
        "a slot opens as long as nothing of it was changed, and not after");
  if (opened) {
    Check(subject == sealed.subject, "a slot opens to its key");
    return;
  }
  Check(opened.error().code == ErrorCode::kCorrupt || opened.error().code == ErrorCode::kExpired,
        "a slot that does not open says why");
  if (opened.error().code == ErrorCode::kExpired) {
    Check(std::all_of(slot.begin() + 4, slot.end(), [](std::uint8_t b) { return b == 0; }),
          "a destroyed slot holds nothing");
  }
}

void CheckName(const std::string& name) {
  const auto id = KeyFile::ParseFileName(name);
  if (!id) return;
  const KeyFile file("keys", *id, /*sync=*/false);
  Check(name == file.name() + ".a" || name == file.name() + ".b", "a file has one name");
}

}  // namespace
}  // namespace mayfly::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  static const fuzz::Sealed sealed;
  fuzz::CheckName(std::string(fuzz::Text(data, size)));
  // The first byte: which page the changes are made to.
  if (size == 0) return 0;
  store::Page page = (data[0] & 1) == 0 ? sealed.page : sealed.destroyed_page;
  store::SlotBytes slot =
      (data[0] & 2) == 0 ? sealed.slot : store::EncodeDestroyedSlot(fuzz::kSlot.generation);
  store::Page ledger = sealed.ledger;
  bool right_check = false;
  for (std::size_t i = 1; i + 2 < size; i += 3) {
    const unsigned where = data[i] << 8u | data[i + 1];
    right_check = right_check || (where & 0x4000u) != 0;
    if ((where & 0x8000u) != 0) {
      slot[where % slot.size()] = data[i + 2];
    } else {
      page.bytes[where % page.bytes.size()] = data[i + 2];
      ledger.bytes[where % ledger.bytes.size()] = data[i + 2];
    }
  }
  if (right_check) {
    crypto_generichash_blake2b(page.bytes.data() + fuzz::kCheckAt, 32, page.bytes.data(),
                               fuzz::kCheckAt, nullptr, 0);
  }
  fuzz::CheckPage(sealed, page);
  fuzz::CheckLedger(sealed, ledger);
  fuzz::CheckSlot(sealed, slot);
  return 0;
}
