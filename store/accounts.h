// Connected accounts and their sealed credentials. In `sys`: they hold nothing of the people who
// write.
#ifndef MAYFLY_STORE_ACCOUNTS_H_
#define MAYFLY_STORE_ACCOUNTS_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "store/model/account.h"
#include "store/model/actor.h"
#include "store/model/result.h"
#include "store/model/sensitive.h"

namespace mayfly::store {

class Core;

class Accounts {
 public:
  explicit Accounts(Core& core) : core_(core) {}

  struct NewAccount {
    std::string platform;
    std::string label;
    std::map<std::string, std::string> options;
    RetentionPeriod retention;
    Credential credential;
  };
  // Audited as `account.connect`.
  Result<Account> Create(const NewAccount& account, const Actor& actor, TimePoint now);
  Result<Account> Get(AccountId id) const;    // kNotFound
  Result<std::vector<Account>> List() const;  // retired ones too, by id
  // Changes label and revision. kPreconditionFailed when `if_revision` is given and stale. Audited.
  Result<Account> Rename(AccountId id, const std::string& label,
                         std::optional<std::uint64_t> if_revision, const Actor& actor,
                         TimePoint now);
  // Collecting stops, the credential is overwritten and removed, messages stay until they expire,
  // queued replies become failed: account-retired. Idempotent. Audited as `account.disconnect`.
  Status Retire(AccountId id, std::optional<std::uint64_t> if_revision, const Actor& actor,
                TimePoint now);

  // Set by the poller; no revision change. Unchanged state is not written again.
  struct StateChange {
    AccountState state = AccountState::kStarting;
    std::string reason;
    std::optional<TimePoint> last_success_at;
    std::optional<std::string> own_platform_id;
    std::optional<std::string> own_handle;
  };
  Status SetState(AccountId id, const StateChange& change, TimePoint now);

  // The secret, for the worker's first frame. kCredentialDead when retired.
  Result<Credential> RevealCredential(AccountId id) const;
  // By a person: the credential that was tried in place of the old one, with whom it belongs to.
  // The account starts anew. kNotFound when retired; kPreconditionFailed as in Rename. The old one
  // is overwritten. Audited as `account.credential`.
  struct NewCredential {
    Credential credential;
    std::string own_platform_id;
    std::string own_handle;
  };
  Result<Account> ChangeCredential(AccountId id, const NewCredential& change,
                                   std::optional<std::uint64_t> if_revision, const Actor& actor,
                                   TimePoint now);
  // Rotated tokens: sealed and synced when this returns. Ignored (kNotFound) for a retired account.
  Status ReplaceCredential(AccountId id, const Credential& credential, TimePoint now);

 private:
  Core& core_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ACCOUNTS_H_
