#include "store/accounts.h"

#include <algorithm>
#include <chrono>

#include "store/core.h"

namespace mayfly::store {
namespace {

// How far a stored time of last success may lag behind the one in memory.
constexpr std::chrono::seconds kSuccessLag{60};

std::string FingerprintOf(const Core& core, const Credential& credential) {
  const Bytes16 print = core.PrintOf(schema::kPurposeCredentialPrint, credential.Reveal());
  return ToHex(schema::View(print).substr(0, 4));
}

void PutCredential(Transaction& transaction, AccountId id, const Credential& credential) {
  std::string key = schema::Key(schema::kCredential, id.value);
  std::string sealed = transaction.core().SealSys(
      schema::kCredential, key, id, schema::kPurposeCredential, codec::Encode(credential));
  transaction.batch().Put(Family::Sys(), std::move(key), std::move(sealed));
}

Status CheckRevision(const Account& account, std::optional<std::uint64_t> if_revision) {
  if (!if_revision || *if_revision == account.revision) return {};
  return Fail(ErrorCode::kPreconditionFailed, "The account was changed meanwhile.");
}

tl::unexpected<Error> Retired() { return Fail(ErrorCode::kNotFound, "This account is retired."); }

}  // namespace

Result<Account> Accounts::Create(const NewAccount& account, const Actor& actor, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  Account created;
  created.id = transaction.TakeAccountId();
  created.platform = account.platform;
  created.label = account.label;
  created.options = account.options;
  created.retention = account.retention;
  created.created_at = now;
  created.state_since = now;
  created.credential_fingerprint = FingerprintOf(core_, account.credential);
  transaction.PutAccount(created);
  PutCredential(transaction, created.id, account.credential);
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "account.connect", created.id.ToString(), "ok"));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return created;
}

Result<Account> Accounts::Get(AccountId id) const { return core_.GetAccount(id); }

Result<std::vector<Account>> Accounts::List() const {
  std::vector<Account> accounts;
  for (const AccountId id : core_.AccountIds()) {
    auto account = core_.GetAccount(id);
    if (account) {
      accounts.push_back(*std::move(account));
    } else if (account.error().code != ErrorCode::kCorrupt) {  // damaged: counted when it was read
      return Fail(std::move(account).error());
    }
  }
  return accounts;
}

Result<Account> Accounts::Rename(AccountId id, const std::string& label,
                                 std::optional<std::uint64_t> if_revision, const Actor& actor,
                                 TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(Account account, core_.GetAccount(id));
  MAYFLY_RETURN_IF_ERROR(CheckRevision(account, if_revision));
  if (account.label == label) return account;
  account.label = label;
  ++account.revision;
  transaction.PutAccount(account);
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "account.change", id.ToString(), "ok"));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return account;
}

Status Accounts::Retire(AccountId id, std::optional<std::uint64_t> if_revision, const Actor& actor,
                        TimePoint now) {
  {
    Transaction transaction(core_, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    MAYFLY_ASSIGN_OR_RETURN(Account account, core_.GetAccount(id));
    if (account.state == AccountState::kRetired) return {};
    MAYFLY_RETURN_IF_ERROR(CheckRevision(account, if_revision));
    account.state = AccountState::kRetired;
    account.state_reason.clear();
    account.state_since = now;
    ++account.revision;
    transaction.PutAccount(account);
    // Overwritten, then removed: no table that is written from here on holds the old value.
    PutCredential(transaction, id, Credential());
    transaction.batch().Remove(Family::Sys(), schema::Key(schema::kCredential, id.value));
    transaction.batch().Remove(Family::Sys(), schema::Key(schema::kCursor, id.value));
    MAYFLY_RETURN_IF_ERROR(transaction.ForgetFingerprints(schema::kNeverForget, id));
    MAYFLY_ASSIGN_OR_RETURN(const auto pending,
                            core_.PendingReplies(std::nullopt, now, transaction.pairs()));
    for (const StoredReply& stored : pending) {
      if (stored.reply.account != id || stored.reply.state != ReplyState::kQueued) continue;
      Reply reply = stored.reply;
      reply.state = ReplyState::kFailed;
      reply.reason = "account-retired";
      reply.state_since = now;
      MAYFLY_RETURN_IF_ERROR(transaction.PutReply(reply, stored.slot));
      MAYFLY_RETURN_IF_ERROR(
          transaction.Audit(actor, "reply.failed", reply.id.ToString(), reply.reason));
    }
    MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "account.disconnect", id.ToString(), "ok"));
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  }
  // The engine's logs let go of the credential too.
  return core_.engine().ReleaseLogs();
}

Status Accounts::SetState(AccountId id, const StateChange& change, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(Account account, core_.GetAccount(id));
  if (account.state == AccountState::kRetired) return Retired();
  bool changed = false;
  const auto take = [&changed](auto& field, const auto& value) {
    if (field == value) return;
    field = value;
    changed = true;
  };
  if (account.state != change.state) account.state_since = now;
  take(account.state, change.state);
  take(account.state_reason, change.reason);
  if (change.own_platform_id) take(account.own_platform_id, *change.own_platform_id);
  if (change.own_handle) take(account.own_handle, *change.own_handle);
  if (change.last_success_at && change.last_success_at != account.last_success_at) {
    // Each poll moves this. Memory says it at once; the disk is asked now and then.
    const auto stored = core_.StoredSuccess(id);
    if (!stored || *change.last_success_at >= *stored + kSuccessLag ||
        *change.last_success_at < *stored) {
      changed = true;
    }
    account.last_success_at = change.last_success_at;
  }
  if (!changed) {
    core_.PublishAccount(account);
    return {};
  }
  transaction.PutAccount(account);
  return transaction.Commit();
}

Result<Credential> Accounts::RevealCredential(AccountId id) const {
  MAYFLY_ASSIGN_OR_RETURN(const Account account, core_.GetAccount(id));
  if (account.state == AccountState::kRetired) {
    return Fail(ErrorCode::kCredentialDead, "This account is retired; its credential is gone.");
  }
  MAYFLY_ASSIGN_OR_RETURN(auto row,
                          core_.ReadSys(schema::kCredential, id, schema::kPurposeCredential));
  if (!row) {
    core_.CountDamage();
    return Fail(ErrorCode::kCorrupt,
                "Family sys: the credential of account " + id.ToString() + " (c) is missing.");
  }
  auto credential = core_.Checked(codec::DecodeCredential(*row));
  WipeString(*row);
  return credential;
}

Result<Account> Accounts::ChangeCredential(AccountId id, const NewCredential& change,
                                           std::optional<std::uint64_t> if_revision,
                                           const Actor& actor, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(Account account, core_.GetAccount(id));
  if (account.state == AccountState::kRetired) return Retired();
  MAYFLY_RETURN_IF_ERROR(CheckRevision(account, if_revision));
  account.credential_fingerprint = FingerprintOf(core_, change.credential);
  account.own_platform_id = change.own_platform_id;
  account.own_handle = change.own_handle;
  account.state = AccountState::kStarting;
  account.state_reason.clear();
  account.state_since = now;
  ++account.revision;
  transaction.PutAccount(account);
  PutCredential(transaction, id, change.credential);
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "account.credential", id.ToString(), "ok"));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return account;
}

Status Accounts::ReplaceCredential(AccountId id, const Credential& credential, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(Account account, core_.GetAccount(id));
  if (account.state == AccountState::kRetired) return Retired();
  account.credential_fingerprint = FingerprintOf(core_, credential);
  transaction.PutAccount(account);
  PutCredential(transaction, id, credential);
  return transaction.Commit();
}

}  // namespace mayfly::store
