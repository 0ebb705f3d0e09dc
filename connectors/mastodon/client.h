// The server's endpoints for one account. Not thread-safe: one connector, one thread.
//
// The access token does not expire; nothing is renewed here. The client counts its calls, so that
// one Fetch can be kept short and under the server's limit.
#ifndef MAYFLY_CONNECTORS_MASTODON_CLIENT_H_
#define MAYFLY_CONNECTORS_MASTODON_CLIENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "connectors/connector.h"
#include "connectors/http_client.h"
#include "connectors/mastodon/api_types.h"

namespace mayfly::connectors::mastodon {

// Words of Error::platform_code.
inline constexpr const char* kGone = "not-found";  // 404 and 410: deleted, or not visible to us

// An answer larger than kBodyBytesMax, or of too many values.
bool IsTooLarge(const Error& error);

// The scopes that this connector needs, as the server's own words.
inline constexpr const char* kReadAccounts = "read:accounts";
inline constexpr const char* kReadStatuses = "read:statuses";
inline constexpr const char* kReadNotifications = "read:notifications";
inline constexpr const char* kWriteStatuses = "write:statuses";

inline constexpr int kNotificationsPerPage = 80;  // as many as any server of the family gives
inline constexpr int kConversationsPerPage = 40;
inline constexpr std::size_t kStatusesPerCall = 20;

// A page of a list: `items` in no order that could be relied on.
template <class T>
struct Listed {
  std::vector<T> items;
  PageLinks links;
  bool has_links = false;  // there was a Link header, so the server says that there is more
};

// Which stretch of a list: at most one of them is set; none asks for the newest page.
struct Stretch {
  std::string max_id = {};  // only older ones, newest first
  std::string min_id = {};  // the ones immediately newer: the only direction without gaps
};

class Client {
 public:
  // See connector.h's Make for the errors.
  static Result<std::unique_ptr<Client>> Create(const ConnectorContext& context);

  // verify_credentials: who the token belongs to. The one call that tells a good token from a bad
  // one on every server.
  Result<Person> VerifyCredentials(std::stop_token stop);
  // What the server is. A server that does not say is a Mastodon server named like its address.
  Result<Instance> GetInstance(std::stop_token stop);
  // Nothing when the server has no such policy.
  Result<std::optional<NotificationPolicy>> GetPolicy(std::stop_token stop);

  // Both lists ask for fewer and fewer entries when a page is too large for us. IsTooLarge when a
  // single entry is.
  Result<Listed<Notification>> ListMentions(const Stretch& stretch, std::stop_token stop);
  Result<Listed<ConversationEntry>> ListConversations(const Stretch& stretch, std::stop_token stop);
  // Newest first; ours, whoever may see them.
  Result<std::vector<MastodonStatus>> ListOwnStatuses(const std::string& own_id,
                                                      const std::string& max_id,
                                                      std::stop_token stop);
  // kPlatformRejected with kGone when the status is deleted or hidden from us.
  Result<MastodonStatus> GetStatus(const std::string& id, std::stop_token stop);
  Result<Context> GetContext(const std::string& id, std::stop_token stop);
  // Those of at most kStatusesPerCall that are there. Nothing when the server has no such call.
  Result<std::optional<std::vector<MastodonStatus>>> GetStatuses(
      const std::vector<std::string>& ids, std::stop_token stop);

  Result<MastodonStatus> PostDirect(const MessageBody& text, const std::string& in_reply_to_id,
                                    const std::string& idempotency_key, std::stop_token stop);
  // Whether the token may post; has no effect, because it would edit a status that never was.
  Status ProbeWriting(std::stop_token stop);

  std::uint64_t calls() const { return calls_; }
  const std::optional<PlatformBudget>& budget() const { return budget_; }

 private:
  enum class Effect { kNone, kSends };  // what an unclear outcome means

  Client() = default;

  // Sends once. A response with status 200 or the reason why not; `scope` is what the call needs.
  Result<HttpResponse> Call(HttpRequest request, Effect effect, const char* scope,
                            std::stop_token stop);
  Result<HttpResponse> Get(std::string path, std::vector<std::pair<std::string, std::string>> query,
                           const char* scope, std::stop_token stop);
  // Asks for at most `limit` entries, and for fewer when the answer is too large.
  template <class T>
  Result<Listed<T>> List(const std::string& path,
                         const std::vector<std::pair<std::string, std::string>>& query, int limit,
                         const char* scope, Result<std::vector<T>> (*parse)(std::string_view),
                         std::stop_token stop);
  void NoteBudget(const HttpResponse& response);
  static Error Classify(const HttpResponse& response, Effect effect, const char* scope);

  std::string host_;  // of the server's address, for a server that does not say its domain
  Credential bearer_;
  std::unique_ptr<HttpClient> http_;
  std::uint64_t calls_ = 0;
  std::optional<PlatformBudget> budget_;
  int many_failures_ = 0;  // of asking for many statuses at once, in a row
};

}  // namespace mayfly::connectors::mastodon

#endif  // MAYFLY_CONNECTORS_MASTODON_CLIENT_H_
