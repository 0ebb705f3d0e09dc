// What handlers may use. Owned by App; outlives the server.
#ifndef MAYFLY_SERVICE_API_CONTEXT_H_
#define MAYFLY_SERVICE_API_CONTEXT_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "connectors/connector.h"
#include "connectors/registry.h"
#include "service/api/about_text.h"
#include "service/api/change_feed.h"
#include "service/api/event_streams.h"
#include "service/api/rate_limiter.h"
#include "service/api/tls.h"
#include "service/sandbox/sandbox.h"
#include "store/keys/passphrase.h"
#include "store/model/clock.h"
#include "store/model/sensitive.h"
#include "store/store.h"

namespace mayfly::service {

using MasterKeyLine = Sensitive<struct MasterKeyLineTag>;  // of a master key file

}  // namespace mayfly::service

namespace mayfly::service::api {

// What the running service can do about accounts, besides storing. Thread-safe.
class AccountRuntime {
 public:
  virtual ~AccountRuntime() = default;
  // Begin collecting.
  virtual void AccountConnected(AccountId id) = 0;
  // Stop; returns when nothing more is collected.
  virtual void AccountDisconnected(AccountId id) = 0;
  // kNotFound, kCredentialDead; returns at once.
  virtual Status PollNow(AccountId id) = 0;
  // Asks the platform; may take long.
  virtual Result<connectors::CheckReport> Check(AccountId id) = 0;
  // Tries a new credential at the platform and, when it works there and belongs to the same account
  // of the platform, keeps it in place of the old one. With any error the old one is still in place
  // and in use: kInvalidArgument when it belongs to another account, kCredentialDead when the
  // platform refuses it or the account is retired, kMissingPrivilege, kPreconditionFailed, or why
  // the platform could not be asked. Collecting pauses meanwhile; may take long.
  virtual Result<Account> ReplaceCredential(AccountId id, const Credential& credential,
                                            std::optional<std::uint64_t> if_revision,
                                            const Actor& actor) = 0;
  // What the platform last said of the account's budget there; absent when it said nothing, or not
  // since the account's worker was started. Returns at once.
  virtual std::optional<connectors::PlatformBudget> Budget(AccountId id) const = 0;
  // Wakes the sender.
  virtual void ReplyQueued(const ReplyId& id) = 0;
};

struct HealthView {
  bool sealed = false;  // no usable master key: nothing else is meaningful
  std::string sealed_reason;
  bool ready = false;
  std::vector<std::string> reasons;  // why not ready: expiry-late, disk-full, store, ...
  std::optional<TimePoint> last_expiry_run_at;
  std::optional<TimePoint> next_expiry_at;
};

// A master key on its way in, over the admin socket: one of the two, or neither where the service
// was started with the next credential.
struct KeyOffer {
  store::Passphrase passphrase;
  MasterKeyLine master_key;
};

// How people reach the listener, for /admin/status.
enum class Transport { kLocal, kTls, kTrustedProxies };

struct ApiContext {
  store::Store* store = nullptr;  // null while sealed
  const Clock* clock = nullptr;
  store::CertainClock* certain_clock = nullptr;  // the same one; for /admin/clock
  AccountRuntime* runtime = nullptr;
  const ChangeFeed* changes = nullptr;
  EventStreams* streams = nullptr;
  RateLimiter* rate_limiter = nullptr;  // null: tokens are not limited
  // What a platform can do, by its name; null when there is none. Tests give others.
  std::function<const connectors::ConnectorInfo*(std::string_view)> find_connector =
      connectors::FindConnector;
  AboutText about;
  SandboxReport sandbox;
  std::string p2_grade = "C";
  connectors::EgressPolicy egress;  // where accounts may lead
  std::string p2_reason;            // why it is not a better one
  std::string file_system;          // under the keys; empty while sealed
  bool overwriting_holds = true;
  // Opens the store with this key while the service is sealed. kSealed when it is not the right
  // one, or the state does not depend on it; its sentence may be shown.
  std::function<Status(const KeyOffer&)> unseal;
  // Replaces the master key by this one. kInvalidArgument when the source asks for something else.
  std::function<Status(const KeyOffer&, const Actor&)> rotate_master_key;
  std::string zone_name = "UTC";
  std::string version;
  std::function<HealthView()> health;
  std::function<std::string()> metrics_text;  // Prometheus exposition format
  Transport transport = Transport::kLocal;
  TlsCertificates* certificates = nullptr;  // null without [http.tls]
  std::function<Status()> reload;           // reads the certificate again; its error is for people
  std::string cursor_key;                   // signs page cursors
};

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_CONTEXT_H_
