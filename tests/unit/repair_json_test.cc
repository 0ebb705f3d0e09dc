#include "connectors/repair_json.h"

#include <string>

#include <gtest/gtest.h>

#include "store/model/json.h"

namespace mayfly::connectors {
namespace {

std::string Repeat(const std::string& part, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += part;
  return all;
}

TEST(RepairJson, LeavesGoodJsonAlone) {
  const std::string good = R"({"a":[1,2,{"b":"\u00e9\"\\ \ud83d\ude00 é 😀"}],"c":null})";
  EXPECT_EQ(RepairJson(good), good);
}

TEST(RepairJson, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(RepairJson("\"a\xFF\xC0\x80z\""), "\"a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\"");
  EXPECT_EQ(RepairJson("\"\xED\xA0\x80\""), "\"" + Repeat("\xEF\xBF\xBD", 3) + "\"");  // surrogate
  EXPECT_EQ(RepairJson("\"\xE2\x82"), "\"" + Repeat("\xEF\xBF\xBD", 2));  // cut in the middle
}

TEST(RepairJson, ReplacesLoneSurrogateEscapes) {
  EXPECT_EQ(RepairJson(R"("\ud800x")"), R"("\ufffdx")");
  EXPECT_EQ(RepairJson(R"("\udc00")"), R"("\ufffd")");
  EXPECT_EQ(RepairJson(R"("\ud800\ud801\udc01")"), R"("\ufffd\ud801\udc01")");
  EXPECT_EQ(RepairJson(R"("\\ud800")"), R"("\\ud800")");  // an escaped backslash, then letters
}

TEST(RepairJson, CutsWhatIsTooDeep) {
  const std::string deep = R"({"t":"kept","e":)" + Repeat("[", 500) + Repeat("]", 500) + "}";
  const auto value = json::Parse(RepairJson(deep));
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(*value->String("t"), "kept");
}

TEST(RepairJson, EndsOnAnything) {
  for (const std::string& body :
       {std::string(), std::string("\""), std::string("\\"), std::string("\"\\"),
        std::string("]]]]"), std::string(9, '\0'), Repeat("[", 100'000), std::string("\"\\u12")}) {
    EXPECT_LE(RepairJson(body).size(), 3 * body.size() + 4);
  }
}

TEST(SequenceLength, KnowsWellFormedUtf8) {
  EXPECT_EQ(SequenceLength("a"), 1u);
  EXPECT_EQ(SequenceLength("é"), 2u);
  EXPECT_EQ(SequenceLength("€"), 3u);
  EXPECT_EQ(SequenceLength("😀"), 4u);
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80",
                          "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82"}) {
    EXPECT_EQ(SequenceLength(bad), 0u);
  }
}

}  // namespace
}  // namespace mayfly::connectors
