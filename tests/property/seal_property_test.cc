#include <rapidcheck.h>
#include <string>

#include <gtest/gtest.h>

#include "store/keys/seal.h"

namespace mayfly::store {
namespace {

struct Place {
  Pair pair = {};
  std::string family;
  std::string engine_key;
  SealContext context;
  SealedHeader header;
};

// Filled in place: the context points into the strings beside it.
void Draw(Place* place) {
  for (auto& byte : place->pair) byte = *rc::gen::arbitrary<std::uint8_t>();
  place->family = *rc::gen::arbitrary<std::string>();
  place->engine_key = *rc::gen::arbitrary<std::string>();
  place->context = {
      .organisation = *rc::gen::arbitrary<std::uint16_t>(),
      .family = place->family,
      .column = *rc::gen::arbitrary<char>(),
      .engine_key = place->engine_key,
      .expires_at = TimePoint(std::chrono::milliseconds(*rc::gen::arbitrary<std::int64_t>()))};
  place->header = {.slot = {.number = *rc::gen::arbitrary<std::uint32_t>(),
                            .generation = *rc::gen::arbitrary<std::uint16_t>()},
                   .account = {*rc::gen::arbitrary<std::uint32_t>()},
                   .direction = *rc::gen::element(Direction::kIncoming, Direction::kOutgoing)};
}

// Both kinds of body: such as compress, and such as do not.
std::string DrawBody() {
  std::string body = *rc::gen::arbitrary<std::string>();
  const int times = *rc::gen::inRange(1, 40);
  std::string repeated;
  for (int i = 0; i < times; ++i) repeated += body;
  return repeated;
}

TEST(SealProperty, WhatIsSealedOpens) {
  EXPECT_TRUE(rc::check("Unseal(Seal(body)) is body", [] {
    Place place;
    Draw(&place);
    const std::string body = DrawBody();
    const std::string sealed = Seal(place.pair, place.context, place.header, body);
    const Result<std::string> opened = Unseal(place.pair, place.context, sealed);
    RC_ASSERT(opened.has_value());
    RC_ASSERT(*opened == body);
    const Result<SealedHeader> header = PeekSealed(sealed);
    RC_ASSERT(header.has_value());
    RC_ASSERT(header->slot == place.header.slot);
    RC_ASSERT(header->account == place.header.account);
    RC_ASSERT(header->direction == place.header.direction);
  }));
}

TEST(SealProperty, AChangedByteNeverOpens) {
  EXPECT_TRUE(rc::check("one byte changed anywhere is kCorrupt", [] {
    Place place;
    Draw(&place);
    std::string sealed = Seal(place.pair, place.context, place.header, DrawBody());
    const auto at = *rc::gen::inRange<std::size_t>(0, sealed.size());
    sealed[at] = static_cast<char>(sealed[at] ^ *rc::gen::inRange(1, 256));
    const Result<std::string> opened = Unseal(place.pair, place.context, sealed);
    RC_ASSERT(!opened.has_value());
    RC_ASSERT(opened.error().code == ErrorCode::kCorrupt);
  }));
}

TEST(SealProperty, NoiseNeverOpensAndNeverHarms) {
  EXPECT_TRUE(rc::check("arbitrary bytes are kCorrupt", [] {
    Place place;
    Draw(&place);
    std::string noise = *rc::gen::arbitrary<std::string>();
    if (*rc::gen::arbitrary<bool>()) noise.insert(0, std::string("\1") + place.context.column);
    const Result<std::string> opened = Unseal(place.pair, place.context, noise);
    RC_ASSERT(!opened.has_value());
    RC_ASSERT(opened.error().code == ErrorCode::kCorrupt);
  }));
}

}  // namespace
}  // namespace mayfly::store
