// The REST contract over a real store: memory engine, real keys in a directory of its own.
#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/access/age.h"
#include "service/access/zip.h"
#include "service/api/auth.h"
#include "service/api/context.h"
#include "service/api/dispatch.h"
#include "service/api/input.h"
#include "service/api/problem.h"
#include "service/api/router.h"
#include "service/api/signed_receipt.h"
#include "store/engine/memory/memory_engine.h"
#include "store/keys/key_vault.h"
#include "store/model/json.h"
#include "store/store.h"
#include "tests/support/api_clock.h"
#include "tests/support/api_contract.h"
#include "tests/support/api_request.h"
#include "tests/support/temp_dir.h"
#include "tests/support/temp_store.h"

namespace mayfly::service::api {
namespace {

using mayfly::testing::ApiClock;
using mayfly::testing::ExpectContract;
using mayfly::testing::HeaderOf;
using mayfly::testing::MakeRequest;
using mayfly::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// Planted; no answer may ever hold it.
const std::string kSecret = "planted-app-password-7f3a";
using Headers = std::map<std::string, std::string>;

class FakeRuntime final : public AccountRuntime {
 public:
  void AccountConnected(AccountId id) override { connected.push_back(id); }
  void AccountDisconnected(AccountId id) override { disconnected.push_back(id); }
  Status PollNow(AccountId id) override {
    polled.push_back(id);
    return {};
  }
  Result<connectors::CheckReport> Check(AccountId) override {
    if (check_error) return Fail(*check_error);
    return connectors::CheckReport{.own_platform_id = "did:plc:us",
                                   .own_handle = "us.example",
                                   .permissions_held = {"dm"},
                                   .permissions_missing = {}};
  }
  // As the real one does, with a platform that knows the credential or not.
  Result<Account> ReplaceCredential(AccountId id, const Credential& credential,
                                    std::optional<std::uint64_t> if_revision,
                                    const Actor& actor) override {
    if (check_error) return Fail(*check_error);
    return store->accounts().ChangeCredential(
        id, {.credential = credential, .own_platform_id = "did:plc:us", .own_handle = "us.example"},
        if_revision, actor, now());
  }
  std::optional<connectors::PlatformBudget> Budget(AccountId) const override { return budget; }
  void ReplyQueued(const ReplyId& id) override { queued.push_back(id); }

  store::Store* store = nullptr;
  std::function<TimePoint()> now;

  std::vector<AccountId> connected, disconnected, polled;
  std::vector<ReplyId> queued;
  std::optional<Error> check_error;
  std::optional<connectors::PlatformBudget> budget;
};

class RestTest : public ::testing::Test {
 protected:
  RestTest() : clock_(At("2026-03-05T10:00:00Z")) {}

  void SetUp() override {
    const store::KeyVaultOptions keys{.dir = dir_ / "keys", .any_file_system = true};
    store::SecretKey master = store::SecretKey::Random();
    ASSERT_TRUE(store::CreateKeyVault(keys, master).has_value());
    auto vault = store::OpenKeyVault(keys, std::move(master));
    ASSERT_TRUE(vault.has_value());
    auto engine = std::make_unique<mayfly::testing::TestEngine>(store::MakeMemoryEngine());
    engine_ = engine.get();
    auto store = store::Store::Open(std::move(engine), *std::move(vault), {});
    ASSERT_TRUE(store.has_value());
    store_ = *std::move(store);

    context_.store = store_.get();
    context_.clock = &clock_;
    context_.runtime = &runtime_;
    context_.rate_limiter = &rate_limiter_;
    context_.changes = &feed_;
    context_.streams = &streams_;
    feed_.OnNews([this] { streams_.Wake(); });
    store_->SetObserver(&feed_);
    runtime_.store = store_.get();
    runtime_.now = [this] { return clock_.Now(); };
    context_.about = {.organisation = "City of Example",
                      .purposes = "answering people",
                      .recipients = "the comms team",
                      .data_location = "our own machine",
                      .contact = "dpo@example.org"};
    context_.sandbox.missing = {"The kernel has no Landlock."};
    context_.version = "0.1.0";
    context_.cursor_key = std::string(32, 'k');
    context_.health = [this] { return health_; };
    context_.metrics_text = [] { return std::string("mayfly_up 1\n"); };
    health_.ready = true;
    router_ = MakeRouter(context_);
    authenticate_ = MakeAuthenticator(store_->tokens(), clock_);
    for (const Role role :
         {Role::kComms, Role::kPrivacy, Role::kAdministrator, Role::kAuditor, Role::kOperator}) {
      auto created = store_->tokens().Create(role, "test", std::chrono::days(90),
                                             Actor{.id = "system"}, clock_.Now());
      ASSERT_TRUE(created.has_value());
      tokens_[role] = created->token.Reveal();
    }
  }

  static TimePoint At(const std::string& text) { return *ParseRfc3339(text); }

  Response Ask(std::optional<Role> role, const std::string& method, const std::string& target,
               const std::string& body = "", Headers headers = {}) {
    if (role) headers["Authorization"] = "Bearer " + tokens_.at(*role);
    return Run(MakeRequest(method, target, headers, body));
  }
  Response AskAdminSocket(const std::string& method, const std::string& target,
                          const std::string& body = "") {
    Request request = MakeRequest(method, target, {}, body);
    request.admin_socket = true;
    request.peer_uid = 1000;
    return Run(request);
  }
  Response Run(const Request& request) {
    const Response response = Dispatch(router_, authenticate_, request, true);
    ExpectContract(request, response);
    EXPECT_THAT(response.body, ::testing::Not(HasSubstr(kSecret)));
    for (const auto& [name, value] : response.headers) {
      EXPECT_THAT(value, ::testing::Not(HasSubstr(kSecret))) << name;
    }
    if (!response.body.empty() && response.content_type != "text/plain; charset=utf-8" &&
        response.content_type != "text/plain; version=0.0.4; charset=utf-8") {
      EXPECT_TRUE(json::Parse(response.body).has_value());
    }
    return response;
  }

  static json::Value Body(const Response& response) {
    auto body = json::Parse(response.body);
    EXPECT_TRUE(body.has_value()) << response.status;
    return body ? *std::move(body) : json::Value();
  }
  static std::string Text(const json::Value& value, const std::string& key) {
    const json::Value* member = value.Find(key);
    return member != nullptr && member->AsString() != nullptr ? *member->AsString() : "";
  }
  static std::string WordOf(const Response& response) {
    const std::string type = Text(Body(response), "type");
    return type.substr(std::min(type.size(), std::string("/problems/").size()));
  }
  static std::string PointerOf(const Response& response) {
    const json::Value body = Body(response);
    const json::Value* errors = body.Find("errors");
    if (errors == nullptr) return "";
    const json::Value& first = errors->AsArray()->at(0);
    for (const char* kind : {"pointer", "parameter", "name"}) {
      if (!Text(first, kind).empty()) return Text(first, kind);
    }
    return "";
  }
  static std::vector<std::string> Ids(const Response& response) {
    std::vector<std::string> ids;
    const json::Value body = Body(response);
    if (const json::Value* items = body.Find("items")) {
      for (const json::Value& item : *items->AsArray()) ids.push_back(Text(item, "id"));
    }
    return ids;
  }

  static std::string AccountBody(const std::string& more = "") {
    return R"({"platform":"bluesky","label":"City","options":{"identifier":"us.example"},)"
           R"("credential":{"password":")" +
           kSecret + "\"}" + more + "}";
  }
  // Connects an account and returns its id.
  std::string Connect(const std::string& more = "") {
    const Response response = Ask(Role::kAdministrator, "POST", "/v1/accounts", AccountBody(more));
    EXPECT_EQ(response.status, 201) << response.body;
    return Text(Body(response), "id");
  }
  // What a poller would store: one message in a conversation of `person`.
  void Receive(const std::string& account, const std::string& person, const std::string& id,
               const std::string& text, std::optional<TimePoint> sent_at = std::nullopt,
               UnreadableReason unreadable = UnreadableReason::kNone,
               std::vector<store::CollectedAttachment> attachments = {}) {
    const auto outcome =
        Collect(account, person, id, text, sent_at, unreadable, std::move(attachments));
    ASSERT_TRUE(outcome.has_value()) << outcome.error().message;
    ASSERT_EQ(outcome->stored, 1u);
  }
  Result<store::CollectOutcome> Collect(const std::string& account, const std::string& person,
                                        const std::string& id, const std::string& text,
                                        std::optional<TimePoint> sent_at = std::nullopt,
                                        UnreadableReason unreadable = UnreadableReason::kNone,
                                        std::vector<store::CollectedAttachment> attachments = {}) {
    store::CollectedPage page;
    page.account = *AccountId::Parse(account);
    store::CollectedConversation conversation;
    conversation.id = PlatformId("convo-" + person);
    conversation.participants = {{.platform_id = PlatformId("did:plc:" + person),
                                  .handle = ContactHandle(person + ".example"),
                                  .display_name = ContactHandle("Name of " + person)}};
    page.conversations = {conversation};
    store::CollectedMessage message;
    message.conversation = conversation.id;
    message.id = PlatformId(id);
    message.sender = PlatformId("did:plc:" + person);
    message.sent_at = sent_at.value_or(clock_.Now());
    message.text = MessageBody(text);
    message.unreadable = unreadable;
    message.attachments = std::move(attachments);
    page.messages = {message};
    page.cursor = "cursor-" + id;
    page.coverage.covered_until = clock_.Now();
    return store_->collection().Collect(page, clock_.Now());
  }
  std::string FirstConversation() {
    const auto ids = Ids(Ask(Role::kComms, "GET", "/v1/conversations"));
    return ids.empty() ? "" : ids.front();
  }
  std::string NewestMessage(const std::string& conversation) {
    const auto ids =
        Ids(Ask(Role::kComms, "GET", "/v1/conversations/" + conversation + "/messages"));
    return ids.empty() ? "" : ids.front();
  }
  // What a connector would fetch for an attachment.
  void Keep(const std::string& message, std::uint16_t number, const std::string& bytes) {
    auto writer = store_->attachments().Write(*MessageId::Parse(message), number, clock_.Now());
    ASSERT_TRUE(writer && (*writer)->Append(bytes, clock_.Now()) &&
                (*writer)->Finish(clock_.Now()));
  }
  static std::string ReplyBody(const std::string& text, const std::string& after) {
    std::string body;
    {
      json::Writer writer(&body);
      writer.StartObject();
      writer.Field("text", text);
      writer.Field("after_message_id", after);
      writer.EndObject();
    }
    return body;
  }
  Response PostReply(const std::string& conversation, const std::string& text,
                     const std::string& after, const std::string& key) {
    return Ask(Role::kComms, "POST", "/v1/conversations/" + conversation + "/replies",
               ReplyBody(text, after), {{"Idempotency-Key", key}});
  }

  TempDir dir_;
  ApiClock clock_;
  RateLimits limits_{.per_minute = {100'000, 100'000, 100'000, 100'000}};
  RateLimiter rate_limiter_{limits_, clock_};
  ChangeFeed feed_{clock_};
  EventStreams streams_{EventStreamLimits{}};
  mayfly::testing::TestEngine* engine_ = nullptr;  // the store's
  FakeRuntime runtime_;
  HealthView health_;
  std::unique_ptr<store::Store> store_;
  ApiContext context_;
  Router router_;
  Authenticator authenticate_;
  std::map<Role, std::string> tokens_;
};

// --- tokens

TEST_F(RestTest, TokensAreTakenFromTheAuthorizationFieldOnlyAndUntilTheyEnd) {
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations").status, 200);
  EXPECT_EQ(Ask(std::nullopt, "GET", "/v1/conversations").status, 401);
  const std::string& good = tokens_[Role::kComms];
  std::string wrong = good;
  wrong.back() = wrong.back() == 'a' ? 'b' : 'a';
  for (const std::string& field :
       {std::string("Bearer"), "Bearer " + wrong, "Basic " + good, good, "Bearer  " + good,
        "Bearer " + good + " x", "Bearer " + good.substr(1)}) {
    EXPECT_EQ(Ask(std::nullopt, "GET", "/v1/conversations", "", {{"Authorization", field}}).status,
              401);
  }
  EXPECT_EQ(Ask(std::nullopt, "GET", "/v1/conversations", "", {{"Authorization", "bEARER " + good}})
                .status,
            200);
  clock_.Set(clock_.Now() + std::chrono::days(90));
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations").status, 401);
}

TEST_F(RestTest, TheAdminSocketMakesTokensAndShowsThemOnce) {
  const Response created =
      AskAdminSocket("POST", "/admin/tokens", R"({"role":"comms","label":"desk","days":7})");
  ASSERT_EQ(created.status, 201);
  const std::string token = Text(Body(created), "token");
  EXPECT_THAT(token, StartsWith("mfy_"));
  tokens_[Role::kComms] = token;
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations").status, 200);
  const Response list = AskAdminSocket("GET", "/admin/tokens");
  EXPECT_EQ(list.status, 200);
  EXPECT_THAT(list.body, ::testing::Not(HasSubstr(token.substr(4))));

  const std::string id = Text(*Body(created).Find("info"), "id");
  EXPECT_EQ(AskAdminSocket("DELETE", "/admin/tokens/" + id).status, 204);
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations").status, 401);
  EXPECT_EQ(AskAdminSocket("DELETE", "/admin/tokens/tok_0000000000000000").status, 404);

  for (const auto& [body, pointer] : std::vector<std::pair<std::string, std::string>>{
           {R"({"role":"king","label":"x"})", "/role"},
           {R"({"role":"comms","label":""})", "/label"},
           {R"({"role":"comms","label":"x","days":91})", "/days"},
           {R"({"role":"comms","label":"x","days":0})", "/days"},
           {R"({"role":"comms","label":"x","days":"7"})", "/days"},
           {R"({"role":"comms","label":"x","colour":1})", "/colour"}}) {
    const Response refused = AskAdminSocket("POST", "/admin/tokens", body);
    EXPECT_EQ(refused.status, 400) << body;
    EXPECT_EQ(PointerOf(refused), pointer) << body;
  }
}

// --- accounts

TEST_F(RestTest, AnAccountIsConnectedAndItsCredentialNeverShown) {
  const Response created = Ask(Role::kAdministrator, "POST", "/v1/accounts", AccountBody());
  ASSERT_EQ(created.status, 201) << created.body;
  const json::Value body = Body(created);
  EXPECT_EQ(HeaderOf(created, "Location"), "/v1/accounts/" + Text(body, "id"));
  EXPECT_THAT(HeaderOf(created, "ETag"), StartsWith("\"1-"));
  EXPECT_EQ(Text(body, "retention"), "P3M");
  EXPECT_EQ(Text(*body.Find("options"), "identifier"), "us.example");
  EXPECT_EQ(body.Find("credential"), nullptr);
  EXPECT_EQ(Text(body, "credential_fingerprint").size(), 8u);
  ASSERT_EQ(runtime_.connected.size(), 1u);
  EXPECT_EQ(runtime_.connected[0].ToString(), Text(body, "id"));
  const auto kept = store_->accounts().RevealCredential(runtime_.connected[0]);
  ASSERT_TRUE(kept.has_value());
  EXPECT_EQ(kept->Reveal(), "{\"password\":\"" + kSecret + "\"}");
}

TEST_F(RestTest, AnAccountShowsToEachRoleWhatItNeeds) {
  const std::string id = Connect();
  const json::Value comms = Body(Ask(Role::kComms, "GET", "/v1/accounts/" + id));
  EXPECT_EQ(comms.AsObject()->size(), 4u);  // id, platform, label, state
  const json::Value ops = Body(Ask(Role::kOperator, "GET", "/v1/accounts/" + id));
  EXPECT_NE(ops.Find("last_success_at"), nullptr);
  EXPECT_EQ(ops.Find("options"), nullptr);
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/accounts").status, 200);
  // A tag of what they see, without the revision that only an administrator needs.
  EXPECT_THAT(HeaderOf(Ask(Role::kComms, "GET", "/v1/accounts/" + id), "ETag"),
              ::testing::Not(HasSubstr("-")));
  EXPECT_THAT(Ids(Ask(Role::kAdministrator, "GET", "/v1/accounts")), ElementsAre(id));
}

TEST_F(RestTest, AnAccountThatBreaksARuleIsRefusedWithItsPlace) {
  const std::string options = R"("options":{"identifier":"us.example"})";
  const std::string credential = R"("credential":{"password":")" + kSecret + "\"}";
  const std::string head = R"({"platform":"bluesky","label":"City",)";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", ""},
      {"[]", ""},
      {"{", ""},
      {R"({"label":"x"})", "/platform"},
      {R"({"platform":"telex","label":"x"})", "/platform"},
      {R"({"platform":7,"label":"x"})", "/platform"},
      {R"({"platform":"bluesky",)" + options + "," + credential + "}", "/label"},
      {R"({"platform":"bluesky","label":"",)" + options + "," + credential + "}", "/label"},
      {R"({"platform":"bluesky","label":"a\nb",)" + options + "," + credential + "}", "/label"},
      {R"({"platform":"bluesky","label":")" + std::string(201, 'x') + "\"," + options + "," +
           credential + "}",
       "/label"},
      {head + credential + "}", "/options/identifier"},
      {head + options + "}", "/credential/password"},
      {head + options + R"(,"credential":{}})", "/credential/password"},
      {head + options + R"(,"credential":{"password":""}})", "/credential/password"},
      {head + options + R"(,"credential":{"password":7}})", "/credential/password"},
      {head + options + R"(,"credential":")" + kSecret + "\"}", "/credential"},
      {head + R"("options":{"identifier":"a","password":")" + kSecret + "\"}," + credential + "}",
       "/options/password"},
      {head + options + R"(,"credential":{"identifier":"a","password":")" + kSecret + "\"}}",
       "/credential/identifier"},
      {head + R"("options":{"identifier":"a","colour":"b"},)" + credential + "}", "/options"},
      {AccountBody(R"(,"colour":1)"), "/colour"},
      {AccountBody(R"(,"<b>":1)"), ""},
      {AccountBody(R"(,"label":"twice")"), ""},
      {AccountBody(R"(,"retention":7)"), "/retention"},
      {AccountBody(R"(,"retention":"P6D")"), "/retention"},
      {AccountBody(R"(,"retention":"three months")"), "/retention"},
  };
  for (const auto& [body, pointer] : cases) {
    const Response response = Ask(Role::kAdministrator, "POST", "/v1/accounts", body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(WordOf(response), "validation") << body;
    EXPECT_EQ(PointerOf(response), pointer) << body;
  }
  EXPECT_THAT(runtime_.connected, IsEmpty());
  EXPECT_THAT(Ids(Ask(Role::kAdministrator, "GET", "/v1/accounts")), IsEmpty());
}

TEST_F(RestTest, AnOptionThatCanNeverWorkIsRefusedAtOnceWithTheRemedy) {
  const auto connect = [&](const std::string& server, const std::string& token) {
    return Ask(Role::kAdministrator, "POST", "/v1/accounts",
               R"({"platform":"mastodon","label":"City","options":{"server":")" + server +
                   R"("},"credential":{"access_token":")" + token + "\"}}");
  };
  struct Case {
    const char* server;
    const char* remedy;
  };
  for (const Case& c :
       {Case{"http://10.0.0.1", "https://"}, Case{"https://127.0.0.1", "[egress]"},
        Case{"https://192.168.1.7", "[egress]"}, Case{"https://localhost", "[egress]"},
        Case{"https://169.254.169.254", "name"},
        Case{"https://social.example.org/@city", "without a path"},
        Case{"https://social.example.org:8443", "[egress]"},
        Case{"https://social.example.org:70000", "at most a port"},
        Case{"social.example.org", "https://"}}) {
    const Response refused = connect(c.server, kSecret);
    EXPECT_EQ(refused.status, 422) << c.server;
    EXPECT_EQ(WordOf(refused), "option-unusable") << c.server;
    EXPECT_EQ(PointerOf(refused), "/options/server") << c.server;
    EXPECT_THAT(Text(Body(refused), "detail"), HasSubstr(c.remedy)) << c.server;
  }
  const Response refused = connect("https://social.example.org", kSecret + " x");
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(PointerOf(refused), "/credential/access_token");
  EXPECT_THAT(runtime_.connected, IsEmpty());
  EXPECT_THAT(Ids(Ask(Role::kAdministrator, "GET", "/v1/accounts")), IsEmpty());

  const Response created = connect("https://Social.example.org/", kSecret);
  EXPECT_EQ(created.status, 201) << created.body;
  const std::string target = "/v1/accounts/" + Text(Body(created), "id") + "/credential";
  const Response replaced = Ask(Role::kAdministrator, "PUT", target,
                                R"({"access_token":"two words"})", {{"If-Match", "*"}});
  EXPECT_EQ(replaced.status, 422);
  EXPECT_EQ(PointerOf(replaced), "/access_token");
  // What the configuration allows is taken.
  context_.egress = {.insecure_loopback = true, .private_hosts = {"10.0.0.5:8443"}};
  EXPECT_EQ(connect("https://10.0.0.5:8443", kSecret).status, 201);
  EXPECT_EQ(connect("http://127.0.0.1:3000", kSecret).status, 201);
}

TEST_F(RestTest, AnAccountShowsItsBudgetAtThePlatformWhereItIsKnown) {
  const std::string target = "/v1/accounts/" + Connect();
  const auto budget = [&](Role role) {
    const json::Value body = Body(Ask(role, "GET", target));
    const json::Value* found = body.Find("budget");
    return found == nullptr ? std::optional<json::Value>() : *found;
  };
  ASSERT_TRUE(budget(Role::kOperator).has_value());
  EXPECT_TRUE(budget(Role::kOperator)->is_null());
  runtime_.budget = {.limit = 300, .remaining = 0, .resets_at = At("2026-03-05T10:05:00Z")};
  for (const Role role : {Role::kAdministrator, Role::kOperator}) {
    const auto shown = budget(role);
    ASSERT_TRUE(shown.has_value());
    EXPECT_EQ(shown->Int("limit").value(), 300);
    EXPECT_EQ(shown->Int("remaining").value(), 0);
    EXPECT_EQ(Text(*shown, "resets_at"), "2026-03-05T10:05:00.000Z");
  }
  EXPECT_FALSE(budget(Role::kComms).has_value());
  runtime_.budget->resets_at.reset();
  EXPECT_TRUE(budget(Role::kOperator)->Find("resets_at")->is_null());
  EXPECT_THAT(Ask(Role::kOperator, "GET", "/v1/accounts").body,
              ::testing::Not(HasSubstr("budget")));
}

TEST_F(RestTest, ACheckSaysThatTheHostLeadsWhereNothingMayConnectTo) {
  const std::string target = "/v1/accounts/" + Connect() + "/check";
  runtime_.check_error = Error{.code = ErrorCode::kHostForbidden, .message = kSecret};
  const Response refused = Ask(Role::kAdministrator, "POST", target);
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(WordOf(refused), "host-forbidden");
}

TEST_F(RestTest, NoAccountGetsAPeriodAboveTheCeiling) {
  for (const char* period : {"P4M", "P90D", "P1Y", "P13W"}) {
    const Response response = Ask(Role::kAdministrator, "POST", "/v1/accounts",
                                  AccountBody(std::string(R"(,"retention":")") + period + "\""));
    EXPECT_EQ(response.status, 422) << period;
    EXPECT_EQ(WordOf(response), "ceiling-exceeded");
    EXPECT_EQ(Text(Body(response), "maximum"), "P3M");
    EXPECT_EQ(PointerOf(response), "/retention");
  }
  EXPECT_EQ(Ask(Role::kAdministrator, "POST", "/v1/accounts", AccountBody(R"(,"retention":"P7D")"))
                .status,
            201);
}

TEST_F(RestTest, AChangeOfAnAccountNeedsItsRevision) {
  const std::string target = "/v1/accounts/" + Connect();
  const auto patch = [&](const std::string& body, const std::string& if_match) {
    return Ask(Role::kAdministrator, "PATCH", target, body,
               if_match.empty() ? Headers{} : Headers{{"If-Match", if_match}});
  };
  EXPECT_EQ(patch(R"({"label":"A"})", "").status, 428);
  EXPECT_EQ(patch(R"({"label":"A"})", "1").status, 400);
  EXPECT_EQ(patch(R"({"label":"A"})", "\"1\", \"2\"").status, 400);
  EXPECT_EQ(patch(R"({"label":"A"})", "\"2\"").status, 412);
  EXPECT_EQ(patch(R"({"label":"A"})", "W/\"1\"").status, 412);
  EXPECT_EQ(patch(R"({"label":"A"})", "\"x\"").status, 412);
  EXPECT_EQ(patch(R"({"label":"A"})", "\"-1\"").status, 412);
  const Response renamed = patch(R"({"label":"A"})", "\"1\"");
  EXPECT_EQ(renamed.status, 200);
  EXPECT_EQ(Text(Body(renamed), "label"), "A");
  EXPECT_THAT(HeaderOf(renamed, "ETag"), StartsWith("\"2-"));
  EXPECT_EQ(patch(R"({"label":"B"})", "\"1\"").status, 412);
  EXPECT_EQ(patch(R"({"label":"B"})", "*").status, 200);
  const Response period = patch(R"({"label":"C","retention":"P7D"})", "*");
  EXPECT_EQ(period.status, 400);
  EXPECT_EQ(PointerOf(period), "/retention");
  EXPECT_THAT(period.body, HasSubstr("created"));
}

TEST_F(RestTest, DisconnectingDestroysTheCredentialAndMayBeRepeated) {
  const std::string id = Connect();
  Receive(id, "ada", "m1", "still readable");
  const std::string target = "/v1/accounts/" + id;
  EXPECT_EQ(Ask(Role::kAdministrator, "DELETE", target, "", {{"If-Match", "\"9\""}}).status, 412);
  EXPECT_THAT(runtime_.disconnected, IsEmpty());
  EXPECT_EQ(Ask(Role::kAdministrator, "DELETE", target).status, 428);
  EXPECT_THAT(runtime_.disconnected, IsEmpty());
  const Headers any = {{"If-Match", "*"}};
  EXPECT_EQ(Ask(Role::kAdministrator, "DELETE", target, "", any).status, 204);
  EXPECT_EQ(Ask(Role::kAdministrator, "DELETE", target, "", any).status, 204);
  EXPECT_EQ(runtime_.disconnected.size(), 2u);
  EXPECT_EQ(Text(Body(Ask(Role::kComms, "GET", target)), "state"), "retired");
  const auto credential = store_->accounts().RevealCredential(*AccountId::Parse(id));
  ASSERT_FALSE(credential.has_value());
  EXPECT_EQ(credential.error().code, ErrorCode::kCredentialDead);
  EXPECT_EQ(Ask(Role::kAdministrator, "POST", target + "/poll").status, 409);
  EXPECT_EQ(Ask(Role::kAdministrator, "POST", target + "/check").status, 409);
  EXPECT_THAT(runtime_.polled, IsEmpty());
  // Its messages live on until they expire; nobody can answer any more.
  const std::string conversation = FirstConversation();
  const std::string newest = NewestMessage(conversation);
  ASSERT_NE(newest, "");
  const Response reply = PostReply(conversation, "hello", newest, "k1");
  EXPECT_EQ(reply.status, 409);
  EXPECT_EQ(WordOf(reply), "credential-dead");
  EXPECT_EQ(Text(Body(reply), "account"), id);
}

TEST_F(RestTest, DisconnectingMayEraseWhatWasCollected) {
  const std::string id = Connect();
  Receive(id, "ada", "m1", "to be erased");
  const std::string message = NewestMessage(FirstConversation());
  const std::string target = "/v1/accounts/" + id + "?erase=";
  const Headers any = {{"If-Match", "*"}};
  EXPECT_EQ(Ask(Role::kAdministrator, "DELETE", target + "perhaps", "", any).status, 400);
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/messages/" + message).status, 200);
  EXPECT_EQ(Ask(Role::kAdministrator, "DELETE", target + "true", "", any).status, 204);
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/messages/" + message).status, 404);
  EXPECT_EQ(FirstConversation(), "");
  EXPECT_EQ(Ask(Role::kAdministrator, "DELETE", target + "true", "", any).status, 204);
  ASSERT_TRUE(store_->erasure().RunOnce(clock_.Now()));
  const Response list = Ask(Role::kAuditor, "GET", "/v1/erasures");
  ASSERT_EQ(Ids(list).size(), 1u);
  EXPECT_EQ(Text(Body(list).Find("items")->AsArray()->at(0), "kind"), "account");
}

// --- destroying less than a date

TEST_F(RestTest, APersonIsErasedByConversationMessageOrPlatformId) {
  const std::string account = Connect();
  for (const char* person : {"ada", "bob", "cyd"}) {
    Receive(account, person, std::string("m-") + person, "words of " + std::string(person));
  }
  std::map<std::string, std::string> conversations, messages;
  for (const std::string& id : Ids(Ask(Role::kComms, "GET", "/v1/conversations"))) {
    const Response shown = Ask(Role::kComms, "GET", "/v1/conversations/" + id);
    const std::string person = Text(Body(shown).Find("participants")->AsArray()->at(0), "handle");
    conversations[person] = id;
    messages[person] = NewestMessage(id);
  }
  const auto body = [](const std::string& key, const std::string& value) {
    return "{\"" + key + "\":\"" + value + "\"}";
  };
  const std::vector<std::string> named = {
      body("conversation_id", conversations["ada.example"]),
      body("message_id", messages["bob.example"]),
      "{\"account_id\":\"" + account + "\",\"platform_id\":\"did:plc:cyd\"}"};
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < named.size(); ++i) {
    const Response erased = Ask(Role::kPrivacy, "POST", "/v1/erasures", named[i]);
    ASSERT_EQ(erased.status, 202) << erased.body;
    EXPECT_EQ(Text(Body(erased), "state"), "unreadable");
    ids.push_back(Text(Body(erased), "id"));
    EXPECT_EQ(HeaderOf(erased, "Location"), "/v1/erasures/" + ids.back());
    EXPECT_EQ(Ids(Ask(Role::kComms, "GET", "/v1/conversations")).size(), 2 - i);
    EXPECT_EQ(Ask(Role::kPrivacy, "POST", "/v1/erasures", named[i]).status, 404);
  }
  for (const auto& [person, id] : conversations) {
    EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations/" + id).status, 404);
    EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/messages/" + messages[person]).status, 404);
  }
  ASSERT_TRUE(store_->erasure().RunOnce(clock_.Now()));
  const Response one = Ask(Role::kAuditor, "GET", "/v1/erasures/" + ids[0]);
  ASSERT_EQ(one.status, 200);
  EXPECT_EQ(Text(Body(one), "state"), "finished");
  EXPECT_EQ(Text(Body(one), "kind"), "person");
  EXPECT_EQ(*Body(one).Find("messages")->AsInt(), 1);
  const Response first = Ask(Role::kPrivacy, "GET", "/v1/erasures?limit=2");
  ASSERT_EQ(Ids(first).size(), 2u);
  const Response rest =
      Ask(Role::kPrivacy, "GET", "/v1/erasures?cursor=" + Text(Body(first), "next_cursor"));
  EXPECT_EQ(Ids(rest).size(), 1u);
  EXPECT_EQ(Ask(Role::kPrivacy, "GET", "/v1/erasures/ers_" + std::string(32, '0')).status, 404);
}

TEST_F(RestTest, WhomToEraseMustBeSaidInOneWay) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "words");
  const std::string conversation = FirstConversation();
  for (const std::string& body :
       {std::string("{}"),
        "{\"conversation_id\":\"" + conversation + "\",\"message_id\":\"" +
            NewestMessage(conversation) + "\"}",
        "{\"account_id\":\"" + account + "\"}", std::string("{\"platform_id\":\"did:plc:ada\"}"),
        std::string("{\"conversation_id\":\"ada\"}"), std::string("{\"person\":\"ada\"}")}) {
    EXPECT_EQ(Ask(Role::kPrivacy, "POST", "/v1/erasures", body).status, 400) << body;
  }
  EXPECT_EQ(Ids(Ask(Role::kComms, "GET", "/v1/conversations")).size(), 1u);
}

// --- what people may ask of us

TEST_F(RestTest, APersonIsFoundByWhatTheyGaveUs) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "words of ada");
  clock_.Set(clock_.Now() + std::chrono::hours(1));
  Receive(account, "ada", "m2", "more words of ada");
  Receive(account, "bob", "m3", "words of bob");
  std::string conversation;
  for (const std::string& id : Ids(Ask(Role::kComms, "GET", "/v1/conversations"))) {
    const Response shown = Ask(Role::kComms, "GET", "/v1/conversations/" + id);
    if (shown.body.find("ada.example") != std::string::npos) conversation = id;
  }
  const std::string with_account = "{\"account_id\":\"" + account + "\",";
  for (const std::string& body : {"{\"conversation_id\":\"" + conversation + "\"}",
                                  "{\"message_id\":\"" + NewestMessage(conversation) + "\"}",
                                  with_account + "\"platform_id\":\"did:plc:ada\"}",
                                  with_account + "\"handle\":\"@Ada.example\"}"}) {
    const Response found = Ask(Role::kPrivacy, "POST", "/v1/people/lookup", body);
    ASSERT_EQ(found.status, 200) << body << found.body;
    const json::Value answer = Body(found);
    const json::Array& items = *answer.Find("items")->AsArray();
    ASSERT_EQ(items.size(), 1u) << body;
    EXPECT_EQ(Text(items[0], "platform_id"), "did:plc:ada");
    EXPECT_EQ(Text(items[0], "handle"), "ada.example");
    EXPECT_EQ(*items[0].Find("incoming")->AsInt(), 2);
    EXPECT_EQ(Text(items[0], "oldest_sent_at"), "2026-03-05T10:00:00.000Z");
    EXPECT_EQ(Text(items[0], "expires_at"), "2026-06-05T00:00:00.000Z");
    EXPECT_EQ(Text(items[0].Find("conversations")->AsArray()->at(0), "id"), conversation);
    EXPECT_THAT(found.body, ::testing::Not(HasSubstr("words")));
  }
  const auto nobody = [&](const std::string& body) {
    const Response found = Ask(Role::kPrivacy, "POST", "/v1/people/lookup", body);
    EXPECT_EQ(found.status, 200);
    return Body(found).Find("items")->AsArray()->empty();
  };
  EXPECT_TRUE(nobody(with_account + "\"platform_id\":\"did:plc:zed\"}"));
  EXPECT_TRUE(nobody(with_account + "\"handle\":\"zed\"}"));
  for (const std::string& body :
       {std::string("{}"), std::string("{\"handle\":\"ada.example\"}"),
        with_account + "\"handle\":\"a\",\"platform_id\":\"b\"}",
        std::string("{\"message_id\":\"ada\"}"), with_account + "\"handle\":\"\"}"}) {
    EXPECT_EQ(Ask(Role::kPrivacy, "POST", "/v1/people/lookup", body).status, 400) << body;
  }
  EXPECT_EQ(Ask(Role::kPrivacy, "POST", "/v1/people/lookup",
                "{\"conversation_id\":\"cnv_" + std::string(32, '0') + "\"}")
                .status,
            404);
}

TEST_F(RestTest, ARestrictedPersonIsShownToNobodyInCommsAndNothingIsSent) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "words of ada", std::nullopt, UnreadableReason::kNone,
          {{.locator = AttachmentLocator("l")}});
  const std::string conversation = FirstConversation();
  const std::string message = NewestMessage(conversation);
  Keep(message, 1, "bytes of ada");
  const std::string reply =
      Text(Body(PostReply(conversation, "answer to ada", message, "k1")), "id");
  const std::string since = Text(Body(Ask(Role::kComms, "GET", "/v1/changes")), "next_cursor");
  const std::string thread = "/v1/conversations/" + conversation;
  EXPECT_THAT(Ask(Role::kComms, "GET", "/v1/search?q=words").body, HasSubstr("words of ada"));

  const Response made = Ask(Role::kPrivacy, "POST", "/v1/restrictions",
                            R"({"kind":"restriction","conversation_id":")" + conversation + "\"}");
  ASSERT_EQ(made.status, 200) << made.body;
  const std::string id = Text(Body(made), "id");
  const std::string target = "/v1/restrictions/" + id;
  EXPECT_EQ(HeaderOf(made, "Location"), target);
  EXPECT_EQ(Text(Body(made), "expires_at"), "2026-06-05T00:00:00.000Z");
  EXPECT_EQ(Text(Body(Ask(Role::kPrivacy, "GET", target)), "kind"), "restriction");

  Receive(account, "ada", "m2", "later words of ada");
  const Response shell = Ask(Role::kComms, "GET", thread);
  EXPECT_EQ(shell.status, 200);
  EXPECT_TRUE(*Body(shell).Find("restricted")->AsBool());
  EXPECT_TRUE(Body(shell).Find("participants")->AsArray()->empty());
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/search?q=words").body.find("words of"),
            std::string::npos);
  const Response patched =
      Ask(Role::kComms, "PATCH", thread, R"({"status":"closed"})", {{"If-Match", "*"}});
  EXPECT_EQ(patched.status, 200);
  const Response list = Ask(Role::kComms, "GET", "/v1/conversations");
  const Response changes = Ask(Role::kComms, "GET", "/v1/changes?since=" + since);
  EXPECT_THAT(changes.body, HasSubstr("conversation.updated"));
  for (const Response& shown : {shell, patched, list, changes}) {
    EXPECT_THAT(shown.body, ::testing::Not(HasSubstr("ada")));
    EXPECT_THAT(shown.body, ::testing::Not(HasSubstr("msg_")));
  }
  for (const Response& refused :
       {Ask(Role::kComms, "GET", thread + "/messages"),
        Ask(Role::kComms, "GET", "/v1/messages/" + message),
        Ask(Role::kComms, "GET", "/v1/messages/" + message + "/attachments/1"),
        Ask(Role::kComms, "DELETE", "/v1/messages/" + message),
        Ask(Role::kComms, "GET", thread + "/replies"),
        Ask(Role::kComms, "GET", "/v1/replies/" + reply),
        PostReply(conversation, "another answer", message, "k2")}) {
    EXPECT_EQ(refused.status, 451);
    EXPECT_EQ(WordOf(refused), "restricted");
  }
  EXPECT_THAT(*store_->outbox().Pending(clock_.Now()), IsEmpty()) << "what waited has failed";

  EXPECT_EQ(Ids(Ask(Role::kPrivacy, "GET", "/v1/restrictions")), std::vector<std::string>{id});
  EXPECT_EQ(Ask(Role::kPrivacy, "DELETE", target).status, 204);
  EXPECT_EQ(Ask(Role::kPrivacy, "DELETE", target).status, 404);
  EXPECT_EQ(Ask(Role::kPrivacy, "GET", target).status, 404);
  EXPECT_THAT(Ask(Role::kComms, "GET", thread + "/messages").body, HasSubstr("later words of ada"));
  const Response failed = Ask(Role::kComms, "GET", "/v1/replies/" + reply);
  EXPECT_EQ(Text(Body(failed), "state"), "failed");
  EXPECT_EQ(Text(Body(failed), "reason"), "restricted");
}

TEST_F(RestTest, AnObjectionKeepsOutWhatComes) {
  const std::string account = Connect();
  std::vector<std::string> ids;
  for (const char* person : {"ada", "bob", "cyd"}) {
    const Response made = Ask(Role::kPrivacy, "POST", "/v1/restrictions",
                              R"({"kind":"objection","account_id":")" + account +
                                  R"(","platform_id":"did:plc:)" + person + "\"}");
    ASSERT_EQ(made.status, 200) << made.body;
    ids.push_back(Text(Body(made), "id"));
    clock_.Set(clock_.Now() + std::chrono::minutes(1));
  }
  EXPECT_EQ(Collect(account, "ada", "m1", "not kept")->objected, 1u);
  EXPECT_EQ(FirstConversation(), "");
  const json::Value ada = Body(Ask(Role::kPrivacy, "GET", "/v1/restrictions/" + ids[0]));
  EXPECT_EQ(*ada.Find("not_collected")->AsInt(), 1);
  EXPECT_EQ(Text(ada, "last_attempt_at"), FormatRfc3339(clock_.Now()));
  // Page by page; one that was lifted in between takes none of the others with it.
  const Response first = Ask(Role::kPrivacy, "GET", "/v1/restrictions?limit=2");
  EXPECT_EQ(Ids(first), (std::vector<std::string>{ids[0], ids[1]}));
  EXPECT_EQ(Ask(Role::kPrivacy, "DELETE", "/v1/restrictions/" + ids[1]).status, 204);
  EXPECT_EQ(Ids(Ask(Role::kPrivacy, "GET",
                    "/v1/restrictions?cursor=" + Text(Body(first), "next_cursor"))),
            std::vector<std::string>{ids[2]});
  for (const std::string& body :
       {std::string("{}"),
        R"({"kind":"hold","account_id":")" + account + R"(","platform_id":"did:plc:ada"})",
        std::string(R"({"kind":"objection"})")}) {
    EXPECT_EQ(Ask(Role::kPrivacy, "POST", "/v1/restrictions", body).status, 400) << body;
  }
  EXPECT_EQ(
      Ask(Role::kPrivacy, "POST", "/v1/restrictions",
          R"({"kind":"restriction","account_id":")" + account + R"(","platform_id":"did:plc:zed"})")
          .status,
      404);
}

TEST_F(RestTest, HeldWithdrawalsWaitForAPersonsWord) {
  const std::string account = Connect();
  store::CollectedPage page;
  page.account = *AccountId::Parse(account);
  for (int i = 0; i < 6; ++i) {
    Receive(account, "ada", "m" + std::to_string(i), "words");
    page.withdrawals.push_back({PlatformId("convo-ada"), PlatformId("m" + std::to_string(i))});
  }
  const std::string conversation = FirstConversation();
  const std::string target = "/v1/accounts/" + account + "/withdrawals";
  EXPECT_EQ(*Body(Ask(Role::kComms, "GET", target)).Find("held")->AsInt(), 0);
  ASSERT_TRUE(store_->collection().Collect(page, clock_.Now()));
  EXPECT_EQ(NewestMessage(conversation), "");
  const Response held = Ask(Role::kPrivacy, "GET", target);
  EXPECT_EQ(*Body(held).Find("held")->AsInt(), 6);
  EXPECT_EQ(Text(Body(held), "destroyed_at"), "2026-03-06T10:00:00.000Z");
  EXPECT_EQ(Ask(Role::kComms, "POST", target, R"({"decision":"perhaps"})").status, 400);
  EXPECT_EQ(
      Ask(Role::kComms, "POST", "/v1/accounts/acc_99/withdrawals", R"({"decision":"restore"})")
          .status,
      404);
  const Response restored = Ask(Role::kComms, "POST", target, R"({"decision":"restore"})");
  EXPECT_EQ(restored.status, 200);
  EXPECT_EQ(*Body(restored).Find("held")->AsInt(), 0);
  EXPECT_NE(NewestMessage(conversation), "");
  EXPECT_EQ(Ask(Role::kComms, "POST", target, R"({"decision":"destroy"})").status, 200);
}

TEST_F(RestTest, StaffDestroyOneMessage) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "stays");
  clock_.Set(clock_.Now() + std::chrono::minutes(1));
  Receive(account, "ada", "m2", "goes");
  const std::string conversation = FirstConversation();
  const std::string target = "/v1/messages/" + NewestMessage(conversation);
  EXPECT_EQ(Ask(Role::kComms, "DELETE", target).status, 204);
  EXPECT_EQ(Ask(Role::kComms, "GET", target).status, 404);
  EXPECT_EQ(Ask(Role::kComms, "DELETE", target).status, 404);
  ASSERT_TRUE(store_->erasure().RunOnce(clock_.Now()));
  const Response left = Ask(Role::kComms, "GET", "/v1/messages/" + NewestMessage(conversation));
  EXPECT_EQ(Text(Body(left), "text"), "stays");
  const std::string ended = "/v1/messages/msg_20260101_" + std::string(32, '0');
  EXPECT_EQ(Ask(Role::kComms, "DELETE", ended).status, 410);
}

TEST_F(RestTest, AnAccountIsCheckedAndPolledOnDemand) {
  const std::string target = "/v1/accounts/" + Connect();
  const Response check = Ask(Role::kAdministrator, "POST", target + "/check");
  EXPECT_EQ(check.status, 200);
  EXPECT_EQ(Text(Body(check), "own_handle"), "us.example");
  runtime_.check_error = Error{.code = ErrorCode::kMissingPrivilege, .message = "direct messages"};
  const Response missing = Ask(Role::kAdministrator, "POST", target + "/check");
  EXPECT_EQ(missing.status, 409);
  EXPECT_EQ(Text(Body(missing), "detail"), "direct messages");
  EXPECT_EQ(Ask(Role::kAdministrator, "POST", target + "/poll").status, 202);
  EXPECT_EQ(runtime_.polled.size(), 1u);
}

TEST_F(RestTest, IdsThatCannotExistAreNotFound) {
  const std::string account = Connect();
  for (const char* target :
       {"/v1/accounts/acc_2", "/v1/accounts/acc_", "/v1/accounts/acc_01", "/v1/accounts/acc_-1",
        "/v1/accounts/acc_99999999999", "/v1/accounts/1", "/v1/accounts/ACC_1"}) {
    EXPECT_EQ(Ask(Role::kAdministrator, "GET", target).status, 404) << target;
  }
  const std::string zeros(32, '0');
  for (const std::string& target :
       {"/v1/conversations/cnv_" + zeros, std::string("/v1/conversations/cnv_0"),
        "/v1/conversations/cnv_" + std::string(32, 'A'), "/v1/messages/msg_20260601_" + zeros,
        std::string("/v1/messages/msg_1"), "/v1/messages/msg_20260231_" + zeros,
        "/v1/messages/rpl_20260601_" + zeros, "/v1/replies/rpl_20260601_" + zeros,
        "/v1/conversations/cnv_" + zeros + "/messages",
        "/v1/conversations/cnv_" + zeros + "/replies"}) {
    EXPECT_EQ(Ask(Role::kComms, "GET", target).status, 404) << target;
  }
}

// --- conversations

TEST_F(RestTest, TheInboxShowsConversationsNewestFirstWithTheirDeath) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "first");
  clock_.Set(clock_.Now() + std::chrono::minutes(1));
  Receive(account, "bob", "m2", "second");
  const Response list = Ask(Role::kComms, "GET", "/v1/conversations");
  ASSERT_EQ(list.status, 200);
  const json::Value body = Body(list);
  ASSERT_EQ(body.Find("items")->AsArray()->size(), 2u);
  EXPECT_TRUE(body.Find("next_cursor")->is_null());
  EXPECT_FALSE(*body.Find("has_more")->AsBool());
  const json::Value& newest = body.Find("items")->AsArray()->at(0);
  EXPECT_EQ(Text(newest.Find("participants")->AsArray()->at(0), "handle"), "bob.example");
  EXPECT_EQ(Text(newest, "expires_at"), "2026-06-05T00:00:00.000Z");
  EXPECT_EQ(Text(newest, "status"), "open");
  EXPECT_TRUE(*newest.Find("unread")->AsBool());
  EXPECT_THAT(list.body, ::testing::Not(HasSubstr("second")));  // an inbox row holds no text
}

TEST_F(RestTest, TheInboxIsFiltered) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "first");
  const std::string id = FirstConversation();
  ASSERT_NE(id, "");
  const auto ids = [&](const std::string& query) {
    const Response response = Ask(Role::kComms, "GET", "/v1/conversations?" + query);
    EXPECT_EQ(response.status, 200) << query;
    return Ids(response);
  };
  EXPECT_THAT(ids("account=" + account + "&status=open&unread=true"), ElementsAre(id));
  EXPECT_THAT(ids("status=closed"), IsEmpty());
  EXPECT_THAT(ids("unread=false"), IsEmpty());
  // An unknown value selects nothing; an unknown name, or a value of the wrong kind, is an error.
  EXPECT_THAT(ids("account=acc_99"), IsEmpty());
  EXPECT_THAT(ids("account=nonsense"), IsEmpty());
  EXPECT_THAT(ids("status=sleeping"), IsEmpty());
  for (const auto& [query, name] :
       std::vector<std::pair<std::string, std::string>>{{"unread=maybe", "unread"},
                                                        {"limit=0", "limit"},
                                                        {"limit=201", "limit"},
                                                        {"limit=ten", "limit"},
                                                        {"limit=-1", "limit"},
                                                        {"limit=", "limit"},
                                                        {"colour=red", "colour"}}) {
    const Response response = Ask(Role::kComms, "GET", "/v1/conversations?" + query);
    EXPECT_EQ(response.status, 400) << query;
    EXPECT_EQ(PointerOf(response), name) << query;
  }
}

TEST_F(RestTest, PagesMeetEachConversationOnceAndCursorsFitTheirListOnly) {
  const std::string account = Connect();
  for (int i = 0; i < 5; ++i) {
    clock_.Set(clock_.Now() + std::chrono::minutes(1));
    Receive(account, "person" + std::to_string(i), "m" + std::to_string(i), "text");
  }
  std::set<std::string> seen;
  std::string cursor;
  int pages = 0;
  do {
    const Response page =
        Ask(Role::kComms, "GET",
            "/v1/conversations?limit=2&status=open" + (cursor.empty() ? "" : "&cursor=" + cursor));
    ASSERT_EQ(page.status, 200);
    for (const std::string& id : Ids(page)) EXPECT_TRUE(seen.insert(id).second);
    cursor = Text(Body(page), "next_cursor");
    EXPECT_EQ(*Body(page).Find("has_more")->AsBool(), !cursor.empty());
    const std::string link = HeaderOf(page, "Link");
    if (cursor.empty()) {
      EXPECT_EQ(link, "");
    } else {
      EXPECT_EQ(link,
                "</v1/conversations?limit=2&status=open&cursor=" + cursor + ">; rel=\"next\"");
    }
    ASSERT_LT(++pages, 10);
  } while (!cursor.empty());
  EXPECT_EQ(seen.size(), 5u);

  const std::string good =
      Text(Body(Ask(Role::kComms, "GET", "/v1/conversations?limit=2&status=open")), "next_cursor");
  const auto status = [&](const std::string& target) {
    const Response response = Ask(Role::kComms, "GET", target);
    if (response.status == 400) {
      EXPECT_EQ(WordOf(response), "cursor-invalid");
    }
    return response.status;
  };
  EXPECT_EQ(status("/v1/conversations?status=open&cursor=" + good), 200);
  EXPECT_EQ(status("/v1/conversations?cursor=" + good), 400);                // another filter
  EXPECT_EQ(status("/v1/conversations?status=closed&cursor=" + good), 400);  // another filter
  EXPECT_EQ(status("/v1/conversations/" + *seen.begin() + "/messages?cursor=" + good), 400);
  EXPECT_EQ(status("/v1/conversations?status=open&cursor="), 400);
  EXPECT_EQ(status("/v1/conversations?status=open&cursor=AAAA"), 400);
  EXPECT_EQ(status("/v1/conversations?status=open&cursor=" + std::string(5000, 'A')), 400);
  for (std::size_t at = 0; at < good.size(); at += 5) {
    std::string tampered = good;
    tampered[at] = tampered[at] == 'A' ? 'B' : 'A';
    EXPECT_EQ(status("/v1/conversations?status=open&cursor=" + tampered), 400) << at;
  }
  // A cursor of another service opens nothing here.
  ApiContext other;
  other.cursor_key = std::string(32, 'o');
  EXPECT_EQ(status("/v1/conversations?status=open&cursor=" +
                   SignCursor(other, "conversations status=open", "position")),
            400);
}

bool Holds(const json::Value& receipt, const std::string& key) {
  const auto holds = SignatureHolds(receipt, key);
  return holds && *holds;
}

// What the connection would send.
std::string Drain(const Response& response) {
  std::string all;
  while (response.source && all.size() < response.source_bytes.value_or(SIZE_MAX)) {
    auto piece = response.source->Next();
    if (piece && piece->empty() && !response.source_bytes) break;
    if (!piece || piece->empty()) return all + "(cut off)";
    all += *piece;
  }
  return all;
}

TEST_F(RestTest, AnAttachmentIsListedAndSavedWholeOrInPart) {
  const std::string account = Connect();
  const std::string name = "Rechnung \"M\u00e4rz\"/../x.png";
  Receive(account, "anna", "m1", "with a file", std::nullopt, UnreadableReason::kNone,
          {{.name = AttachmentName(name), .locator = AttachmentLocator(kSecret)},
           {.bytes = kAttachmentBytesMax + 1, .locator = AttachmentLocator(kSecret)},
           {.name = AttachmentName("empty"), .locator = AttachmentLocator(kSecret)}});
  const std::string message = NewestMessage(FirstConversation());
  const std::string path = "/v1/messages/" + message + "/attachments/";
  const auto listed = [&](std::size_t at) {
    const Response response = Ask(Role::kComms, "GET", "/v1/messages/" + message);
    EXPECT_EQ(response.status, 200);
    return *Body(response).Find("attachments")->AsArray()->at(at).Find("state")->AsString();
  };
  EXPECT_EQ(listed(0), "waiting");
  EXPECT_EQ(listed(1), "refused");
  for (const char* none : {"1", "2", "4", "0", "01", "65", "-1", "x"}) {
    EXPECT_EQ(Ask(Role::kComms, "GET", path + none).status, 404) << none;
  }

  std::string bytes = "\x89PNG\r\n\x1a\n";
  while (bytes.size() < 150'000) bytes += std::to_string(bytes.size());
  const std::string before = HeaderOf(Ask(Role::kComms, "GET", "/v1/messages/" + message), "ETag");
  const std::string since = Text(Body(Ask(Role::kComms, "GET", "/v1/changes")), "next_cursor");
  Keep(message, 1, bytes);
  Keep(message, 3, "");
  EXPECT_EQ(listed(0), "kept");
  EXPECT_NE(HeaderOf(Ask(Role::kComms, "GET", "/v1/messages/" + message), "ETag"), before);
  EXPECT_THAT(Ask(Role::kComms, "GET", "/v1/changes?since=" + since).body,
              HasSubstr("\"attachment.updated\""));

  const Response all = Ask(Role::kComms, "GET", path + "1");
  EXPECT_EQ(all.status, 200);
  EXPECT_EQ(all.source_bytes, bytes.size());
  EXPECT_EQ(Drain(all), bytes);
  EXPECT_EQ(HeaderOf(all, "Content-Disposition"),
            "attachment; filename*=UTF-8''Rechnung%20%22M%C3%A4rz%22_.._x.png");
  EXPECT_EQ(HeaderOf(all, "Sunset"), "Fri, 05 Jun 2026 00:00:00 GMT");
  const std::string etag = HeaderOf(all, "ETag");
  EXPECT_EQ(Ask(Role::kComms, "GET", path + "1", "", {{"If-None-Match", etag}}).status, 304);
  EXPECT_EQ(Ask(Role::kComms, "HEAD", path + "1").source_bytes, bytes.size());
  EXPECT_EQ(Drain(Ask(Role::kComms, "GET", path + "3")), "");

  struct Case {
    const char* range;
    int status;
    std::size_t first, bytes;
  };
  const std::size_t size = bytes.size();
  for (const Case& c : std::vector<Case>{{"bytes=0-0", 206, 0, 1},
                                         {"bytes=65530-65540", 206, 65'530, 11},
                                         {"bytes=100000-", 206, 100'000, size - 100'000},
                                         {"bytes=-7", 206, size - 7, 7},
                                         {"bytes=-999999999", 206, 0, size},
                                         {"bytes=10-999999999", 206, 10, size - 10},
                                         {"bytes=999999999-", 416, 0, 0},
                                         {"bytes=-0", 416, 0, 0},
                                         {"bytes=5-4", 200, 0, size},
                                         {"bytes=0-1,5-6", 200, 0, size},
                                         {"bytes=", 200, 0, size},
                                         {"bytes=-", 200, 0, size},
                                         {"bytes=a-b", 200, 0, size},
                                         {"lines=0-1", 200, 0, size}}) {
    const Response part = Ask(Role::kComms, "GET", path + "1", "", {{"Range", c.range}});
    EXPECT_EQ(part.status, c.status) << c.range;
    if (c.status != 416) {
      EXPECT_TRUE(Drain(part) == bytes.substr(c.first, c.bytes)) << c.range;
    }
    const std::string told = HeaderOf(part, "Content-Range");
    if (c.status == 206) {
      EXPECT_EQ(told, "bytes " + std::to_string(c.first) + "-" +
                          std::to_string(c.first + c.bytes - 1) + "/" + std::to_string(size));
    } else {
      EXPECT_EQ(told, c.status == 416 ? "bytes */" + std::to_string(size) : "") << c.range;
    }
  }
  const Headers bound = {{"Range", "bytes=0-0"}, {"If-Range", "\"another\""}};
  EXPECT_EQ(Ask(Role::kComms, "GET", path + "1", "", bound).status, 200);
  EXPECT_EQ(
      Ask(Role::kComms, "GET", path + "1", "", {{"Range", "bytes=0-0"}, {"If-Range", etag}}).status,
      206);

  // Destroyed while somebody is reading.
  const Response reading = Ask(Role::kComms, "GET", path + "1");
  ASSERT_TRUE(reading.source->Next());
  EXPECT_EQ(Ask(Role::kComms, "DELETE", "/v1/messages/" + message).status, 204);
  EXPECT_FALSE(reading.source->Next());
  EXPECT_EQ(Ask(Role::kComms, "GET", path + "1").status, 404);
}

TEST_F(RestTest, APersonIsGivenEverythingInASealedPackage) {
  const std::string account = Connect();
  Receive(account, "anna", "m1", "with a file", std::nullopt, UnreadableReason::kNone,
          {{.name = AttachmentName("letter.pdf"), .locator = AttachmentLocator(kSecret)},
           {.name = AttachmentName("gone.pdf"), .locator = AttachmentLocator(kSecret)}});
  const std::string message = NewestMessage(FirstConversation());
  Keep(message, 1, "%PDF-1.7 the letter");
  clock_.Set(clock_.Now() + std::chrono::minutes(1));
  Receive(account, "bert", "m2", "of somebody else");

  const AgeIdentity identity = AgeIdentity::Make();
  const auto ask = [&](const std::string& recipient) {
    return Ask(Role::kPrivacy, "POST", "/v1/access-packages",
               "{\"message_id\":\"" + message + "\",\"recipient\":\"" + recipient + "\"}");
  };
  EXPECT_EQ(PointerOf(ask("age1x")), "/recipient");
  // A key that would open for everybody.
  EXPECT_EQ(PointerOf(ask(FormatAgeRecipient(AgeKey{}))), "/recipient");
  const Response response = ask(FormatAgeRecipient(identity.Recipient()));
  ASSERT_EQ(response.status, 200);
  const std::string sealed = Drain(response);
  std::string zip;
  {
    AgeOpener opener(identity);
    ASSERT_TRUE(opener.Append(sealed, &zip) && opener.Finish(&zip));
  }
  const auto file = dir_ / "package.zip";
  std::ofstream(file, std::ios::binary) << zip;
  std::map<std::string, std::string> files;
  std::string name;
  const Status read = ReadZip(
      file,
      [&](const std::string& entry) -> Status {
        name = entry;
        return {};
      },
      [&](std::string_view bytes) -> Status {
        files[name] += bytes;
        return {};
      });
  ASSERT_TRUE(read) << read.error().message;
  const std::string kept = "attachments/" + message + "-1.pdf";
  EXPECT_THAT(files, ::testing::UnorderedElementsAre(
                         ::testing::Key("about.txt"), ::testing::Key("messages.ndjson"),
                         ::testing::Key("messages.html"), ::testing::Key(kept),
                         ::testing::Key("manifest.json")));
  EXPECT_EQ(files[kept], "%PDF-1.7 the letter");
  EXPECT_THAT(files["messages.ndjson"], HasSubstr(kept));
  EXPECT_THAT(files["messages.html"], HasSubstr("gone.pdf (not kept)"));
  EXPECT_THAT(files["about.txt"], HasSubstr("Name of anna"));
  for (const auto& [entry, bytes] : files) {
    EXPECT_THAT(bytes, ::testing::Not(HasSubstr("of somebody else"))) << entry;
    EXPECT_THAT(bytes, ::testing::Not(HasSubstr(kSecret))) << entry;
  }
  const std::string key = Text(Body(Ask(std::nullopt, "GET", "/v1/about")), "receipt_key");
  EXPECT_TRUE(Holds(*json::Parse(files["manifest.json"]), key));
  const auto entries = store_->audit().Read(0, 1'000);
  std::vector<std::string> acts;
  for (const auto& entry : *entries) acts.push_back(entry.action);
  EXPECT_THAT(acts, ::testing::Contains("person.package"));
  EXPECT_THAT(acts, ::testing::Contains("conversation.look"));

  // Destroyed while it is made: it goes on without.
  const Response second = ask(FormatAgeRecipient(identity.Recipient()));
  ASSERT_TRUE(second.source->Next());
  EXPECT_EQ(Ask(Role::kComms, "DELETE", "/v1/messages/" + message).status, 204);
  EXPECT_THAT(Drain(second), ::testing::Not(HasSubstr("(cut off)")));
  EXPECT_EQ(ask(FormatAgeRecipient(identity.Recipient())).status, 404);
}

TEST_F(RestTest, AConversationHasAStrongTagAndASunset) {
  Receive(Connect(), "ada", "m1", "first");
  const std::string target = "/v1/conversations/" + FirstConversation();
  const Response got = Ask(Role::kComms, "GET", target);
  ASSERT_EQ(got.status, 200);
  const std::string tag = HeaderOf(got, "ETag");
  EXPECT_THAT(tag, StartsWith("\"" + std::to_string(*Body(got).Find("revision")->AsInt()) + "-"));
  EXPECT_EQ(HeaderOf(got, "Sunset"), "Fri, 05 Jun 2026 00:00:00 GMT");
  const Response again = Ask(Role::kComms, "GET", target, "", {{"If-None-Match", "\"x\", " + tag}});
  EXPECT_EQ(again.status, 304);
  EXPECT_EQ(again.body, "");
  EXPECT_EQ(HeaderOf(again, "ETag"), tag);
  EXPECT_EQ(Ask(Role::kComms, "GET", target, "", {{"If-None-Match", "\"x\""}}).status, 200);

  const Response list = Ask(Role::kComms, "GET", "/v1/conversations");
  const Headers known = {{"If-None-Match", HeaderOf(list, "ETag")}};
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations", "", known).status, 304);
  EXPECT_EQ(Ask(Role::kComms, "PATCH", target, R"({"unread":false})", {{"If-Match", tag}}).status,
            200);
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations", "", known).status, 200);
}

TEST_F(RestTest, AChangeOfAConversationNeedsItsRevision) {
  Receive(Connect(), "ada", "m1", "first");
  const std::string target = "/v1/conversations/" + FirstConversation();
  const std::string tag = HeaderOf(Ask(Role::kComms, "GET", target), "ETag");
  const auto patch = [&](const std::string& body, const std::string& if_match) {
    return Ask(Role::kComms, "PATCH", target, body,
               if_match.empty() ? Headers{} : Headers{{"If-Match", if_match}});
  };
  EXPECT_EQ(patch(R"({"status":"closed"})", "").status, 428);
  EXPECT_EQ(patch(R"({"status":"closed"})", "\"999\"").status, 412);
  const Response closed = patch(R"({"status":"closed","unread":false})", tag);
  ASSERT_EQ(closed.status, 200);
  EXPECT_EQ(Text(Body(closed), "status"), "closed");
  EXPECT_FALSE(*Body(closed).Find("unread")->AsBool());
  EXPECT_NE(HeaderOf(closed, "ETag"), tag);
  EXPECT_EQ(Text(Body(closed), "expires_at"), "2026-06-05T00:00:00.000Z");  // no act lengthens it
  EXPECT_EQ(patch(R"({"status":"open"})", tag).status, 412);
  EXPECT_EQ(patch(R"({"status":"open"})", "*").status, 200);
  EXPECT_EQ(PointerOf(patch(R"({"status":"asleep"})", "*")), "/status");
  EXPECT_EQ(PointerOf(patch(R"({"unread":"no"})", "*")), "/unread");
  EXPECT_EQ(PointerOf(patch(R"({"expires_at":"2030-01-01T00:00:00Z"})", "*")), "/expires_at");
}

// --- messages

TEST_F(RestTest, MessagesComeNewestFirstEachWithItsOwnDeath) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "Grüße & <b>", At("2026-02-01T08:00:00Z"));
  Receive(account, "ada", "m2", "second");
  clock_.Set(clock_.Now() + std::chrono::minutes(1));
  Receive(account, "ada", "m3", "", std::nullopt, UnreadableReason::kEncrypted);
  const std::string conversation = FirstConversation();
  const std::string target = "/v1/conversations/" + conversation + "/messages";
  const Response list = Ask(Role::kComms, "GET", target);
  ASSERT_EQ(list.status, 200);
  const auto items = *Body(list).Find("items")->AsArray();
  ASSERT_EQ(items.size(), 3u);
  EXPECT_TRUE(items[0].Find("text")->is_null());
  EXPECT_EQ(Text(items[0], "unreadable"), "encrypted");
  EXPECT_EQ(Text(items[1], "text"), "second");
  EXPECT_TRUE(items[1].Find("unreadable")->is_null());
  EXPECT_EQ(Text(items[2], "text"), "Grüße & <b>");
  EXPECT_EQ(Text(items[2], "sent_at"), "2026-02-01T08:00:00.000Z");
  EXPECT_EQ(Text(items[2], "received_at"), "2026-03-05T10:00:00.000Z");
  EXPECT_EQ(Text(items[2], "expires_at"), "2026-05-01T00:00:00.000Z");
  EXPECT_TRUE(items[2].Find("edited_at")->is_null());
  EXPECT_EQ(Text(items[2], "direction"), "incoming");
  EXPECT_EQ(Text(*items[2].Find("sender"), "name"), "Name of ada");
  EXPECT_EQ(Text(*items[2].Find("sender"), "platform_id"), "did:plc:ada");

  const Response one = Ask(Role::kComms, "GET", "/v1/messages/" + Text(items[2], "id"));
  ASSERT_EQ(one.status, 200);
  EXPECT_EQ(Text(Body(one), "text"), "Grüße & <b>");
  EXPECT_EQ(HeaderOf(one, "Sunset"), "Fri, 01 May 2026 00:00:00 GMT");

  std::vector<std::string> paged;
  std::string cursor;
  do {
    const Response page =
        Ask(Role::kComms, "GET", target + "?limit=1" + (cursor.empty() ? "" : "&cursor=" + cursor));
    ASSERT_EQ(page.status, 200);
    for (const std::string& id : Ids(page)) paged.push_back(id);
    cursor = Text(Body(page), "next_cursor");
    ASSERT_LT(paged.size(), 10u);
  } while (!cursor.empty());
  EXPECT_EQ(paged, Ids(list));
}

TEST_F(RestTest, AnEditShowsItsTimeAndChangesTheTagOfItsConversation) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "frist");
  const std::string target = "/v1/conversations/" + FirstConversation();
  const std::string message = "/v1/messages/" + NewestMessage(FirstConversation());
  const std::string tag = HeaderOf(Ask(Role::kComms, "GET", target), "ETag");
  clock_.Set(clock_.Now() + std::chrono::minutes(1));
  store::CollectedPage page;
  page.account = *AccountId::Parse(account);
  page.edits = {{.conversation = PlatformId("convo-ada"),
                 .id = PlatformId("m1"),
                 .edited_at = clock_.Now(),
                 .text = MessageBody("first")}};
  ASSERT_TRUE(store_->collection().Collect(page, clock_.Now()).has_value());
  const json::Value edited = Body(Ask(Role::kComms, "GET", message));
  EXPECT_EQ(Text(edited, "text"), "first");
  EXPECT_EQ(Text(edited, "edited_at"), "2026-03-05T10:01:00.000Z");
  EXPECT_EQ(Text(edited, "expires_at"), "2026-06-05T00:00:00.000Z");
  const Response after = Ask(Role::kComms, "GET", target);
  EXPECT_NE(HeaderOf(after, "ETag"), tag);
  EXPECT_EQ(Text(Body(after), "last_activity_at"), "2026-03-05T10:00:00.000Z");
}

TEST_F(RestTest, EveryReadPathForgetsAtTheMillisecond) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "planted-text");
  const std::string conversation = FirstConversation();
  const std::string message = NewestMessage(conversation);
  const Response queued = PostReply(conversation, "planted-answer", message, "k1");
  ASSERT_EQ(queued.status, 202) << queued.body;
  const std::string reply = Text(Body(queued), "id");
  const std::string list_tag = HeaderOf(Ask(Role::kComms, "GET", "/v1/conversations"), "ETag");
  const auto statuses = [&] {
    std::vector<int> all;
    for (const std::string& target :
         {"/v1/messages/" + message, "/v1/replies/" + reply, "/v1/conversations/" + conversation,
          "/v1/conversations/" + conversation + "/messages",
          "/v1/conversations/" + conversation + "/replies"}) {
      const Response response = Ask(Role::kComms, "GET", target);
      all.push_back(response.status);
      if (response.status != 200) {
        EXPECT_THAT(response.body, ::testing::Not(HasSubstr("planted-")));
      }
    }
    return all;
  };
  // A fresh token: the old one ends before the message does.
  const TimePoint end = At("2026-06-05T00:00:00Z");
  clock_.Set(end - std::chrono::milliseconds(1));
  auto fresh = store_->tokens().Create(Role::kComms, "later", std::chrono::days(1),
                                       Actor{.id = "system"}, clock_.Now());
  ASSERT_TRUE(fresh.has_value());
  tokens_[Role::kComms] = fresh->token.Reveal();

  EXPECT_THAT(statuses(), ElementsAre(200, 200, 200, 200, 200));
  EXPECT_THAT(Ids(Ask(Role::kComms, "GET", "/v1/conversations")), ElementsAre(conversation));
  EXPECT_THAT(Ids(Ask(Role::kComms, "GET", "/v1/search?q=planted")), ElementsAre(message));
  clock_.Set(end);  // nobody has purged anything
  EXPECT_THAT(statuses(), ElementsAre(410, 410, 404, 404, 404));
  const Response list =
      Ask(Role::kComms, "GET", "/v1/conversations", "", {{"If-None-Match", list_tag}});
  EXPECT_EQ(list.status, 200);
  EXPECT_THAT(Ids(list), IsEmpty());
  const Response found = Ask(Role::kComms, "GET", "/v1/search?q=planted");
  EXPECT_EQ(found.status, 200);
  EXPECT_THAT(Ids(found), IsEmpty());
  EXPECT_THAT(found.body, ::testing::Not(HasSubstr("planted")));
  EXPECT_THAT(found.body, HasSubstr("\"reaches_back_to\":null"));
  EXPECT_EQ(PostReply(conversation, "late", message, "k2").status, 404);
  EXPECT_EQ(Ask(Role::kComms, "PATCH", "/v1/conversations/" + conversation, R"({"unread":true})",
                {{"If-Match", "*"}})
                .status,
            404);
  EXPECT_EQ(WordOf(Ask(Role::kComms, "GET", "/v1/messages/" + message)), "expired");
  // An id of a past date is expired whether or not it ever existed.
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/messages/msg_20200101_" + std::string(32, '0')).status,
            410);

  // And the same after the purge.
  ASSERT_TRUE(store_->purge().RunOnce(clock_.Now()).has_value());
  EXPECT_THAT(statuses(), ElementsAre(410, 410, 404, 404, 404));
}

TEST_F(RestTest, LooksAreRecordedOnceInFiveMinutesAndNotFoundLeavesNoTrace) {
  Receive(Connect(), "ada", "m1", "first");
  const std::string conversation = FirstConversation();
  const auto looks = [&](const std::string& action) {
    const auto entries = store_->audit().Read(0, 1000);
    EXPECT_TRUE(entries.has_value());
    return std::count_if(entries->begin(), entries->end(),
                         [&](const auto& entry) { return entry.action == action; });
  };
  EXPECT_EQ(looks("inbox.look"), 1);
  EXPECT_EQ(looks("conversation.look"), 0);
  const std::string target = "/v1/conversations/" + conversation;
  EXPECT_EQ(Ask(Role::kComms, "GET", target).status, 200);
  EXPECT_EQ(Ask(Role::kComms, "GET", target + "/messages").status, 200);
  EXPECT_EQ(looks("conversation.look"), 1);
  clock_.Set(clock_.Now() + std::chrono::minutes(6));
  EXPECT_EQ(Ask(Role::kComms, "GET", target + "/messages").status, 200);
  EXPECT_EQ(looks("conversation.look"), 2);
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations/cnv_" + std::string(32, '0')).status, 404);
  EXPECT_EQ(looks("conversation.look"), 2);
}

// --- search

TEST_F(RestTest, SearchFindsMessagesAndSaysHowFarItReaches) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "Where is my postcode lookup?", At("2026-03-01T10:00:00Z"));
  Receive(account, "bob", "m2", "Two lookups of postcodes", At("2026-03-02T10:00:00Z"));
  Receive(account, "bob", "m3", "Thank you", At("2026-03-03T10:00:00Z"));
  const Response found = Ask(Role::kComms, "GET", "/v1/search?q=postcode+lookup");
  ASSERT_EQ(found.status, 200) << found.body;
  const auto ids = Ids(found);
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(Text(Body(found), "reaches_back_to"), "2026-03-01T10:00:00.000Z");
  EXPECT_EQ(Text(Body(found).Find("items")->AsArray()->at(0), "text"), "Two lookups of postcodes");

  const auto one = [&](const std::string& more) {
    const Response response = Ask(Role::kComms, "GET", "/v1/search?q=postcode" + more);
    EXPECT_EQ(response.status, 200) << response.body;
    return Ids(response);
  };
  EXPECT_THAT(one("+%22of+postcodes%22"), ElementsAre(ids[0]));
  EXPECT_THAT(one("&sent_before=2026-03-02T00:00:00Z"), ElementsAre(ids[1]));
  EXPECT_THAT(one("&sent_from=2026-03-02T00:00:00Z"), ElementsAre(ids[0]));
  EXPECT_THAT(one("&account=" + account), ElementsAre(ids[0], ids[1]));
  for (const char* nothing : {"&account=acc_99", "&account=x", "&conversation=x"}) {
    EXPECT_THAT(one(nothing), IsEmpty());
  }
  const json::Value body = Body(found);
  const std::string conversation = Text(body.Find("items")->AsArray()->at(1), "conversation");
  EXPECT_THAT(one("&conversation=" + conversation), ElementsAre(ids[1]));

  const Response first = Ask(Role::kComms, "GET", "/v1/search?q=postcode&limit=1");
  EXPECT_THAT(Ids(first), ElementsAre(ids[0]));
  const std::string cursor = Text(Body(first), "next_cursor");
  EXPECT_THAT(cursor, ::testing::Not(HasSubstr("postcode")));
  EXPECT_THAT(one("&limit=1&cursor=" + cursor), ElementsAre(ids[1]));
  for (const std::string other : {"/v1/search?q=postcodes&cursor=",
                                  "/v1/search?q=postcode&sent_from=2026-03-01T00:00:00Z&cursor=",
                                  "/v1/conversations?cursor="}) {
    EXPECT_EQ(WordOf(Ask(Role::kComms, "GET", other + cursor)), "cursor-invalid") << other;
  }
}

TEST_F(RestTest, ASearchThatCannotBeIsRefusedWithItsPlaceAndARemedyAndWithoutItsWords) {
  Receive(Connect(), "ada", "m1", "planted");
  std::string many;
  for (int i = 0; i < 10'000; ++i) many += "quagga+";
  const std::map<std::string, std::string> wrong = {{"", "no word"},
                                                    {"?q=", "no word"},
                                                    {"?q=+%2C.%21", "no word"},
                                                    {"?q=%22quagga", "partner"},

                                                    {"?q=" + many.substr(0, 7 * 200), "1024 bytes"},
                                                    {"?q=" + many.substr(0, 7 * 17), "16 words"}};
  for (const auto& [query, remedy] : wrong) {
    const Response response = Ask(Role::kComms, "GET", "/v1/search" + query);
    EXPECT_EQ(response.status, 400) << remedy;
    EXPECT_EQ(WordOf(response), "validation") << remedy;
    EXPECT_EQ(PointerOf(response), "q") << remedy;
    EXPECT_THAT(Text(Body(response), "detail"), HasSubstr(remedy));
    EXPECT_THAT(response.body, ::testing::Not(HasSubstr("quagga")));
  }
  EXPECT_EQ(PointerOf(Ask(Role::kComms, "GET", "/v1/search?q=a&sent_from=yesterday")), "sent_from");
  EXPECT_EQ(PointerOf(Ask(Role::kComms, "GET", "/v1/search?q=a&limit=0")), "limit");
  // What does not get past the listener: 10,000 words, and bytes that are no UTF-8.
  const auto refused = [](const std::string& query) {
    const auto head =
        ParseHead("GET /v1/search?q=" + query + " HTTP/1.1\r\nHost: mayfly\r\n\r\n", {});
    return head ? 200 : head.error().status;
  };
  EXPECT_EQ(refused(many.substr(0, 9'000)), 414);
  EXPECT_EQ(refused(many), 400) << "read as a whole; the listener stops at its first 8 KiB";
  EXPECT_EQ(refused("quagga%FF"), 400);
  // Every other shape of text is a search.
  for (const char* text : {"a", "%F0%9F%91%8D", "%D7%A9%D7%9C%D7%95%D7%9D", "e%CC%81te%CC%81",
                           "%E6%9D%B1%E4%BA%AC%E5%A4%A7%E5%AD%A6", "the", "%E2%80%8Fabc"}) {
    EXPECT_EQ(Ask(Role::kComms, "GET", std::string("/v1/search?q=") + text).status, 200) << text;
  }
}

TEST_F(RestTest, WhatWasSearchedForIsInNoAuditEntry) {
  Receive(Connect(), "ada", "m1", "zebrafish");
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/search?q=zebrafish").status, 200);
  EXPECT_EQ(Ask(Role::kPrivacy, "GET", "/v1/search?q=zebrafish").status, 403);
  bool searched = false;
  const auto entries = store_->audit().Read(0, 1000);
  ASSERT_TRUE(entries.has_value());
  for (const auto& entry : *entries) {
    searched = searched || entry.action == "search.look";
    for (const std::string& text : {entry.action, entry.object, entry.outcome, entry.actor}) {
      EXPECT_THAT(text, ::testing::Not(HasSubstr("zebra")));
    }
  }
  EXPECT_TRUE(searched);
}

// --- replies

TEST_F(RestTest, AReplyIsAcceptedOnceForItsKey) {
  Receive(Connect(), "ada", "m1", "question");
  const std::string conversation = FirstConversation();
  const std::string message = NewestMessage(conversation);
  const Response first = PostReply(conversation, "answer", message, "key-1");
  ASSERT_EQ(first.status, 202) << first.body;
  const std::string id = Text(Body(first), "id");
  EXPECT_EQ(HeaderOf(first, "Location"), "/v1/replies/" + id);
  EXPECT_EQ(HeaderOf(first, "Idempotency-Replayed"), "");
  EXPECT_EQ(Text(Body(first), "state"), "queued");
  EXPECT_EQ(Text(Body(first), "expires_at"), "2026-06-05T00:00:00.000Z");
  ASSERT_FALSE(runtime_.queued.empty());
  EXPECT_EQ(runtime_.queued[0].ToString(), id);

  const Response again = PostReply(conversation, "answer", message, "key-1");
  EXPECT_EQ(again.status, 202);
  EXPECT_EQ(Text(Body(again), "id"), id);
  EXPECT_EQ(HeaderOf(again, "Idempotency-Replayed"), "true");
  const Response other = PostReply(conversation, "another answer", message, "key-1");
  EXPECT_EQ(other.status, 422);
  EXPECT_EQ(WordOf(other), "idempotency-conflict");

  const Response got = Ask(Role::kComms, "GET", "/v1/replies/" + id);
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(Text(Body(got), "text"), "answer");
  EXPECT_THAT(Ids(Ask(Role::kComms, "GET", "/v1/conversations/" + conversation + "/replies")),
              ElementsAre(id));
}

TEST_F(RestTest, AReplyWithoutItsPreconditionsIsRefused) {
  Receive(Connect(), "ada", "m1", "question");
  const std::string conversation = FirstConversation();
  const std::string message = NewestMessage(conversation);
  const std::string target = "/v1/conversations/" + conversation + "/replies";
  const Response no_key = Ask(Role::kComms, "POST", target, ReplyBody("a", message));
  EXPECT_EQ(no_key.status, 428);
  EXPECT_EQ(PointerOf(no_key), "Idempotency-Key");
  for (const std::string& key : {std::string(256, 'k'), std::string("a b"), std::string()}) {
    const Response response = PostReply(conversation, "a", message, key);
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(PointerOf(response), "Idempotency-Key");
  }
  EXPECT_EQ(PostReply(conversation, "a", message, std::string(255, 'k')).status, 202);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {ReplyBody("", message), "/text"},
      {ReplyBody("a\x01", message), "/text"},
      {ReplyBody("a", "msg_1"), "/after_message_id"},
      {R"({"text":"a"})", "/after_message_id"},
      {R"({"after_message_id":")" + message + "\"}", "/text"},
      {R"({"text":["a"],"after_message_id":")" + message + "\"}", "/text"},
      {R"({"text":"a","after_message_id":")" + message + R"(","send_at":1})", "/send_at"},
      {ReplyBody(std::string(10'001, 'x'), message), "/text"},  // bytes
      {ReplyBody(std::string(1'001, 'x'), message), "/text"},   // characters
  };
  int number = 0;
  for (const auto& [body, pointer] : cases) {
    const Response response = Ask(Role::kComms, "POST", target, body,
                                  {{"Idempotency-Key", "case-" + std::to_string(number++)}});
    EXPECT_EQ(response.status, 400) << pointer;
    EXPECT_EQ(PointerOf(response), pointer);
  }
  // 1,000 characters of several bytes each are within the limit; so are line breaks.
  std::string many = "\n";
  for (int i = 0; i < 999; ++i) many += "ä";
  EXPECT_EQ(PostReply(conversation, many, message, "case-ok").status, 202);
}

TEST_F(RestTest, AReplyToAConversationThatMovedIsNotSentAndKeepsItsKey) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "question");
  const std::string conversation = FirstConversation();
  const std::string seen = NewestMessage(conversation);
  clock_.Set(clock_.Now() + std::chrono::minutes(1));
  Receive(account, "ada", "m2", "never mind");
  const std::string newest = NewestMessage(conversation);
  const Response moved = PostReply(conversation, "answer", seen, "key-1");
  EXPECT_EQ(moved.status, 409);
  EXPECT_EQ(WordOf(moved), "conversation-moved");
  const auto newer = *Body(moved).Find("newer_message_ids")->AsArray();
  ASSERT_EQ(newer.size(), 1u);
  EXPECT_EQ(*newer[0].AsString(), newest);
  EXPECT_THAT(runtime_.queued, IsEmpty());
  EXPECT_EQ(PostReply(conversation, "answer", newest, "key-1").status, 202);
  EXPECT_EQ(PostReply(conversation, "late", "msg_20260301_" + std::string(32, '0'), "key-2").status,
            410);
}

// A platform on which a mention delivers, as an account of it sees the API.
class MentionsTest : public RestTest {
 protected:
  void SetUp() override {
    RestTest::SetUp();
    info_ = *connectors::FindConnector("bluesky");
    info_.capabilities.mentions_deliver = true;
    context_.find_connector = [this](std::string_view) { return &info_; };
    const std::string account = Connect();
    const store::Accounts::StateChange state = {
        .state = AccountState::kOk, .own_platform_id = "1", .own_handle = "office@home.example"};
    ASSERT_TRUE(
        store_->accounts().SetState(*AccountId::Parse(account), state, clock_.Now()).has_value());
    store::CollectedPage page;
    page.account = *AccountId::Parse(account);
    page.conversations = {{.id = PlatformId("convo"),
                           .participants = {{.platform_id = PlatformId("2"),
                                             .handle = ContactHandle("ada@away.example")},
                                            {.platform_id = PlatformId("3"),
                                             .handle = ContactHandle("bob@home.example")},
                                            {.platform_id = PlatformId("4")}},
                           .group = true}};
    page.messages = {{.conversation = PlatformId("convo"),
                      .id = PlatformId("m1"),
                      .sender = PlatformId("2"),
                      .sent_at = clock_.Now(),
                      .text = MessageBody("question")}};
    ASSERT_TRUE(store_->collection().Collect(page, clock_.Now()).has_value());
    conversation_ = FirstConversation();
    message_ = NewestMessage(conversation_);
  }

  connectors::ConnectorInfo info_;
  std::string conversation_;
  std::string message_;
};

TEST_F(MentionsTest, ATextThatAddsARecipientIsRefusedWithTheirPlaces) {
  const std::string text = "Grüße @ada@away.example @Eve@away.example, and @office, @eve";
  const Response refused = PostReply(conversation_, text, message_, "key-1");
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(WordOf(refused), "adds-recipient");
  EXPECT_EQ(PointerOf(refused), "/text");
  const auto mentions = *Body(refused).Find("mentions")->AsArray();
  ASSERT_EQ(mentions.size(), 2u);
  const auto range = [&](const json::Value& mention) {
    return text.substr(static_cast<std::size_t>(*mention.Find("offset")->AsInt()),
                       static_cast<std::size_t>(*mention.Find("length")->AsInt()));
  };
  EXPECT_EQ(range(mentions[0]), "@Eve@away.example");
  EXPECT_EQ(range(mentions[1]), "@eve");
  EXPECT_THAT(refused.body, ::testing::Not(::testing::ContainsRegex("[Ee]ve|ada|away")));

  // Nothing was queued, and the key still serves for a text that reaches nobody else.
  EXPECT_THAT(runtime_.queued, IsEmpty());
  EXPECT_THAT(Ids(Ask(Role::kComms, "GET", "/v1/conversations/" + conversation_ + "/replies")),
              IsEmpty());
  EXPECT_EQ(PostReply(conversation_, "Write to office@away.example", message_, "key-1").status,
            202);
}

TEST_F(MentionsTest, WhoIsInTheConversationMayBeMentioned) {
  int number = 0;
  for (const std::string text :
       {"@ada@away.example", "@ADA@Away.Example", "@bob", "@bob@home.example", "@office",
        "@office@home.example", "a@b.example", "@ home", "nobody"}) {
    const Response accepted =
        PostReply(conversation_, text, message_, "key-" + std::to_string(number++));
    EXPECT_EQ(accepted.status, 202) << text << " " << accepted.body;
  }
  for (const std::string text : {"@ada", "@bob@away.example", "@office@away.example", "@4"}) {
    const Response refused =
        PostReply(conversation_, text, message_, "key-" + std::to_string(number++));
    EXPECT_EQ(WordOf(refused), "adds-recipient") << text;
  }
}

TEST_F(MentionsTest, ARepeatedKeyGetsItsAnswerWhateverBecameOfTheConversation) {
  const Response accepted = PostReply(conversation_, "@bob", message_, "key-1");
  ASSERT_EQ(accepted.status, 202);
  store::CollectedPage page;
  page.account = *AccountId::Parse(Text(Body(accepted), "account"));
  page.conversations = {{.id = PlatformId("convo"),
                         .participants = {{.platform_id = PlatformId("2"),
                                           .handle = ContactHandle("ada@away.example")}},
                         .group = true}};
  ASSERT_TRUE(store_->collection().Collect(page, clock_.Now()).has_value());
  const Response again = PostReply(conversation_, "@bob", message_, "key-1");
  EXPECT_EQ(again.status, 202);
  EXPECT_EQ(Text(Body(again), "id"), Text(Body(accepted), "id"));
  EXPECT_EQ(WordOf(PostReply(conversation_, "@bob", message_, "key-2")), "adds-recipient");
}

TEST_F(MentionsTest, WhereMentionsDoNotDeliverTheyAreWords) {
  info_.capabilities.mentions_deliver = false;
  EXPECT_EQ(PostReply(conversation_, "@eve@away.example", message_, "key-1").status, 202);
}

TEST_F(RestTest, NothingIsQueuedForAnAccountThatCannotSend) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "question");
  const std::string conversation = FirstConversation();
  const std::string message = NewestMessage(conversation);
  const auto id = *AccountId::Parse(account);
  ASSERT_TRUE(store_->accounts()
                  .SetState(id,
                            {.state = AccountState::kCredentialDead, .reason = "credential-dead"},
                            clock_.Now())
                  .has_value());
  const Response dead = PostReply(conversation, "answer", message, "k");
  EXPECT_EQ(dead.status, 409);
  EXPECT_EQ(WordOf(dead), "credential-dead");
  EXPECT_EQ(Text(Body(dead), "since"), "2026-03-05T10:00:00.000Z");
  ASSERT_TRUE(
      store_->accounts()
          .SetState(id, {.state = AccountState::kMissingPrivilege, .reason = "missing-privilege"},
                    clock_.Now())
          .has_value());
  EXPECT_EQ(WordOf(PostReply(conversation, "answer", message, "k")), "missing-privilege");
  ASSERT_TRUE(
      store_->accounts().SetState(id, {.state = AccountState::kOk}, clock_.Now()).has_value());
  EXPECT_EQ(PostReply(conversation, "answer", message, "k").status, 202);
}

// --- operations

TEST_F(RestTest, CoverageIsShownPerAccount) {
  const std::string first = Connect(), second = Connect();
  Receive(first, "ada", "m1", "question");
  const json::Value all = Body(Ask(Role::kComms, "GET", "/v1/coverage"));
  ASSERT_EQ(all.Find("items")->AsArray()->size(), 2u);
  const json::Value one = Body(Ask(Role::kOperator, "GET", "/v1/coverage?account=" + first));
  ASSERT_EQ(one.Find("items")->AsArray()->size(), 1u);
  EXPECT_EQ(Text(one.Find("items")->AsArray()->at(0), "covered_until"), "2026-03-05T10:00:00.000Z");
  EXPECT_EQ(Body(Ask(Role::kComms, "GET", "/v1/coverage?account=acc_99"))
                .Find("items")
                ->AsArray()
                ->size(),
            0u);
}

TEST_F(RestTest, ThePolicyStatesTheCeiling) {
  Connect(R"(,"retention":"P30D")");
  const json::Value policy = Body(Ask(Role::kPrivacy, "GET", "/v1/policy"));
  EXPECT_EQ(Text(policy, "ceiling"), "P3M");
  EXPECT_EQ(Text(policy, "shortest"), "P7D");
  EXPECT_EQ(Text(policy.Find("accounts")->AsArray()->at(0), "retention"), "P30D");
}

TEST_F(RestTest, ExpiryShowsWhatIsDueAndTheReceiptOfWhatIsGone) {
  Receive(Connect(R"(,"retention":"P7D")"), "ada", "m1", "short life");
  const json::Value before = Body(Ask(Role::kOperator, "GET", "/v1/ops/expiry"));
  EXPECT_EQ(Text(before, "oldest_living"), "2026-03-12");
  EXPECT_EQ(before.Find("due_not_destroyed")->AsArray()->size(), 0u);
  EXPECT_EQ(before.Find("receipts")->AsArray()->size(), 0u);

  clock_.Set(At("2026-03-12T00:00:00Z"));
  const json::Value due = Body(Ask(Role::kAuditor, "GET", "/v1/ops/expiry"));
  ASSERT_EQ(due.Find("due_not_destroyed")->AsArray()->size(), 1u);
  const json::Value rehearsal =
      Body(AskAdminSocket("POST", "/admin/expire", R"({"dry_run":true})"));
  ASSERT_EQ(rehearsal.Find("items")->AsArray()->size(), 1u);
  EXPECT_EQ(*rehearsal.Find("items")->AsArray()->at(0).Find("messages")->AsInt(), 1);
  EXPECT_EQ(AskAdminSocket("POST", "/admin/expire", R"({"dry_run":false})").status, 400);
  EXPECT_EQ(AskAdminSocket("POST", "/admin/expire", "{}").status, 400);

  ASSERT_TRUE(store_->purge().RunOnce(clock_.Now()).has_value());
  const json::Value after = Body(Ask(Role::kOperator, "GET", "/v1/ops/expiry"));
  EXPECT_EQ(after.Find("due_not_destroyed")->AsArray()->size(), 0u);
  const json::Value& receipt = after.Find("receipts")->AsArray()->at(0);
  EXPECT_EQ(Text(receipt, "day"), "2026-03-12");
  EXPECT_EQ(*receipt.Find("messages")->AsInt(), 1);
  EXPECT_EQ(Text(receipt, "p2_grade"), "C");
  const json::Value list = Body(Ask(Role::kAuditor, "GET", "/v1/ops/receipts?limit=1"));
  EXPECT_EQ(list.Find("items")->AsArray()->size(), 1u);
  EXPECT_FALSE(*list.Find("has_more")->AsBool());
}

// One changed byte, anywhere, and it is no receipt of ours any more.
TEST_F(RestTest, ReceiptsAreSignedAndNoByteOfThemCanBeChanged) {
  const std::string account = Connect();
  Receive(account, "ada", "m1", "soon gone");
  const std::string erasure =
      Text(Body(Ask(Role::kPrivacy, "POST", "/v1/erasures",
                    "{\"conversation_id\":\"" + FirstConversation() + "\"}")),
           "id");
  const std::string key = Text(Body(Ask(std::nullopt, "GET", "/v1/about")), "receipt_key");
  EXPECT_TRUE(
      Body(Ask(Role::kPrivacy, "GET", "/v1/erasures/" + erasure)).Find("signature")->is_null())
      << "it is not finished";
  ASSERT_TRUE(store_->erasure().RunOnce(clock_.Now()));
  ASSERT_TRUE(store_->purge().RunOnce(At("2026-06-05T00:00:00Z")));
  const json::Value ended = Body(Ask(Role::kAuditor, "GET", "/v1/ops/receipts"));
  const std::string erased = Ask(Role::kAuditor, "GET", "/v1/erasures/" + erasure).body;
  ASSERT_EQ(ended.Find("items")->AsArray()->size(), 1u);
  EXPECT_TRUE(Holds(ended.Find("items")->AsArray()->front(), key));

  // The order of its members does not matter; everything else does.
  ASSERT_TRUE(Holds(*json::Parse(erased), key));
  json::Members members = *json::Parse(erased)->AsObject();
  std::reverse(members.begin(), members.end());
  EXPECT_TRUE(Holds(json::Value(members), key));
  members.erase(members.begin() + 3);
  EXPECT_FALSE(Holds(json::Value(members), key));
  for (std::size_t at = 0; at < erased.size(); ++at) {
    std::string changed = erased;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    const auto parsed = json::Parse(changed);
    if (!parsed) continue;
    EXPECT_FALSE(Holds(*parsed, key)) << at << ": " << changed;
  }
  std::string other = key;
  other[0] = other[0] == 'A' ? 'B' : 'A';
  EXPECT_FALSE(Holds(*json::Parse(erased), other));
  for (const std::string& none : {std::string(), key + "A", key.substr(1), std::string("?")}) {
    EXPECT_FALSE(Holds(*json::Parse(erased), none)) << none;
  }
}

// Examples of RFC 8785, as far as receipts go, and what they cannot hold.
TEST(CanonicalJson, IsWhatTheRfcSays) {
  const auto canonical = [](const std::string& text) {
    return CanonicalJson(*json::Parse(text)).value();
  };
  EXPECT_EQ(canonical(R"({ "b" : [1, -0, true , null], "a": {"z":"\u20ac\/\"", "1":""}, "A":2})"),
            std::string("{\"A\":2,\"a\":{\"1\":\"\",\"z\":\"\u20ac/\\\"\"},"
                        "\"b\":[1,0,true,null]}"));
  for (const char* none : {"1.5", "9007199254740993", "[1e400]", "\"\\u0001\"", "{\"\u00e4\":1}"}) {
    const auto parsed = json::Parse(none);
    EXPECT_TRUE(!parsed || !CanonicalJson(*parsed)) << none;
  }
}

TEST_F(RestTest, MetricsAndStatusAreServed) {
  const std::string account = Connect();
  const Response metrics = Ask(Role::kOperator, "GET", "/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_EQ(metrics.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(metrics.body, "mayfly_up 1\n");
  const json::Value status = Body(AskAdminSocket("GET", "/admin/status"));
  EXPECT_TRUE(*status.Find("ready")->AsBool());
  EXPECT_EQ(Text(status.Find("accounts")->AsArray()->at(0), "id"), account);
}

// --- the rules of HTTP

TEST_F(RestTest, EveryGetHasATagOrIsOfThisInstantAndHeadSaysTheSame) {
  const std::string account = Connect();
  Receive(account, "bob", "m0", "to be erased");
  const std::string erasure =
      Text(Body(Ask(Role::kPrivacy, "POST", "/v1/erasures",
                    "{\"conversation_id\":\"" + FirstConversation() + "\"}")),
           "id");
  Receive(account, "ada", "m1", "question", std::nullopt, UnreadableReason::kNone,
          {{.locator = AttachmentLocator("l")}});
  const std::string conversation = FirstConversation();
  const std::string message = NewestMessage(conversation);
  Keep(message, 1, "bytes");
  const std::string reply = Text(Body(PostReply(conversation, "answer", message, "k")), "id");
  const std::string restriction = Text(Body(Ask(Role::kPrivacy, "POST", "/v1/restrictions",
                                                R"({"kind":"objection","account_id":")" + account +
                                                    R"(","platform_id":"did:plc:zed"})")),
                                       "id");
  const std::map<std::string, std::string> captures = {
      {"{account}", account},         {"{conversation}", conversation},
      {"{message}", message},         {"{reply}", reply},
      {"{erasure}", erasure},         {"{word}", "expired"},
      {"{restriction}", restriction}, {"{number}", "1"}};
  int tagged = 0;
  for (const Route& route : router_.routes()) {
    if (route.method != "GET" || route.access == Access::kAdminSocket) continue;
    SCOPED_TRACE(route.pattern);
    std::string target = route.pattern;
    if (target == "/v1/search") target += "?q=question";
    for (const auto& [name, value] : captures) {
      const std::size_t at = target.find(name);
      if (at != std::string::npos) target.replace(at, name.size(), value);
    }
    std::optional<Role> role;
    for (const Role one : {Role::kComms, Role::kOperator, Role::kPrivacy}) {
      if (!role && Ask(one, "GET", target).status == 200) role = one;
    }
    ASSERT_TRUE(role.has_value());
    const Response got = Ask(role, "GET", target);
    const Response head = Ask(role, "HEAD", target);
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.body.size(), got.body.size());  // Content-Length; the listener sends no body
    for (const char* name : {"ETag", "Sunset", "Link", "Cache-Control", "RateLimit-Policy"}) {
      EXPECT_EQ(HeaderOf(head, name), HeaderOf(got, name)) << name;
    }
    const std::string tag = HeaderOf(got, "ETag");
    const bool instant = route.pattern == "/healthz" || route.pattern == "/readyz" ||
                         route.pattern == "/metrics" || route.pattern == "/v1/events";
    EXPECT_EQ(tag.empty(), instant);
    if (instant) continue;
    ++tagged;
    for (const char* method : {"GET", "HEAD"}) {
      const Response same = Ask(role, method, target, "", {{"If-None-Match", tag}});
      EXPECT_EQ(same.status, 304) << method;
      EXPECT_EQ(same.body, "");
      EXPECT_EQ(HeaderOf(same, "ETag"), tag);
    }
    EXPECT_EQ(Ask(role, "GET", target, "", {{"If-None-Match", "\"0\""}}).status, 200);
  }
  EXPECT_GE(tagged, 13);
}

TEST_F(RestTest, ATagChangesWithWhatIsShownAndAPreconditionOnlyWithWhatPeopleChange) {
  const std::string id = Connect();
  const std::string target = "/v1/accounts/" + id;
  const std::string before = HeaderOf(Ask(Role::kAdministrator, "GET", target), "ETag");
  ASSERT_TRUE(store_->accounts()
                  .SetState(*AccountId::Parse(id), {.state = AccountState::kOk}, clock_.Now())
                  .has_value());
  const Response after = Ask(Role::kAdministrator, "GET", target, "", {{"If-None-Match", before}});
  EXPECT_EQ(after.status, 200);
  EXPECT_NE(HeaderOf(after, "ETag"), before);
  EXPECT_EQ(
      Ask(Role::kAdministrator, "PATCH", target, R"({"label":"B"})", {{"If-Match", before}}).status,
      200);
  EXPECT_EQ(
      Ask(Role::kAdministrator, "PATCH", target, R"({"label":"C"})", {{"If-Match", before}}).status,
      412);
}

TEST_F(RestTest, BudgetsOfATokenAreSeparateAndSeenOnEveryAnswer) {
  limits_.per_minute = {3, 2, 1, 1};
  RateLimiter limiter(limits_, clock_);
  context_.rate_limiter = &limiter;
  const std::string account = Connect();  // administration: 1 of 1
  Receive(account, "ada", "m1", "question");
  router_ = MakeRouter(context_);

  const Response first = Ask(Role::kComms, "GET", "/v1/conversations");
  EXPECT_EQ(HeaderOf(first, "RateLimit-Policy"), "\"reading\";q=3;w=60");
  EXPECT_EQ(HeaderOf(first, "RateLimit"), "\"reading\";r=2;t=20");
  const std::string conversation = Ids(first).at(0);
  // Nothing new costs nothing, however often it is asked.
  const Headers known = {{"If-None-Match", HeaderOf(first, "ETag")}};
  for (int i = 0; i < 10; ++i) {
    const Response same = Ask(Role::kComms, "GET", "/v1/conversations", "", known);
    EXPECT_EQ(same.status, 304);
    EXPECT_EQ(HeaderOf(same, "RateLimit"), "\"reading\";r=2;t=20");
  }
  // What is refused is counted and told too.
  const Response wrong = Ask(Role::kComms, "GET", "/v1/ops/expiry");
  EXPECT_EQ(wrong.status, 403);
  EXPECT_EQ(HeaderOf(wrong, "RateLimit"), "\"reading\";r=1;t=40");
  EXPECT_EQ(HeaderOf(Ask(std::nullopt, "GET", "/v1/conversations"), "RateLimit"), "");

  const std::string message = NewestMessage(conversation);
  const Response refused = Ask(Role::kComms, "GET", "/v1/conversations");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(WordOf(refused), "rate-limited");
  EXPECT_EQ(HeaderOf(refused, "Retry-After"), "20");
  EXPECT_EQ(HeaderOf(refused, "RateLimit"), "\"reading\";r=0;t=20");
  // A screen that read too much does not keep anybody from answering, nor other tokens from
  // reading.
  const Response reply = PostReply(conversation, "answer", message, "k");
  EXPECT_EQ(reply.status, 202);
  EXPECT_EQ(HeaderOf(reply, "RateLimit-Policy"), "\"replying\";q=2;w=60");
  EXPECT_EQ(Ask(Role::kOperator, "GET", "/v1/coverage").status, 200);

  clock_.Set(clock_.Now() + std::chrono::seconds(20));
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations").status, 200);
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations").status, 429);
}

// --- a new credential

TEST_F(RestTest, ACredentialIsReplacedAndNeverShown) {
  const std::string id = Connect();
  const std::string target = "/v1/accounts/" + id + "/credential";
  const std::string body = "{\"password\":\"" + kSecret + "-2\"}";
  const Response account = Ask(Role::kAdministrator, "GET", "/v1/accounts/" + id);
  const Headers current = {{"If-Match", HeaderOf(account, "ETag")}};
  EXPECT_EQ(Ask(Role::kAdministrator, "PUT", target, body).status, 428);
  EXPECT_EQ(Ask(Role::kAdministrator, "PUT", target, body, {{"If-Match", "\"9\""}}).status, 412);
  EXPECT_EQ(Ask(Role::kComms, "PUT", target, body, current).status, 403);
  EXPECT_EQ(Ask(Role::kAdministrator, "GET", target).status, 405);

  const Response replaced = Ask(Role::kAdministrator, "PUT", target, body, current);
  ASSERT_EQ(replaced.status, 200) << replaced.body;
  EXPECT_EQ(HeaderOf(replaced, "Content-Location"), "/v1/accounts/" + id);
  EXPECT_THAT(HeaderOf(replaced, "ETag"), StartsWith("\"2-"));
  EXPECT_NE(Text(Body(replaced), "credential_fingerprint"),
            Text(Body(account), "credential_fingerprint"));
  EXPECT_EQ(store_->accounts().RevealCredential(*AccountId::Parse(id))->Reveal(), body);
  const auto entries = store_->audit().Read(0, 100);
  ASSERT_TRUE(entries.has_value());
  EXPECT_EQ(entries->back().action, "account.credential");
  EXPECT_EQ(entries->back().object, id);

  // Stale now; and what the platform refuses changes nothing.
  EXPECT_EQ(Ask(Role::kAdministrator, "PUT", target, body, current).status, 412);
  const Headers any = {{"If-Match", "*"}};
  runtime_.check_error = Error{.code = ErrorCode::kCredentialDead};
  EXPECT_EQ(WordOf(Ask(Role::kAdministrator, "PUT", target, AccountBody(), any)), "validation");
  EXPECT_EQ(WordOf(Ask(Role::kAdministrator, "PUT", target, body, any)), "credential-dead");
  runtime_.check_error = Error{.code = ErrorCode::kInvalidArgument,
                               .message = "It belongs to another account of the platform."};
  EXPECT_EQ(WordOf(Ask(Role::kAdministrator, "PUT", target, body, any)), "validation");
  runtime_.check_error.reset();
  for (const auto& [wrong, pointer] : std::vector<std::pair<std::string, std::string>>{
           {"{}", "/password"},
           {"[]", ""},
           {R"({"password":7})", "/password"},
           {R"({"password":""})", "/password"},
           {R"({"password":"a","colour":"b"})", ""},
           {R"({"password":"a","identifier":"b"})", "/identifier"}}) {
    const Response response = Ask(Role::kAdministrator, "PUT", target, wrong, any);
    EXPECT_EQ(response.status, 400) << wrong;
    EXPECT_EQ(PointerOf(response), pointer) << wrong;
  }
  EXPECT_EQ(Ask(Role::kAdministrator, "DELETE", "/v1/accounts/" + id, "", any).status, 204);
  EXPECT_EQ(WordOf(Ask(Role::kAdministrator, "PUT", target, body, any)), "credential-dead");
  EXPECT_EQ(Ask(Role::kAdministrator, "PUT", "/v1/accounts/acc_99/credential", body, any).status,
            404);
}

// --- changes

class ChangesTest : public RestTest {
 protected:
  // "kind id" of what changed since the last call; the first call takes the position.
  std::vector<std::string> News() {
    std::vector<std::string> news;
    bool more = true;
    while (more) {
      const Response page = Ask(Role::kComms, "GET",
                                "/v1/changes?limit=2" + (since_.empty() ? "" : "&since=" + since_));
      EXPECT_EQ(page.status, 200) << page.body;
      EXPECT_THAT(page.body, ::testing::Not(HasSubstr("planted-")));
      const json::Value body = Body(page);
      for (const json::Value& item : *body.Find("items")->AsArray()) {
        std::string entry = Text(item, "kind");
        for (const char* noun : {"message", "reply", "day", "account"}) {
          if (item.Find(noun) != nullptr) entry += " " + Text(item, noun);
        }
        const bool of_conversation = Text(item, "kind") == "conversation.updated";
        if (of_conversation) entry += " " + Text(item, "conversation");
        news.push_back(entry);
      }
      since_ = Text(body, "next_cursor");
      more = *body.Find("has_more")->AsBool();
    }
    return news;
  }
  std::string since_;
};

TEST_F(ChangesTest, EveryKindOfChangeIsToldOnceWithItsIdAndNothingElse) {
  EXPECT_THAT(News(), IsEmpty());
  const std::string account = Connect();
  EXPECT_THAT(News(), ElementsAre("account.state " + account));
  Receive(account, "ada", "m1", "planted-question");
  const std::string conversation = FirstConversation();
  const std::string message = NewestMessage(conversation);
  EXPECT_THAT(News(),
              ElementsAre("message.received " + message, "conversation.updated " + conversation));
  EXPECT_THAT(News(), IsEmpty());  // reading changes nothing

  const Response queued = PostReply(conversation, "planted-answer", message, "k");
  const std::string reply = Text(Body(queued), "id");
  EXPECT_THAT(News(), ElementsAre("reply.updated " + reply));
  EXPECT_EQ(PostReply(conversation, "planted-answer", message, "k").status, 202);  // replayed
  EXPECT_THAT(News(), IsEmpty());
  Ask(Role::kComms, "PATCH", "/v1/conversations/" + conversation, R"({"status":"closed"})",
      {{"If-Match", "*"}});
  EXPECT_THAT(News(), ElementsAre("conversation.updated " + conversation));

  const AccountId id = *AccountId::Parse(account);
  const auto collect = [&](auto change) {
    store::CollectedPage page;
    page.account = id;
    page.cursor = "next";
    page.coverage.covered_until = clock_.Now();
    change(page);
    ASSERT_TRUE(store_->collection().Collect(page, clock_.Now()).has_value());
  };
  collect([&](store::CollectedPage& page) {
    page.edits = {{.conversation = PlatformId("convo-ada"),
                   .id = PlatformId("m1"),
                   .edited_at = clock_.Now(),
                   .text = MessageBody("planted-edit")}};
  });
  EXPECT_THAT(News(),
              ElementsAre("message.edited " + message, "conversation.updated " + conversation));
  const Hole hole{.from = clock_.Now(), .reason = "platform-unavailable"};
  collect([&](store::CollectedPage& page) { page.coverage.holes = {hole}; });
  EXPECT_THAT(News(), ElementsAre("coverage.hole " + account));
  collect([&](store::CollectedPage& page) { page.coverage.holes = {hole}; });
  EXPECT_THAT(News(), IsEmpty());
  ASSERT_TRUE(
      store_->accounts().SetState(id, {.state = AccountState::kOk}, clock_.Now()).has_value());
  ASSERT_TRUE(
      store_->accounts().SetState(id, {.state = AccountState::kOk}, clock_.Now()).has_value());
  EXPECT_THAT(News(), ElementsAre("account.state " + account));

  Receive(account, "ada", "m2", "planted-second");
  News();
  collect([&](store::CollectedPage& page) {
    page.withdrawals = {{.conversation = PlatformId("convo-ada"), .id = PlatformId("m1")}};
  });
  EXPECT_THAT(News(), ::testing::Contains("message.withdrawn " + message));

  // The end of a date is told once, not message by message.
  clock_.Set(At("2026-06-05T00:00:00Z"));
  auto fresh = store_->tokens().Create(Role::kComms, "later", std::chrono::days(1),
                                       Actor{.id = "system"}, clock_.Now());
  ASSERT_TRUE(fresh.has_value());
  tokens_[Role::kComms] = fresh->token.Reveal();
  ASSERT_TRUE(store_->purge().RunOnce(clock_.Now()).has_value());
  EXPECT_THAT(News(), ElementsAre("message.expired 2026-06-05"));
}

TEST_F(ChangesTest, APositionThatCannotBeContinuedIsResetAndForeignOnesAreRefused) {
  News();
  const std::string before = since_;
  Connect();
  ChangeFeed restarted(clock_);
  context_.changes = &restarted;
  EXPECT_THAT(News(), ElementsAre("reset"));
  EXPECT_THAT(News(), IsEmpty());
  EXPECT_NE(since_, before);
  const Response page = Ask(Role::kComms, "GET", "/v1/conversations");
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/changes?since=bogus").status, 400);
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations?cursor=" + since_).status, 400);
  EXPECT_EQ(Ask(Role::kOperator, "GET", "/v1/changes").status, 403);
  // Asking again when nothing changed costs nothing.
  const std::string target = "/v1/changes?since=" + since_;
  const Response first = Ask(Role::kComms, "GET", target);
  EXPECT_EQ(
      Ask(Role::kComms, "GET", target, "", {{"If-None-Match", HeaderOf(first, "ETag")}}).status,
      304);
}

TEST_F(ChangesTest, AMessageWhoseCommitIsInDoubtIsNotMissed) {
  using mayfly::testing::Fault;
  const std::string account = Connect();
  Receive(account, "ada", "m1", "planted-question");
  const std::string conversation = FirstConversation();
  News();
  const auto collect = [&](const std::string& id) {
    return store_->collection().Collect(
        mayfly::testing::PageOf(*AccountId::Parse(account),
                                {mayfly::testing::Incoming("convo-ada", id, clock_.Now())}),
        clock_.Now());
  };
  engine_->FailNextCommit(Fault::kRefused);
  ASSERT_FALSE(collect("m2").has_value());
  EXPECT_THAT(News(), IsEmpty()) << "certainly nothing happened";
  engine_->FailNextCommit(Fault::kUnknownDone);
  ASSERT_FALSE(collect("m2").has_value());
  EXPECT_THAT(News(), ElementsAre("reset"));
  // The next commit finds out. Nobody is told of the message, so everybody reads again.
  const auto again = collect("m2");
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->duplicates, 1u);
  EXPECT_THAT(News(), ::testing::Contains("reset"));
  EXPECT_EQ(Ids(Ask(Role::kComms, "GET", "/v1/conversations/" + conversation + "/messages")).size(),
            2u);
  Receive(account, "ada", "m3", "planted-third");
  EXPECT_THAT(News(), ElementsAre(StartsWith("message.received msg_"),
                                  "conversation.updated " + conversation));
}

TEST_F(ChangesTest, AnAccountWhoseCommitIsInDoubtIsReadAsItIsAfterTheLastReset) {
  const std::string account = Connect();
  News();
  engine_->FailNextCommit(mayfly::testing::Fault::kUnknownDone);
  ASSERT_FALSE(
      store_->accounts()
          .SetState(*AccountId::Parse(account), {.state = AccountState::kThrottled}, clock_.Now())
          .has_value());
  const auto state = [&] {
    return Text(Body(Ask(Role::kAdministrator, "GET", "/v1/accounts/" + account)), "state");
  };
  EXPECT_THAT(News(), ElementsAre("reset"));
  Receive(account, "ada", "m1", "planted-question");  // any commit finds out
  EXPECT_THAT(News(), ElementsAre("reset"));
  EXPECT_EQ(state(), "throttled");
  EXPECT_THAT(News(), IsEmpty());
}

// --- filters and pages

TEST_F(RestTest, TheInboxIsFilteredByPlatformAndByWhatWillVanishSoon) {
  const std::string week = Connect(R"(,"retention":"P7D")"), long_lived = Connect();
  Receive(week, "ada", "m1", "soon gone");
  Receive(long_lived, "bob", "m2", "stays");
  const auto count = [&](const std::string& query) {
    const Response response = Ask(Role::kComms, "GET", "/v1/conversations?" + query);
    EXPECT_EQ(response.status, 200) << query;
    return Ids(response).size();
  };
  EXPECT_EQ(count("platform=bluesky"), 2u);
  EXPECT_EQ(count("platform=telex"), 0u);
  EXPECT_EQ(count("platform=bluesky&account=" + week), 1u);
  EXPECT_EQ(count("expires_before=2026-03-12T00:00:00Z"), 0u);  // it is destroyed at that instant
  EXPECT_EQ(count("expires_before=2026-03-12T00:00:00.001Z"), 1u);
  EXPECT_EQ(count("expires_before=2027-01-01T00:00:00Z&status=open"), 2u);
  const Response wrong = Ask(Role::kComms, "GET", "/v1/conversations?expires_before=friday");
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(PointerOf(wrong), "expires_before");
  // A cursor belongs to its filter.
  const Response page =
      Ask(Role::kComms, "GET", "/v1/conversations?limit=1&expires_before=2027-01-01T00:00:00Z");
  const std::string cursor = Text(Body(page), "next_cursor");
  ASSERT_NE(cursor, "");
  EXPECT_EQ(Ask(Role::kComms, "GET", "/v1/conversations?cursor=" + cursor).status, 400);
}

TEST_F(RestTest, ACursorIntoExpiredGroundGoesOnAtTheOldestThatLives) {
  const std::string week = Connect(R"(,"retention":"P7D")"), long_lived = Connect();
  Receive(long_lived, "eve", "m0", "oldest and living", At("2026-03-05T09:00:00Z"));
  Receive(week, "ada", "m1", "soon gone", At("2026-03-05T09:30:00Z"));
  Receive(week, "bob", "m2", "soon gone", At("2026-03-05T09:40:00Z"));
  Receive(long_lived, "dan", "m3", "newest", At("2026-03-05T09:50:00Z"));
  const Response first = Ask(Role::kComms, "GET", "/v1/conversations?limit=2");
  ASSERT_EQ(Ids(first).size(), 2u);
  const std::string cursor = Text(Body(first), "next_cursor");
  ASSERT_NE(cursor, "");
  // The place where the page ended is gone, keys and all.
  clock_.Set(At("2026-03-12T00:00:01Z"));
  ASSERT_TRUE(store_->purge().RunOnce(clock_.Now()).has_value());
  const Response rest = Ask(Role::kComms, "GET", "/v1/conversations?limit=2&cursor=" + cursor);
  ASSERT_EQ(rest.status, 200) << rest.body;
  ASSERT_EQ(Ids(rest).size(), 1u);
  EXPECT_EQ(Text(Body(rest).Find("items")->AsArray()->at(0), "account"), long_lived);
}

// --- what everybody may see

TEST_F(RestTest, AboutStatesWhatPeopleHaveARightToKnow) {
  const json::Value about = Body(Ask(std::nullopt, "GET", "/v1/about"));
  EXPECT_EQ(Text(about, "organisation"), "City of Example");
  EXPECT_EQ(Text(about, "purposes"), "answering people");
  EXPECT_EQ(Text(about, "recipients"), "the comms team");
  EXPECT_EQ(Text(about, "data_location"), "our own machine");
  EXPECT_EQ(Text(about, "contact"), "dpo@example.org");
  EXPECT_EQ(Text(*about.Find("periods"), "ceiling"), "P3M");
  EXPECT_EQ(Text(*about.Find("destruction"), "p2_grade"), "C");
  EXPECT_THAT(Text(*about.Find("destruction"), "meaning"), HasSubstr("stay readable"));
  EXPECT_EQ(about.Find("sandbox")->Find("missing")->AsArray()->size(), 1u);
  EXPECT_FALSE(*about.Find("insecure_loopback")->AsBool());
  EXPECT_EQ(Text(about.Find("platforms")->AsArray()->at(0), "name"), "bluesky");
  EXPECT_EQ(Text(about, "version"), "0.1.0");
}

TEST_F(RestTest, TheContractIsServedAsItLiesInTheTree) {
  const Response response = Ask(std::nullopt, "GET", "/v1/openapi.json");
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.body == mayfly::testing::ContractText()) << "the program is of another tree";
  EXPECT_EQ(HeaderOf(response, "Cache-Control"), "public, max-age=300");
}

TEST_F(RestTest, HealthTellsAliveFromReadyFromSealed) {
  EXPECT_EQ(Text(Body(Ask(std::nullopt, "GET", "/healthz")), "status"), "ok");
  EXPECT_EQ(Ask(std::nullopt, "GET", "/readyz").status, 200);
  health_.ready = false;
  health_.reasons = {"expiry-late"};
  const Response late = Ask(std::nullopt, "GET", "/readyz");
  EXPECT_EQ(late.status, 503);
  EXPECT_THAT(late.body, HasSubstr("expiry-late"));
  EXPECT_EQ(Ask(std::nullopt, "GET", "/healthz").status, 200);
  health_.sealed = true;
  health_.sealed_reason = "the master key file is missing";
  const Response sealed = Ask(std::nullopt, "GET", "/healthz");
  EXPECT_EQ(sealed.status, 200);
  EXPECT_EQ(Text(Body(sealed), "status"), "sealed");
  EXPECT_EQ(Text(Body(sealed), "reason"), "the master key file is missing");
  EXPECT_THAT(Ask(std::nullopt, "GET", "/readyz").body, HasSubstr("sealed"));
}

TEST_F(RestTest, EveryProblemHasItsPage) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    const Response problem = Problem(Request{}, Error{.code = static_cast<ErrorCode>(code)});
    const Response page = Ask(std::nullopt, "GET", Text(Body(problem), "type"));
    EXPECT_EQ(page.status, 200) << code;
    EXPECT_EQ(page.content_type, "text/plain; charset=utf-8");
  }
  for (const char* word :
       {"unauthorised", "forbidden-scope", "method-not-allowed", "precondition-required",
        "rate-limited", "malformed-request", "unsupported-media-type", "expectation-failed",
        "request-timeout", "not-implemented", "http-version"}) {
    EXPECT_EQ(Ask(std::nullopt, "GET", std::string("/problems/") + word).status, 200) << word;
  }
  EXPECT_EQ(Ask(std::nullopt, "GET", "/problems/nothing").status, 404);
}

TEST_F(RestTest, WithoutAStoreEverythingElseIsSealed) {
  context_.store = nullptr;
  const Response response = Ask(Role::kComms, "GET", "/v1/conversations");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(WordOf(response), "sealed");
}

}  // namespace
}  // namespace mayfly::service::api
