// A connected account of ours on a platform.
#ifndef MAYFLY_STORE_MODEL_ACCOUNT_H_
#define MAYFLY_STORE_MODEL_ACCOUNT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "store/model/ids.h"
#include "store/model/retention.h"
#include "store/model/time.h"

namespace mayfly {

enum class AccountState {
  kStarting,          // no answer from the platform yet
  kOk,                //
  kThrottled,         // the platform told us to wait
  kUnreachable,       // transient failures; tried again with a growing delay
  kCredentialDead,    // a person must renew the credential; nothing is tried until then
  kMissingPrivilege,  // the credential lacks a permission; nothing is tried until then
  kCrashLoop,         // its worker keeps ending; restarted with a growing delay
  kRetired,           // disconnected by an administrator; messages stay until they expire
  // Its options can never work here, or its host leads to where nothing may connect to: a person
  // must change that; tried again rarely.
  kMisconfigured,
  kDiskFull,  // too little room here; goes on by itself when there is more
};
const char* ToString(AccountState state);  // ok, throttled, credential-dead, ...
std::optional<AccountState> ParseAccountState(const std::string& word);

struct Account {
  AccountId id;
  std::string platform;                        // a name in connectors.def
  std::string label;                           // what the administrator calls it
  std::map<std::string, std::string> options;  // non-secret options, by ConnectorInfo::options
  RetentionPeriod retention;
  TimePoint created_at;
  std::uint64_t revision = 1;  // for If-Match; grows with each change by a person

  AccountState state = AccountState::kStarting;
  std::string state_reason;  // an ErrorCode word or one of our own sentences; never platform text
  TimePoint state_since;
  std::optional<TimePoint> last_success_at;  // of a poll
  std::string credential_fingerprint;        // first 8 hex digits of a keyed hash; not the secret
  std::string own_platform_id;               // who we are there; ours, so not Sensitive
  std::string own_handle;
  std::optional<TimePoint> forgotten_until;  // greatest `born` ever purged; only rises
};

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_ACCOUNT_H_
