#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "connectors/mastodon/api_types.h"
#include "store/model/json.h"

namespace mayfly::connectors::mastodon {
namespace {

std::string Repeat(const std::string& part, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += part;
  return all;
}

const std::string kAnn =
    R"({"id":"11","username":"ann","acct":"ann@far.example","display_name":"Ann","url":)"
    R"("https://far.example/@ann"})";
const std::string kOffice =
    R"({"id":"7","username":"office","acct":"office","url":"https://social.example/@office"})";

std::string Status(const std::string& more = "") {
  return R"({"id":"1001","created_at":"2026-11-20T10:00:00.123Z","edited_at":null,)"
         R"("in_reply_to_id":null,"visibility":"direct","spoiler_text":"","content":)"
         R"("<p><a href=\"https://social.example/@office\" class=\"u-url mention\">@<span>office)"
         R"(</span></a> hello</p>","media_attachments":[],"poll":null,"reblog":null,"account":)" +
         kAnn + R"(,"mentions":[)" + kOffice + "]" + more + "}";
}

TEST(MastodonApiTypes, ReadsAStatus) {
  const auto status = ParseStatus(Status());
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->id, "1001");
  EXPECT_EQ(status->created_at, ParseRfc3339("2026-11-20T10:00:00.123Z"));
  EXPECT_FALSE(status->edited_at.has_value());
  EXPECT_EQ(status->in_reply_to_id, "");
  EXPECT_EQ(status->visibility, Visibility::kDirect);
  EXPECT_EQ(status->account.id, "11");
  EXPECT_EQ(FullHandle(status->account, "social.example"), "ann@far.example");
  ASSERT_EQ(status->mentions.size(), 1u);
  EXPECT_EQ(FullHandle(status->mentions[0], "social.example"), "office@social.example");
  EXPECT_FALSE(status->has_attachment);
  bool cut = false;
  const std::string us[] = {"office@social.example"};
  EXPECT_EQ(TextOf(*status, "social.example", {}, us, &cut).Reveal(), "hello");
  EXPECT_EQ(TextOf(*status, "social.example", {}, {}, &cut).Reveal(),
            "@office@social.example hello");
  EXPECT_FALSE(cut);
}

TEST(MastodonApiTypes, ReadsWhatElseAStatusMayHave) {
  const auto read = [](const std::string& json) {
    auto status = ParseStatus(json);
    EXPECT_TRUE(status.has_value()) << json;
    return status ? *std::move(status) : MastodonStatus{};
  };
  const auto with = [](const std::string& from, const std::string& to) {
    std::string json = Status();
    const std::size_t at = json.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return json.replace(at, from.size(), to);
  };
  EXPECT_TRUE(read(with("\"poll\":null", "\"poll\":{\"id\":\"1\"}")).has_attachment);
  EXPECT_TRUE(read(with("\"media_attachments\":[]", "\"media_attachments\":[{}]")).has_attachment);
  EXPECT_TRUE(read(with("\"reblog\":null", "\"reblog\":{}")).is_reblog);
  EXPECT_EQ(read(with("\"direct\"", "\"private\"")).visibility, Visibility::kPrivate);
  EXPECT_EQ(read(with("\"direct\"", "\"unlisted\"")).visibility, Visibility::kPublic);
  EXPECT_EQ(read(with("\"direct\"", "7")).visibility, Visibility::kPublic);
  EXPECT_EQ(read(with("\"in_reply_to_id\":null", "\"in_reply_to_id\":\"9\"")).in_reply_to_id, "9");
  EXPECT_FALSE(read(with("2026-11-20T10", "2026-13-20T10")).created_at.has_value());
  EXPECT_TRUE(read(with("\"content\"", "\"kontent\"")).content_missing);
  EXPECT_TRUE(read(with("\"edited_at\":null", "\"edited_at\":\"2026-11-20T11:00:00Z\""))
                  .edited_at.has_value());
  // People who cannot be read are nobody, and stop nothing.
  EXPECT_TRUE(read(with("\"mentions\":[", "\"mentions\":[7,{},{\"id\":[]},")).mentions.size() == 1);
  bool cut = false;
  const auto warned = read(with("\"spoiler_text\":\"\"", "\"spoiler_text\":\"sad\\u0000 news\""));
  const std::string us[] = {"office@social.example"};
  EXPECT_EQ(TextOf(warned, "social.example", {}, us, &cut).Reveal(), "sad news\n\nhello");
}

TEST(MastodonApiTypes, ReadsNotificationsAndConversations) {
  const auto notifications = ParseNotifications(
      R"([{"id":"3","type":"mention","created_at":"2026-11-20T10:00:00Z","status":)" + Status() +
      R"(},{"id":"2","type":"follow","status":{}},{"id":"1","type":"mention","status":null}])");
  ASSERT_TRUE(notifications.has_value());
  ASSERT_EQ(notifications->size(), 3u);
  EXPECT_TRUE((*notifications)[0].status.has_value());
  EXPECT_FALSE((*notifications)[1].mention);
  EXPECT_FALSE((*notifications)[2].status.has_value());
  const auto conversations =
      ParseConversations(R"([{"id":"4","unread":true,"accounts":[)" + kAnn + R"(],"last_status":)" +
                         Status() + R"(},{"id":"5","last_status":null}])");
  ASSERT_TRUE(conversations.has_value());
  ASSERT_EQ(conversations->size(), 2u);
  EXPECT_EQ((*conversations)[0].accounts.size(), 1u);
  EXPECT_EQ((*conversations)[0].last_status->id, "1001");
  const auto context = ParseContext(R"({"ancestors":[)" + Status() + R"(],"descendants":[]})");
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(context->ancestors.size(), 1u);
}

TEST(MastodonApiTypes, KnowsTheServersOfTheFamily) {
  const auto instance = [](const std::string& json) {
    auto read = ParseInstance(json);
    EXPECT_TRUE(read.has_value()) << json;
    return read ? *read : Instance{};
  };
  const Instance mastodon =
      instance(R"({"domain":"Social.Example","version":"4.5.2","source_url":)"
               R"("https://github.com/mastodon/mastodon","configuration":{"statuses":)"
               R"({"max_characters":500}}})");
  EXPECT_EQ(mastodon.flavour, Flavour::kMastodon);
  EXPECT_EQ(mastodon.domain, "social.example");
  EXPECT_EQ(mastodon.max_characters, 500u);
  EXPECT_EQ(instance(R"({"version":"4.5.2+hometown-1.2.0"})").flavour, Flavour::kMastodon);
  EXPECT_EQ(instance(R"({"version":"0.20.1+git-2c5d4a7"})").flavour, Flavour::kGoToSocial);
  EXPECT_EQ(instance(R"({"version":"3.5.3","source_url":)"
                     R"("https://codeberg.org/superseriousbusiness/gotosocial"})")
                .flavour,
            Flavour::kGoToSocial);
  const Instance pleroma =
      instance(R"~({"uri":"https://ple.example","version":"2.7.2 (compatible; Pleroma 2.9.1)",)~"
               R"~("max_toot_chars":5000})~");
  EXPECT_EQ(pleroma.flavour, Flavour::kPleroma);
  EXPECT_EQ(pleroma.domain, "ple.example");
  EXPECT_EQ(pleroma.max_characters, 5000u);
  EXPECT_EQ(instance(R"~({"version":"2.7.2 (compatible; Akkoma 3.13.3)"})~").flavour,
            Flavour::kPleroma);
  EXPECT_EQ(instance(R"~({"version":"4.0.0 (not true; really snac/2.80)"})~").flavour,
            Flavour::kSnac);
  EXPECT_EQ(instance(R"({"domain":"a b","configuration":7})").domain, "");
}

TEST(MastodonApiTypes, ReadsThePolicyInBothForms) {
  EXPECT_TRUE(ParsePolicy(R"({"for_private_mentions":"filter"})")->filters_private_mentions);
  EXPECT_FALSE(ParsePolicy(R"({"for_private_mentions":"filter"})")->drops);
  EXPECT_TRUE(ParsePolicy(R"({"for_private_mentions":"drop"})")->drops);
  EXPECT_TRUE(ParsePolicy(R"({"for_not_following":"drop"})")->drops);
  EXPECT_TRUE(ParsePolicy(R"({"filter_private_mentions":true})")->filters_private_mentions);
  const auto open =
      ParsePolicy(R"({"for_private_mentions":"accept","for_limited_accounts":"filter"})");
  EXPECT_FALSE(open->filters_private_mentions || open->drops);
}

TEST(MastodonApiTypes, ReadsLinks) {
  const PageLinks links = ParseLinks(
      "<https://m.example/api/v1/conversations?limit=2&max_id=108835003356700379>; rel=\"next\", "
      "<https://m.example/api/v1/conversations?limit=2&min_id=108888782724768580>; rel=\"prev\"");
  EXPECT_EQ(links.next_max_id, "108835003356700379");
  EXPECT_EQ(links.prev_min_id, "108888782724768580");
  EXPECT_EQ(ParseLinks("<https://m.example/x?min_id=a b&max_id=>; rel=\"next\"").next_max_id, "");
  EXPECT_EQ(ParseLinks("<https://m.example/x?xmax_id=7>; rel=\"next\"").next_max_id, "");
  for (const char* bad : {"", "<", "<>", ">", "<a>;rel", "rel=\"next\"", "<?max_id"}) {
    EXPECT_EQ(ParseLinks(bad).next_max_id, "") << bad;
  }
  EXPECT_EQ(ParseLinks(Repeat("<x>; rel=\"prev\", ", 50'000)).prev_min_id, "");
}

TEST(MastodonApiTypes, ReadsErrors) {
  EXPECT_EQ(ParseErrorText(R"({"error":"The access token is invalid"})"),
            "the access token is invalid");
  EXPECT_EQ(ParseErrorText("<html>"), "");
  EXPECT_EQ(ParseErrorText(R"({"error":7})"), "");
  EXPECT_EQ(ParseErrorText(std::string(100'000, ' ')), "");
}

TEST(MastodonApiTypes, AStrangersBytesStopNothing) {
  const std::string broken = "\xFF\xFE \\ud800 " + std::string("\\u0000");
  std::string json = Status();
  json.replace(json.find("hello"), 5, broken);
  json.replace(json.find("\"poll\":null"), 11,
               "\"poll\":null,\"card\":" + Repeat("[", 200) + Repeat("]", 200));
  const auto status = ParseStatus(json);
  ASSERT_TRUE(status.has_value());
  bool cut = false;
  EXPECT_TRUE(json::IsValidUtf8(TextOf(*status, "s.example", {}, {}, &cut).Reveal()));
}

TEST(MastodonApiTypes, HostileBodiesAreProtocolErrors) {
  const std::string long_id(kIdBytesMax + 1, '1');
  const std::string bodies[] = {
      "",
      "null",
      "7",
      "{",
      "[7]",
      "[{}]",
      "<!DOCTYPE html>",
      Repeat("[", 100'000),
      R"([{"id":"","type":"mention"}])",
      R"([{"id":")" + long_id + R"(","type":"mention"}])",
      R"([{"id":"a~b","type":"mention"}])",
      R"([{"id":"1","id":"2"}])",
      R"([{"id":"1","type":"mention","status":{"id":[]}}])",
      R"([{"id":"1","type":"mention","status":{"id":"1"}}])",
      R"([{"id":"1","type":"mention","status":{"id":"1","account":{}}}])",
  };
  for (const std::string& body : bodies) {
    const auto read = ParseNotifications(body);
    ASSERT_FALSE(read.has_value()) << body.substr(0, 80);
    EXPECT_EQ(read.error().code, ErrorCode::kProtocol);
    EXPECT_EQ(read.error().message.find(long_id), std::string::npos);
  }
  EXPECT_FALSE(ParseStatus("[]").has_value());
  EXPECT_FALSE(ParseStatuses("{}").has_value());
  EXPECT_FALSE(ParseConversations("{}").has_value());
  EXPECT_FALSE(ParseContext("{}").has_value());
  EXPECT_FALSE(ParseContext(R"({"ancestors":[]})").has_value());
  EXPECT_FALSE(ParseOwnAccount("{}").has_value());
  EXPECT_FALSE(ParseOwnAccount(R"({"id":"1"})").has_value());
  EXPECT_FALSE(ParseInstance("[]").has_value());
  EXPECT_FALSE(ParsePolicy("[]").has_value());
  EXPECT_FALSE(ParseStatus(std::string(kBodyBytesMax + 1, ' ')).has_value());
}

TEST(MastodonApiTypes, WritesAPost) {
  const auto body = json::Parse(PostStatusBody(MessageBody("a \"b\"\n"), "77"));
  ASSERT_TRUE(body.has_value());
  EXPECT_EQ(*body->String("status"), "a \"b\"\n");
  EXPECT_EQ(*body->String("visibility"), "direct");
  EXPECT_EQ(*body->String("content_type"), "text/plain");
  EXPECT_EQ(*body->String("in_reply_to_id"), "77");
  EXPECT_EQ(json::Parse(PostStatusBody(MessageBody("x"), ""))->Find("in_reply_to_id"), nullptr);
}

// The servers' own examples, where they lie beside the source tree.
TEST(MastodonApiTypes, ReadsTheContractsExamples) {
  const std::filesystem::path examples =
      std::filesystem::path(MAYFLY_SOURCE_DIR) / "../shared/contracts/mastodon/examples";
  if (!std::filesystem::exists(examples / "status.json")) {
    GTEST_SKIP() << "no contract examples beside the source tree";
  }
  const auto read = [&](const char* name) {
    std::ifstream file(examples / name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  };
  const auto status = ParseStatus(read("status.json"));
  ASSERT_TRUE(status.has_value());
  EXPECT_FALSE(status->id.empty());
  EXPECT_EQ(status->visibility, Visibility::kPublic);
  bool cut = false;
  const MessageBody text = TextOf(*status, "server.example", {}, {}, &cut);
  EXPECT_FALSE(cut);
  EXPECT_NE(text.Reveal().find("\n\nhttps://"), std::string::npos) << "its link, in whole";
  EXPECT_EQ(text.Reveal().find_first_of("<>&"), std::string::npos);
  const auto header = json::Parse(read("link_header.json"));
  ASSERT_TRUE(header.has_value());
  EXPECT_FALSE(ParseLinks(*header->String("Link")).next_max_id.empty());
}

}  // namespace
}  // namespace mayfly::connectors::mastodon
