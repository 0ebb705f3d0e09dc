#include "connectors/mentions.h"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace mayfly::connectors {
namespace {

// What was found, as it stands in the text: the range and the handle must agree.
std::vector<std::string> Found(std::string_view text) {
  std::vector<std::string> found;
  for (const Mention& mention : FindMentions(text)) {
    const std::string_view range = text.substr(mention.offset, mention.length);
    EXPECT_EQ(range, "@" + mention.handle.Reveal());
    found.emplace_back(range.substr(1));
  }
  return found;
}

struct Case {
  std::string_view text;
  std::vector<std::string> handles;
};

TEST(Mentions, AreFoundAsMastodonFindsThem) {
  const std::vector<Case> cases = {
      {"", {}},
      {"nobody", {}},
      {"@alice", {"alice"}},
      {"@alice@example.org", {"alice@example.org"}},
      {"Dear @alice, dear @bob@example.org!", {"alice", "bob@example.org"}},
      {"(@alice)", {"alice"}},
      {"\"@alice\"", {"alice"}},
      {".@alice", {"alice"}},
      {"@alice.", {"alice"}},
      {"@alice...", {"alice"}},
      {"@alice-", {"alice"}},
      {"@al.ice-b_c", {"al.ice-b_c"}},
      {"@alice@example.org.", {"alice@example.org"}},
      {"@alice@example.org:8080", {"alice@example.org"}},
      {"@alice@example.org/x", {"alice@example.org"}},
      {"@alice@sub-1.example.org,", {"alice@sub-1.example.org"}},
      {"@alice@b\xC3\xBC"
       "cher.example",
       {"alice@b\xC3\xBC"
        "cher.example"}},
      {"@alice@", {"alice"}},
      {"@alice@ example.org", {"alice"}},
      {"@alice@example.org@evil.example", {"alice@example.org"}},
      {"@alice @bob", {"alice", "bob"}},
      {"@alice,@bob", {"alice", "bob"}},
      {"@alice\n@bob", {"alice", "bob"}},
      {"@_@_", {"_@_"}},
      {"@1", {"1"}},
  };
  for (const Case& c : cases) EXPECT_EQ(Found(c.text), c.handles) << c.text;
}

TEST(Mentions, AreNotInMailOrPageAddresses) {
  for (const std::string_view text : {
           "info@example.org",
           "first.last@example.org",
           "mailto:info@example.org",
           "\xC3\xA9@example.org",      // a letter of another script
           "\xE5\xAD\x97@example.org",  //
           "e\xCC\x81@example.org",     // a combining mark
           "3@4",
           "_@example.org",
           "https://example.org/@alice",
           "https://example.org/@alice@example.net/1234",
           "https://example.org/?who=@alice",
           "@",
           "@ alice",
           "@-alice",
           "@.alice",
           "a@@",
       }) {
    EXPECT_EQ(Found(text), std::vector<std::string>()) << text;
  }
}

// Where servers differ, or where a reader could be of two minds.
TEST(Mentions, AreFoundInDoubt) {
  const std::vector<Case> cases = {
      {"@@alice", {"alice"}},
      {"alice@@bob", {"bob"}},
      {"@alice@@bob", {"alice", "bob"}},
      {"who=@alice", {"alice"}},
      {"https://example.org/?x who=@alice", {"alice"}},
      {"https://example.org:@alice", {"alice"}},
      {"info.@example.org", {"example.org"}},
      {"info+@example.org", {"example.org"}},
      {"@alice@-example.org", {"alice@-example.org"}},
      {"@alice@.example.org", {"alice@.example.org"}},
      {"@alice\xE3\x81\x95\xE3\x82\x93", {"alice"}},                // no space in this script
      {"@\xE3\x81\x95\xE3\x82\x93", {"\xE3\x81\x95\xE3\x82\x93"}},  // no name to Mastodon
      {"@\xC5\xBF"
       "am",
       {"\xC5\xBF"
        "am"}},                             // long s
      {"@\xE2\x84\xAA", {"\xE2\x84\xAA"}},  // the Kelvin sign
      {"\xE2\x93\x90@alice", {"alice"}},    // a circled letter
      {"\xE2\x80\x8B@alice", {"alice"}},    // a space of no width
      {"\xF0\x9F\x91\x8B@alice", {"alice"}},
      {"\xFF@alice", {"alice"}},      // ill-formed
      {"\xC3@alice\xC3", {"alice"}},  //
      {"@alice@example.org\xE2\x93\x90", {"alice@example.org\xE2\x93\x90"}},
  };
  for (const Case& c : cases) EXPECT_EQ(Found(c.text), c.handles) << c.text;
}

std::vector<std::string> Others(std::string_view text, const std::vector<std::string>& known,
                                std::string_view own_host) {
  std::vector<ContactHandle> handles;
  for (const std::string& handle : known) handles.emplace_back(handle);
  std::vector<std::string> others;
  for (const Mention& mention : MentionsOfOthers(text, handles, own_host)) {
    others.push_back(mention.handle.Reveal());
  }
  return others;
}

struct OthersCase {
  std::string_view text;
  std::vector<std::string> known;
  std::string_view own_host;
  std::vector<std::string> others;
};

TEST(Mentions, OfOthersAreThoseOfNobodyKnown) {
  const std::vector<OthersCase> cases = {
      {"@alice", {"alice"}, "home.example", {}},
      {"@ALICE@Example.ORG", {"alice@example.org"}, "home.example", {}},
      {"@alice@example.org", {"@Alice@example.org"}, "home.example", {}},
      {"@alice", {"alice@home.example"}, "Home.Example", {}},
      {"@alice@home.example", {"alice"}, "home.example", {}},
      {"@alice", {"alice@example.org"}, "home.example", {"alice"}},
      {"@alice@example.org", {"alice"}, "home.example", {"alice@example.org"}},
      {"@alice", {"alice@home.example"}, "", {"alice"}},
      {"@alice", {"alice"}, "", {}},
      {"@alice", {}, "home.example", {"alice"}},
      {"@alice", {""}, "home.example", {"alice"}},
      {"@alice2", {"alice"}, "home.example", {"alice2"}},
      {"@alic", {"alice"}, "home.example", {"alic"}},
      {"@alice @bob @us", {"alice", "us"}, "home.example", {"bob"}},
      {"@bob and @bob", {"alice"}, "home.example", {"bob", "bob"}},
      {"@\xE2\x84\xAA"
       "arl",
       {"karl"},
       "home.example",
       {"\xE2\x84\xAA"
        "arl"}},
      {"@alice@xn--bcher-kva.example",
       {"alice@b\xC3\xBC"
        "cher.example"},
       "home.example",
       {"alice@xn--bcher-kva.example"}},
  };
  for (const OthersCase& c : cases) {
    EXPECT_EQ(Others(c.text, c.known, c.own_host), c.others) << c.text;
  }
}

TEST(Mentions, OfOthersSayWhereTheyStand) {
  const std::vector<ContactHandle> known = {ContactHandle("alice")};
  const std::string text = "\xC3\xA9t\xC3\xA9 @alice @bob@example.org";
  const auto others = MentionsOfOthers(text, known, "home.example");
  ASSERT_EQ(others.size(), 1u);
  EXPECT_EQ(others[0].offset, text.find("@bob"));
  EXPECT_EQ(others[0].length, std::string("@bob@example.org").size());
}

}  // namespace
}  // namespace mayfly::connectors
