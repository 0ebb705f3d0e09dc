// The odd rules of Mastodon and its relatives, as the simulator keeps them.
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "connectors/mastodon/simulator.h"
#include "connectors/mastodon/simulator_text.h"
#include "tests/support/simulated_clock.h"
#include "tests/support/simulator_client.h"

namespace mayfly::connectors {
namespace {

using mayfly::testing::Column;
using mayfly::testing::RawResponse;
using mayfly::testing::SimulatedClock;
using mayfly::testing::SimulatorClient;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using Strings = std::vector<std::string>;

class Simulated : public ::testing::Test {
 protected:
  void Start(const MastodonSimulatorOptions& options = {}) {
    sim_ = MastodonSimulator::Start(clock_, options).value();
    for (const char* acct : {"office", "ann", "cid", "bob@far.example"}) sim_->AddAccount(acct);
    office_ = Client("office", "read write");
  }
  void SetUp() override { Start(); }

  std::unique_ptr<SimulatorClient> Client(const std::string& acct, const std::string& scopes) {
    return std::make_unique<SimulatorClient>(sim_->port(), sim_->IssueToken(acct, scopes).value());
  }
  void LetStrangersWrite() {
    ASSERT_TRUE(sim_->SetPrivateMentions("office", "accept").has_value());
  }
  // A new thread each time, a second apart.
  std::string Post(const std::string& acct, const std::string& text,
                   MastodonSimulator::PostOptions options = {}) {
    clock_.Advance(seconds(1));
    return sim_->Post(acct, text, options).value().id;
  }
  Strings Ids(const std::string& target, const std::string& path) {
    return Column(office_->GetJson(target), path);
  }
  json::Value Send(const std::string& body, const std::string& key = "") {
    return office_->PostJson("/api/v1/statuses", body,
                             key.empty()
                                 ? std::map<std::string, std::string>()
                                 : std::map<std::string, std::string>{{"Idempotency-Key", key}});
  }
  std::string Content(const std::string& id) {
    return office_->GetJson("/api/v1/statuses/" + id).String("content").value();
  }

  SimulatedClock clock_{ParseRfc3339("2026-11-24T12:00:00Z").value()};
  std::unique_ptr<MastodonSimulator> sim_;
  std::unique_ptr<SimulatorClient> office_;
};

Strings Reversed(Strings list) {
  std::reverse(list.begin(), list.end());
  return list;
}
Strings Part(const Strings& list, std::size_t begin, std::size_t end) {
  return {list.begin() + static_cast<std::ptrdiff_t>(begin),
          list.begin() + static_cast<std::ptrdiff_t>(end)};
}
std::string Origin(const std::string& url) { return url.substr(0, url.find("/api")); }

// ---- pages ----

TEST_F(Simulated, ConversationsPageByTheIdOfTheirLastStatus) {
  LetStrangersWrite();
  Strings posted;
  for (int i = 0; i < 5; ++i) posted.push_back(Post("ann", "@office " + std::to_string(i)));
  const RawResponse first = office_->Get("/api/v1/conversations?limit=2");
  EXPECT_EQ(Column(SimulatorClient::Parse(first), "last_status.id"),
            (Strings{posted[4], posted[3]}));
  EXPECT_THAT(Column(SimulatorClient::Parse(first), "id"), Not(ElementsAre(posted[4], posted[3])));
  const std::string base = sim_->origin() + "/api/v1/conversations?limit=2";
  EXPECT_EQ(first.Header("link"), "<" + base + "&max_id=" + posted[3] + ">; rel=\"next\", <" +
                                      base + "&min_id=" + posted[4] + ">; rel=\"prev\"");
  EXPECT_EQ(Origin(base), sim_->origin());
}

TEST_F(Simulated, AFullLastPageOfConversationsLeadsToAnEmptyOneWithoutALink) {
  LetStrangersWrite();
  Strings posted;
  for (int i = 0; i < 4; ++i) posted.push_back(Post("ann", "@office " + std::to_string(i)));
  const RawResponse last = office_->Get("/api/v1/conversations?limit=2&max_id=" + posted[2]);
  EXPECT_THAT(last.Header("link"), HasSubstr("rel=\"next\""));
  const RawResponse empty = office_->Get("/api/v1/conversations?limit=2&max_id=" + posted[0]);
  EXPECT_EQ(empty.body, "[]");
  EXPECT_EQ(empty.Header("link"), "");
  const RawResponse part = office_->Get("/api/v1/conversations?limit=3&max_id=" + posted[1]);
  EXPECT_THAT(part.Header("link"), Not(HasSubstr("rel=\"next\"")));
}

TEST_F(Simulated, SinceIdSkipsTheMiddleAndMinIdDoesNot) {
  LetStrangersWrite();
  Strings posted;
  for (int i = 0; i < 6; ++i) posted.push_back(Post("ann", "@office " + std::to_string(i)));
  const std::string conversations = "/api/v1/conversations?limit=2&";
  EXPECT_EQ(Ids(conversations + "since_id=" + posted[0], "last_status.id"),
            Reversed(Part(posted, 4, 6)));
  EXPECT_EQ(Ids(conversations + "min_id=" + posted[0], "last_status.id"),
            Reversed(Part(posted, 1, 3)));
  const Strings notices = Reversed(Ids("/api/v1/notifications", "id"));
  ASSERT_EQ(notices.size(), 6u);
  const std::string notifications = "/api/v1/notifications?limit=2&";
  EXPECT_EQ(Ids(notifications + "since_id=" + notices[0], "id"), Reversed(Part(notices, 4, 6)));
  EXPECT_EQ(Ids(notifications + "min_id=" + notices[0], "id"), Reversed(Part(notices, 1, 3)));
  EXPECT_EQ(Ids(notifications + "max_id=" + notices[2], "id"), Reversed(Part(notices, 0, 2)));
}

TEST_F(Simulated, NotificationsSayNextUntilThePageIsEmpty) {
  LetStrangersWrite();
  Post("ann", "@office hello");
  const RawResponse page = office_->Get("/api/v1/notifications?types[]=mention");
  const std::string id = Column(SimulatorClient::Parse(page), "id").at(0);
  EXPECT_EQ(page.Header("link"), "<" + sim_->origin() + "/api/v1/notifications?max_id=" + id +
                                     "&types%5B%5D=mention>; rel=\"next\", <" + sim_->origin() +
                                     "/api/v1/notifications?min_id=" + id +
                                     "&types%5B%5D=mention>; rel=\"prev\"");
  const RawResponse empty = office_->Get("/api/v1/notifications?max_id=" + id);
  EXPECT_EQ(empty.body, "[]");
  EXPECT_EQ(empty.Header("link"), "");
}

TEST_F(Simulated, LimitsAreDefaultsAndCaps) {
  LetStrangersWrite();
  for (int i = 0; i < 90; ++i) Post("ann", "@office " + std::to_string(i));
  const auto count = [&](const std::string& target) {
    return office_->GetJson(target).AsArray()->size();
  };
  EXPECT_EQ(count("/api/v1/conversations"), 20u);
  EXPECT_EQ(count("/api/v1/conversations?limit=999"), 40u);
  EXPECT_EQ(count("/api/v1/notifications"), 40u);
  EXPECT_EQ(count("/api/v1/notifications?limit=999"), 80u);
  EXPECT_EQ(count("/api/v1/notifications?limit=0"), 0u);
}

// ---- who sees what ----

TEST_F(Simulated, ADirectStatusIsThereForAuthorAndMentionedAndNobodyElse) {
  const std::string id = Post("ann", "@office a secret");
  EXPECT_EQ(office_->Get("/api/v1/statuses/" + id).status, 200);
  EXPECT_EQ(Client("ann", "read")->Get("/api/v1/statuses/" + id).status, 200);
  const RawResponse hidden = Client("cid", "read")->Get("/api/v1/statuses/" + id);
  EXPECT_EQ(hidden.status, 404);
  EXPECT_EQ(hidden.body, R"({"error":"Record not found"})");
  EXPECT_EQ(Client("cid", "read")->Get("/api/v1/statuses/" + id + "/context").status, 404);
}

TEST_F(Simulated, OnlyWhomTheTextMentionsIsReached) {
  const std::string reply = Post("ann", "@office hello");
  const json::Value sent = Send(
      "{\"status\":\"no mention\",\"visibility\":\"direct\",\"in_reply_to_id\":\"" + reply + "\"}");
  EXPECT_THAT(*sent.Find("mentions")->AsArray(), IsEmpty());
  const auto& seen = sim_->StatusesSeenBy("ann");
  EXPECT_EQ(seen.size(), 1u) << "only her own";
}

TEST_F(Simulated, AThirdPersonMakesASecondConversationOfTheThread) {
  LetStrangersWrite();
  const std::string one = Post("ann", "@office hello");
  const std::string two = Post("ann", "@office @cid look", {.in_reply_to_id = one});
  EXPECT_NE(sim_->ConversationOf("office", one), sim_->ConversationOf("office", two));
  EXPECT_EQ(Ids("/api/v1/conversations", "last_status.id"), (Strings{two, one}));
  const json::Value context = office_->GetJson("/api/v1/statuses/" + two + "/context");
  EXPECT_EQ(Column(*context.Find("ancestors"), "id"), Strings{one});
  // Who was added sees nothing earlier.
  const json::Value theirs = Client("cid", "read")->GetJson("/api/v1/statuses/" + two + "/context");
  EXPECT_THAT(*theirs.Find("ancestors")->AsArray(), IsEmpty());
}

TEST_F(Simulated, APublicReplyIsAMentionAndNotInTheConversation) {
  LetStrangersWrite();
  const std::string one = Post("ann", "@office hello");
  const std::string two =
      Post("ann", "@office aloud", {.visibility = "public", .in_reply_to_id = one});
  EXPECT_EQ(Ids("/api/v1/notifications", "status.id"), (Strings{two, one}));
  EXPECT_EQ(Ids("/api/v1/conversations", "last_status.id"), Strings{one});
}

TEST_F(Simulated, ReadingWritingAndRemovingAConversation) {
  LetStrangersWrite();
  const std::string id = Post("ann", "@office hello");
  const auto unread = [&] {
    return office_->GetJson("/api/v1/conversations").AsArray()->at(0).Bool("unread").value();
  };
  const std::string conversation = sim_->ConversationOf("office", id).value();
  EXPECT_TRUE(unread());
  EXPECT_EQ(office_->Ask("POST", "/api/v1/conversations/" + conversation + "/read").status, 200);
  EXPECT_FALSE(unread());
  EXPECT_EQ(office_->Ask("DELETE", "/api/v1/conversations/" + conversation).body, "{}");
  EXPECT_EQ(office_->Get("/api/v1/conversations").body, "[]");
  EXPECT_EQ(office_->Get("/api/v1/statuses/" + id).status, 200) << "the statuses stay";
  Post("ann", "@office again", {.in_reply_to_id = id});
  EXPECT_THAT(Ids("/api/v1/conversations", "id"), Not(ElementsAre(conversation)));
}

// ---- the policy ----

TEST_F(Simulated, AFilteredStrangerIsInNeitherListUntilTheRequestIsAccepted) {
  const std::string hidden = Post("ann", "@office hello");
  LetStrangersWrite();
  const std::string shown = Post("cid", "@office hello");
  EXPECT_EQ(Ids("/api/v1/notifications", "status.id"), Strings{shown});
  EXPECT_EQ(Ids("/api/v1/conversations", "last_status.id"), Strings{shown});
  const json::Value all = office_->GetJson("/api/v1/notifications?include_filtered=true");
  EXPECT_EQ(Column(all, "status.id"), (Strings{shown, hidden}));
  EXPECT_EQ(office_->Get("/api/v1/statuses/" + hidden).status, 200);

  const std::string position = Ids("/api/v1/notifications", "id").at(0);
  const std::string request = Ids("/api/v1/notifications/requests", "id").at(0);
  EXPECT_EQ(office_->Ask("POST", "/api/v1/notifications/requests/" + request + "/accept").status,
            200);
  EXPECT_EQ(Ids("/api/v1/notifications", "status.id"), (Strings{shown, hidden}));
  EXPECT_EQ(Ids("/api/v1/conversations", "last_status.id"), (Strings{shown, hidden}));
  EXPECT_THAT(Ids("/api/v1/notifications?min_id=" + position, "id"), IsEmpty())
      << "it keeps its old id, below every position";
  EXPECT_EQ(office_->Get("/api/v1/notifications/requests").body, "[]");
  EXPECT_EQ(Ids("/api/v1/notifications?limit=1", "status.id").at(0), shown);
  const std::string later = Post("ann", "@office once more");
  EXPECT_EQ(Ids("/api/v1/notifications?limit=1", "status.id").at(0), later);
}

TEST_F(Simulated, AnAnswerToThePrivateMentionOfTheOfficeIsNotFiltered) {
  const json::Value sent = Send(R"({"status":"@ann how are you","visibility":"direct"})");
  const std::string answer =
      Post("ann", "@office well", {.in_reply_to_id = sent.String("id").value()});
  EXPECT_EQ(Ids("/api/v1/notifications", "status.id"), Strings{answer});
}

TEST_F(Simulated, WhomTheOfficeFollowsIsNotFilteredAndADroppedOneLeavesNothing) {
  ASSERT_TRUE(sim_->Follow("office", "cid").has_value());
  const json::Value policy = SimulatorClient::Parse(
      office_->Ask("PATCH", "/api/v2/notifications/policy", "for_private_mentions=drop",
                   "application/x-www-form-urlencoded"));
  EXPECT_EQ(policy.String("for_private_mentions").value(), "drop");
  Post("ann", "@office nobody hears me");
  const std::string friendly = Post("cid", "@office hello");
  EXPECT_EQ(Ids("/api/v1/notifications?include_filtered=true", "status.id"), Strings{friendly});
  EXPECT_EQ(office_->Get("/api/v1/notifications/requests").body, "[]");
  EXPECT_EQ(Ids("/api/v1/conversations", "last_status.id"), Strings{friendly});
}

TEST_F(Simulated, BeforeVersion43NothingIsFilteredAndNothingIsAskedForInBulk) {
  Start({.before_4_3 = true});
  const std::string id = Post("ann", "@office hello");
  EXPECT_EQ(Ids("/api/v1/conversations", "last_status.id"), Strings{id});
  EXPECT_EQ(office_->Get("/api/v2/notifications/policy").status, 404);
  EXPECT_EQ(office_->Get("/api/v1/statuses?id[]=" + id).status, 404);
}

// ---- writing ----

TEST_F(Simulated, AKeyGivesTheSameStatusForAnHourWhateverElseIsAsked) {
  const std::string one = Send(R"({"status":"one"})", "k").String("id").value();
  EXPECT_EQ(Send(R"({"status":"two"})", "k").String("id").value(), one);
  clock_.Advance(hours(1) - milliseconds(1));
  EXPECT_EQ(Send(R"({"status":"one"})", "k").String("id").value(), one);
  clock_.Advance(milliseconds(1));
  EXPECT_NE(Send(R"({"status":"one"})", "k").String("id").value(), one);
  // Another account's key is another key.
  EXPECT_NE(Client("ann", "write")
                ->PostJson("/api/v1/statuses", R"({"status":"one"})", {{"Idempotency-Key", "k"}})
                .String("id")
                .value(),
            one);
}

TEST_F(Simulated, TheKeyOfADeletedStatusIsNotFound) {
  const std::string id = Send(R"({"status":"one"})", "k").String("id").value();
  ASSERT_TRUE(sim_->Delete(id).has_value());
  EXPECT_EQ(office_
                ->Ask("POST", "/api/v1/statuses", R"({"status":"one"})", "application/json",
                      {{"Idempotency-Key", "k"}})
                .status,
            404);
}

TEST_F(Simulated, ThreeKindsOfBodyAreRead) {
  const auto text = [&](const std::string& body, const std::string& type) {
    const json::Value sent =
        SimulatorClient::Parse(office_->Ask("POST", "/api/v1/statuses", body, type));
    EXPECT_EQ(sent.String("visibility").value(), "direct");
    return sent.String("content").value();
  };
  EXPECT_EQ(text(R"({"status":"a & b","visibility":"direct"})", "application/json"),
            "<p>a &amp; b</p>");
  EXPECT_EQ(text("status=a+%26+b&visibility=direct", "application/x-www-form-urlencoded"),
            "<p>a &amp; b</p>");
  EXPECT_EQ(text("--x\r\nContent-Disposition: form-data; name=\"status\"\r\n\r\na & b\r\n--x\r\n"
                 "Content-Disposition: form-data; name=\"visibility\"\r\n\r\ndirect\r\n--x--\r\n",
                 "multipart/form-data; boundary=x"),
            "<p>a &amp; b</p>");
}

TEST_F(Simulated, TheLimitCountsMentionsWithoutDomainAndUrlsAs23) {
  const auto status = [&](const std::string& text) {
    return office_->Ask("POST", "/api/v1/statuses", "{\"status\":\"" + text + "\"}");
  };
  EXPECT_EQ(status(std::string(500, 'x')).status, 200);
  const RawResponse refused = status(std::string(501, 'x'));
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(refused.body, R"({"error":"Validation failed: Text character limit of 500 exceeded"})");
  const std::string mention = "@bob@a.very.long.name.of.a.server.example ";
  EXPECT_EQ(status(mention + std::string(495, 'x')).status, 200);
  EXPECT_EQ(status(mention + std::string(496, 'x')).status, 422);
  const std::string url = "https://example.org/" + std::string(300, 'p') + " ";
  EXPECT_EQ(status(url + std::string(476, 'x')).status, 200);
  EXPECT_EQ(status(url + std::string(477, 'x')).status, 422);
  EXPECT_EQ(status("  ").body, R"({"error":"Validation failed: Text can't be blank"})");
}

TEST_F(Simulated, AnEditKeepsTheListsAndFillsTheHistory) {
  LetStrangersWrite();
  const std::string one = Post("ann", "@office befor");
  const std::string two = Post("cid", "@office hello");
  clock_.Advance(minutes(1));
  ASSERT_TRUE(sim_->Edit(one, "@office before").has_value());
  EXPECT_EQ(Ids("/api/v1/conversations", "last_status.id"), (Strings{two, one}));
  EXPECT_EQ(office_->GetJson("/api/v1/notifications").AsArray()->size(), 2u);
  const json::Value status = office_->GetJson("/api/v1/statuses/" + one);
  EXPECT_EQ(status.String("edited_at").value(), FormatRfc3339(clock_.Now()));
  const json::Value history = office_->GetJson("/api/v1/statuses/" + one + "/history");
  const Strings contents = Column(history, "content");
  ASSERT_EQ(contents.size(), 2u);
  EXPECT_THAT(contents[0], HasSubstr("befor</p>"));
  EXPECT_THAT(contents[1], HasSubstr("before</p>"));
}

TEST_F(Simulated, ADeletionRemovesSilentlyAndRepliesNoLongerSayToWhat) {
  LetStrangersWrite();
  const std::string one = Post("ann", "@office hello");
  const std::string two = Post("ann", "@office there", {.in_reply_to_id = one});
  ASSERT_TRUE(sim_->Delete(one).has_value());
  EXPECT_EQ(office_->Get("/api/v1/statuses/" + one).status, 404);
  EXPECT_EQ(Ids("/api/v1/notifications", "status.id"), Strings{two});
  const json::Value orphan = office_->GetJson("/api/v1/statuses/" + two);
  EXPECT_TRUE(orphan.Find("in_reply_to_id")->is_null());
  EXPECT_FALSE(orphan.Find("in_reply_to_account_id")->is_null());
  ASSERT_TRUE(sim_->Delete(two).has_value());
  EXPECT_EQ(office_->Get("/api/v1/conversations").body, "[]");
}

TEST_F(Simulated, AnEditThatMentionsNobodyIsStillReadable) {
  LetStrangersWrite();
  const std::string id = Post("ann", "@office hello");
  ASSERT_TRUE(sim_->Edit(id, "hello all").has_value());
  const json::Value status = office_->GetJson("/api/v1/statuses/" + id);
  EXPECT_THAT(*status.Find("mentions")->AsArray(), IsEmpty());
  EXPECT_EQ(Ids("/api/v1/conversations", "last_status.id"), Strings{id});
  // And one that mentions somebody for the first time tells them.
  ASSERT_TRUE(sim_->Edit(id, "@cid hello").has_value());
  EXPECT_EQ(Client("cid", "read")->Get("/api/v1/statuses/" + id).status, 200);
}

TEST_F(Simulated, AnswersToOneselfComeFirstInAContext) {
  const std::string top = Post("ann", "@office 1");
  const std::string reply =
      Send("{\"status\":\"@ann 2\",\"visibility\":\"direct\",\"in_reply_to_id\":\"" + top + "\"}")
          .String("id")
          .value();
  const std::string own = Post("ann", "@office 3", {.in_reply_to_id = top});
  const json::Value context = office_->GetJson("/api/v1/statuses/" + top + "/context");
  EXPECT_EQ(Column(*context.Find("descendants"), "id"), (Strings{own, reply}));
}

TEST_F(Simulated, ADeletionAnswersWithTheTextAndOnlyTheAuthorMayAskForIt) {
  const std::string theirs = Post("ann", "@office mine");
  EXPECT_EQ(office_->Ask("DELETE", "/api/v1/statuses/" + theirs).status, 404);
  const std::string id = Send(R"({"status":"x & y"})").String("id").value();
  const json::Value gone = SimulatorClient::Parse(office_->Ask("DELETE", "/api/v1/statuses/" + id));
  EXPECT_EQ(gone.String("text").value(), "x & y");
  EXPECT_EQ(gone.Find("content"), nullptr);
}

TEST_F(Simulated, AReplyToWhatIsNotThereIsRefused) {
  const RawResponse refused =
      office_->Ask("POST", "/api/v1/statuses", R"({"status":"x","in_reply_to_id":"12"})");
  EXPECT_EQ(refused.status, 404);
  EXPECT_THAT(refused.body, HasSubstr("does not appear to exist"));
}

TEST_F(Simulated, ContentIsHtmlAsTheServerWritesIt) {
  const std::string long_url = "https://www.example.org/a/long/path/that/is/cut/somewhere";
  const std::string id = Post("ann", "@office a < b\nline\n\nnext " + long_url + ".");
  EXPECT_EQ(Content(id),
            "<p><span class=\"h-card\" translate=\"no\"><a "
            "href=\"https://social.example/@office\" class=\"u-url mention\">@<span>office</span>"
            "</a></span> a &lt; b<br />line</p><p>next <a href=\"" +
                long_url +
                "\" target=\"_blank\" rel=\"nofollow noopener\" translate=\"no\"><span "
                "class=\"invisible\">https://www.</span><span "
                "class=\"ellipsis\">example.org/a/long/path/that/i</span><span "
                "class=\"invisible\">s/cut/somewhere</span></a>.</p>");
  const std::string remote =
      Post("bob@far.example", "@office@social.example hi", {.html = "<p>hi<br>there</p>"});
  EXPECT_EQ(Content(remote), "<p>hi<br>there</p>");
}

TEST_F(Simulated, HistoryHasTheIdsOfItsTimeAndNumbersBeyondADouble) {
  LetStrangersWrite();
  const std::string now = Post("ann", "@office now");
  const std::string old = Post("cid", "@office old", {.at = clock_.Now() - hours(24 * 30)});
  EXPECT_TRUE(mastodon::sim::ById()(old, now));
  EXPECT_EQ(Ids("/api/v1/conversations", "last_status.id"), (Strings{now, old}));
  EXPECT_EQ(Ids("/api/v1/notifications", "status.id"), (Strings{old, now})) << "by arrival";
  EXPECT_GT(std::stoull(now), 1ull << 53);
}

// ---- errors ----

TEST_F(Simulated, TokensAndScopesAreRefusedInTheServersWords) {
  const RawResponse bad = SimulatorClient(sim_->port(), "wrong").Get("/api/v1/conversations");
  EXPECT_EQ(bad.status, 401);
  EXPECT_EQ(bad.body, R"({"error":"The access token is invalid"})");
  const RawResponse scope = Client("office", "read:notifications")->Get("/api/v1/conversations");
  EXPECT_EQ(scope.status, 403);
  EXPECT_EQ(scope.body, R"({"error":"This action is outside the authorized scopes"})");
  ASSERT_TRUE(sim_->RevokeTokens("office").has_value());
  const RawResponse revoked = office_->Get("/api/v1/conversations");
  EXPECT_EQ(revoked.status, 401);
  EXPECT_EQ(revoked.body, R"({"error":"The access token was revoked"})");
}

TEST_F(Simulated, AnApplicationWithoutAPersonIsNotEnough) {
  const SimulatorClient nobody(sim_->port(), "");
  const json::Value app = nobody.PostJson(
      "/api/v1/apps", R"({"client_name":"t","redirect_uris":"urn:x","scopes":"read write"})");
  const std::string client = "&client_id=" + app.String("client_id").value() +
                             "&client_secret=" + app.String("client_secret").value();
  const std::string form = "application/x-www-form-urlencoded";
  const json::Value token = SimulatorClient::Parse(nobody.Ask(
      "POST", "/oauth/token", "grant_type=client_credentials&scope=read" + client, form));
  const RawResponse refused = SimulatorClient(sim_->port(), token.String("access_token").value())
                                  .Get("/api/v1/conversations");
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(refused.body, R"({"error":"This method requires an authenticated user"})");

  const std::string code =
      sim_->Authorize("office", app.String("client_id").value(), "urn:x", "read").value();
  const std::string grant =
      "grant_type=authorization_code&redirect_uri=urn:x&code=" + code + client;
  const std::string person = SimulatorClient::Parse(nobody.Ask("POST", "/oauth/token", grant, form))
                                 .String("access_token")
                                 .value();
  EXPECT_EQ(SimulatorClient(sim_->port(), person).Get("/api/v1/conversations").status, 200);
  EXPECT_EQ(nobody.Ask("POST", "/oauth/token", grant, form).status, 400) << "once only";
  EXPECT_EQ(nobody.Ask("POST", "/oauth/revoke", "token=" + person + client, form).status, 200);
  EXPECT_EQ(SimulatorClient(sim_->port(), person).Get("/api/v1/conversations").status, 401);
}

TEST_F(Simulated, TheLimitIsOverAtTheTimeThatItsHeaderNames) {
  Start({.requests_per_5_min = 3});
  const RawResponse first = office_->Get("/api/v2/instance");
  EXPECT_EQ(first.Header("x-ratelimit-limit"), "3");
  EXPECT_EQ(first.Header("x-ratelimit-remaining"), "2");
  EXPECT_EQ(first.Header("x-ratelimit-reset"), "2026-11-24T12:05:00.000000Z");
  office_->Get("/api/v2/instance");
  office_->Get("/api/v2/instance");
  const RawResponse refused = office_->Get("/api/v2/instance");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.body, R"({"error":"Too many requests"})");
  EXPECT_EQ(refused.Header("x-ratelimit-remaining"), "0");
  EXPECT_EQ(refused.Header("retry-after"), "");
  clock_.Set(ParseRfc3339(refused.Header("x-ratelimit-reset")).value());
  EXPECT_EQ(office_->Get("/api/v2/instance").status, 200);
}

TEST_F(Simulated, PagesSendingAndDeletionsHaveLimitsOfTheirOwn) {
  Start({.requests_per_5_min = 4});
  const std::string page = "/api/v1/notifications?min_id=0";
  EXPECT_EQ(office_->Get(page).Header("x-ratelimit-reset"), "2026-11-24T12:05:00.000000Z");
  office_->Get(page);
  office_->Get(page);
  clock_.Advance(minutes(5));
  EXPECT_EQ(office_->Get(page).Header("x-ratelimit-reset"), "2026-11-24T12:15:00.000000Z")
      << "of the fullest window";
  EXPECT_EQ(office_->Get(page).status, 429);
  EXPECT_EQ(office_->Get("/api/v1/notifications").status, 200);
  clock_.Advance(minutes(10));
  EXPECT_EQ(office_->Get(page).status, 200);
  const RawResponse sent = office_->Ask("POST", "/api/v1/statuses", R"({"status":"x"})");
  EXPECT_EQ(sent.Header("x-ratelimit-limit"), "300");
  EXPECT_EQ(sent.Header("x-ratelimit-reset"), "2026-11-24T15:00:00.000000Z");

  Start({.requests_per_5_min = 1'000});
  for (int i = 0; i < 30; ++i) EXPECT_EQ(office_->Ask("DELETE", "/api/v1/statuses/1").status, 404);
  EXPECT_EQ(office_->Ask("DELETE", "/api/v1/statuses/1").status, 429);
}

// ---- relatives ----

TEST_F(Simulated, GoToSocialForgetsKeysAndSaysNextOnEveryPage) {
  Start({.flavour = MastodonFlavour::kGoToSocial});
  const std::string id = Post("ann", "@office hello");
  EXPECT_EQ(id.size(), 26u);
  const RawResponse page = office_->Get("/api/v1/conversations");
  EXPECT_EQ(Column(SimulatorClient::Parse(page), "last_status.id"), Strings{id});
  EXPECT_THAT(page.Header("link"), HasSubstr("rel=\"next\""));
  EXPECT_NE(Send(R"({"status":"one"})", "k").String("id").value(),
            Send(R"({"status":"one"})", "k").String("id").value());
  EXPECT_EQ(office_->Get("/api/v2/notifications/policy").status, 404);
  EXPECT_EQ(office_->Get("/api/v1/statuses/01ARZ3NDEKTSV4RRFFQ69G5FAV").body,
            R"({"error":"Not Found"})");
  EXPECT_EQ(office_->GetJson("/api/v2/instance")
                .Find("configuration")
                ->Find("statuses")
                ->Int("max_characters")
                .value(),
            5'000);
}

TEST_F(Simulated, PleromaHasOneConversationForEachThreadAndPagesByItsNumber) {
  Start({.flavour = MastodonFlavour::kPleroma});
  const std::string one = Post("ann", "@office hello");
  const std::string other = Post("cid", "@office hello");
  const std::string two = Post("ann", "@office @cid look", {.in_reply_to_id = one});
  EXPECT_EQ(Ids("/api/v1/conversations", "last_status.id"), (Strings{two, other}));
  const std::string id = sim_->ConversationOf("office", one).value();
  EXPECT_EQ(sim_->ConversationOf("office", two).value(), id);
  const Strings ids = Ids("/api/v1/conversations", "id");
  EXPECT_EQ(Ids("/api/v1/conversations?max_id=" + ids[1], "id"), Strings{id});
  EXPECT_EQ(Ids("/api/v1/pleroma/conversations/" + id + "/statuses", "id"), (Strings{two, one}));
}

TEST_F(Simulated, SnacListsNoConversationsAndKnowsTwoVisibilities) {
  Start({.flavour = MastodonFlavour::kSnac});
  const std::string id = Post("ann", "@office hello");
  EXPECT_EQ(office_->Get("/api/v1/conversations").body, "[]");
  const RawResponse bad = SimulatorClient(sim_->port(), "wrong").Get("/api/v1/conversations");
  EXPECT_EQ(bad.status, 200);
  EXPECT_EQ(bad.body, "[]");
  const json::Value list = office_->GetJson("/api/v1/notifications");
  EXPECT_EQ(Column(list, "status.id"), Strings{id});
  EXPECT_EQ(Column(list, "status.visibility"), Strings{"private"});
}

// ---- faults ----

TEST_F(Simulated, FaultsOfReadingHappenOnceAndHaveNoEffect) {
  const std::string target = "/api/v1/conversations";
  const auto next = [&](PlatformFault fault) {
    EXPECT_TRUE(sim_->Inject(fault).has_value());
    return office_->TryAsk("GET", target);
  };
  EXPECT_EQ(next(PlatformFault::kRateLimited)->status, 429);
  EXPECT_EQ(next(PlatformFault::kUnavailable)->status, 503);
  EXPECT_THAT(next(PlatformFault::kNotJson)->body, StartsWith("<!DOCTYPE"));
  EXPECT_EQ(next(PlatformFault::kRedirect)->status, 302);
  EXPECT_EQ(next(PlatformFault::kTruncatedAnswer)->body, "[");
  EXPECT_FALSE(next(PlatformFault::kConnectionClosed).has_value());
  EXPECT_EQ(office_->Get(target).body, "[]");
  EXPECT_EQ(sim_->CountRequests(target), 7u);
  EXPECT_FALSE(sim_->Inject(PlatformFault::kTokenExpired).has_value());
}

TEST_F(Simulated, FaultsOfSendingSayWhetherTheyTookEffect) {
  const auto effect = [&](PlatformFault fault) {
    EXPECT_TRUE(sim_->Inject(fault).has_value());
    const std::size_t before = sim_->StatusesSeenBy("office").size();
    office_->TryAsk("POST", "/api/v1/statuses", R"({"status":"x"})");
    return sim_->StatusesSeenBy("office").size() - before;
  };
  EXPECT_EQ(effect(PlatformFault::kSendAnswerLost), 1u);
  EXPECT_EQ(effect(PlatformFault::kSendFailsAfter), 1u);
  EXPECT_EQ(effect(PlatformFault::kSendLost), 0u);
  EXPECT_EQ(effect(PlatformFault::kSendRateLimited), 0u);
  EXPECT_EQ(effect(PlatformFault::kSendRefused), 0u);
}

TEST_F(Simulated, FaultsOfListsChangeOnlyTheList) {
  LetStrangersWrite();
  const std::string one = Post("ann", "@office 1");
  const std::string two = Post("ann", "@office 2");
  const std::string target = "/api/v1/conversations";
  ASSERT_TRUE(sim_->Inject(PlatformFault::kServedTwice).has_value());
  EXPECT_EQ(Ids(target, "last_status.id"), (Strings{two, two, one, one}));
  ASSERT_TRUE(sim_->Inject(PlatformFault::kServedReordered).has_value());
  EXPECT_EQ(Ids(target, "last_status.id"), (Strings{one, two}));
  ASSERT_TRUE(sim_->Inject(PlatformFault::kCursorRepeats).has_value());
  EXPECT_THAT(office_->Get(target + "?min_id=" + one).Header("link"),
              HasSubstr("min_id=" + one + ">; rel=\"prev\""));
  ASSERT_TRUE(sim_->Inject(PlatformFault::kEmptyPageGoesOn).has_value());
  const RawResponse empty = office_->Get(target);
  EXPECT_EQ(empty.body, "[]");
  EXPECT_THAT(empty.Header("link"), HasSubstr("rel=\"next\""));
  EXPECT_EQ(Ids(target, "last_status.id"), (Strings{two, one}));
}

TEST_F(Simulated, AnotherProcessControlsItOnlyWhenAskedTo) {
  EXPECT_EQ(office_->Ask("POST", "/_sim/accounts", R"({"acct":"dan"})").status, 404);
  EXPECT_EQ(sim_->StatusesSeenBy("dan").size(), 0u);
  Start({.control_endpoints = true});
  const SimulatorClient control(sim_->port(), "");
  control.PostJson("/_sim/accounts", R"({"acct":"dan@far.example","displayName":"Dan"})");
  control.PostJson("/_sim/policy", R"({"acct":"office","privateMentions":"accept"})");
  const json::Value posted = control.PostJson(
      "/_sim/post",
      R"({"acct":"dan@far.example","text":"@office@social.example hi","spoilerText":"cw"})");
  const std::string id = posted.String("id").value();
  EXPECT_EQ(posted.String("conversationId").value(), sim_->ConversationOf("office", id));
  const std::string token = control.PostJson("/_sim/token", R"({"acct":"office","scopes":"read"})")
                                .String("token")
                                .value();
  const SimulatorClient reader(sim_->port(), token);
  EXPECT_EQ(Column(reader.GetJson("/api/v1/conversations"), "last_status.spoiler_text"),
            Strings{"cw"});
  control.PostJson("/_sim/fault", R"({"name":"unavailable","count":1})");
  EXPECT_EQ(reader.Get("/api/v1/conversations").status, 503);
  control.PostJson("/_sim/edit", "{\"id\":\"" + id + "\",\"text\":\"@office@social.example ho\"}");
  const json::Value state = control.GetJson("/_sim/state");
  EXPECT_EQ(state.Find("requests")->Int("/api/v1/conversations").value(), 2);
  EXPECT_EQ(state.Find("statuses")->Int("@office@social.example ho").value(), 1);
  control.PostJson("/_sim/delete", "{\"id\":\"" + id + "\"}");
  const json::Value seen = control.GetJson("/_sim/messages?viewer=office");
  EXPECT_TRUE(seen.Find("messages")->AsArray()->at(0).Bool("deleted").value());
  control.PostJson("/_sim/revoke", R"({"acct":"office"})");
  EXPECT_EQ(reader.Get("/api/v1/conversations").status, 401);
  EXPECT_EQ(control.Ask("POST", "/_sim/fault", R"({"name":"nonsense"})").status, 400);
  EXPECT_EQ(control.Ask("POST", "/_sim/post", R"({"acct":"nobody","text":"x"})").status, 404);
}

TEST_F(Simulated, TheOfficeOfThePlatformIsReachedWithItsOptions) {
  const auto platform = mastodon::StartPlatform(clock_, {}).value();
  const auto written = platform->Write(0, "hello").value();
  const auto reply = platform->WriteAsOffice(0, "good day").value();
  EXPECT_EQ(written.conversation, reply.conversation);
  EXPECT_EQ(platform->CountReceived(0, "good day"), 1u);
  EXPECT_EQ(platform->CountReceived(1, "good day"), 0u);
  EXPECT_TRUE(platform->Edit(reply, "good evening").has_value());
  EXPECT_EQ(platform->CountReceived(0, "good evening"), 1u);
  EXPECT_TRUE(platform->Delete(reply).has_value());
  EXPECT_EQ(platform->CountReceived(0, "good evening"), 0u);
  EXPECT_EQ(platform->HandleOf(0), "citizen0@far.example");
  EXPECT_EQ(platform->HandleOf(1), "citizen1@social.example");
  EXPECT_EQ(platform->office().options.at("server"), platform->origin());
}

}  // namespace
}  // namespace mayfly::connectors
