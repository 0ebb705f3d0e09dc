// Words, terms, queries and the codec of postings.
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/model/json.h"
#include "store/search/posting_codec.h"
#include "store/search/query.h"
#include "store/search/tokenizer.h"
#include "store/search/word_table.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {
namespace {

using namespace store::search;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Words = std::vector<std::string>;

std::shared_ptr<const Tokenizer> Of(const Words& languages) {
  return Must(Tokenizer::Make(languages));
}

Words FormsOf(const std::string& text, const Words& languages = {}) {
  Words forms;
  Of(languages)->Visit(text, [&](std::string_view form, const std::vector<std::string_view>&) {
    forms.emplace_back(form);
    return true;
  });
  return forms;
}

bool Finds(const std::string& query, const std::string& text, const Words& languages = {"en"}) {
  const auto parsed = Must(Query::Parse(QueryText(query)));
  return Matcher(parsed, Of(languages)).Matches(MessageBody(text));
}

TEST(Tokenizer, PartsAtEverythingThatIsNoLetterDigitOrMark) {
  EXPECT_THAT(FormsOf("Hello, World! a_b 3.14 o'neil l\u2019eau me@example.org"),
              ElementsAre("hello", "world", "a", "b", "3", "14", "o", "neil", "l", "eau", "me",
                          "example", "org"));
  EXPECT_THAT(FormsOf("... --- !? \n\t"), IsEmpty());
  EXPECT_THAT(FormsOf(""), IsEmpty());
}

TEST(Tokenizer, FoldsCaseAndAccentsWhereTheyAreLeftOut) {
  EXPECT_THAT(FormsOf("D\u00e9p\u00f4t De\u0301po\u0302t"), ElementsAre("depot", "depot"));
  EXPECT_THAT(FormsOf("STRASSE Stra\u00dfe"), ElementsAre("strasse", "strasse"));
  EXPECT_THAT(FormsOf("\u0141\u00f3d\u017a \u00d8re \u0152uvre \u00c6on \u0130stanbul"),
              ElementsAre("lodz", "ore", "oeuvre", "aeon", "istanbul"));
  EXPECT_THAT(FormsOf("\u03ac\u03bb\u03c6\u03b1"), ElementsAre("\u03b1\u03bb\u03c6\u03b1"));
  EXPECT_EQ(FormsOf("\u0451\u043b\u043a\u0430"), FormsOf("\u0435\u043b\u043a\u0430"));
  EXPECT_NE(FormsOf("\u043c\u043e\u0439"), FormsOf("\u043c\u043e\u0438")) << "another letter";
  EXPECT_NE(FormsOf("\u304c"), FormsOf("\u304b")) << "Japanese voicing is no accent";
  EXPECT_THAT(FormsOf("\uff28\uff45\uff4c\uff4c\uff4f"), ElementsAre("hello")) << "full width";
}

TEST(Tokenizer, ReadsRightToLeftScriptsWithAndWithoutPoints) {
  EXPECT_EQ(FormsOf("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd"),
            FormsOf("\u05e9\u05dc\u05d5\u05dd"));
  EXPECT_EQ(FormsOf("\u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627"),
            FormsOf("\u0645\u0631\u062d\u0628\u0627"));
  EXPECT_EQ(FormsOf("\u0645\u0640\u0640\u0631\u062d\u0628\u0627"),
            FormsOf("\u0645\u0631\u062d\u0628\u0627"))
      << "stretched";
  EXPECT_THAT(FormsOf("\u202b\u05e9\u05dc\u05d5\u05dd \u202cabc"),
              ElementsAre("\u05e9\u05dc\u05d5\u05dd", "abc"))
      << "marks of direction are not seen";
}

TEST(Tokenizer, PartsScriptsThatAreWrittenWithoutSpaces) {
  EXPECT_THAT(FormsOf("\u6771\u4eac\u5927\u5b66"),
              ElementsAre("\u6771\u4eac", "\u5927\u5b66"));  // Tokyo, university
  EXPECT_THAT(FormsOf("\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a"),
              ElementsAre("\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u0e04\u0e23\u0e31\u0e1a"));
  EXPECT_THAT(FormsOf("\ud55c\uad6d\uc5b4 \ub9d0"), ElementsAre("\ud55c\uad6d\uc5b4", "\ub9d0"));
}

TEST(Tokenizer, TakesEmojiAndFlagsAsWords) {
  EXPECT_THAT(FormsOf("ok\U0001F44D\U0001F3FD!"), ElementsAre("ok", "\U0001F44D"));
  EXPECT_THAT(FormsOf("\U0001F1E7\U0001F1EA\U0001F1F3\U0001F1F1"),
              ElementsAre("\U0001F1E7\U0001F1EA", "\U0001F1F3\U0001F1F1"));
  EXPECT_THAT(FormsOf("\u2764\ufe0f \u2764"), ElementsAre("\u2764", "\u2764"));
}

TEST(Tokenizer, PassesOverBytesThatAreNoUtf8) {
  EXPECT_THAT(FormsOf("ab\xff"
                      "cd\xc3"),
              ElementsAre("ab", "cd"));
  EXPECT_THAT(FormsOf("\xed\xa0\x80x"), ElementsAre("x")) << "half a surrogate pair";
  EXPECT_THAT(FormsOf("\u0301\u0301abc"), ElementsAre("abc")) << "marks on nothing";
}

TEST(Tokenizer, CutsEndlessWordsAtACharacter) {
  const Words long_word = FormsOf(std::string(5'000, 'a'));
  ASSERT_EQ(long_word.size(), 1u);
  EXPECT_EQ(long_word[0].size(), kWordBytesMax);
  std::string accents;
  for (int i = 0; i < 500; ++i) accents += "\u0436";
  const Words cut = FormsOf("x" + accents);
  ASSERT_EQ(cut.size(), 1u);
  EXPECT_TRUE(json::IsValidUtf8(cut[0]));
}

TEST(Tokenizer, StopsWhenNobodyWantsMore) {
  int seen = 0;
  Of({})->Visit("one two three \u6771\u4eac\u5927\u5b66",
                [&](std::string_view, const std::vector<std::string_view>&) { return ++seen < 2; });
  EXPECT_EQ(seen, 2);
}

TEST(Tokenizer, SharesNoWordsBetweenRunsInAnyOrder) {
  // The words of a text are those of its parts, whatever stands around them.
  std::mt19937 random(3);
  const Words pieces = {"abc",
                        "\u00e9t\u00e9",
                        "\u6771\u4eac\u5927\u5b66",
                        "\U0001F44D",
                        "42",
                        "\u05e9\u05dc\u05d5\u05dd",
                        "don't",
                        "\xff"};
  for (int i = 0; i < 500; ++i) {
    std::string text;
    Words expected;
    for (int n = static_cast<int>(random() % 6); n > 0; --n) {
      const std::string& piece = pieces[random() % pieces.size()];
      text += piece + ", ";
      for (const std::string& form : FormsOf(piece)) expected.push_back(form);
    }
    EXPECT_EQ(FormsOf(text), expected);
  }
}

TEST(Tokenizer, RefusesLanguagesThatItDoesNotKnow) {
  EXPECT_EQ(FailureOf(Tokenizer::Make({"xx"})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(FailureOf(Tokenizer::Make({"english"})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(FailureOf(Tokenizer::Make({"en", "en"})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(FailureOf(Tokenizer::Make({"en", "fr", "de", "nl", "es"})),
            ErrorCode::kInvalidArgument);
  for (const char* code : {"de", "en", "es", "fr", "nl"}) {
    EXPECT_THAT(KnownLanguages(), ::testing::Contains(code));
  }
}

TEST(Matcher, FindsEveryWordInAnyFormAndOrder) {
  EXPECT_TRUE(Finds("writing letters", "The letter was writing itself"));
  EXPECT_TRUE(Finds("letter", "LETTERS"));
  EXPECT_FALSE(Finds("letter", "LETTERS", {}));
  EXPECT_FALSE(Finds("letter missing", "a letter"));
  EXPECT_TRUE(Finds("the", "the"));
  EXPECT_TRUE(Finds("x", "a x b"));
  EXPECT_FALSE(Finds("let", "letter")) << "whole words";
}

TEST(Matcher, FindsAccentedWordsHoweverTheyAreTyped) {
  for (const char* text : {"achet\u00e9es", "achetees"}) {
    for (const char* query : {"achet\u00e9es", "achetees", "ACHETE\u0301ES"}) {
      EXPECT_TRUE(Finds(query, text, {"fr"})) << query << " in " << text;
    }
  }
  EXPECT_TRUE(Finds("achet\u00e9", "achet\u00e9es", {"fr"}));
  EXPECT_TRUE(Finds("briefe boek", "ein Brief, twee boeken", {"de", "nl"}));
}

TEST(Matcher, TakesQuotedWordsAsTheyStand) {
  EXPECT_TRUE(Finds("\"no reply yet\"", "There is No reply, yet."));
  EXPECT_FALSE(Finds("\"no reply yet\"", "no yet reply"));
  EXPECT_FALSE(Finds("\"letter\"", "letters"));
  EXPECT_TRUE(Finds("\"a a b\"", "a a a b"));
  EXPECT_TRUE(
      Finds("\u201cno reply\u201d letters \u00abyet now\u00bb", "no reply; letter; yet now"));
  EXPECT_TRUE(Finds("\"\u6771\u4eac\u5927\u5b66\"", "\u6771\u4eac\u5927\u5b66"));
}

TEST(Query, SaysWhatIsWrongAndQuotesNothing) {
  const auto refused = [](const std::string& text) {
    const auto query = Query::Parse(QueryText(text));
    EXPECT_EQ(FailureOf(query), ErrorCode::kInvalidArgument) << text.size() << " bytes";
    return query ? std::string() : query.error().message;
  };
  EXPECT_THAT(refused(""), HasSubstr("no word"));
  EXPECT_THAT(refused("  ,.! "), HasSubstr("no word"));
  EXPECT_THAT(refused("\"\" letters"), HasSubstr("no word"));
  EXPECT_THAT(refused("zebra \"letters"), HasSubstr("partner"));
  EXPECT_THAT(refused("zebra \"letters"), Not(HasSubstr("zebra")));
  EXPECT_THAT(refused("ab\xff"), HasSubstr("UTF-8"));
  EXPECT_THAT(refused("a b c d e f g h i j k l m n o p q"), HasSubstr("16 words"));
  std::string many;
  for (int i = 0; i < 10'000; ++i) many += "word ";
  EXPECT_THAT(refused(many), HasSubstr("1024 bytes"));
  EXPECT_TRUE(Query::Parse(QueryText("a")));
  EXPECT_TRUE(Query::Parse(QueryText("a b c d e f g h i j k l m n o p")));
  EXPECT_TRUE(Query::Parse(QueryText("\U0001F44D")));
}

// --- codec

Bucket SomeBucket() {
  Bucket bucket;
  bucket.push_back({SecretString("a"), {0, 1, 127, 128}});
  bucket.push_back({SecretString("abc"), {5}});
  bucket.push_back({SecretString("abd"), {0, kSegmentDocumentsMax - 1}});
  return bucket;
}

TEST(PostingCodec, KeepsItsBytes) {
  EXPECT_EQ(ToHex(EncodeBucket(SomeBucket())),
            "0103"
            "000161"
            "0400017e01"
            "01026263"
            "0105"
            "020164"
            "0200ffff07");
  const TimePoint at(milliseconds(1'000'000));
  EXPECT_EQ(ToHex(EncodeBlock({{.message = {1}, .terms = 3, .sent_at = at},
                               {.message = {}, .terms = 0, .sent_at = at - milliseconds(5)}})),
            "0102"
            "80897a"
            "01000000000000000000000000000000"
            "03"
            "05"
            "00000000000000000000000000000000"
            "00");
  EXPECT_EQ(ToHex(Encode(SegmentMeta{.documents = 129,
                                     .removed = 2,
                                     .bucket_bits = 3,
                                     .languages = {"en"},
                                     .oldest = at - milliseconds(9),
                                     .block_newest = {at, at - milliseconds(4)}})),
            "01"
            "8101"
            "02"
            "03"
            "01"
            "02656e"
            "ee887a"
            "80897a"
            "04");
}

TEST(PostingCodec, ReadsWhatItWrote) {
  const std::string bytes = EncodeBucket(SomeBucket());
  EXPECT_EQ(EncodeBucket(Must(DecodeBucket(bytes))), bytes);
  std::vector<std::uint32_t> found;
  Must(FindInBucket(bytes, "abd", found));
  EXPECT_THAT(found, ElementsAre(0u, kSegmentDocumentsMax - 1));
  found.clear();
  for (const char* absent : {"A", "ab", "abcd", "b"}) Must(FindInBucket(bytes, absent, found));
  EXPECT_THAT(found, IsEmpty());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(FailureOf(DecodeBucket(bytes.substr(0, i))), ErrorCode::kCorrupt) << i;
  }
}

TEST(WordTable, TakesAMessageOutWithItsWords) {
  WordTable table;
  const auto first = table.AddDocument({1}, TimePoint(milliseconds(1)));
  const auto second = table.AddDocument({2}, TimePoint(milliseconds(2)));
  table.AddTerm(first, "both");
  table.AddTerm(first, "both");
  table.AddTerm(first, "alone");
  table.AddTerm(second, "both");
  EXPECT_EQ(table.documents()[first].terms, 2u);
  EXPECT_TRUE(table.Remove({1}));
  EXPECT_FALSE(table.Remove({1}));
  EXPECT_EQ(table.Find("alone"), nullptr);
  ASSERT_NE(table.Find("both"), nullptr);
  EXPECT_THAT(*table.Find("both"), ElementsAre(second));
  EXPECT_EQ(table.living(), 1u);
}

}  // namespace
}  // namespace mayfly::testing
