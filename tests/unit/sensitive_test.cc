#include "store/model/sensitive.h"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace mayfly {
namespace {

const std::string kShort = "short-secret";  // lies inside the string object
const std::string kLong = "a-secret-that-is-too-long-to-lie-inside-of-the-string-object";

// Whether the object's own memory still shows `needle`.
template <class T>
bool Shows(const T& object, const std::string& needle) {
  const char* const begin = reinterpret_cast<const char*>(&object);
  const char* const end = begin + sizeof(object);
  return std::search(begin, end, needle.begin(), needle.end()) != end;
}

TEST(Sensitive, GivesItsValueOnlyThroughReveal) {
  const MessageBody body(kLong);
  EXPECT_EQ(body.Reveal(), kLong);
  EXPECT_EQ(body.size(), kLong.size());
  EXPECT_FALSE(body.empty());
  EXPECT_TRUE(MessageBody().empty());
}

TEST(Sensitive, IsWithheldWhenATestPrintsIt) {
  const MessageBody body(kShort);
  EXPECT_EQ(testing::PrintToString(body), "<12 bytes withheld>");
}

TEST(Sensitive, ComparesByValue) {
  EXPECT_EQ(PlatformId("a"), PlatformId("a"));
  EXPECT_NE(PlatformId("a"), PlatformId("b"));
  EXPECT_LT(PlatformId("a"), PlatformId("b"));
}

TEST(Sensitive, LeavesNothingInWhatItWasMovedFrom) {
  MessageBody from(kShort);
  ASSERT_TRUE(Shows(from, kShort));
  const MessageBody to(std::move(from));
  EXPECT_EQ(to.Reveal(), kShort);
  EXPECT_FALSE(Shows(from, kShort));
  EXPECT_TRUE(from.empty());

  MessageBody again(kShort);
  MessageBody assigned;
  assigned = std::move(again);
  EXPECT_EQ(assigned.Reveal(), kShort);
  EXPECT_FALSE(Shows(again, kShort));
}

TEST(Sensitive, WipesWhatAnAssignmentReplaces) {
  MessageBody body(kShort);
  body = MessageBody("x");
  EXPECT_EQ(body.Reveal(), "x");
  EXPECT_FALSE(Shows(body, kShort.substr(1)));
  const MessageBody other("y");
  body = other;
  EXPECT_EQ(body.Reveal(), "y");
  EXPECT_EQ(other.Reveal(), "y");
}

TEST(Sensitive, SurvivesAssignmentToItself) {
  MessageBody body(kLong);
  MessageBody& same = body;
  body = same;
  EXPECT_EQ(body.Reveal(), kLong);
  body = std::move(same);
  EXPECT_EQ(body.Reveal(), kLong);
}

TEST(Sensitive, WipesItselfWhenItDies) {
  alignas(MessageBody) unsigned char memory[sizeof(MessageBody)] = {};
  auto* body = new (memory) MessageBody(kShort);
  ASSERT_TRUE(Shows(memory, kShort));
  body->~MessageBody();
  EXPECT_FALSE(Shows(memory, kShort));
}

TEST(WipeString, ClearsTheWholeBufferAlsoPastTheEnd) {
  std::string value = kLong;
  const char* const buffer = value.data();
  const std::size_t capacity = value.capacity();
  value.resize(3);
  WipeString(value);
  EXPECT_TRUE(value.empty());
  // The buffer is still the string's own.
  ASSERT_EQ(value.data(), buffer);
  value.resize(capacity);
  EXPECT_EQ(value.find("secret"), std::string::npos);
  std::string empty;
  WipeString(empty);
  EXPECT_TRUE(empty.empty());
}

}  // namespace
}  // namespace mayfly
