#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/api/chunked.h"
#include "service/api/head.h"

namespace mayfly::service::api {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr HeadLimits kLimits{.head_bytes_max = 1024, .fields_max = 8, .target_bytes_max = 200};

int StatusOf(const std::string& head) {
  const auto parsed = ParseHead(head, kLimits);
  return parsed ? 200 : parsed.error().status;
}

std::string Get(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n";
}

TEST(Head, DecodesPathAndQueryOnce) {
  const auto head = ParseHead(Get("/v1/a%20b/%2541?x=1%262&y=a+b&z"), kLimits);
  ASSERT_TRUE(head.has_value());
  EXPECT_THAT(head->request.path, ElementsAre("v1", "a b", "%41"));
  EXPECT_THAT(head->request.query, ElementsAre(Pair("x", "1&2"), Pair("y", "a b"), Pair("z", "")));
}

TEST(Head, RefusesTargetsThatCouldBeReadInTwoWays) {
  for (const char* target :
       {"/%",     "/%4",        "/%zz",  "/%00", "/%0a",    "/%7f",      "/%ff%fe", "/%c0%af",
        "/a%2fb", "/a%2Fb",     "/.",    "/..",  "/a/../b", "/%2e%2e/b", "/.%2e",   "*",
        "a",      "http://b/b", "//%2f", "/a#b", "/?a=%00", "/?a=1&a=2", "/?=1",    "/?a=%ff"}) {
    EXPECT_EQ(StatusOf(Get(target)), 400) << target;
  }
  EXPECT_EQ(StatusOf(Get("/" + std::string(200, 'a'))), 414);
}

TEST(Head, TakesAnAbsoluteTargetOfTheSameHost) {
  const auto head = ParseHead(Get("http://A/v1/b?c=d"), kLimits);
  ASSERT_TRUE(head.has_value());
  EXPECT_THAT(head->request.path, ElementsAre("v1", "b"));
  EXPECT_THAT(head->request.query, ElementsAre(Pair("c", "d")));
  // Without Host there is nothing to compare with.
  EXPECT_EQ(StatusOf("GET http://a/b HTTP/1.0\r\n\r\n"), 400);
}

TEST(Head, KeepsFieldsInLowerCaseAndTrimmed) {
  const auto head = ParseHead("GET / HTTP/1.1\r\nHOST: a\r\nX-Thing: \t b \t\r\n\r\n", kLimits);
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(*head->request.Header("x-thing"), "b");
  EXPECT_EQ(head->request.Header("X-Thing"), nullptr);
}

TEST(Head, DecidesWhetherTheConnectionStays) {
  const auto keeps = [](const std::string& head) { return ParseHead(head, kLimits)->keep_alive; };
  EXPECT_TRUE(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

TEST(HeadScanner, GivesTheSameVerdictHoweverTheBytesArrive) {
  const std::vector<std::string> heads = {
      Get("/v1"),
      "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
      "GET / HTTP/1.1\nHost: a\n\n",
      "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
      "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
      std::string("GET / HTTP/1.1\r\nHost: \0a\r\n\r\n", 28),
      "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(1100, 'x') + "\r\n\r\n",
      "GET /" + std::string(400, 'a') + " HTTP/1.1\r\n\r\n",
      "GET / HTTP/1.1\r\na:1\r\nb:1\r\nc:1\r\nd:1\r\ne:1\r\nf:1\r\ng:1\r\nh:1\r\ni:1\r\n\r\n"};
  const std::vector<int> expected = {200, 400, 400, 400, 400, 400, 400, 431, 414, 431};
  for (std::size_t i = 0; i < heads.size(); ++i) {
    HeadScanner whole(kLimits);
    const auto at_once = whole.Scan(heads[i]);
    HeadScanner drip(kLimits);
    int dripped = 0;
    for (std::size_t bytes = 1; bytes <= heads[i].size() && dripped == 0; ++bytes) {
      const auto verdict = drip.Scan(std::string_view(heads[i]).substr(0, bytes));
      if (!verdict) {
        dripped = verdict.error().status;
      } else if (*verdict) {
        dripped = 200;
        EXPECT_EQ(**verdict, heads[i].size());
      }
    }
    EXPECT_EQ(dripped, expected[i]) << i;
    EXPECT_EQ(at_once ? 200 : at_once.error().status, expected[i]) << i;
  }
}

TEST(Chunked, GivesTheSameBodyHoweverTheBytesArrive) {
  const std::string coded = "4\r\nmayf\r\nA\r\nly forgets\r\n0\r\nX-Trailer: dropped\r\n\r\nGET ";
  for (const std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{3}, coded.size()}) {
    ChunkedDecoder decoder(100);
    std::string body, pending;
    auto verdict = ChunkedDecoder::Verdict::kMore;
    for (std::size_t at = 0; at < coded.size(); at += step) {
      pending += coded.substr(at, step);
      if (verdict != ChunkedDecoder::Verdict::kMore) continue;
      std::string_view input = pending;
      verdict = decoder.Feed(input, body);
      pending.erase(0, pending.size() - input.size());
    }
    EXPECT_EQ(verdict, ChunkedDecoder::Verdict::kDone);
    EXPECT_EQ(body, "mayfly forgets");
    EXPECT_EQ(pending, "GET ");
  }
}

TEST(Chunked, RefusesWhatIsNotExactlyTheCoding) {
  const auto verdict = [](const std::string& coded) {
    ChunkedDecoder decoder(10);
    std::string body;
    std::string_view input = coded;
    return decoder.Feed(input, body);
  };
  using Verdict = ChunkedDecoder::Verdict;
  for (const char* bad : {"-1\r\n", "zz\r\n", "\r\n", " 1\r\n", "1 \r\n", "0x1\r\n", "+1\r\n",
                          "1;a=b\r\n", "1\n", "1\r\naXX", "1\r\nab", "1\r\na\r\r", "0\r\na\nb"}) {
    EXPECT_EQ(verdict(bad), Verdict::kMalformed) << bad;
  }
  for (const char* large :
       {"b\r\n", "ffffffffffffffff\r\n", "0000000000000000", "9\r\n123456789\r\n2\r\n"}) {
    EXPECT_EQ(verdict(large), Verdict::kTooLarge) << large;
  }
  EXPECT_EQ(verdict("0\r\n" + std::string(5000, 'a')), Verdict::kTooLarge);
  EXPECT_EQ(verdict("a\r\n0123456789\r\n0\r\n\r\n"), Verdict::kDone);
}

}  // namespace
}  // namespace mayfly::service::api
