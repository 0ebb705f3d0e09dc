// /v1/events over a real store, the real routes and a real socket.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/api/auth.h"
#include "service/api/context.h"
#include "service/api/router.h"
#include "service/api/server.h"
#include "store/model/json.h"
#include "tests/support/api_clock.h"
#include "tests/support/api_contract.h"
#include "tests/support/api_raw_client.h"
#include "tests/support/api_request.h"
#include "tests/support/temp_store.h"

namespace mayfly::service::api {
namespace {

using mayfly::testing::At;
using mayfly::testing::Eventually;
using mayfly::testing::Incoming;
using mayfly::testing::MakeRequest;
using mayfly::testing::Must;
using mayfly::testing::PageOf;
using mayfly::testing::RawClient;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

using Headers = std::map<std::string, std::string>;

struct Told {
  std::string id, name, data;
};

// A client of one stream.
class Listening {
 public:
  Listening(std::uint16_t port, const std::string& token, const std::string& target,
            const Headers& more)
      : client_(port), request_(MakeRequest("GET", target, more)) {
    std::string request = "GET " + target + " HTTP/1.1\r\nHost: a\r\n";
    request += "Authorization: Bearer " + token + "\r\n";
    for (const auto& [name, value] : more) request += name + ": " + value + "\r\n";
    client_.Send(request + "\r\n");
    const std::string head = client_.ReadUntil("\r\n\r\n").value_or("");
    mayfly::testing::ContractAnswer answer{.over_socket = true};
    if (head.size() > 12) answer.status = status_ = std::atoi(head.c_str() + 9);
    for (std::size_t line = head.find("\r\n") + 2; line + 2 < head.size();) {
      const std::size_t colon = head.find(": ", line), end = head.find("\r\n", line);
      std::string name = head.substr(line, colon - line);
      for (char& c : name) c = static_cast<char>(std::tolower(c));
      answer.headers[name] = head.substr(colon + 2, end - colon - 2);
      line = end + 2;
    }
    if (status_ == 200) {
      mayfly::testing::ExpectContract(request_, answer);
    } else {
      answer.body = client_.ReadUntil("}").value_or("");
      const bool whole = json::Parse(answer.body).has_value();
      if (!whole) answer.body += client_.ReadUntil("}").value_or("");
      mayfly::testing::ExpectContract(request_, answer);
      body_ = answer.body;
    }
  }

  int status() const { return status_; }
  const std::string& body() const { return body_; }
  // The next event, or place to go on from; nothing when the stream ended first. Comments are
  // passed over.
  std::optional<Told> Next() {
    while (const auto block = client_.ReadUntil("\n\n")) {
      Told told;
      for (std::size_t line = 0; line < block->size();) {
        const std::size_t end = block->find('\n', line);
        const std::string text = block->substr(line, end - line);
        if (text.starts_with("id: ")) told.id = text.substr(4);
        if (text.starts_with("event: ")) told.name = text.substr(7);
        if (text.starts_with("data: ")) told.data = text.substr(6);
        line = end + 1;
      }
      if (!told.id.empty() || !told.name.empty()) return told;
    }
    return std::nullopt;
  }
  // Whether it ends in order, without a further event.
  bool EndsInOrder() {
    const std::string rest = client_.ReadUntil("0\r\n\r\n").value_or("broken off");
    client_.HalfClose();
    return rest.find("data:") == std::string::npos && rest.ends_with("0\r\n\r\n") &&
           client_.ReadToEnd().empty();
  }

 private:
  RawClient client_;
  const Request request_;
  int status_ = 0;
  std::string body_;
};

class HttpChangesTest : public ::testing::Test {
 protected:
  HttpChangesTest() {
    context_.store = &*store_;
    context_.clock = &clock_;
    context_.changes = &feed_;
    context_.streams = &streams_;
    context_.rate_limiter = &limiter_;
    context_.cursor_key = std::string(32, 'k');
    feed_.OnNews([this] { streams_.Wake(); });
    store_->SetObserver(&feed_);
    router_ = MakeRouter(context_);
    authenticate_ = MakeAuthenticator(store_->tokens(), clock_);
    for (const char* name : {"one", "two"}) {
      const auto created = Must(store_->tokens().Create(Role::kComms, name, std::chrono::days(7),
                                                        Actor{.id = "system"}, clock_.Now()));
      tokens_[name] = created.token.Reveal();
      token_ids_[name] = created.info.id;
    }
    account_ = mayfly::testing::Connect(*store_, clock_.Now()).id;
    limits_.event_heartbeat = std::chrono::milliseconds(100);
    const auto socket = mayfly::testing::ListenOnLoopback();
    port_ = socket.port;
    server_ =
        std::make_unique<Server>(router_, authenticate_, limits_, ServerOptions{.clock = &clock_});
    Must(server_->Start({{.fd = socket.fd}}));
    server_->SetReady(true);
  }
  ~HttpChangesTest() override {
    server_.reset();
    store_->SetObserver(nullptr);
  }

  Listening Listen(const std::string& token = "one", const std::string& query = "",
                   const Headers& more = {}) {
    return Listening(port_, tokens_[token], "/v1/events" + query, more);
  }
  // A message of a conversation of its own: two changes.
  void Receive(const std::string& name) {
    auto page = PageOf(account_, {Incoming("convo-" + name, name, clock_.Now(), "planted-text")});
    ASSERT_EQ(Must(store_->collection().Collect(page, clock_.Now())).stored, 1u);
  }
  // One change.
  void ChangeState() {
    const auto state = Must(store_->accounts().Get(account_)).state == AccountState::kOk
                           ? AccountState::kThrottled
                           : AccountState::kOk;
    Must(store_->accounts().SetState(account_, {.state = state}, clock_.Now()));
  }
  Response Ask(const std::string& target, const Headers& more = {}) {
    Headers headers = more;
    headers["Authorization"] = "Bearer " + tokens_["one"];
    return Dispatch(router_, authenticate_, MakeRequest("GET", target, headers), true);
  }
  int Revoke(const std::string& token) {
    Request request = MakeRequest("DELETE", "/admin/tokens/" + token_ids_[token]);
    request.admin_socket = true;
    return Dispatch(router_, authenticate_, request, true).status;
  }

  mayfly::testing::TempStore store_{mayfly::testing::EngineKind::kMemory};
  mayfly::testing::ApiClock clock_{At("2026-03-05T10:00:00Z")};
  ChangeFeed feed_{clock_, /*capacity=*/20};
  EventStreams streams_{{.streams_max = 6, .streams_per_token_max = 4}};
  RateLimiter limiter_{RateLimits{}, clock_};
  ApiContext context_;
  Router router_;
  Authenticator authenticate_;
  std::map<std::string, std::string> tokens_, token_ids_;
  AccountId account_;
  ServerLimits limits_;
  std::uint16_t port_ = 0;
  std::unique_ptr<Server> server_;
};

TEST_F(HttpChangesTest, TellWhatChangesAsItHappensWithIdsAndNoText) {
  Listening client = Listen();
  ASSERT_EQ(client.status(), 200);
  const auto place = client.Next();
  ASSERT_TRUE(place);
  EXPECT_EQ(place->name, "") << "no event, but a place to go on from";

  Receive("zoe");
  const auto message = client.Next();
  const auto conversation = client.Next();
  ASSERT_TRUE(message && conversation);
  EXPECT_EQ(message->name, "message.received");
  EXPECT_EQ(conversation->name, "conversation.updated");
  const json::Value data = Must(json::Parse(message->data));
  EXPECT_EQ(data.String("kind").value(), "message.received");
  EXPECT_THAT(data.String("message").value(), HasSubstr("20260605"));
  EXPECT_EQ(data.AsObject()->size(), 5u) << message->data;
  for (const Told& told : {*message, *conversation}) {
    EXPECT_THAT(told.data, Not(HasSubstr("planted")));
    EXPECT_THAT(told.data, Not(HasSubstr("zoe")));
  }
  // The same positions as of /v1/changes.
  const std::string since = "/v1/changes?since=";
  EXPECT_THAT(Ask(since + conversation->id).body, HasSubstr("\"items\":[]"));
  EXPECT_THAT(Ask(since + message->id).body, HasSubstr(conversation->data));
}

TEST_F(HttpChangesTest, GoOnBehindTheLastOneThatWasSeen) {
  std::string first, place;
  {
    Listening client = Listen();
    place = client.Next()->id;
    Receive("ada");
    first = client.Next()->id;
  }
  Receive("bob");  // while nobody listens
  Listening again = Listen("one", "?since=" + place, {{"Last-Event-ID", first}});
  std::vector<std::string> names;
  EXPECT_EQ(again.Next()->id, first);
  for (int i = 0; i < 3; ++i) names.push_back(again.Next()->name);
  EXPECT_THAT(names,
              ElementsAre("conversation.updated", "message.received", "conversation.updated"));
  // Without it, from the position in the address; without either, from now.
  Listening since = Listen("one", "?since=" + place);
  EXPECT_EQ(since.Next()->id, place);
  EXPECT_EQ(since.Next()->id, first);
  EXPECT_THAT(Ask("/v1/events", {{"Last-Event-ID", ""}}).events->Pull().text,
              Not(HasSubstr("event:")));
}

TEST_F(HttpChangesTest, APositionThatCannotBeContinuedIsOneReset) {
  const std::string old = Listen().Next()->id;
  for (int i = 0; i < 21; ++i) ChangeState();
  Listening client = Listen("one", "", {{"Last-Event-ID", old}});
  EXPECT_EQ(client.Next()->id, old);
  const auto reset = client.Next();
  ASSERT_TRUE(reset);
  EXPECT_EQ(reset->name, "reset");
  EXPECT_EQ(reset->data, R"({"kind":"reset","at":"2026-03-05T10:00:00.000Z"})");
  ChangeState();
  EXPECT_EQ(client.Next()->name, "account.state");
  // A commit of unknown outcome: what is shown must be read again.
  store_.engine().FailNextCommit(mayfly::testing::Fault::kUnknownNotDone);
  EXPECT_FALSE(
      store_->accounts().SetState(account_, {.state = AccountState::kUnreachable}, clock_.Now()));
  EXPECT_EQ(client.Next()->name, "reset");

  const Listening bogus = Listen("two", "", {{"Last-Event-ID", "bogus"}});
  const Listening cut = Listen("two", "?since=" + old.substr(1));
  for (const Listening* refused : {&bogus, &cut}) {
    EXPECT_EQ(refused->status(), 400);
    EXPECT_THAT(refused->body(), HasSubstr("/problems/cursor-invalid"));
  }
}

// Nothing waits in memory for a reader that does not read: it falls behind in the feed.
TEST_F(HttpChangesTest, AReaderThatIsSlowFallsBehindAndAtWorstReadsAgain) {
  const std::shared_ptr<EventStream> stream = Ask("/v1/events").events;
  ASSERT_NE(stream, nullptr);
  (void)stream->Pull();
  for (int i = 0; i < 10; ++i) ChangeState();
  const std::string behind = stream->Pull().text;
  int events = 0;
  for (std::size_t at = 0; (at = behind.find("event: account.state\n", at)) != std::string::npos;) {
    ++events, ++at;
  }
  EXPECT_EQ(events, 10);
  EXPECT_THAT(behind, Not(HasSubstr("reset")));
  for (int i = 0; i < 1'000; ++i) ChangeState();
  const EventStream::Pulled pulled = stream->Pull();
  EXPECT_FALSE(pulled.ended);
  EXPECT_THAT(pulled.text, HasSubstr("event: reset\n"));
  EXPECT_THAT(pulled.text, Not(HasSubstr("account.state")));
  ChangeState();
  EXPECT_THAT(stream->Pull().text, HasSubstr("event: account.state\n"));
}

TEST_F(HttpChangesTest, ARevokedTokenTellsNothingMore) {
  Listening revoked = Listen("one");
  Listening other = Listen("two");
  ASSERT_TRUE(revoked.Next() && other.Next());
  ASSERT_EQ(Revoke("one"), 204);
  Receive("ada");
  EXPECT_TRUE(revoked.EndsInOrder());
  EXPECT_EQ(other.Next()->name, "message.received");
  EXPECT_EQ(Listen("one").status(), 401);
}

// Between the check of the token and the opening of the stream.
TEST_F(HttpChangesTest, ATokenThatIsRevokedMeanwhileTellsNothingEither) {
  const std::shared_ptr<EventStream> stream = Ask("/v1/events").events;
  Must(store_->tokens().Revoke(token_ids_["one"], Actor{.id = "system"}, clock_.Now()));
  Receive("ada");
  const EventStream::Pulled pulled = stream->Pull();
  EXPECT_TRUE(pulled.ended);
  EXPECT_EQ(pulled.text, "");
}

TEST_F(HttpChangesTest, ATokenThatExpiresEndsItsStreamsThoughNothingHappens) {
  Listening client = Listen();
  ASSERT_TRUE(client.Next());
  clock_.Set(clock_.Now() + std::chrono::days(7));
  EXPECT_TRUE(client.EndsInOrder()) << "with the next heartbeat";
  EXPECT_EQ(Listen().status(), 401);
}

TEST_F(HttpChangesTest, AreLimitedForEachTokenAndAltogether) {
  std::vector<Listening> open;
  for (int i = 0; i < 4; ++i) open.push_back(Listen("one"));
  const Listening fifth = Listen("one");
  EXPECT_EQ(fifth.status(), 429);
  EXPECT_THAT(fifth.body(), HasSubstr("/problems/rate-limited"));
  for (int i = 0; i < 2; ++i) open.push_back(Listen("two"));
  EXPECT_EQ(Listen("two").status(), 503);
  EXPECT_EQ(streams_.open(), 6u);
  // One that left makes room.
  open.pop_back();
  ASSERT_TRUE(Eventually([&] { return streams_.open() == 5; }));
  EXPECT_EQ(Listen("two").status(), 200);
}

TEST_F(HttpChangesTest, HeadIsTheHeadAndTakesNoSeat) {
  RawClient client(port_);
  const auto answer = client.Ask("HEAD /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " +
                                 tokens_["one"] + "\r\n\r\n");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->Header("content-type"), "text/event-stream");
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_TRUE(Eventually([&] { return streams_.open() == 0; }));
}

TEST_F(HttpChangesTest, ADrainEndsThemInOrder) {
  Listening client = Listen();
  ASSERT_TRUE(client.Next());
  std::jthread drain([&] { server_->Drain(std::chrono::seconds(30)); });
  EXPECT_TRUE(client.EndsInOrder());
  drain.join();
  EXPECT_EQ(streams_.open(), 0u);
}

TEST_F(HttpChangesTest, ManyReadersAndWritersAtOnceMissNothing) {
  Listening one = Listen("one"), two = Listen("two");
  ASSERT_TRUE(one.Next() && two.Next());
  std::jthread writer([&] {
    for (int i = 0; i < 15; ++i) ChangeState();
  });
  for (Listening* client : {&one, &two}) {
    std::vector<std::string> ids;
    for (int i = 0; i < 15; ++i) {
      const auto told = client->Next();
      ASSERT_TRUE(told);
      EXPECT_EQ(told->name, "account.state");
      if (ids.empty() || ids.back() != told->id) ids.push_back(told->id);
    }
    EXPECT_THAT(ids, SizeIs(15));
  }
}

}  // namespace
}  // namespace mayfly::service::api
