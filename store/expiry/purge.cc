#include "store/expiry/purge.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "store/core.h"

namespace mayfly::store {
namespace {

constexpr std::chrono::months kReceiptsKept{12};

const Actor& TheSystem() {
  static const Actor kSystem{.id = "system"};
  return kSystem;
}

std::uint32_t NumberOf(ExpiryDay day) {
  return static_cast<std::uint32_t>(day.time_since_epoch().count());
}

TimePoint EndOfKeeping(ExpiryDay day) {
  std::chrono::year_month_day end = std::chrono::year_month_day(day) + kReceiptsKept;
  if (!end.ok()) end = end.year() / end.month() / std::chrono::last;
  return StartOf(std::chrono::sys_days(end));
}

bool HasFamily(const Core& core, ExpiryDay day) {
  const auto families = core.engine().Families(Family::Kind::kDay);
  return std::find(families.begin(), families.end(), Family::Day(day)) != families.end();
}

// What must be kept of a date that ends. Costs a row for each account and each unsent reply,
// however many messages there are.
Result<DateEnd> CountEnd(const Core& core, ExpiryDay day) {
  DateEnd end;
  if (!HasFamily(core, day)) return end;
  const Family family = Family::Day(day);
  MAYFLY_RETURN_IF_ERROR(core.engine().Scan(
      family, {.prefix = schema::Key(schema::kStats)},
      [&](std::string_view key, std::string_view value) {
        const auto stats = core.Checked(codec::DecodeStats(value));
        if (!stats) return true;  // counted; the date ends all the same
        end.messages += stats->messages;
        end.greatest_born.emplace_back(AccountId{schema::ReadU32(key.substr(schema::kHeadBytes))},
                                       stats->greatest_born);
        return true;
      }));
  MAYFLY_RETURN_IF_ERROR(core.engine().Scan(family, {.prefix = schema::Key(schema::kPending)},
                                            [&](std::string_view key, std::string_view) {
                                              const auto bytes =
                                                  schema::Tail16(key, schema::kHeadBytes + 16);
                                              if (bytes) end.unsent.push_back({day, *bytes});
                                              return true;
                                            }));
  return end;
}

Status PutEnd(Transaction& transaction, const DateEnd& end) {
  for (const auto& [account, born] : end.greatest_born) {
    transaction.RaiseForgottenUntil(account, born);
  }
  for (const ReplyId& reply : end.unsent) {
    MAYFLY_RETURN_IF_ERROR(
        transaction.Audit(TheSystem(), "reply.failed", reply.ToString(), "expired"));
  }
  return {};
}

}  // namespace

const char* ToString(PurgeStep step) {
  switch (step) {
    case PurgeStep::kHidden:
      return "hidden";
    case PurgeStep::kKeysDestroyed:
      return "keys-destroyed";
    case PurgeStep::kFamilyDropped:
      return "family-dropped";
    case PurgeStep::kReceiptWritten:
      return "receipt-written";
    case PurgeStep::kKeyFileUnlinked:
      return "key-file-unlinked";
  }
  return "unknown";
}

const char* ToString(P2Grade grade) {
  switch (grade) {
    case P2Grade::kNone:
      return "none";
    case P2Grade::kC:
      return "C";
    case P2Grade::kB:
      return "B";
    case P2Grade::kA:
      return "A";
  }
  return "none";
}

std::vector<ExpiryDay> Purge::Due(TimePoint now) const {
  std::set<ExpiryDay> due;
  const auto add = [&](ExpiryDay day) {
    if (!IsVisible(StartOf(day), now)) due.insert(day);
  };
  for (const Family& family : core_.engine().Families(Family::Kind::kDay)) add(family.day());
  for (const ExpiryDay day : core_.vault().Dates()) add(day);
  // Half done: nothing of them may stay, whatever the clock says now.
  for (const ExpiryDay day : core_.vault().DestroyedDates()) due.insert(day);
  return {due.begin(), due.end()};
}

Result<std::vector<Purge::Preview>> Purge::DryRun(TimePoint now) const {
  std::vector<Preview> previews;
  for (const ExpiryDay day : Due(now)) {
    MAYFLY_ASSIGN_OR_RETURN(const DateEnd end, CountEnd(core_, day));
    Preview preview{.day = day, .messages = end.messages};
    if (HasFamily(core_, day)) {
      MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(Family::Day(day), {},
                                                 [&](std::string_view key, std::string_view value) {
                                                   preview.bytes += key.size() + value.size();
                                                   return true;
                                                 }));
    }
    previews.push_back(preview);
  }
  return previews;
}

// Step 1. An error is returned but holds nothing up: P2 does not wait for a full disk.
Status Purge::Hide(ExpiryDay day, TimePoint now) {
  Transaction transaction(core_, now);
  const auto write = [&]() -> Status {
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    const std::string key = schema::Key(schema::kJournal, NumberOf(day));
    MAYFLY_ASSIGN_OR_RETURN(const auto journal, core_.engine().Get(Family::Sys(), key));
    MAYFLY_ASSIGN_OR_RETURN(
        const auto receipt,
        core_.engine().Get(Family::Sys(), schema::Key(schema::kReceipt, NumberOf(day))));
    if (journal || receipt || unwritten_.contains(day)) return {};  // counted before
    MAYFLY_ASSIGN_OR_RETURN(const DateEnd end, CountEnd(core_, day));
    unwritten_.emplace(day, end);
    MAYFLY_RETURN_IF_ERROR(PutEnd(transaction, end));
    for (const ReplyId& reply : end.unsent) {
      transaction.Remove(day, schema::Key(schema::kPending, reply.bytes));
    }
    transaction.batch().Put(Family::Sys(), key,
                            codec::Encode(codec::PurgeJournal{
                                .messages = end.messages, .replies_expired = end.unsent.size()}));
    transaction.Note(ChangeKind::kMessageExpired, FormatDay(day));
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
    unwritten_.erase(day);
    return {};
  };
  auto written = write();
  core_.HideDay(day);
  MAYFLY_RETURN_IF_ERROR(core_.engine().CloseFamily(Family::Day(day)));
  return written;
}

// Step 4.
Result<PurgeReceipt> Purge::WriteReceipt(PurgeReceipt receipt) {
  const TimePoint now = receipt.finished_at;
  {
    Transaction transaction(core_, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    const std::string key = schema::Key(schema::kReceipt, NumberOf(receipt.day));
    const std::string journal_key = schema::Key(schema::kJournal, NumberOf(receipt.day));
    MAYFLY_ASSIGN_OR_RETURN(const auto existing, core_.engine().Get(Family::Sys(), key));
    if (existing) {
      MAYFLY_ASSIGN_OR_RETURN(receipt, core_.Checked(codec::DecodeReceipt(*existing)));
    } else {
      MAYFLY_ASSIGN_OR_RETURN(const auto row, core_.engine().Get(Family::Sys(), journal_key));
      if (row) {
        MAYFLY_ASSIGN_OR_RETURN(const auto journal, core_.Checked(codec::DecodeJournal(*row)));
        receipt.messages = journal.messages;
        receipt.replies_expired = journal.replies_expired;
        transaction.batch().Remove(Family::Sys(), journal_key);
      } else if (const auto end = unwritten_.find(receipt.day); end != unwritten_.end()) {
        receipt.messages = end->second.messages;
        receipt.replies_expired = end->second.unsent.size();
        MAYFLY_RETURN_IF_ERROR(PutEnd(transaction, end->second));
      }
      transaction.batch().Put(Family::Sys(), key, codec::Encode(receipt));
      MAYFLY_RETURN_IF_ERROR(
          transaction.Audit(TheSystem(), "date.purged", FormatDay(receipt.day), "ok"));
      MAYFLY_RETURN_IF_ERROR(transaction.Commit());
    }
    unwritten_.erase(receipt.day);
  }
  MAYFLY_RETURN_IF_ERROR(core_.engine().ReleaseLogs());
  return receipt;
}

Result<PurgeReceipt> Purge::EndDate(ExpiryDay day, TimePoint now) {
  // What a receipt says happened when it happened, not when the pass began.
  const auto begin = std::chrono::steady_clock::now();
  const auto at = [&] {
    return now + std::chrono::duration_cast<std::chrono::milliseconds>(
                     std::chrono::steady_clock::now() - begin);
  };
  const auto reached = [&](PurgeStep step) {
    if (hook_) hook_(step, day);
  };
  const Status hidden = Hide(day, now);
  reached(PurgeStep::kHidden);

  MAYFLY_RETURN_IF_ERROR(core_.vault().DestroyDate(day));
  PurgeReceipt receipt{.day = day, .keys_destroyed_at = at(), .p2_grade = core_.options().p2_grade};
  receipt.late_ms = (receipt.keys_destroyed_at - StartOf(day)).count();
  reached(PurgeStep::kKeysDestroyed);

  // Of an erasure that the end of the date has overtaken.
  auto twin = core_.engine().DropFamily(Family::Twin(day));
  if (!twin) return Fail(std::move(twin).error());
  MAYFLY_ASSIGN_OR_RETURN(const DropReport dropped, core_.engine().DropFamily(Family::Day(day)));
  receipt.bytes_dropped = dropped.bytes_dropped;
  MAYFLY_RETURN_IF_ERROR(core_.checkpoint().Drop());  // it holds the same bytes
  receipt.finished_at = at();
  reached(PurgeStep::kFamilyDropped);

  MAYFLY_ASSIGN_OR_RETURN(receipt, WriteReceipt(receipt));
  reached(PurgeStep::kReceiptWritten);

  MAYFLY_RETURN_IF_ERROR(core_.vault().UnlinkDate(day));
  core_.FinishDay(day);
  reached(PurgeStep::kKeyFileUnlinked);
  MAYFLY_RETURN_IF_ERROR(hidden);
  return receipt;
}

Result<std::vector<PurgeReceipt>> Purge::RunOnce(TimePoint now) {
  std::lock_guard lock(running_);
  std::vector<PurgeReceipt> receipts;
  Status first_error;
  const auto note = [&](Error error) {
    if (first_error) first_error = Fail(std::move(error));
  };
  for (const ExpiryDay day : Due(now)) {
    auto receipt = EndDate(day, now);
    if (receipt) {
      receipts.push_back(*receipt);
    } else {
      note(std::move(receipt).error());
    }
  }
  auto forgotten = ForgetOld(now);
  if (!forgotten) note(std::move(forgotten).error());
  auto dropped = core_.checkpoint().DropIfOld(now);
  if (!dropped) note(std::move(dropped).error());
  if (!receipts.empty()) {
    auto compacted = core_.CompactLedger(now);
    if (!compacted) note(std::move(compacted).error());
  }
  if (!first_error) return Fail(std::move(first_error).error());
  return receipts;
}

// Receipts, fingerprints and audit months that have served their time.
Status Purge::ForgetOld(TimePoint now) {
  {
    Transaction transaction(core_, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(
        Family::Sys(), {.prefix = schema::Key(schema::kReceipt)},
        [&](std::string_view key, std::string_view) {
          const ExpiryDay day(std::chrono::days(schema::ReadU32(key.substr(schema::kHeadBytes))));
          if (now < EndOfKeeping(day)) return false;  // ascending by date
          transaction.batch().Remove(Family::Sys(), std::string(key));
          return true;
        }));
    // Receipts of erasures say their instant, and end as those of dates.
    MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(
        Family::Sys(), {.prefix = schema::Key(schema::kDestruction)},
        [&](std::string_view key, std::string_view) {
          const auto at = schema::ParseDestructionTime(key);
          if (at && now < EndOfKeeping(std::chrono::floor<std::chrono::days>(*at))) return false;
          transaction.batch().Remove(Family::Sys(), std::string(key));
          return true;
        }));
    MAYFLY_RETURN_IF_ERROR(transaction.ForgetFingerprintsThrough(
        NumberOf(std::chrono::floor<std::chrono::days>(now))));
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  }
  return core_.ExpireAuditMonths(now);
}

Result<std::vector<PurgeReceipt>> Purge::Receipts(std::optional<ExpiryDay> after,
                                                  std::size_t limit) const {
  std::vector<PurgeReceipt> receipts;
  ScanOptions options{.prefix = schema::Key(schema::kReceipt), .limit = limit};
  if (after) options.after = schema::Key(schema::kReceipt, NumberOf(*after));
  MAYFLY_RETURN_IF_ERROR(
      core_.engine().Scan(Family::Sys(), options, [&](std::string_view, std::string_view value) {
        auto receipt = core_.Checked(codec::DecodeReceipt(value));
        if (receipt) receipts.push_back(*receipt);  // a damaged one is counted
        return true;
      }));
  return receipts;
}

}  // namespace mayfly::store
