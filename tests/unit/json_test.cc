#include "store/model/json.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace mayfly::json {
namespace {

using std::string_literals::operator""s;

std::string Repeat(std::string_view text, std::size_t count) {
  std::string repeated;
  for (std::size_t i = 0; i < count; ++i) repeated += text;
  return repeated;
}

TEST(JsonParse, ReadsEveryKindOfValue) {
  const Result<Value> value = Parse(
      " { \"n\" : null, \"t\": true,\t\"f\":false,\r\n\"i\":-12, \"d\":1.5e3, "
      "\"s\":\"a\\u00e9\\n\", "
      "\"a\":[1,[],{}], \"o\":{\"x\":1} } ");
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_TRUE(value->Find("n")->is_null());
  EXPECT_TRUE(*value->Find("t")->AsBool());
  EXPECT_FALSE(*value->Find("f")->AsBool());
  EXPECT_EQ(*value->Find("i")->AsInt(), -12);
  EXPECT_EQ(value->Find("d")->AsNumber(), 1500.0);
  EXPECT_EQ(value->Find("d")->AsInt(), nullptr);
  EXPECT_EQ(*value->Find("s")->AsString(), "a\xc3\xa9\n");
  EXPECT_EQ(value->Find("a")->AsArray()->size(), 3u);
  EXPECT_TRUE((*value->Find("a")->AsArray())[1].is_array());
  EXPECT_TRUE((*value->Find("a")->AsArray())[2].is_object());
  EXPECT_EQ(*value->Find("o")->Find("x")->AsInt(), 1);
  EXPECT_EQ(value->Find("absent"), nullptr);
  EXPECT_EQ(value->Find("i")->Find("x"), nullptr);
  EXPECT_EQ(value->AsObject()->front().first, "n");  // document order
  EXPECT_EQ(value->AsObject()->back().first, "o");
}

TEST(JsonParse, ReadsScalarsAtTheRoot) {
  EXPECT_TRUE(Parse("null")->is_null());
  EXPECT_EQ(*Parse("7")->AsInt(), 7);
  EXPECT_EQ(*Parse("\"\"")->AsString(), "");
  EXPECT_TRUE(*Parse(" true\n")->AsBool());
}

TEST(JsonParse, KeepsIntegersOf64BitsExact) {
  constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(*Parse("9223372036854775807")->AsInt(), kMax);
  EXPECT_EQ(*Parse("-9223372036854775808")->AsInt(), kMin);
  EXPECT_EQ(*Parse("9007199254740993")->AsInt(), 9007199254740993);
  EXPECT_EQ(*Parse("0")->AsInt(), 0);
  EXPECT_EQ(*Parse("-0")->AsInt(), 0);
  for (const char* text : {"9223372036854775808", "-9223372036854775809", "18446744073709551615",
                           "123456789012345678901234567890"}) {
    const Result<Value> value = Parse(text);
    ASSERT_TRUE(value) << text;
    EXPECT_EQ(value->AsInt(), nullptr) << text;
    EXPECT_EQ(value->AsNumber(), std::stod(text)) << text;
  }
}

TEST(JsonParse, ReadsRealsToTheNearestDouble) {
  EXPECT_EQ(Parse("0.1")->AsNumber(), 0.1);
  EXPECT_EQ(Parse("1.7976931348623157e308")->AsNumber(), std::numeric_limits<double>::max());
  EXPECT_EQ(Parse("5e-324")->AsNumber(), std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(Parse("2.2250738585072011e-308")->AsNumber(), 2.2250738585072011e-308);
  EXPECT_EQ(Parse("0.50000000000000000000000000000000000000000000000000000000001")->AsNumber(),
            0.5);
  EXPECT_EQ(Parse("1E+2")->AsNumber(), 100.0);
  EXPECT_TRUE(std::signbit(Parse("-0.0")->AsNumber().value()));
  // Too close to zero to be told from it.
  EXPECT_EQ(Parse("1e-400")->AsNumber(), 0.0);
  EXPECT_EQ(Parse("1e-999999999999999999999")->AsNumber(), 0.0);
  EXPECT_EQ(Parse("0." + Repeat("0", 5000) + "1")->AsNumber(), 0.0);
  EXPECT_EQ(Parse("0." + Repeat("0", 5000) + "1e-2147483647")->AsNumber(), 0.0);
}

TEST(JsonParse, RefusesNumbersThatAreNotFinite) {
  for (const std::string& text :
       {"1e400"s, "-1e400"s, "1e309"s, "1.8e308"s, "1.7976931348623159e308"s, "1e2147483648"s,
        "1e99999999999999999999"s, "0.001e312"s, "1" + Repeat("0", 400), Repeat("9", 309)}) {
    const Result<Value> value = Parse(text);
    ASSERT_FALSE(value) << text;
    EXPECT_EQ(value.error().code, ErrorCode::kInvalidArgument) << text;
  }
}

TEST(JsonParse, RefusesWhatTheGrammarDoesNotAllow) {
  for (const std::string& text :
       {// nothing, half, too much
        ""s, " "s, "{"s, "["s, "}"s, "]"s, "\""s, "tru"s, "nul"s, "-"s, "[1"s, "{\"a\""s,
        "{\"a\":"s, "{\"a\":1"s, "1 2"s, "{} {}"s, "[] x"s, "\"a\" \"b\""s, "1,"s, "[1]]"s,
        // numbers
        "01"s, "-01"s, "00"s, "+1"s, ".5"s, "1."s, "1.e1"s, "1e"s, "1e+"s, "0x10"s, "1_000"s,
        "NaN"s, "Infinity"s, "-Infinity"s, "Inf"s, "- 1"s, "1 .5"s, "--1"s,
        // commas, colons, quotes
        "[1,]"s, "[,1]"s, "[,]"s, "[1 2]"s, "{\"a\":1,}"s, "{,}"s, "{\"a\" 1}"s, "{\"a\":}"s,
        "{a:1}"s, "{'a':1}"s, "'a'"s, "{1:2}"s, "{\"a\"}"s, "[\"a\":1]"s, "{null:1}"s, "{[]:1}"s,
        // literals
        "True"s, "NULL"s, "undefined"s, "nulll"s, "truefalse"s,
        // comments, marks, blanks that JSON does not know
        "// c\n1"s, "/* c */1"s, "1//"s, "[1/**/]"s, "# c\n1"s, "\xEF\xBB\xBF{}"s, "\xFE\xFF"s,
        "\x0b{}"s, "\x0c{}"s, "\xC2\xA0{}"s, "{}\xEF\xBB\xBF"s,
        // strings
        "\"\n\""s, "\"\t\""s, "\"\x01\""s, "\"\x1f\""s, "\"\\x41\""s, "\"\\a\""s, "\"\\u12\""s,
        "\"\\u12g4\""s, "\"\\U0041\""s, "\"\\\""s, "\"\\"s, "\"\\'\""s,
        // a zero byte, wherever it stands
        "\0"s, "{}\0"s, "{}\0{\"a\":1}"s, "\"a\0b\""s, "[1,\0 2]"s, "1\0"s}) {
    const Result<Value> value = Parse(text);
    ASSERT_FALSE(value) << text;
    EXPECT_EQ(value.error().code, ErrorCode::kInvalidArgument) << text;
  }
}

TEST(JsonParse, RefusesInvalidUtf8AndLoneSurrogatesInStringsAndNames) {
  for (const std::string& bad : {"\\ud800"s,
                                 "\\udbff"s,
                                 "\\udc00"s,
                                 "\\udfff"s,
                                 "\\ud800\\u0041"s,
                                 "\\ud800\\ud800"s,
                                 "\\ud800x"s,
                                 "\\udc00\\ud800"s,
                                 "a\\ud83d"s,
                                 "\x80"s,
                                 "\xbf"s,
                                 "\xff"s,
                                 "\xfe"s,
                                 "\xc3"s,
                                 "\xe2\x82"s,
                                 "\xf0\x9f\x98"s,
                                 "\xc0\x80"s,
                                 "\xc0\xaf"s,
                                 "\xc1\xbf"s,
                                 "\xe0\x80\x80"s,
                                 "\xe0\x9f\xbf"s,  // overlong
                                 "\xf0\x80\x80\x80"s,
                                 "\xf0\x8f\xbf\xbf"s,
                                 "\xf8\x88\x80\x80\x80"s,
                                 "\xed\xa0\x80"s,
                                 "\xed\xbf\xbf"s,
                                 "\xed\xa0\xbd\xed\xb8\x80"s,  // surrogates in UTF-8
                                 "\xf4\x90\x80\x80"s,
                                 "\xf5\x80\x80\x80"s,
                                 "\xc3("s,
                                 "\xe2(\xa1"s}) {
    for (const std::string& text : {"\"" + bad + "\"", "[\"" + bad + "\"]", "{\"" + bad + "\":1}",
                                    "{\"k\":\"x" + bad + "y\"}"}) {
      const Result<Value> value = Parse(text);
      ASSERT_FALSE(value) << text;
      EXPECT_EQ(value.error().code, ErrorCode::kInvalidArgument) << text;
    }
  }
}

TEST(JsonParse, KeepsEscapedZeroBytesPairsAndNoncharacters) {
  EXPECT_EQ(*Parse("\"a\\u0000b\"")->AsString(), "a\0b"s);
  EXPECT_EQ(Parse("{\"a\\u0000b\":1}")->AsObject()->front().first, "a\0b"s);
  EXPECT_EQ(*Parse("\"\\ud83d\\ude00\"")->AsString(), "\xf0\x9f\x98\x80");
  EXPECT_EQ(*Parse("\"\\uD83D\\uDE00\"")->AsString(), "\xf0\x9f\x98\x80");
  EXPECT_EQ(*Parse("\"\\uffff\xef\xbf\xbe\"")->AsString(), "\xef\xbf\xbf\xef\xbf\xbe");
  EXPECT_EQ(*Parse("\"\x7f\"")->AsString(), "\x7f");
  EXPECT_EQ(*Parse("\"\\u2028\xe2\x80\xa8\"")->AsString(), "\xe2\x80\xa8\xe2\x80\xa8");
  EXPECT_EQ(*Parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"")->AsString(), "\"\\/\b\f\n\r\t");
}

TEST(JsonParse, RefusesDuplicateNamesHoweverTheyAreSpelt) {
  for (const std::string& text :
       {"{\"a\":1,\"a\":1}"s, "{\"a\":1,\"b\":2,\"a\":3}"s, "{\"\":1,\"\":2}"s,
        "{\"a\":1,\"\\u0061\":2}"s, "[{\"x\":{\"a\":1,\"a\":2}}]"s,
        "{\"\xc3\xa9\":1,\"\\u00e9\":2}"s}) {
    const Result<Value> value = Parse(text);
    ASSERT_FALSE(value) << text;
    EXPECT_EQ(value.error().code, ErrorCode::kInvalidArgument) << text;
  }
  EXPECT_TRUE(Parse("{\"a\":{\"a\":1},\"A\":{\"a\":2}}"));
  EXPECT_TRUE(Parse("{\"a\":1,\"a\\u0000\":2}"));
}

// A comparison of each name with each other would take minutes here.
TEST(JsonParse, ChecksFiftyThousandNamesForDuplicates) {
  std::string text = "{";
  for (int i = 0; i < 50'000; ++i) text += "\"name" + std::to_string(i) + "\":0,";
  const std::string unique = text + "\"last\":0}";
  const std::string repeated = text + "\"name0\":0}";
  const Limits limits{.bytes_max = 4u << 20};
  const Result<Value> value = Parse(unique, limits);
  ASSERT_TRUE(value);
  EXPECT_EQ(value->AsObject()->size(), 50'001u);
  EXPECT_FALSE(Parse(repeated, limits));
}

TEST(JsonParse, RefusesDeepNestingBeforeItCostsAnything) {
  EXPECT_TRUE(Parse(Repeat("[", 32) + Repeat("]", 32)));
  EXPECT_FALSE(Parse(Repeat("[", 33) + Repeat("]", 33)));
  EXPECT_TRUE(Parse(Repeat("{\"a\":", 32) + "1" + Repeat("}", 32)));
  EXPECT_FALSE(Parse(Repeat("{\"a\":", 33) + "1" + Repeat("}", 33)));
  for (const std::string& text : {Repeat("[", 100'000), Repeat("[", 100'000) + Repeat("]", 100'000),
                                  Repeat("{\"a\":", 100'000), Repeat("[{\"a\":", 100'000)}) {
    const Result<Value> value = Parse(text);
    ASSERT_FALSE(value);
    EXPECT_EQ(value.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(value.error().message.find("nested"), std::string::npos);
  }
}

TEST(JsonParse, HoldsTheCallersLimits) {
  EXPECT_TRUE(Parse("[1,2]", Limits{.bytes_max = 5}));
  const Result<Value> longer = Parse("[1,22]", Limits{.bytes_max = 5});
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().code, ErrorCode::kTooLarge);

  EXPECT_TRUE(Parse("[1,2]", Limits{.items_max = 3}));
  EXPECT_TRUE(Parse("{\"a\":1,\"b\":2}", Limits{.items_max = 3}));
  for (const char* text : {"[1,2,3]", "[[],[],[]]", "{\"a\":[1,2]}", "[1,[2,{}]]"}) {
    const Result<Value> more = Parse(text, Limits{.items_max = 3});
    ASSERT_FALSE(more) << text;
    EXPECT_EQ(more.error().code, ErrorCode::kTooLarge) << text;
  }
  const Result<Value> many = Parse("[" + Repeat("0,", 100'000) + "0]");
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().code, ErrorCode::kTooLarge);
}

TEST(JsonParse, NeverQuotesTheInput) {
  for (const std::string& text :
       {"{\"hush-hush\":1,\"hush-hush\":2}"s, "[hush-hush]"s, "\"hush-hush\xff\""s,
        "\"hush-hush\\ud800\""s, "hush-hush"s, "{\"a\":\"hush-hush\n\"}"s}) {
    const Result<Value> value = Parse(text);
    ASSERT_FALSE(value);
    EXPECT_EQ(value.error().message.find("hush"), std::string::npos);
    EXPECT_EQ(value.error().field, "");
  }
}

TEST(JsonParse, ReadsNoByteBehindItsInput) {
  const std::string_view text = "[1,2]3";
  EXPECT_TRUE(Parse(text.substr(0, 5)));
  EXPECT_EQ(*Parse(std::string_view("123", 1))->AsInt(), 1);
  EXPECT_FALSE(Parse(std::string_view("\"ab\"", 3)));
  EXPECT_FALSE(Parse(std::string_view()));
  EXPECT_FALSE(Parse(std::string_view("\"\xe2\x82\xac\"", 3)));
}

TEST(JsonMembers, AreTakenByType) {
  const Value value =
      Parse("{\"s\":\"x\",\"i\":7,\"b\":true,\"n\":null,\"d\":1.5,\"big\":9223372036854775808}")
          .value();
  EXPECT_EQ(value.String("s").value(), "x");
  EXPECT_EQ(value.Int("i").value(), 7);
  EXPECT_EQ(value.Bool("b").value(), true);
  EXPECT_EQ(value.OptString("s").value(), "x");
  EXPECT_EQ(value.OptInt("i").value(), 7);
  EXPECT_EQ(value.OptBool("b").value(), true);
  for (const char* key : {"n", "absent"}) {
    EXPECT_EQ(value.OptString(key).value(), std::nullopt);
    EXPECT_EQ(value.OptInt(key).value(), std::nullopt);
    EXPECT_EQ(value.OptBool(key).value(), std::nullopt);
    EXPECT_FALSE(value.String(key));
    EXPECT_FALSE(value.Int(key));
    EXPECT_FALSE(value.Bool(key));
  }
  EXPECT_FALSE(value.String("i"));
  EXPECT_FALSE(value.OptString("i"));
  EXPECT_FALSE(value.Int("s"));
  EXPECT_FALSE(value.Int("d"));
  EXPECT_FALSE(value.Int("big"));
  EXPECT_FALSE(value.OptInt("b"));
  EXPECT_FALSE(value.Bool("i"));
  EXPECT_FALSE(value.OptBool("s"));
  EXPECT_FALSE(Value(std::int64_t{1}).String("s"));
}

TEST(JsonMembers, NameTheMissingOneByPointer) {
  const Value value = Parse("{}").value();
  EXPECT_EQ(value.String("text").error().field, "/text");
  EXPECT_EQ(value.Int("n", "/a/0").error().field, "/a/0/n");
  EXPECT_EQ(value.Bool("a/b~c").error().field, "/a~1b~0c");
  EXPECT_EQ(value.String("text").error().code, ErrorCode::kInvalidArgument);
}

TEST(JsonValue, TakesALiteralForAStringAndNotForABool) {
  EXPECT_TRUE(Value("x").is_string());
  EXPECT_EQ(*Value("x").AsString(), "x");
}

TEST(Utf8, IsCheckedByTheTableOfUnicode) {
  for (const std::string& good :
       {""s, "a"s, "\0"s, "\x7f"s, "\xc2\x80"s, "\xdf\xbf"s, "\xe0\xa0\x80"s, "\xed\x9f\xbf"s,
        "\xee\x80\x80"s, "\xef\xbf\xbf"s, "\xf0\x90\x80\x80"s, "\xf4\x8f\xbf\xbf"s}) {
    EXPECT_TRUE(IsValidUtf8(good));
  }
  for (const std::string& bad :
       {"\x80"s, "\xc1\x81"s, "\xc2"s, "\xc2\x7f"s, "\xc2\xc0"s, "\xe0\x9f\x80"s, "\xed\xa0\x80"s,
        "\xe1\x80"s, "\xf0\x8f\x80\x80"s, "\xf4\x90\x80\x80"s, "\xf1\x80\x80"s, "\xf5\x80\x80\x80"s,
        "a\xff"s}) {
    EXPECT_FALSE(IsValidUtf8(bad));
  }
}

TEST(JsonWriter, WritesEveryKindOfValue) {
  std::string out = "before ";
  Writer writer(&out);
  writer.StartObject()
      .Field("s", "a\"\\\n\x01\xc3\xa9\x7f/")
      .Field("v", std::string_view("x\0y", 3))
      .Field("b", true)
      .IntField("i", std::numeric_limits<std::int64_t>::min())
      .Key("u")
      .Uint(std::numeric_limits<std::uint64_t>::max())
      .Key("d")
      .Double(0.1)
      .Key("a")
      .StartArray()
      .Null()
      .Bool(false)
      .Int(-1)
      .StartObject()
      .EndObject()
      .StartArray()
      .EndArray()
      .EndArray()
      .Key("")
      .String("")
      .EndObject();
  EXPECT_EQ(out,
            "before {\"s\":\"a\\\"\\\\\\n\\u0001\xc3\xa9\x7f/\",\"v\":\"x\\u0000y\",\"b\":true,"
            "\"i\":-9223372036854775808,\"u\":18446744073709551615,\"d\":0.1,"
            "\"a\":[null,false,-1,{},[]],\"\":\"\"}");
}

TEST(JsonWriter, WritesAnEmptyViewWithoutAPointer) {
  std::string out;
  Writer(&out).String(std::string_view());
  EXPECT_EQ(out, "\"\"");
  out.clear();
  Writer(&out).StartObject().Key(std::string_view()).Null().EndObject();
  EXPECT_EQ(out, "{\"\":null}");
}

TEST(JsonWriter, WritesNullForWhatIsNotFinite) {
  std::string out;
  Writer(&out)
      .StartArray()
      .Double(std::numeric_limits<double>::quiet_NaN())
      .Double(std::numeric_limits<double>::infinity())
      .Double(-std::numeric_limits<double>::infinity())
      .EndArray();
  EXPECT_EQ(out, "[null,null,null]");
}

// Eight characters are looked at together: wherever in them a special one stands, it is found.
TEST(JsonWriter, EscapesAtEveryPlaceOfAText) {
  for (std::size_t size = 1; size <= 20; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      for (int byte = 0; byte < 0x80; ++byte) {
        std::string text(size, 'x');
        text[at] = static_cast<char>(byte);
        std::string written;
        Writer(&written).String(text);
        const bool special = byte < 0x20 || byte == '"' || byte == '\\';
        EXPECT_EQ(special, written.size() > size + 2) << size << " " << at << " " << byte;
        const Result<Value> read = Parse(written);
        ASSERT_TRUE(read) << size << " " << at << " " << byte;
        ASSERT_NE(read->AsString(), nullptr);
        EXPECT_EQ(*read->AsString(), text);
      }
    }
  }
}

TEST(JsonWriter, FindsInvalidUtf8AtEveryPlaceOfAText) {
  for (std::size_t size = 1; size <= 20; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      std::string text(size, 'x');
      text[at] = '\xff';
      EXPECT_FALSE(IsValidUtf8(text)) << size << " " << at;
      text[at] = '\x7f';
      EXPECT_TRUE(IsValidUtf8(text)) << size << " " << at;
      text.replace(at, 1, "\xc3\xbc");
      EXPECT_TRUE(IsValidUtf8(text)) << size << " " << at;
    }
  }
}

TEST(JsonWriter, ReplacesInvalidUtf8) {
  std::string out;
  Writer(&out).StartObject().Field("k\xff", "a\xc0\x80z\xed\xa0\x80\xe2\x82").EndObject();
  const std::string mark = "\xef\xbf\xbd";
  EXPECT_EQ(
      out, "{\"k" + mark + "\":\"a" + mark + mark + "z" + mark + mark + mark + mark + mark + "\"}");
  EXPECT_TRUE(IsValidUtf8(out));
}

using JsonWriterDeathTest = testing::Test;

TEST(JsonWriterDeathTest, EndsTheProcessWhenTheOrderIsWrong) {
  std::string out;
  EXPECT_DEATH(Writer(&out).EndObject(), "not open");
  EXPECT_DEATH(Writer(&out).EndArray(), "not open");
  EXPECT_DEATH(Writer(&out).Key("k"), "name");
  EXPECT_DEATH(Writer(&out).StartArray().Key("k"), "name");
  EXPECT_DEATH(Writer(&out).StartArray().EndObject(), "not open");
  EXPECT_DEATH(Writer(&out).StartObject().EndArray(), "not open");
  EXPECT_DEATH(Writer(&out).StartObject().Int(1), "belongs");
  EXPECT_DEATH(Writer(&out).StartObject().Key("k").EndObject(), "not open");
  EXPECT_DEATH(Writer(&out).StartObject().Key("k").Key("l"), "name");
  EXPECT_DEATH(Writer(&out).Int(1).Int(2), "second document");
}

}  // namespace
}  // namespace mayfly::json
