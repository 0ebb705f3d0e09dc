#include "store/returned.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/accounts.h"
#include "store/core.h"
#include "store/keys/seal.h"

namespace mayfly::store {
namespace {

// No store gives out so many numbers between a copy and the present.
constexpr std::uint64_t kSequencesSkipped = std::uint64_t{1} << 32;
constexpr std::size_t kRowsPerCommit = 1'000;
// No token lives longer than 90 days.
constexpr std::chrono::days kRevocationsKept{100};

const Actor& TheSystem() {
  static const Actor kSystem{.id = "system"};
  return kSystem;
}

AccountId AccountOf(std::string_view key) {
  return AccountId{
      schema::ReadU32(key.substr(std::min<std::size_t>(schema::kHeadBytes, key.size())))};
}

Result<std::uint64_t> NumberIn(const Core& core, char kind, std::uint64_t absent) {
  MAYFLY_ASSIGN_OR_RETURN(const auto row, core.engine().Get(Family::Sys(), schema::Key(kind)));
  if (!row) return absent;
  return core.Checked(codec::DecodeNumber(*row));
}

// What the ledger says of accounts, gathered while its rows are applied.
struct Gathered {
  std::set<AccountId> retired;
  std::map<AccountId, std::string> retention;
  std::size_t tokens_revoked = 0;
};

// Applies rows of the ledger in their order, a thousand at a time.
class LedgerRows {
 public:
  LedgerRows(Core& core, TimePoint now) : core_(core), now_(now) {}

  Status Take(const LedgerEntry& entry) {
    if (entry.kind == LedgerEntry::Kind::kRetention) {
      gathered_.retention[AccountOf(entry.key)] = entry.value;
    }
    if (entry.kind == LedgerEntry::Kind::kRemoved &&
        schema::KindOf(entry.key) == schema::kCredential) {
      gathered_.retired.insert(AccountOf(entry.key));
    }
    rows_.push_back(entry);
    return rows_.size() < kRowsPerCommit ? Status() : Flush();
  }

  Status Flush() {
    Transaction transaction(core_, now_);
    transaction.TakenFromLedger();
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    std::set<ExpiryDay> blocked;
    for (const LedgerEntry& row : std::exchange(rows_, {})) {
      if (row.kind == LedgerEntry::Kind::kOnDate) {
        MAYFLY_RETURN_IF_ERROR(PutOnDate(row, transaction, blocked));
      } else if (row.kind == LedgerEntry::Kind::kGoneFromDate) {
        const ExpiryDay day = DayOf(row);
        if (core_.IsUsable(day, now_)) transaction.Remove(day, row.key.substr(4));
      } else {
        MAYFLY_RETURN_IF_ERROR(Apply(row, transaction));
      }
    }
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
    for (const ExpiryDay day : blocked) core_.NoteBlocks(day);
    return {};
  }
  const Gathered& gathered() const { return gathered_; }

 private:
  static ExpiryDay DayOf(const LedgerEntry& row) {
    return ExpiryDay(std::chrono::days(schema::ReadU32(row.key)));
  }

  Status PutOnDate(const LedgerEntry& row, Transaction& transaction, std::set<ExpiryDay>& blocked) {
    const ExpiryDay day = DayOf(row);
    const Status open = core_.EnsureDay(day);
    if (!open && open.error().code == ErrorCode::kExpired)
      return {};  // nothing of it can come back
    MAYFLY_RETURN_IF_ERROR(open);
    transaction.Put(day, row.key.substr(4), row.value);
    if (schema::KindOf(std::string_view(row.key).substr(4)) == schema::kBlock) blocked.insert(day);
    return {};
  }

  Status Apply(const LedgerEntry& row, Transaction& transaction) {
    const char kind = schema::KindOf(row.key);
    if (row.kind == LedgerEntry::Kind::kRemoved && kind != schema::kCredential) {
      if (kind == schema::kToken) {
        MAYFLY_ASSIGN_OR_RETURN(const auto there, core_.engine().Get(Family::Sys(), row.key));
        if (there) ++gathered_.tokens_revoked;
      }
      transaction.batch().Remove(Family::Sys(), row.key);
    }
    if (row.kind != LedgerEntry::Kind::kPut) return {};
    if (kind == schema::kForgottenUntil) {
      MAYFLY_ASSIGN_OR_RETURN(const TimePoint born, core_.Checked(codec::DecodeTime(row.value)));
      transaction.RaiseForgottenUntil(AccountOf(row.key), born);
      return {};
    }
    if (kind == schema::kNextAccount) {
      MAYFLY_ASSIGN_OR_RETURN(const std::uint64_t there, NumberIn(core_, kind, 1));
      MAYFLY_ASSIGN_OR_RETURN(const std::uint64_t next,
                              core_.Checked(codec::DecodeNumber(row.value)));
      if (next <= there) return {};
    }
    transaction.batch().Put(Family::Sys(), row.key, row.value);
    return {};
  }

  Core& core_;
  const TimePoint now_;
  std::vector<LedgerEntry> rows_;
  Gathered gathered_;
};

Status SkipSequences(Core& core, TimePoint now, ReturnReport* report) {
  {
    Transaction transaction(core, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    MAYFLY_ASSIGN_OR_RETURN(report->audit_gap_from, NumberIn(core, schema::kNextAudit, 1));
    MAYFLY_ASSIGN_OR_RETURN(const std::uint64_t messages, NumberIn(core, schema::kNextSequence, 1));
    const auto put = [&](char kind, std::uint64_t number) {
      transaction.batch().Put(Family::Sys(), schema::Key(kind), codec::EncodeNumber(number));
    };
    put(schema::kNextAudit, report->audit_gap_from + kSequencesSkipped);
    put(schema::kNextSequence, messages + kSequencesSkipped);
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  }
  return core.ReloadAfterReturn();
}

Status RestoreAccounts(Core& core, const Gathered& gathered, TimePoint now, ReturnReport* report) {
  for (const AccountId id : gathered.retired) {
    const auto account = core.GetAccount(id);
    if (!account) {
      // Connected and retired after the copy was made, or damaged (counted): nothing comes back.
      continue;
    }
    if (account->state == AccountState::kRetired) continue;
    MAYFLY_RETURN_IF_ERROR(Accounts(core).Retire(id, std::nullopt, TheSystem(), now));
    ++report->accounts_retired;
  }
  Transaction transaction(core, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  for (const auto& [id, period] : gathered.retention) {
    auto account = core.GetAccount(id);
    if (!account) continue;
    MAYFLY_ASSIGN_OR_RETURN(const RetentionPeriod latest, RetentionPeriod::Parse(period));
    if (account->retention == latest) continue;
    account->retention = latest;
    ++account->revision;
    transaction.PutAccount(*account);
  }
  return transaction.Commit();
}

// Whether a reply that was waiting then has been sent since, only the platform knows.
Status DoubtReplies(Core& core, Transaction& transaction, ReturnReport* report) {
  MAYFLY_ASSIGN_OR_RETURN(const auto pending, core.PendingReplies(std::nullopt, transaction.now(),
                                                                  transaction.pairs()));
  for (const StoredReply& stored : pending) {
    if (stored.reply.state == ReplyState::kUnknown) continue;
    Reply reply = stored.reply;
    reply.state = ReplyState::kUnknown;
    reply.reason = kStoreReturned;
    reply.state_since = transaction.now();
    reply.not_before = std::nullopt;
    MAYFLY_RETURN_IF_ERROR(transaction.PutReply(reply, stored.slot));
    MAYFLY_RETURN_IF_ERROR(
        transaction.Audit(TheSystem(), "reply.unknown", reply.id.ToString(), reply.reason));
    ++report->replies_in_doubt;
  }
  return {};
}

Status OpenHoles(Core& core, Transaction& transaction) {
  for (const AccountId id : core.AccountIds()) {
    const auto account = core.GetAccount(id);
    if (!account || account->state == AccountState::kRetired) continue;
    MAYFLY_ASSIGN_OR_RETURN(const auto row,
                            core.ReadSys(schema::kCoverage, id, schema::kPurposeCoverage));
    Coverage coverage;
    if (row) {
      MAYFLY_ASSIGN_OR_RETURN(coverage, core.Checked(codec::DecodeCoverage(*row)));
    }
    if (!coverage.holes.empty() && !coverage.holes.back().until) continue;  // it is open already
    coverage.holes.push_back({.from = coverage.covered_until.value_or(account->created_at),
                              .until = {},
                              .reason = kStoreReturned,
                              .fillable = true});
    transaction.PutCoverage(id, coverage);
  }
  return {};
}

// Dates on which a key was destroyed since: what it had sealed does not open any more, and would
// keep what the platform still has from being collected again.
Status RewriteWhatWasDestroyed(Core& core, Transaction& transaction) {
  for (const ExpiryDay day : core.OpenDays()) {
    bool destroyed = false;
    MAYFLY_RETURN_IF_ERROR(
        core.engine().Scan(Family::Day(day), {.prefix = schema::Key(schema::kSubject)},
                           [&](std::string_view, std::string_view sealed) {
                             const auto header = core.Checked(PeekSealed(sealed));
                             if (!header) return true;
                             destroyed = core.IsDestroyed(day, header->slot);
                             return !destroyed;
                           }));
    if (!destroyed) continue;
    const auto number = static_cast<std::uint32_t>(day.time_since_epoch().count());
    transaction.batch().Put(Family::Sys(), schema::Key(schema::kRewriting, number),
                            codec::Encode(codec::RewritingRecord()));
  }
  return {};
}

Result<ReturnReport> Return(Core& core, TimePoint now) {
  ReturnReport report;
  LedgerRows rows(core, now);
  MAYFLY_RETURN_IF_ERROR(
      core.ledger()->Replay([&](const LedgerEntry& entry) -> Status { return rows.Take(entry); }));
  MAYFLY_RETURN_IF_ERROR(rows.Flush());
  report.tokens_revoked = rows.gathered().tokens_revoked;
  MAYFLY_RETURN_IF_ERROR(SkipSequences(core, now, &report));
  MAYFLY_RETURN_IF_ERROR(RestoreAccounts(core, rows.gathered(), now, &report));

  Transaction transaction(core, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_RETURN_IF_ERROR(DoubtReplies(core, transaction, &report));
  MAYFLY_RETURN_IF_ERROR(OpenHoles(core, transaction));
  MAYFLY_RETURN_IF_ERROR(RewriteWhatWasDestroyed(core, transaction));
  transaction.batch().Put(Family::Sys(), schema::Key(schema::kReturnedAt), codec::EncodeTime(now));
  // With this it is the present store, and none of the above is done again.
  transaction.batch().Put(Family::Sys(), schema::Key(schema::kGeneration),
                          codec::EncodeNumber(core.ledger()->generations()->high));
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(TheSystem(), "store.returned", "store", "ok"));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  MAYFLY_RETURN_IF_ERROR(core.LoadReturnedAt());
  return report;
}

}  // namespace

Status AdvanceGeneration(Core& core, TimePoint now) {
  Transaction transaction(core, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  ForwardLedger* const ledger = core.ledger();
  if (ledger == nullptr || !ledger->generations()) return {};
  MAYFLY_ASSIGN_OR_RETURN(const std::uint64_t present, NumberIn(core, schema::kGeneration, 0));
  if (!ledger->generations()->Include(present)) {
    return Fail(ErrorCode::kPreconditionFailed,
                "An older store was put in its place; the service has to be started first.");
  }
  const std::uint64_t next = ledger->generations()->high + 1;
  MAYFLY_RETURN_IF_ERROR(ledger->AppendGenerations({.low = present, .high = next}, now));
  transaction.batch().Put(Family::Sys(), schema::Key(schema::kGeneration),
                          codec::EncodeNumber(next));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return ledger->AppendGenerations({.low = next, .high = next}, now);
}

Result<std::optional<ReturnReport>> ReconcileWithLedger(Core& core, TimePoint now) {
  ForwardLedger* const ledger = core.ledger();
  if (ledger == nullptr) return std::optional<ReturnReport>();
  MAYFLY_ASSIGN_OR_RETURN(const std::uint64_t present, NumberIn(core, schema::kGeneration, 0));
  const std::optional<Generations> known = ledger->generations();
  std::optional<ReturnReport> report;
  if (known && present > known->high) {
    return Fail(ErrorCode::kCorrupt,
                "The ledger beside the keys is older than the store: keys/ was replaced by a copy. "
                "Put the right keys/ back; see docs/operations.md.");
  }
  if (known && !known->Include(present)) {
    MAYFLY_ASSIGN_OR_RETURN(report, Return(core, now));
  }
  MAYFLY_RETURN_IF_ERROR(core.CompactLedger(now));
  MAYFLY_RETURN_IF_ERROR(AdvanceGeneration(core, now));
  return report;
}

// --- the parts of Core that belong to it

Status Core::OpenLedger() {
  if (!options_.ledger.empty()) {
    Pair key = vault_->PurposeKey(schema::kPurposeLedger);
    MAYFLY_ASSIGN_OR_RETURN(ledger_, ForwardLedger::Open(options_.ledger, key));
  }
  return LoadReturnedAt();
}

Status Core::LoadReturnedAt() {
  MAYFLY_ASSIGN_OR_RETURN(const auto row,
                          engine_->Get(Family::Sys(), schema::Key(schema::kReturnedAt)));
  if (row) {
    MAYFLY_ASSIGN_OR_RETURN(const TimePoint at, Checked(codec::DecodeTime(*row)));
    returned_at_ms_ = at.time_since_epoch().count();
  }
  return {};
}

std::optional<TimePoint> Core::ReturnedAt() const {
  const std::int64_t at = returned_at_ms_;
  if (at == 0) return std::nullopt;
  return TimePoint(std::chrono::milliseconds(at));
}

Status Core::ReloadAfterReturn() {
  MutexLock lock(commit_mutex_);
  MAYFLY_RETURN_IF_ERROR(LoadEndedThrough());
  return ReloadCounters();
}

Status Core::CompactLedger(TimePoint now) {
  MutexLock lock(commit_mutex_);
  if (ledger_ == nullptr) return {};
  // Few: revoked tokens, retired accounts, restrictions that were lifted or moved on.
  std::map<std::string, LedgerEntry> gone;
  const std::vector<ExpiryDay> days = OpenDays();
  MAYFLY_RETURN_IF_ERROR(ledger_->Replay([&](const LedgerEntry& entry) -> Status {
    if (entry.kind == LedgerEntry::Kind::kGoneFromDate) {
      const ExpiryDay day(std::chrono::days(schema::ReadU32(entry.key)));
      if (std::find(days.begin(), days.end(), day) != days.end()) {
        gone.insert_or_assign(entry.key, entry);
      }
    }
    const char kind = schema::KindOf(entry.key);
    if (entry.kind != LedgerEntry::Kind::kRemoved) return {};
    if (kind == schema::kCredential ||
        (kind == schema::kToken && now < entry.at + kRevocationsKept)) {
      gone.insert_or_assign(entry.key, entry);
    }
    return {};
  }));
  MAYFLY_ASSIGN_OR_RETURN(const std::uint64_t present, NumberIn(*this, schema::kGeneration, 0));
  const Generations generations = ledger_->generations().value_or(Generations{present, present});
  // An older store that has still to be reconciled: it needs what is there.
  if (!generations.Include(present)) return {};
  return ledger_->Rewrite([&](const ForwardLedger::Visitor& sink) -> Status {
    MAYFLY_RETURN_IF_ERROR(
        sink({.kind = LedgerEntry::Kind::kGeneration,
              .value = schema::U64(generations.low) + schema::U64(generations.high),
              .at = now}));
    for (const char kind : {schema::kForgottenUntil, schema::kFingerprint, schema::kReceipt,
                            schema::kDestruction, schema::kNextAccount}) {
      Status sunk;
      MAYFLY_RETURN_IF_ERROR(engine_->Scan(
          Family::Sys(), {.prefix = schema::Key(kind)},
          [&](std::string_view key, std::string_view value) {
            sunk = sink({.key = std::string(key), .value = std::string(value), .at = now});
            return sunk.has_value();
          }));
      MAYFLY_RETURN_IF_ERROR(std::move(sunk));
    }
    for (const ExpiryDay day : days) {
      const std::string date =
          schema::U32(static_cast<std::uint32_t>(day.time_since_epoch().count()));
      for (const char kind : {schema::kBlock, schema::kRestriction}) {
        Status sunk;
        MAYFLY_RETURN_IF_ERROR(engine_->Scan(Family::Day(day), {.prefix = schema::Key(kind)},
                                             [&](std::string_view key, std::string_view value) {
                                               sunk = sink({.kind = LedgerEntry::Kind::kOnDate,
                                                            .key = date + std::string(key),
                                                            .value = std::string(value),
                                                            .at = now});
                                               return sunk.has_value();
                                             }));
        MAYFLY_RETURN_IF_ERROR(std::move(sunk));
      }
    }
    for (const AccountId id : AccountIds()) {
      const auto account = GetAccount(id);
      if (!account) continue;
      MAYFLY_RETURN_IF_ERROR(sink({.kind = LedgerEntry::Kind::kRetention,
                                   .key = schema::Key(schema::kAccount, id.value),
                                   .value = account->retention.ToString(),
                                   .at = now}));
    }
    for (const auto& [key, entry] : gone) MAYFLY_RETURN_IF_ERROR(sink(entry));
    return {};
  });
}

}  // namespace mayfly::store
