// The platform's endpoints for one account, and the session behind them. Not thread-safe: one
// connector, one thread, hence one refresh in flight.
//
// A session survives restarts: new tokens go to the sink before their first use, so that a crash in
// between leaves the old refresh token, which the platform honours for two more hours with the same
// successor. An access token that the platform refuses is renewed once per call, by refresh, else
// by password; then the call is repeated, because a refused token is certain to have had no effect.
#ifndef MAYFLY_CONNECTORS_BLUESKY_CLIENT_H_
#define MAYFLY_CONNECTORS_BLUESKY_CLIENT_H_

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "connectors/bluesky/api_types.h"
#include "connectors/connector.h"
#include "connectors/http_client.h"

namespace mayfly::connectors::bluesky {

inline constexpr int kPageItemsMax = 100;  // the platform's ceiling for `limit`

enum class ConvoListKind { kAccepted, kRequests };

class Client {
 public:
  // See connector.h's Make for the errors.
  static Result<std::unique_ptr<Client>> Create(const ConnectorContext& context);

  // After any successful call: who we are.
  const std::string& did() const { return did_; }

  // Makes sure that there is a session; no call when there is one already.
  Status EnsureSession(std::stop_token stop);
  // An empty cursor asks for the position "now".
  Result<LogPage> GetLog(const std::string& cursor, std::stop_token stop);
  Result<ConvoPage> ListConvos(ConvoListKind kind, const std::string& cursor, int limit,
                               std::stop_token stop);
  Result<ConvoView> GetConvo(const std::string& convo_id, std::stop_token stop);
  // Newest first.
  Result<MessagePage> GetMessages(const std::string& convo_id, const std::string& cursor,
                                  std::stop_token stop);
  Result<MessageItem> SendMessage(const std::string& convo_id, const MessageBody& text,
                                  std::stop_token stop);
  // getSession: DID and handle as they are now.
  Result<Session> GetSession(std::stop_token stop);

  const std::optional<PlatformBudget>& budget() const { return budget_; }

 private:
  enum class Effect { kNone, kSends };  // what an unclear outcome means
  // What the platform said about our token, beside the Error.
  enum class TokenVerdict { kFine, kRefused };
  struct Failure {
    Error error;
    TokenVerdict token = TokenVerdict::kFine;
  };

  explicit Client(const ConnectorContext& context)
      : egress_(context.egress), renew_(context.renew), platform_time_(context.platform_time) {}

  // One authorised call: renewal of the session and one repetition included.
  Result<HttpResponse> Call(HttpRequest request, Effect effect, std::stop_token stop);
  Result<HttpResponse> Query(const char* method,
                             std::vector<std::pair<std::string, std::string>> query,
                             std::stop_token stop);
  // Sends once. A response with status 200 or the reason why not.
  tl::expected<HttpResponse, Failure> Once(HttpClient& http, const HttpRequest& request,
                                           Effect effect, std::stop_token stop);
  void NoteBudget(const HttpResponse& response);
  static Failure Classify(const HttpResponse& response, bool chat, Effect effect);

  Status Renew(std::stop_token stop);
  // False: the refresh token is dead, and only the password helps.
  Result<bool> Refresh(std::stop_token stop);
  Status Login(std::stop_token stop);
  // Hands the tokens to the sink, and only then takes them into use.
  Status Adopt(Session session);
  // The account's own server: from the DID document where that may be used, else the service.
  HttpClient& Pds();
  Status SetPds(const std::optional<std::string>& endpoint);

  EgressPolicy egress_;
  CredentialSink renew_;
  PlatformTimeSink platform_time_;
  std::string service_;
  std::string identifier_;
  Credential password_;
  std::unique_ptr<HttpClient> service_http_;
  std::string pds_;                       // empty: the service itself
  std::unique_ptr<HttpClient> pds_http_;  // when pds_ is another origin
  Credential access_;
  Credential refresh_;
  std::string did_;
  std::optional<PlatformBudget> budget_;
  // Once the password was refused or the sink failed nothing can come right in this object's life;
  // asking again would only spend the platform's login allowance.
  std::optional<Error> ended_;
};

}  // namespace mayfly::connectors::bluesky

#endif  // MAYFLY_CONNECTORS_BLUESKY_CLIENT_H_
