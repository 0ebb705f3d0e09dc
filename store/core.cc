#include "store/core.h"

#include <algorithm>
#include <chrono>
#include <sodium.h>
#include <span>
#include <tuple>

#include "store/search/core_keys.h"

namespace mayfly::store {
namespace {

constexpr std::size_t kHeadsCached = 2'048;
constexpr std::size_t kHeadDaysCached = 65'536;
constexpr std::size_t kLookupsCached = 32'768;
constexpr std::size_t kSlotsCached = 32'768;
constexpr std::size_t kContactPrintsCached = 16'384;
constexpr int kProbesMax = 8;  // of one search that heads keep moving under
// Days after which a retention rule that is not used any more has nothing stored under it.
constexpr std::chrono::days kRuleKept{94};
constexpr std::chrono::months kAuditKept{12};
constexpr std::chrono::minutes kLookCovers{5};
constexpr std::size_t kLooksKept = 4'096;
constexpr std::size_t kOutcomeCharsMax = 32;
constexpr const char* kUnknownZone = "?";
constexpr ExpiryDay kFarFuture{std::chrono::days(100'000)};

Bytes16 KeyedHash(std::span<const std::uint8_t> key, std::string_view a, std::string_view b) {
  Bytes16 hash;
  crypto_generichash_state state;
  crypto_generichash_init(&state, key.data(), key.size(), hash.size());
  crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(a.data()), a.size());
  crypto_generichash_update(&state, reinterpret_cast<const unsigned char*>(b.data()), b.size());
  crypto_generichash_final(&state, hash.data(), hash.size());
  sodium_memzero(&state, sizeof state);
  return hash;
}

SealContext DayContext(const std::string& family_name, ExpiryDay day, char kind,
                       std::string_view key) {
  return {.organisation = schema::kOrganisation,
          .family = family_name,
          .column = kind,
          .engine_key = key,
          .expires_at = StartOf(day)};
}

SealContext SysContext(char kind, std::string_view key) {
  return {.organisation = schema::kOrganisation,
          .family = "sys",
          .column = kind,
          .engine_key = key,
          .expires_at = TimePoint()};
}

// All rows of sys of one kind, so that nothing is opened inside a scan.
Result<std::vector<std::pair<std::string, std::string>>> RowsOf(const Engine& engine, char kind) {
  std::vector<std::pair<std::string, std::string>> rows;
  MAYFLY_RETURN_IF_ERROR(engine.Scan(Family::Sys(), {.prefix = schema::Key(kind)},
                                     [&](std::string_view key, std::string_view value) {
                                       rows.emplace_back(key, value);
                                       return true;
                                     }));
  return rows;
}

}  // namespace

Result<const Pair*> Pairs::For(ExpiryDay day, Slot slot) {
  const Id id{day.time_since_epoch().count(), slot.number, slot.generation};
  const auto found = pairs_.find(id);
  if (found != pairs_.end()) return &found->second;
  auto pair = vault_.PairFor(day, slot);
  if (!pair) return Fail(std::move(pair).error());
  const Pair* kept = &pairs_.emplace(id, *pair).first->second;
  sodium_memzero(pair->data(), pair->size());
  return kept;
}

void Pairs::Wipe() {
  for (auto& [id, pair] : pairs_) sodium_memzero(pair.data(), pair.size());
  pairs_.clear();
}

ReaderPairs::ReaderPairs(const Core& core) : Pairs(core.vault()), view_(core.view_mutex_) {}

Subject OwnerOf(const codec::HeadRecord& head) {
  if (!head.group && !head.participants.empty()) {
    return Subject::Person(head.account, head.participants.front());
  }
  return Subject::Pseudo(head.account, head.id);
}

Core::Core(std::unique_ptr<Engine> engine, std::unique_ptr<KeyVault> vault,
           const StoreOptions& options)
    : engine_(std::move(engine)),
      vault_(std::move(vault)),
      options_(options),
      room_(*engine_, options_.room),
      checkpoint_(options.checkpoint_dir),
      newest_first_(std::make_shared<std::vector<ExpiryDay>>()),
      heads_(kHeadsCached),
      head_days_(kHeadDaysCached),
      lookups_(kLookupsCached),
      slots_(kSlotsCached),
      contact_prints_(kContactPrintsCached) {
  randombytes_buf(cache_key_.data(), cache_key_.size());
}

Status Core::Open() {
  MAYFLY_RETURN_IF_ERROR(engine_->OpenFamily(Family::Sys()));
  MAYFLY_RETURN_IF_ERROR(CheckKeyGeneration());
  MAYFLY_RETURN_IF_ERROR(OpenLedger());
  // Of a copy that was cut off: it would keep the bytes of dates that end.
  MAYFLY_RETURN_IF_ERROR(checkpoint_.Drop());

  // A date that was being rewritten is rewritten from the start, or has been: its twin is either
  // unfinished or what the date was before.
  for (const Family& family : engine_->Families(Family::Kind::kTwin)) {
    auto dropped = engine_->DropFamily(family);
    if (!dropped) return Fail(std::move(dropped).error());
  }
  // A family without keys is what a crash between two steps of a purge leaves: noise. What of its
  // end is still to do, the purge sees from its journal and its key file.
  const std::vector<ExpiryDay> dates = vault_->Dates();
  const std::vector<ExpiryDay> destroyed = vault_->DestroyedDates();
  std::set<ExpiryDay> with_keys(dates.begin(), dates.end());
  for (const ExpiryDay day : destroyed) with_keys.erase(day);
  std::set<ExpiryDay> open;
  for (const Family& family : engine_->Families(Family::Kind::kDay)) {
    if (with_keys.contains(family.day())) {
      // A key file that does not open takes its own date away and no other.
      const auto readable = vault_->BlindId(family.day(), schema::kBlindMessage, {});
      const Status usable = readable ? LoadIndex(family.day()) : Status(Fail(readable.error()));
      if (usable) {
        open.insert(family.day());
      } else if (usable.error().code == ErrorCode::kCorrupt) {
        CountDamage();
        damaged_days_.insert(family.day());
      } else {
        return Fail(usable.error());
      }
    } else {
      auto dropped = engine_->DropFamily(family);
      if (!dropped) return Fail(std::move(dropped).error());
    }
  }
  const std::vector<AuditMonth> months = vault_->Months();
  for (const Family& family : engine_->Families(Family::Kind::kAudit)) {
    if (std::find(months.begin(), months.end(), family.number) != months.end()) {
      audit_months_.insert(family.number);
    } else {
      auto dropped = engine_->DropFamily(family);
      if (!dropped) return Fail(std::move(dropped).error());
    }
  }

  std::set<ExpiryDay> hidden(destroyed.begin(), destroyed.end());
  MAYFLY_ASSIGN_OR_RETURN(const auto journals, RowsOf(*engine_, schema::kJournal));
  for (const auto& [key, value] : journals) {
    hidden.insert(ExpiryDay(
        std::chrono::days(schema::ReadU32(std::string_view(key).substr(schema::kHeadBytes)))));
  }
  for (const ExpiryDay day : hidden) ended_through_ = std::max(ended_through_, day);
  MAYFLY_RETURN_IF_ERROR(LoadEndedThrough());
  {
    MutexLock lock(days_mutex_);
    for (const ExpiryDay day : hidden) open.erase(day);
    open_days_ = std::move(open);
    hidden_days_ = std::move(hidden);
    PublishDays();
  }
  MAYFLY_RETURN_IF_ERROR(LoadLatestBirths());
  MAYFLY_RETURN_IF_ERROR(LoadBlocks());
  for (const ExpiryDay day : OpenDays()) young_words_.NoteWaiting(day);
  MutexLock lock(commit_mutex_);
  return ReloadCounters();
}

// Keys that were destroyed fewer times than the store knows of are a copy from before: what was
// destroyed since lives in them again, and slots that were given away look free.
Status Core::CheckKeyGeneration() {
  MAYFLY_ASSIGN_OR_RETURN(const auto row,
                          engine_->Get(Family::Sys(), schema::Key(schema::kKeyGeneration)));
  if (!row) return {};
  MAYFLY_ASSIGN_OR_RETURN(const std::uint64_t told, Checked(codec::DecodeNumber(*row)));
  if (vault_->Generation() < told) {
    return Fail(ErrorCode::kSealed,
                "the key files are older than the store: they were brought back from a copy, and "
                "hold keys that were destroyed since. Put back the newest ones; if they are gone, "
                "so is what they had sealed: begin anew with mayfly init in another directory",
                "keys-rolled-back");
  }
  MutexLock lock(commit_mutex_);
  key_generation_ = told;
  return {};
}

// Whether the store is a copy from before an erasure: the date's index is destroyed, or the slot of
// its postings.
bool Core::IsFromBefore(ExpiryDay day, Slot index) const {
  const auto blind = vault_->BlindUnder(day, index, schema::kBlindSubject, schema::PostingsInput());
  if (!blind) return IsDestroyed(day, index);
  const auto row = Get(day, schema::Key(schema::kSubject, *blind));
  if (!row || !*row) return false;
  const auto header = Checked(PeekSealed(**row));
  return header && IsDestroyed(day, header->slot);
}

bool Core::IsDestroyed(ExpiryDay day, Slot slot) const {
  auto pair = vault_->PairFor(day, slot);
  if (!pair) return pair.error().code == ErrorCode::kExpired && vault_->HasDate(day);
  sodium_memzero(pair->data(), pair->size());
  return false;
}

// A date's first slot is that of its index. Its row is on disk before any that depends on it.
Status Core::LoadIndex(ExpiryDay day) {
  const std::string key = schema::Key(schema::kIndex);
  MAYFLY_ASSIGN_OR_RETURN(const auto row, Get(day, key));
  Slot slot;
  if (row) {
    MAYFLY_ASSIGN_OR_RETURN(slot, codec::DecodeSlot(*row));
  } else {
    bool empty = true;
    MAYFLY_RETURN_IF_ERROR(
        engine_->Scan(Family::Day(day), {.limit = 1}, [&](std::string_view, std::string_view) {
          empty = false;
          return false;
        }));
    if (!empty) {
      return Fail(ErrorCode::kCorrupt,
                  "Family " + Family::Day(day).Name() + ": the row of its index (x) is missing.");
    }
    MAYFLY_ASSIGN_OR_RETURN(slot, vault_->TakeSlot(day));
    Batch batch;
    batch.Put(Family::Day(day), key, codec::Encode(slot));
    MAYFLY_RETURN_IF_ERROR(engine_->Commit(batch, options_.durability));
  }
  if (IsFromBefore(day, slot)) {
    // Its rows still open, but for those that were erased, so that the date can be written anew.
    Batch batch;
    batch.Put(
        Family::Sys(),
        schema::Key(schema::kRewriting, static_cast<std::uint32_t>(day.time_since_epoch().count())),
        codec::Encode(codec::RewritingRecord()));
    MAYFLY_RETURN_IF_ERROR(engine_->Commit(batch, options_.durability));
  }
  MutexLock lock(days_mutex_);
  indexes_.insert_or_assign(day, slot);
  return {};
}

// The latest date with a receipt has ended, and all before it.
Status Core::LoadEndedThrough() {
  return engine_->Scan(
      Family::Sys(), {.prefix = schema::Key(schema::kReceipt), .reverse = true, .limit = 1},
      [&](std::string_view key, std::string_view) {
        const ExpiryDay day(std::chrono::days(schema::ReadU32(key.substr(schema::kHeadBytes))));
        ended_through_ = std::max(ended_through_, day);
        return false;
      });
}

Status Core::LoadLatestBirths() {
  for (const ExpiryDay day : OpenDays()) {
    MAYFLY_RETURN_IF_ERROR(engine_->Scan(Family::Day(day), {.prefix = schema::Key(schema::kStats)},
                                         [&](std::string_view, std::string_view value) {
                                           const auto stats = Checked(codec::DecodeStats(value));
                                           // Of a date that cannot say, anything may be expected.
                                           NoteBirth(day, stats ? stats->greatest_born
                                                                : TimePoint::max());
                                           return true;
                                         }));
  }
  return {};
}

void Core::NoteBirth(ExpiryDay day, TimePoint born) {
  MutexLock lock(days_mutex_);
  TimePoint& latest = latest_births_.try_emplace(day, born).first->second;
  latest = std::max(latest, born);
}

Status Core::ReloadCounters() {
  const auto number = [&](char kind, std::uint64_t first) -> Result<std::uint64_t> {
    MAYFLY_ASSIGN_OR_RETURN(const auto row, engine_->Get(Family::Sys(), schema::Key(kind)));
    if (!row) return first;
    return Checked(codec::DecodeNumber(*row));
  };
  MAYFLY_ASSIGN_OR_RETURN(const std::uint64_t sequence, number(schema::kNextSequence, 1));
  MAYFLY_ASSIGN_OR_RETURN(const std::uint64_t audit, number(schema::kNextAudit, 1));
  MAYFLY_ASSIGN_OR_RETURN(const std::uint64_t account, number(schema::kNextAccount, 1));
  MAYFLY_RETURN_IF_ERROR(LoadAccounts());
  MAYFLY_RETURN_IF_ERROR(LoadFingerprints());
  MAYFLY_RETURN_IF_ERROR(LoadPending());
  MAYFLY_RETURN_IF_ERROR(LoadRestrictions());
  // A sequence that a lost commit took is not given out again.
  next_sequence_ = std::max(next_sequence_, sequence);
  next_audit_ = audit;  // this one has no gaps
  next_account_ = static_cast<std::uint32_t>(account);
  in_doubt_ = false;
  return {};
}

Status Core::LoadAccounts() {
  std::map<AccountId, AccountEntry> accounts;
  const auto id_of = [](const std::string& key) {
    return AccountId{schema::ReadU32(std::string_view(key).substr(schema::kHeadBytes))};
  };
  MAYFLY_ASSIGN_OR_RETURN(const auto rows, RowsOf(*engine_, schema::kAccount));
  for (const auto& [key, value] : rows) {
    AccountEntry& entry = accounts[id_of(key)];
    const auto body = OpenSys(schema::kAccount, key, schema::kPurposeAccount, value);
    if (!body) continue;  // counted; this account says kCorrupt, the others work
    auto account = Checked(codec::DecodeAccount(*body));
    if (!account) continue;
    entry.stored_success = account->last_success_at;
    entry.account = *std::move(account);
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto forgotten, RowsOf(*engine_, schema::kForgottenUntil));
  for (const auto& [key, value] : forgotten) {
    const auto until = Checked(codec::DecodeTime(value));
    if (until) accounts[id_of(key)].forgotten_until = *until;
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto rules, RowsOf(*engine_, schema::kRules));
  for (const auto& [key, value] : rules) {
    auto decoded = Checked(codec::DecodeRules(value));
    // Not knowing the rules that were used means probing every date: what an unknown zone does.
    accounts[id_of(key)].rules =
        decoded ? *std::move(decoded)
                : std::vector<codec::UsedRule>{
                      {.zone = kUnknownZone, .period = {}, .last_used = kFarFuture}};
  }
  MutexLock lock(accounts_mutex_);
  accounts_ = std::move(accounts);
  return {};
}

Status Core::LoadFingerprints() {
  // One seek for each forget day and account, not one step for each fingerprint.
  std::set<std::pair<std::uint32_t, AccountId>> found;
  ScanOptions options{.prefix = schema::Key(schema::kFingerprint), .limit = 1};
  for (bool more = true; more;) {
    more = false;
    MAYFLY_RETURN_IF_ERROR(
        engine_->Scan(Family::Sys(), options, [&](std::string_view key, std::string_view) {
          const std::string_view rest = key.substr(schema::kHeadBytes);
          const std::uint32_t day = schema::ReadU32(rest);
          const AccountId account{
              schema::ReadU32(rest.substr(std::min<std::size_t>(4, rest.size())))};
          found.emplace(day, account);
          Bytes16 last;
          last.fill(0xff);
          options.after = schema::FingerprintKey(day, account, last);
          more = true;
          return false;
        }));
  }
  MutexLock lock(accounts_mutex_);
  fingerprints_ = std::move(found);
  return {};
}

Status Core::LoadPending() {
  std::vector<ReplyId> found;
  const std::size_t key_bytes = schema::kHeadBytes + 16;
  for (const ExpiryDay day : OpenDays()) {
    MAYFLY_RETURN_IF_ERROR(engine_->Scan(Family::Day(day),
                                         {.prefix = schema::Key(schema::kPending)},
                                         [&](std::string_view key, std::string_view) {
                                           if (const auto bytes = schema::Tail16(key, key_bytes))
                                             found.push_back({day, *bytes});
                                           return true;
                                         }));
  }
  MutexLock lock(cache_mutex_);
  for (const ReplyId& id : found) pending_.try_emplace(id);
  return {};
}

void Core::DistrustCaches() {
  in_doubt_ = true;
  audit_uncommitted_ = 0;
  stats_.clear();
  head_moves_.fetch_add(2);
  MutexLock lock(cache_mutex_);
  ClearCaches();
}

void Core::ClearCaches() {
  heads_.Clear();
  head_days_.Clear();
  lookups_.Clear();
  slots_.Clear();
  contact_prints_.Clear();
}

Bytes16 Core::CacheKey(AccountId account, const PlatformId& id) const {
  return KeyedHash(cache_key_, schema::U32(account.value), id.Reveal());
}

// --- days

void Core::PublishDays() {
  newest_first_ =
      std::make_shared<const std::vector<ExpiryDay>>(open_days_.rbegin(), open_days_.rend());
}

std::vector<ExpiryDay> Core::OpenDays() const {
  std::shared_ptr<const std::vector<ExpiryDay>> days;
  {
    MutexLock lock(days_mutex_);
    days = newest_first_;
  }
  return *days;
}

std::vector<ExpiryDay> Core::VisibleDays(TimePoint now) const {
  std::vector<ExpiryDay> days = OpenDays();
  while (!days.empty() && !IsVisible(StartOf(days.back()), now)) days.pop_back();
  return days;
}

std::vector<std::pair<ExpiryDay, TimePoint>> Core::VisibleDaysWithLatestBirth(TimePoint now) const {
  std::vector<std::pair<ExpiryDay, TimePoint>> days;
  MutexLock lock(days_mutex_);
  TimePoint latest = TimePoint::min();
  for (const ExpiryDay day : open_days_) {
    if (const auto found = latest_births_.find(day); found != latest_births_.end()) {
      latest = std::max(latest, found->second);
    }
    if (IsVisible(StartOf(day), now)) days.emplace_back(day, latest);
  }
  std::reverse(days.begin(), days.end());
  return days;
}

bool Core::IsUsable(ExpiryDay day, TimePoint now) const {
  if (!IsVisible(StartOf(day), now)) return false;
  MutexLock lock(days_mutex_);
  return open_days_.contains(day);
}

bool Core::IsHidden(ExpiryDay day) const {
  MutexLock lock(days_mutex_);
  return hidden_days_.contains(day);
}

Status Core::CheckKeys(ExpiryDay day) const {
  if (!damaged_days_.contains(day)) return {};
  return Fail(ErrorCode::kCorrupt,
              "Family " + Family::Day(day).Name() + ": the key file of this date does not open.");
}

Status Core::EnsureDay(ExpiryDay day) {
  {
    MutexLock lock(days_mutex_);
    if (open_days_.contains(day)) return {};
  }
  if (day <= ended_through_) return Fail(ErrorCode::kExpired, "This date has ended.");
  MAYFLY_RETURN_IF_ERROR(vault_->OpenDate(day));
  MAYFLY_RETURN_IF_ERROR(engine_->OpenFamily(Family::Day(day)));
  MAYFLY_RETURN_IF_ERROR(LoadIndex(day));
  MutexLock lock(days_mutex_);
  open_days_.insert(day);
  PublishDays();
  return {};
}

void Core::HideDay(ExpiryDay day) {
  ended_through_ = std::max(ended_through_, day);
  young_words_.Hide(day);
  restrictions_.EndDate(day);
  std::erase_if(stats_, [&](const auto& entry) { return entry.first.first == day; });
  {
    MutexLock lock(days_mutex_);
    open_days_.erase(day);
    hidden_days_.insert(day);
    latest_births_.erase(day);
    days_with_blocks_.erase(day);
    PublishDays();
  }
  MutexLock lock(cache_mutex_);
  ClearCaches();
  std::erase_if(pending_, [&](const auto& entry) { return entry.first.day == day; });
}

void Core::FinishDay(ExpiryDay day) {
  MutexLock lock(days_mutex_);
  hidden_days_.erase(day);
  indexes_.erase(day);
}

Result<Slot> Core::IndexOf(ExpiryDay day) const {
  MutexLock lock(days_mutex_);
  const auto found = indexes_.find(day);
  if (found != indexes_.end()) return found->second;
  return Fail(ErrorCode::kExpired, "This date has no index.");
}

Result<Bytes16> Core::Blind(ExpiryDay day, const char* label, std::string_view input) const {
  MAYFLY_ASSIGN_OR_RETURN(const Slot index, IndexOf(day));
  return vault_->BlindUnder(day, index, label, input);
}

// --- rows

Result<OpenedRow> Core::OpenRow(ExpiryDay day, char kind, std::string_view key,
                                std::string_view sealed, Pairs& pairs) const {
  OpenedRow row;
  MAYFLY_ASSIGN_OR_RETURN(row.header, Checked(PeekSealed(sealed)));
  auto pair = pairs.For(day, row.header.slot);
  if (!pair) {
    // Reading goes on while a date ends, and while an erased person's rows are removed; that is no
    // damage.
    if (pair.error().code == ErrorCode::kCorrupt) CountDamage();
    if (pair.error().code == ErrorCode::kExpired && vault_->HasDate(day)) {
      return Fail(ErrorCode::kNotFound, "It was erased.");
    }
    return Fail(std::move(pair).error());
  }
  const std::string family_name = Family::Day(day).Name();
  MAYFLY_ASSIGN_OR_RETURN(row.body,
                          Checked(Unseal(**pair, DayContext(family_name, day, kind, key), sealed)));
  return row;
}

Result<std::string> Core::ResealRow(ExpiryDay day, char kind, std::string_view key,
                                    std::string_view sealed, std::string_view new_key,
                                    Slot new_slot, Pairs& pairs) const {
  MAYFLY_ASSIGN_OR_RETURN(SealedHeader header, PeekSealed(sealed));
  MAYFLY_ASSIGN_OR_RETURN(const Pair* const pair, pairs.For(day, header.slot));
  MAYFLY_ASSIGN_OR_RETURN(const Pair* const new_pair, pairs.For(day, new_slot));
  const std::string family_name = Family::Day(day).Name();
  header.slot = new_slot;
  return Reseal(*pair, DayContext(family_name, day, kind, key), sealed, *new_pair,
                DayContext(family_name, day, kind, new_key), header);
}

Result<std::string> Core::SealRow(ExpiryDay day, char kind, std::string_view key,
                                  const SealedHeader& header, std::string body,
                                  Pairs& pairs) const {
  auto pair = pairs.For(day, header.slot);
  if (!pair) {
    WipeString(body);
    return Fail(std::move(pair).error());
  }
  const std::string family_name = Family::Day(day).Name();
  std::string sealed = Seal(**pair, DayContext(family_name, day, kind, key), header, body);
  WipeString(body);
  return sealed;
}

std::string Core::SealSys(char kind, std::string_view key, AccountId account, const char* purpose,
                          std::string body) const {
  Pair pair = vault_->PurposeKey(purpose);
  std::string sealed = Seal(pair, SysContext(kind, key), {.account = account}, body);
  sodium_memzero(pair.data(), pair.size());
  WipeString(body);
  return sealed;
}

Result<std::string> Core::OpenSys(char kind, std::string_view key, const char* purpose,
                                  std::string_view sealed) const {
  Pair pair = vault_->PurposeKey(purpose);
  auto body = Checked(Unseal(pair, SysContext(kind, key), sealed));
  sodium_memzero(pair.data(), pair.size());
  return body;
}

Result<std::optional<std::string>> Core::ReadSys(char kind, AccountId account,
                                                 const char* purpose) const {
  const std::string key = schema::Key(kind, account.value);
  MAYFLY_ASSIGN_OR_RETURN(const auto sealed, engine_->Get(Family::Sys(), key));
  if (!sealed) return std::optional<std::string>();
  MAYFLY_ASSIGN_OR_RETURN(std::string body, OpenSys(kind, key, purpose, *sealed));
  return std::optional<std::string>(std::move(body));
}

// --- conversations and messages

Result<HeadPtr> Core::LoadHead(ConversationId id, ExpiryDay day, Pairs& pairs) const {
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind,
                          Blind(day, schema::kBlindConversation, schema::View(id.bytes)));
  const std::string key = schema::Key(schema::kHead, blind);
  MAYFLY_ASSIGN_OR_RETURN(const auto sealed, Get(day, key));
  if (!sealed) return HeadPtr();
  MAYFLY_ASSIGN_OR_RETURN(const OpenedRow row, OpenRow(day, schema::kHead, key, *sealed, pairs));
  MAYFLY_ASSIGN_OR_RETURN(codec::HeadRecord record, Checked(codec::DecodeHead(row.body)));
  return std::make_shared<const LoadedHead>(LoadedHead{.record = std::move(record), .day = day});
}

Result<std::optional<Core::Newest>> Core::NewestOf(const codec::HeadRecord& head, TimePoint now,
                                                   Pairs& pairs) const {
  if (!head.last_message) return std::optional<Newest>();
  if (IsUsable(head.last_message->day, now)) {
    return std::optional(Newest{*head.last_message, head.last_activity_at});
  }
  std::optional<Newest> newest;
  std::optional<schema::ThreadPosition> newest_at;
  for (const ExpiryDay day : head.days) {
    if (!IsUsable(day, now)) continue;
    const auto cblind = Blind(day, schema::kBlindConversation, schema::View(head.id.bytes));
    if (!cblind) {
      if (IsGone(cblind.error())) continue;
      return Fail(cblind.error());
    }
    auto scanned = engine_->Scan(
        Family::Day(day), {.prefix = schema::Key(schema::kMessage, *cblind)},
        [&](std::string_view key, std::string_view sealed) {
          const auto position = schema::ParseMessageKey(key);
          if (!position) return true;
          if (newest_at && !schema::IsNewer(*position, *newest_at)) return false;
          const auto stored = OpenMessage(day, key, sealed, pairs);
          if (!stored || stored->record.withdrawn) return true;
          newest_at = position;
          newest = Newest{stored->id, std::min(position->sent_at, stored->record.received_at)};
          return false;
        });
    if (!scanned && !IsGone(scanned.error())) return Fail(std::move(scanned).error());
  }
  return newest;
}

Result<HeadPtr> Core::FindHead(ConversationId id, TimePoint now, Pairs& pairs,
                               std::optional<ExpiryDay>* damaged_day) const {
  for (int probe = 0; probe < kProbesMax; ++probe) {
    const std::uint64_t moves = head_moves_.load();
    std::optional<ExpiryDay> first;
    {
      MutexLock lock(cache_mutex_);
      if (const HeadPtr* head = heads_.Find(id.bytes)) {
        if (IsVisible(StartOf((*head)->day), now)) return *head;
      }
      if (const ExpiryDay* day = head_days_.Find(id.bytes)) first = *day;
    }
    std::vector<ExpiryDay> days = VisibleDays(now);
    if (first) {
      const auto found = std::find(days.begin(), days.end(), *first);
      if (found != days.end()) std::rotate(days.begin(), found, found + 1);
    }
    for (const ExpiryDay day : days) {
      auto head = LoadHead(id, day, pairs);
      if (!head) {
        if (IsGone(head.error())) continue;
        if (damaged_day != nullptr && head.error().code == ErrorCode::kCorrupt) *damaged_day = day;
        return head;
      }
      if (*head == nullptr) continue;
      MutexLock lock(cache_mutex_);
      // Only where it lies, never what it says: a reader may be older than a commit.
      if (head_moves_.load() == moves && moves % 2 == 0) head_days_.Put(id.bytes, day);
      return head;
    }
    if (head_moves_.load() == moves && moves % 2 == 0) break;
    // A head may have moved to a date that was already probed. Look again.
  }
  return HeadPtr();
}

Result<std::optional<ConversationId>> Core::FindConversation(AccountId account,
                                                             const PlatformId& id, TimePoint now,
                                                             Pairs& pairs) {
  const Bytes16 cache_key = CacheKey(account, id);
  {
    MutexLock lock(cache_mutex_);
    if (const auto* known = lookups_.Find(cache_key)) return *known;
  }
  std::optional<ConversationId> found;
  const std::string input = schema::LookupInput(account, id.Reveal());
  for (const ExpiryDay day : VisibleDays(now)) {
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, Blind(day, schema::kBlindLookup, input));
    const std::string key = schema::Key(schema::kLookup, blind);
    MAYFLY_ASSIGN_OR_RETURN(const auto sealed, Get(day, key));
    if (!sealed) continue;
    auto row = OpenRow(day, schema::kLookup, key, *sealed, pairs);
    // A damaged row is counted. Collecting must go on: the conversation gets a new public id.
    if (!row) continue;
    const auto decoded = Checked(codec::DecodeConversationId(row->body));
    if (!decoded) continue;
    found = *decoded;
    break;
  }
  MutexLock lock(cache_mutex_);
  lookups_.Put(cache_key, found);
  return found;
}

Result<std::optional<Contact>> Core::LoadContact(AccountId account, const PlatformId& person,
                                                 ExpiryDay day, Pairs& pairs) const {
  MAYFLY_ASSIGN_OR_RETURN(
      const Bytes16 blind,
      Blind(day, schema::kBlindSubject, schema::PersonInput(account, person.Reveal())));
  const std::string key = schema::Key(schema::kContact, blind);
  MAYFLY_ASSIGN_OR_RETURN(const auto sealed, Get(day, key));
  if (!sealed) return std::optional<Contact>();
  MAYFLY_ASSIGN_OR_RETURN(const OpenedRow row, OpenRow(day, schema::kContact, key, *sealed, pairs));
  MAYFLY_ASSIGN_OR_RETURN(Contact contact, Checked(codec::DecodeContact(row.body)));
  return std::optional<Contact>(std::move(contact));
}

Result<std::optional<Contact>> Core::FindContact(AccountId account, const PlatformId& person,
                                                 ExpiryDay head_day, TimePoint now,
                                                 Pairs& pairs) const {
  std::vector<ExpiryDay> days = VisibleDays(now);
  const auto first = std::find(days.begin(), days.end(), head_day);
  if (first != days.end()) std::rotate(days.begin(), first, first + 1);
  for (const ExpiryDay day : days) {
    auto contact = LoadContact(account, person, day, pairs);
    if (!contact) {
      // Gone with its date, or damaged (counted): a message is readable without its sender's name.
      if (IsGone(contact.error()) || contact.error().code == ErrorCode::kCorrupt) continue;
      return contact;
    }
    if (*contact) return contact;
  }
  return std::optional<Contact>();
}

Result<std::vector<Contact>> Core::ParticipantsOf(const LoadedHead& head, TimePoint now,
                                                  Pairs& pairs) const {
  std::vector<Contact> contacts;
  for (const PlatformId& person : head.record.participants) {
    MAYFLY_ASSIGN_OR_RETURN(auto contact,
                            FindContact(head.record.account, person, head.day, now, pairs));
    contacts.push_back(contact ? *std::move(contact) : Contact{.platform_id = person});
  }
  return contacts;
}

Result<StoredMessage> Core::OpenMessage(ExpiryDay day, std::string_view key,
                                        std::string_view sealed, Pairs& pairs) const {
  StoredMessage message;
  message.id.day = day;
  message.key = key;
  const auto position = schema::ParseMessageKey(key);
  if (!position) {
    CountDamage();
    return Fail(ErrorCode::kCorrupt, "A message key has the wrong length.");
  }
  message.id.bytes = position->dkey;
  MAYFLY_ASSIGN_OR_RETURN(const OpenedRow row, OpenRow(day, schema::kMessage, key, sealed, pairs));
  message.header = row.header;
  MAYFLY_ASSIGN_OR_RETURN(message.record, Checked(codec::DecodeMessage(row.body)));
  return message;
}

Result<StoredMessage> Core::FindMessage(const MessageId& id, TimePoint now, Pairs& pairs) const {
  if (!IsVisible(StartOf(id.day), now)) {
    return Fail(ErrorCode::kExpired, "The date of this message has come.");
  }
  const auto unknown = [] { return Fail(ErrorCode::kNotFound, "There is no such message."); };
  MAYFLY_RETURN_IF_ERROR(CheckKeys(id.day));
  if (!IsUsable(id.day, now)) return unknown();
  MAYFLY_ASSIGN_OR_RETURN(const auto pointer, Get(id.day, schema::Key(schema::kPointer, id.bytes)));
  if (!pointer) return unknown();
  MAYFLY_ASSIGN_OR_RETURN(const auto where, Checked(codec::DecodePointer(*pointer)));
  const std::string key = schema::MessageKey(where.cblind, where.sent_at, id.bytes);
  MAYFLY_ASSIGN_OR_RETURN(const auto sealed, Get(id.day, key));
  if (!sealed) {
    CountDamage();
    return Fail(ErrorCode::kCorrupt,
                "Family " + Family::Day(id.day).Name() + ": a message row (m) is missing.");
  }
  return OpenMessage(id.day, key, *sealed, pairs);
}

Result<std::optional<MessageId>> Core::FindByPlatformId(AccountId account, const PlatformId& id,
                                                        TimePoint now) const {
  const std::string input = schema::MessageInput(account, id.Reveal());
  for (const ExpiryDay day : VisibleDays(now)) {
    auto dkey = BlindId(day, schema::kBlindMessage, input);
    if (!dkey) {
      if (IsGone(dkey.error())) continue;
      return Fail(std::move(dkey).error());
    }
    auto row = Get(day, schema::Key(schema::kPointer, *dkey));
    if (!row) {
      if (IsGone(row.error())) continue;
      return Fail(std::move(row).error());
    }
    if (*row) return std::optional<MessageId>(MessageId{day, *dkey});
  }
  return std::optional<MessageId>();
}

// --- replies

Result<StoredReply> Core::FindReply(const ReplyId& id, TimePoint now, Pairs& pairs) const {
  if (!IsVisible(StartOf(id.day), now)) {
    return Fail(ErrorCode::kExpired, "The date of this reply has come.");
  }
  const auto unknown = [] { return Fail(ErrorCode::kNotFound, "There is no such reply."); };
  MAYFLY_RETURN_IF_ERROR(CheckKeys(id.day));
  if (!IsUsable(id.day, now)) return unknown();
  const std::string key = schema::Key(schema::kReply, id.bytes);
  MAYFLY_ASSIGN_OR_RETURN(const auto sealed, Get(id.day, key));
  if (!sealed) return unknown();
  MAYFLY_ASSIGN_OR_RETURN(const OpenedRow row,
                          OpenRow(id.day, schema::kReply, key, *sealed, pairs));
  MAYFLY_ASSIGN_OR_RETURN(Reply reply, Checked(codec::DecodeReply(row.body, id)));
  return StoredReply{.slot = row.header.slot, .reply = std::move(reply)};
}

Result<std::vector<StoredReply>> Core::PendingReplies(std::optional<ConversationId> conversation,
                                                      TimePoint now, Pairs& pairs) const {
  std::vector<ReplyId> ids;
  {
    MutexLock lock(cache_mutex_);
    for (const auto& [id, of] : pending_) {
      if (conversation && of && *of != *conversation) continue;
      ids.push_back(id);
    }
  }
  std::vector<StoredReply> replies;
  for (const ReplyId& id : ids) {
    auto found = FindReply(id, now, pairs);
    if (!found) {
      const ErrorCode code = found.error().code;
      // Hidden by its date, or damaged and counted: the others are still to be worked on.
      if (code == ErrorCode::kExpired || code == ErrorCode::kNotFound ||
          code == ErrorCode::kCorrupt) {
        continue;
      }
      return Fail(std::move(found).error());
    }
    if (!IsPending(found->reply.state)) continue;
    NotePending(id, found->reply.conversation);
    if (conversation && found->reply.conversation != *conversation) continue;
    replies.push_back(*std::move(found));
  }
  std::sort(replies.begin(), replies.end(), [](const StoredReply& a, const StoredReply& b) {
    return std::tie(a.reply.created_at, a.reply.id) < std::tie(b.reply.created_at, b.reply.id);
  });
  return replies;
}

void Core::NotePending(const ReplyId& id, ConversationId conversation) const {
  MutexLock lock(cache_mutex_);
  const auto found = pending_.find(id);
  // Only what is already listed: a reader must not bring back what a commit has just settled.
  if (found != pending_.end()) found->second = conversation;
}

// --- accounts

Result<Account> Core::GetAccount(AccountId id) const {
  MutexLock lock(accounts_mutex_);
  const auto found = accounts_.find(id);
  if (found == accounts_.end()) return Fail(ErrorCode::kNotFound, "There is no such account.");
  if (!found->second.account) {
    return Fail(ErrorCode::kCorrupt,
                "Family sys: the row of account " + id.ToString() + " (a) does not open.");
  }
  Account account = *found->second.account;
  account.forgotten_until = found->second.forgotten_until;
  return account;
}

std::vector<AccountId> Core::AccountIds() const {
  MutexLock lock(accounts_mutex_);
  std::vector<AccountId> ids;
  for (const auto& [id, entry] : accounts_) ids.push_back(id);
  return ids;
}

void Core::PublishAccount(const Account& account) {
  MutexLock lock(accounts_mutex_);
  accounts_[account.id].account = account;
}

std::optional<TimePoint> Core::StoredSuccess(AccountId id) const {
  MutexLock lock(accounts_mutex_);
  const auto found = accounts_.find(id);
  return found == accounts_.end() ? std::nullopt : found->second.stored_success;
}

std::optional<TimePoint> Core::ForgottenUntil(AccountId id) const {
  MutexLock lock(accounts_mutex_);
  const auto found = accounts_.find(id);
  if (found == accounts_.end()) return std::nullopt;
  return found->second.forgotten_until;
}

std::vector<codec::UsedRule> Core::RulesOf(AccountId id) const {
  MutexLock lock(accounts_mutex_);
  const auto found = accounts_.find(id);
  return found == accounts_.end() ? std::vector<codec::UsedRule>() : found->second.rules;
}

std::optional<RetentionRule> Core::RuleOf(const codec::UsedRule& used) const {
  MutexLock lock(accounts_mutex_);
  auto zone = zones_.find(used.zone);
  if (zone == zones_.end()) {
    auto loaded = Zone::Load(used.zone);
    zone = zones_
               .emplace(used.zone,
                        loaded ? std::optional<Zone>(*std::move(loaded)) : std::optional<Zone>())
               .first;
  }
  if (!zone->second) return std::nullopt;
  return RetentionRule{.zone = *zone->second, .period = used.period};
}

std::chrono::days Core::ShortestLife(AccountId id) const {
  // Calendar months at their shortest, less the cut to midnight and an hour of daylight saving.
  const auto life = [](const RetentionPeriod& period) {
    constexpr std::array<int, kCeilingMonths + 1> kMonthDays = {0, 26, 56, 86};
    return std::chrono::days(period.months() > 0
                                 ? kMonthDays[static_cast<std::size_t>(period.months())]
                                 : std::max(0, period.days() - 2));
  };
  std::chrono::days shortest(0);
  if (const auto account = GetAccount(id)) shortest = life(account->retention);
  for (const codec::UsedRule& used : RulesOf(id)) {
    shortest =
        std::min(shortest, used.zone == kUnknownZone ? std::chrono::days(0) : life(used.period));
  }
  return shortest;
}

bool Core::HasFingerprints(std::uint32_t forget_day, AccountId account) const {
  MutexLock lock(accounts_mutex_);
  return fingerprints_.contains({forget_day, account});
}

Bytes16 Core::PrintOf(const char* purpose, std::string_view input) const {
  Pair key = vault_->PurposeKey(purpose);
  const Bytes16 hash = KeyedHash(key, input, {});
  sodium_memzero(key.data(), key.size());
  return hash;
}

Bytes16 Core::FingerprintOf(AccountId account, const PlatformId& message) const {
  return PrintOf(schema::kPurposeFingerprint, schema::MessageInput(account, message.Reveal()));
}

// --- erasure

void Core::Track(ExpiryDay day) { tracked_.emplace(day, Tracked()); }

Core::Tracked Core::TakeTracked() {
  auto taken = std::exchange(tracked_, std::nullopt);
  return taken ? std::move(taken->second) : Tracked();
}

namespace {

constexpr std::size_t kPieceHeadBytes = 128;  // holds more than PeekSealed reads

}  // namespace

Status Core::NoteTracked(const Batch& batch) {
  if (!tracked_) return {};
  const auto& [day, family] = std::pair(tracked_->first, Family::Day(tracked_->first));
  for (const Change& change : batch.changes) {
    if (change.family != family) continue;
    if (change.value) {
      tracked_->second.put.insert(change.key);
      continue;
    }
    MAYFLY_ASSIGN_OR_RETURN(auto held, Get(day, change.key));
    if (!held) continue;
    // Its key says where it went: of so many bytes only the head is kept.
    if (schema::KindOf(change.key) == schema::kAttachment && held->size() > kPieceHeadBytes) {
      held->resize(kPieceHeadBytes);
    }
    tracked_->second.removed.insert_or_assign(change.key, *std::move(held));
  }
  return {};
}

void Core::ReplaceIndex(ExpiryDay day, Slot index) {
  {
    MutexLock lock(days_mutex_);
    indexes_.insert_or_assign(day, index);
  }
  ForgetRead();
}

void Core::ForgetRead() {
  head_moves_.fetch_add(2);
  MutexLock lock(cache_mutex_);
  ClearCaches();
}

void Core::ForgetPending(const ReplyId& id) {
  MutexLock lock(cache_mutex_);
  pending_.erase(id);
}

void Core::ForgetStats(ExpiryDay day) {
  std::erase_if(stats_, [&](const auto& entry) { return entry.first.first == day; });
}

Status Core::LoadBlocks() {
  for (const ExpiryDay day : OpenDays()) {
    MAYFLY_RETURN_IF_ERROR(engine_->Scan(Family::Day(day),
                                         {.prefix = schema::Key(schema::kBlock), .limit = 1},
                                         [&](std::string_view, std::string_view) {
                                           NoteBlocks(day);
                                           return false;
                                         }));
  }
  return {};
}

void Core::NoteBlocks(ExpiryDay day) {
  MutexLock lock(days_mutex_);
  days_with_blocks_.insert(day);
}

Result<std::optional<TimePoint>> Core::BlockedUntil(std::string_view input, TimePoint now) const {
  std::vector<ExpiryDay> days;
  {
    MutexLock lock(days_mutex_);
    for (const ExpiryDay day : days_with_blocks_) {
      if (IsVisible(StartOf(day), now)) days.push_back(day);
    }
  }
  std::optional<TimePoint> until;
  for (const ExpiryDay day : days) {
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, BlindId(day, schema::kBlindBlock, input));
    MAYFLY_ASSIGN_OR_RETURN(const auto row, Get(day, schema::Key(schema::kBlock, blind)));
    if (!row) continue;
    MAYFLY_ASSIGN_OR_RETURN(const TimePoint at, Checked(codec::DecodeTime(*row)));
    if (!until || *until < at) until = at;
  }
  return until;
}

// --- audit

Status Core::EnsureAuditMonth(AuditMonth month) {
  if (audit_months_.contains(month)) return {};
  auto pair = vault_->PairForMonth(month);
  if (!pair) return Fail(std::move(pair).error());
  sodium_memzero(pair->data(), pair->size());
  MAYFLY_RETURN_IF_ERROR(engine_->OpenFamily(Family::Audit(month)));
  audit_months_.insert(month);
  return {};
}

Status Core::ExpireAuditMonths(TimePoint now) {
  MutexLock lock(commit_mutex_);
  for (const AuditMonth month : vault_->Months()) {
    const std::chrono::year_month_day end(
        std::chrono::floor<std::chrono::days>(schema::EndOf(month)));
    if (now < StartOf(std::chrono::sys_days(end + kAuditKept))) continue;
    audit_months_.erase(month);
    // The key first: a family without one is dropped at the next start.
    MAYFLY_RETURN_IF_ERROR(vault_->DestroyMonth(month));
    auto dropped = engine_->DropFamily(Family::Audit(month));
    if (!dropped) return Fail(std::move(dropped).error());
  }
  return {};
}

bool Core::LookIsCovered(const std::string& actor, const std::string& object, TimePoint now) const {
  MutexLock lock(cache_mutex_);
  const auto found = looks_.find({actor, object});
  return found != looks_.end() && now >= found->second && now < found->second + kLookCovers;
}

void Core::NoteLook(const std::string& actor, const std::string& object, TimePoint now) {
  MutexLock lock(cache_mutex_);
  if (looks_.size() >= kLooksKept) {
    std::erase_if(looks_, [&](const auto& look) { return now >= look.second + kLookCovers; });
    // Still full: forgotten looks are merely recorded again.
    if (looks_.size() >= kLooksKept) looks_.clear();
  }
  looks_[{actor, object}] = now;
}

Status Core::AppendAudit(Batch& batch, AuditEntry entry) {
  // Outcomes are words of ours. Whatever else a caller was given does not get into the log.
  const bool is_word = !entry.outcome.empty() && entry.outcome.size() <= kOutcomeCharsMax &&
                       std::all_of(entry.outcome.begin(), entry.outcome.end(),
                                   [](char c) { return (c >= 'a' && c <= 'z') || c == '-'; });
  if (!is_word) entry.outcome = "other";
  const AuditMonth month = schema::MonthOf(entry.at);
  MAYFLY_RETURN_IF_ERROR(EnsureAuditMonth(month));
  entry.sequence = next_audit_ + audit_uncommitted_;
  const std::string key = schema::AuditKey(entry.sequence);
  const std::string family_name = Family::Audit(month).Name();
  MAYFLY_ASSIGN_OR_RETURN(Pair pair, vault_->PairForMonth(month));
  std::string sealed = Seal(pair,
                            {.organisation = schema::kOrganisation,
                             .family = family_name,
                             .column = schema::kAuditEntry,
                             .engine_key = key,
                             .expires_at = TimePoint()},
                            {}, codec::Encode(entry));
  sodium_memzero(pair.data(), pair.size());
  batch.Put(Family::Audit(month), key, std::move(sealed));
  batch.Put(Family::Sys(), schema::Key(schema::kNextAudit),
            codec::EncodeNumber(entry.sequence + 1));
  ++audit_uncommitted_;
  return {};
}

// --- Transaction

Transaction::Transaction(Core& core, TimePoint now)
    : core_(core), lock_(core.commit_mutex_), now_(now), pairs_(*core.vault_) {
  core_.audit_uncommitted_ = 0;
}

Transaction::~Transaction() { core_.audit_uncommitted_ = 0; }

Status Transaction::Begin() {
  if (!core_.in_doubt_) return {};
  MAYFLY_RETURN_IF_ERROR(core_.ReloadCounters());
  // Accounts are shown as they were before the commit until here.
  const bool untold = std::exchange(core_.changes_in_doubt_, false);
  if (untold && core_.observer_ != nullptr) core_.observer_->OnDoubt();
  return {};
}

Result<Bytes16> Transaction::ConversationBlind(ExpiryDay day, const ConversationId& id) {
  const std::pair key(day, id);
  const auto found = conversation_blinds_.find(key);
  if (found != conversation_blinds_.end()) return found->second;
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind,
                          core_.Blind(day, schema::kBlindConversation, schema::View(id.bytes)));
  conversation_blinds_.emplace(key, blind);
  return blind;
}

Result<Bytes16> Transaction::SubjectBlind(ExpiryDay day, const Subject& subject) {
  auto& of_day = subject_blinds_[day];
  const auto found = of_day.find(subject.input);
  if (found != of_day.end()) return found->second;
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind,
                          core_.Blind(day, schema::kBlindSubject, subject.input));
  of_day.emplace(subject.input, blind);
  return blind;
}

Result<Slot> Transaction::SlotOf(ExpiryDay day, const Subject& subject) {
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, SubjectBlind(day, subject));
  const std::pair id(day, blind);
  const auto found = slots_.find(id);
  if (found != slots_.end()) return found->second;
  {
    MutexLock lock(core_.cache_mutex_);
    if (const Slot* slot = core_.slots_.Find(DayBlind::Of(day, blind))) {
      slots_.emplace(id, *slot);
      return *slot;
    }
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto known, FindSlot(day, subject));
  if (known) {
    const auto pair = pairs_.For(day, *known);
    // An erasure whose request could not be written down destroyed it all the same.
    const bool destroyed =
        !pair && pair.error().code == ErrorCode::kExpired && core_.vault_->HasDate(day);
    if (!destroyed) {
      slots_.emplace(id, *known);
      return *known;
    }
  }
  MAYFLY_ASSIGN_OR_RETURN(const Slot slot, core_.vault_->TakeSlot(day));
  MAYFLY_RETURN_IF_ERROR(PutSubject(day, subject.input, slot));
  return slot;
}

Result<std::optional<Slot>> Transaction::FindSlot(ExpiryDay day, const Subject& subject) {
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, SubjectBlind(day, subject));
  MAYFLY_ASSIGN_OR_RETURN(const auto row, core_.Get(day, schema::Key(schema::kSubject, blind)));
  if (!row) return std::optional<Slot>();
  // A damaged row: its person gets another slot. What the old one sealed names it itself.
  const auto header = core_.Checked(PeekSealed(*row));
  return header ? std::optional(header->slot) : std::nullopt;
}

Status Transaction::PutSubject(ExpiryDay day, const std::string& input, Slot slot) {
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, SubjectBlind(day, Subject{input}));
  slots_.insert_or_assign(std::pair(day, blind), slot);
  MAYFLY_RETURN_IF_ERROR(FollowWithRestriction(day, input));
  return PutSealed(day, schema::kSubject, schema::Key(schema::kSubject, blind), slot,
                   AccountId{schema::ReadU32(input)}, Direction::kIncoming, input);
}

Status Transaction::RenewSlot(ExpiryDay day, Slot slot, Reason reason) {
  std::string key = schema::RenewalKey(day, slot);
  auto known = renewals_.find(key);
  if (known == renewals_.end()) {
    codec::RenewalRecord record{.since = now_};
    MAYFLY_ASSIGN_OR_RETURN(const auto row, core_.engine_->Get(Family::Sys(), key));
    if (row) {
      MAYFLY_ASSIGN_OR_RETURN(record, core_.Checked(codec::DecodeRenewal(*row)));
    }
    known = renewals_.emplace(key, record).first;
  }
  codec::RenewalRecord& record = known->second;
  record.withdrawn += reason == Reason::kWithdrawn;
  record.edited += reason == Reason::kEdited;
  record.destroyed += reason == Reason::kDestroyed;
  batch_.Put(Family::Sys(), std::move(key), codec::Encode(record));
  return {};
}

Status Transaction::PutSealed(ExpiryDay day, char kind, std::string key, Slot slot,
                              AccountId account, Direction direction, std::string body) {
  auto pair = pairs_.For(day, slot);
  if (!pair) {
    WipeString(body);
    return Fail(std::move(pair).error());
  }
  if (!family_name_ || family_name_->first != day) {
    family_name_.emplace(day, Family::Day(day).Name());
  }
  std::string sealed = Seal(**pair, DayContext(family_name_->second, day, kind, key),
                            {.slot = slot, .account = account, .direction = direction}, body);
  WipeString(body);
  Put(day, std::move(key), std::move(sealed));
  return {};
}

Result<codec::StatsRecord*> Transaction::StatsOf(ExpiryDay day, AccountId account) {
  const std::pair id(day, account);
  const auto found = stats_.find(id);
  if (found != stats_.end()) return &found->second;
  const auto known = core_.stats_.find(id);
  if (known != core_.stats_.end()) return &stats_.emplace(id, known->second).first->second;
  MAYFLY_ASSIGN_OR_RETURN(const auto row,
                          core_.Get(day, schema::Key(schema::kStats, account.value)));
  codec::StatsRecord record;
  if (row) {
    MAYFLY_ASSIGN_OR_RETURN(record, core_.Checked(codec::DecodeStats(*row)));
  }
  return &stats_.emplace(id, record).first->second;
}

Status Transaction::PutMessage(ExpiryDay day, const Bytes16& cblind, const Bytes16& dkey, Slot slot,
                               AccountId account, Direction direction, TimePoint born,
                               codec::MessageRecord record) {
  record.sequence = core_.next_sequence_ + sequences_taken_++;
  MAYFLY_ASSIGN_OR_RETURN(codec::StatsRecord* const stats, StatsOf(day, account));
  stats->greatest_born = std::max(stats->greatest_born, born);
  ++stats->messages;
  if (!record.withdrawn) {  // not a tombstone of what was never shown
    if (!record.text.empty()) NoteWords(day, dkey);
    NoteMessage(ChangeKind::kMessageReceived, {day, dkey}, account, direction, record);
  }
  Put(day, schema::Key(schema::kPointer, dkey),
      codec::Encode(codec::PointerRecord{.cblind = cblind, .sent_at = record.sent_at}));
  return PutSealed(day, schema::kMessage, schema::MessageKey(cblind, record.sent_at, dkey), slot,
                   account, direction, codec::Encode(record));
}

Status Transaction::RemoveAttachments(const MessageId& message) {
  for (const std::string& prefix :
       {schema::AttachmentsKey(message.bytes), schema::Key(schema::kWanted, message.bytes)}) {
    MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(Family::Day(message.day), {.prefix = prefix},
                                               [&](std::string_view key, std::string_view) {
                                                 Remove(message.day, std::string(key));
                                                 return true;
                                               }));
  }
  return {};
}

Status Transaction::PutHead(const HeadPtr& old, codec::HeadRecord head, ExpiryDay day) {
  const bool moved = old != nullptr && old->day != day;
  const std::string lookup = schema::LookupInput(head.account, head.platform_id.Reveal());
  if (moved) {
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 cblind, ConversationBlind(old->day, head.id));
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 lblind,
                            core_.Blind(old->day, schema::kBlindLookup, lookup));
    Remove(old->day, schema::Key(schema::kHead, cblind));
    Remove(old->day, schema::Key(schema::kLookup, lblind));
    Remove(old->day, schema::InboxKey(old->record.last_activity_at, cblind));
    heads_moved_ = true;
  }
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 cblind, ConversationBlind(day, head.id));
  MAYFLY_ASSIGN_OR_RETURN(const Slot slot, SlotOf(day, OwnerOf(head)));
  if (old != nullptr && !moved && old->record.last_activity_at != head.last_activity_at) {
    Remove(day, schema::InboxKey(old->record.last_activity_at, cblind));
  }
  head.revision = old != nullptr ? old->record.revision + 1 : 1;
  Note(ChangeKind::kConversationUpdated, head.id.ToString());
  MAYFLY_RETURN_IF_ERROR(PutSealed(day, schema::kHead, schema::Key(schema::kHead, cblind), slot,
                                   head.account, Direction::kIncoming, codec::Encode(head)));
  if (old == nullptr || moved || old->damaged) {
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 lblind, core_.Blind(day, schema::kBlindLookup, lookup));
    MAYFLY_RETURN_IF_ERROR(PutSealed(day, schema::kLookup, schema::Key(schema::kLookup, lblind),
                                     slot, head.account, Direction::kIncoming,
                                     codec::Encode(head.id)));
    NoteLookup(head.account, head.platform_id, head.id);
  }
  const codec::InboxRecord inbox{.conversation = head.id,
                                 .account = head.account,
                                 .status = head.status,
                                 .unread = head.unread};
  MAYFLY_RETURN_IF_ERROR(PutSealed(day, schema::kInbox,
                                   schema::InboxKey(head.last_activity_at, cblind), slot,
                                   head.account, Direction::kIncoming, codec::Encode(inbox)));
  heads_.push_back(
      std::make_shared<const LoadedHead>(LoadedHead{.record = std::move(head), .day = day}));
  return {};
}

Status Transaction::PutContact(ExpiryDay day, AccountId account, const Contact& contact) {
  const Subject person = Subject::Person(account, contact.platform_id);
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, SubjectBlind(day, person));
  MAYFLY_ASSIGN_OR_RETURN(const Slot slot, SlotOf(day, person));
  std::string body = codec::Encode(contact);
  contact_prints_.emplace_back(DayBlind::Of(day, blind), KeyedHash(core_.cache_key_, body, {}));
  return PutSealed(day, schema::kContact, schema::Key(schema::kContact, blind), slot, account,
                   Direction::kIncoming, std::move(body));
}

Result<bool> Transaction::HasContact(ExpiryDay day, AccountId account, const Contact& contact) {
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind,
                          SubjectBlind(day, Subject::Person(account, contact.platform_id)));
  std::string body = codec::Encode(contact);
  const Bytes16 print = KeyedHash(core_.cache_key_, body, {});
  WipeString(body);
  {
    MutexLock lock(core_.cache_mutex_);
    if (const Bytes16* known = core_.contact_prints_.Find(DayBlind::Of(day, blind))) {
      return *known == print;
    }
  }
  auto stored = core_.LoadContact(account, contact.platform_id, day, pairs_);
  if (!stored) {
    // To be written afresh: damaged, or of a life that was erased.
    if (stored.error().code == ErrorCode::kCorrupt || IsGone(stored.error())) return false;
    return Fail(std::move(stored).error());
  }
  if (!*stored) return false;
  body = codec::Encode(**stored);
  const Bytes16 stored_print = KeyedHash(core_.cache_key_, body, {});
  WipeString(body);
  MutexLock lock(core_.cache_mutex_);
  core_.contact_prints_.Put(DayBlind::Of(day, blind), stored_print);
  return stored_print == print;
}

Status Transaction::RemoveContact(ExpiryDay day, AccountId account, const PlatformId& person) {
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, SubjectBlind(day, Subject::Person(account, person)));
  Remove(day, schema::Key(schema::kContact, blind));
  contacts_gone_.push_back(DayBlind::Of(day, blind));
  return {};
}

Status Transaction::PutReply(const Reply& reply, Slot slot) {
  Note(ChangeKind::kReplyUpdated, reply.id.ToString(), reply.conversation);
  const std::string pending_key = schema::Key(schema::kPending, reply.id.bytes);
  if (IsPending(reply.state)) {
    Put(reply.id.day, pending_key, codec::EncodeMark());
    replies_[reply.id] = reply.conversation;
  } else {
    Remove(reply.id.day, pending_key);
    replies_[reply.id] = std::nullopt;
  }
  return PutSealed(reply.id.day, schema::kReply, schema::Key(schema::kReply, reply.id.bytes), slot,
                   reply.account, Direction::kOutgoing, codec::Encode(reply));
}

void Transaction::DropReply(const ReplyId& id, ConversationId conversation) {
  Note(ChangeKind::kReplyUpdated, id.ToString(), conversation);
  Remove(id.day, schema::Key(schema::kReply, id.bytes));
  Remove(id.day, schema::Key(schema::kPending, id.bytes));
  replies_[id] = std::nullopt;
}

void Transaction::PutAccount(const Account& account) {
  std::string key = schema::Key(schema::kAccount, account.id.value);
  std::string sealed = core_.SealSys(schema::kAccount, key, account.id, schema::kPurposeAccount,
                                     codec::Encode(account));
  batch_.Put(Family::Sys(), std::move(key), std::move(sealed));
  const auto before = core_.GetAccount(account.id);
  if (!before || before->state != account.state) {
    Note(ChangeKind::kAccountState, account.id.ToString());
  }
  accounts_.insert_or_assign(account.id, account);
}

void Transaction::PutCoverage(AccountId account, const Coverage& coverage) {
  const auto known = core_.holes_.find(account);
  // What a new process meets first is no change: whoever listens begins anew with it.
  if (known != core_.holes_.end() && known->second != coverage.holes) {
    Note(ChangeKind::kCoverageHole, account.ToString());
  }
  holes_.insert_or_assign(account, coverage.holes);
  std::string key = schema::Key(schema::kCoverage, account.value);
  std::string sealed = core_.SealSys(schema::kCoverage, key, account, schema::kPurposeCoverage,
                                     codec::Encode(coverage));
  batch_.Put(Family::Sys(), std::move(key), std::move(sealed));
}

void Transaction::PutFingerprint(std::uint32_t forget_day, AccountId account,
                                 const PlatformId& message) {
  batch_.Put(Family::Sys(),
             schema::FingerprintKey(forget_day, account, core_.FingerprintOf(account, message)),
             codec::EncodeMark());
  fingerprints_.emplace(forget_day, account);
}

Status Transaction::ForgetFingerprints(std::uint32_t forget_day, AccountId account) {
  const std::string prefix =
      schema::Key(schema::kFingerprint, forget_day).append(schema::U32(account.value));
  MAYFLY_RETURN_IF_ERROR(core_.engine_->Scan(Family::Sys(), {.prefix = prefix},
                                             [&](std::string_view key, std::string_view) {
                                               batch_.Remove(Family::Sys(), std::string(key));
                                               return true;
                                             }));
  fingerprints_gone_.emplace(forget_day, account);
  return {};
}

Status Transaction::ForgetFingerprintsThrough(std::uint32_t today) {
  std::vector<std::pair<std::uint32_t, AccountId>> due;
  {
    MutexLock lock(core_.accounts_mutex_);
    for (const auto& id : core_.fingerprints_) {
      if (id.first <= today) due.push_back(id);
    }
  }
  for (const auto& [day, account] : due) MAYFLY_RETURN_IF_ERROR(ForgetFingerprints(day, account));
  return {};
}

void Transaction::NoteRuleUsed(const Account& account, ExpiryDay today) {
  std::vector<codec::UsedRule> rules = core_.RulesOf(account.id);
  const std::string& zone = core_.options_.zone.name();
  const auto used = std::find_if(rules.begin(), rules.end(), [&](const codec::UsedRule& rule) {
    return rule.zone == zone && rule.period == account.retention;
  });
  if (used != rules.end() && used->last_used >= today) return;
  if (used != rules.end()) {
    used->last_used = today;
  } else {
    rules.push_back({.zone = zone, .period = account.retention, .last_used = today});
  }
  std::erase_if(rules,
                [&](const codec::UsedRule& rule) { return rule.last_used + kRuleKept < today; });
  batch_.Put(Family::Sys(), schema::Key(schema::kRules, account.id.value), codec::Encode(rules));
  rules_.insert_or_assign(account.id, std::move(rules));
}

void Transaction::RaiseForgottenUntil(AccountId account, TimePoint born) {
  const auto known = core_.ForgottenUntil(account);
  if (known && *known >= born) return;
  TimePoint& raised = forgotten_.try_emplace(account, born).first->second;
  raised = std::max(raised, born);
  batch_.Put(Family::Sys(), schema::Key(schema::kForgottenUntil, account.value),
             codec::EncodeTime(raised));
}

AccountId Transaction::TakeAccountId() {
  return AccountId{core_.next_account_ + accounts_taken_++};
}

Status Transaction::Audit(const Actor& actor, const char* action, std::string object,
                          std::string outcome) {
  return core_.AppendAudit(batch_, {.at = now_,
                                    .actor = actor.id,
                                    .request_id = actor.request_id,
                                    .action = action,
                                    .object = std::move(object),
                                    .outcome = std::move(outcome)});
}

void Transaction::NoteLookup(AccountId account, const PlatformId& platform_id,
                             const ConversationId& id) {
  lookups_.emplace_back(core_.CacheKey(account, platform_id), id);
}

void Transaction::ForgetWords(const StoredMessage& message) {
  forgotten_words_[message.id.day].push_back({.message = message.id.bytes,
                                              .sent_at = message.record.sent_at,
                                              .account = message.header.account,
                                              .conversation = message.record.conversation,
                                              .text = message.record.text});
  NoteWords(message.id.day, message.id.bytes);
}

Status Transaction::PutWords() {
  for (const auto& [day, removals] : forgotten_words_) {
    MAYFLY_ASSIGN_OR_RETURN(const auto slot, FindSlot(day, Subject::Postings()));
    if (!slot) continue;  // no words of this date were ever written out
    MAYFLY_ASSIGN_OR_RETURN(const auto keys, search::KeysOfPostings(core_, day, *slot));
    auto changes = search::RemoveMessages(core_.engine(), day, keys, removals);
    if (!changes) {
      if (changes.error().code != ErrorCode::kCorrupt) return Fail(std::move(changes).error());
      // Postings that do not open find nothing; the text must go all the same.
      core_.CountDamage();
      continue;
    }
    for (search::Row& row : changes->put) Put(day, std::move(row.first), std::move(row.second));
    for (std::string& key : changes->remove) Remove(day, std::move(key));
    // Old copies of these rows end with the slot that sealed them.
    MAYFLY_RETURN_IF_ERROR(RenewSlot(day, *slot, Reason::kPart));
  }
  if (words_.empty()) return {};
  // Numbered by the first sequence of the commit, so that no two commits share a row.
  const std::string number = schema::U64(core_.next_sequence_);
  sequences_taken_ = std::max<std::uint64_t>(sequences_taken_, 1);
  for (const auto& [day, messages] : words_) {
    Put(day, schema::Key(schema::kWaiting) + number, codec::Encode(messages));
  }
  return {};
}

// Also after a failure whose outcome is not known: a row that is not there is no harm.
void Transaction::PublishWords() {
  if (!forgotten_words_.empty()) core_.young_words_.NoteChanged();
  for (const auto& [day, messages] : words_) core_.young_words_.NoteWaiting(day);
  forgotten_words_.clear();
  words_.clear();
}

// Before the commit: what the ledger says and the store does not is true all the same, or will be
// when the caller tries again; the other way round it could be undone by an older store.
Status Transaction::WriteLedger() {
  if (core_.ledger_ == nullptr || from_ledger_) return {};
  std::vector<LedgerEntry> entries;
  const auto add = [&](LedgerEntry::Kind kind, const std::string& key, std::string value) {
    entries.push_back({.kind = kind, .key = key, .value = std::move(value), .at = now_});
  };
  for (const Change& change : batch_.changes) {
    if (change.family.kind == Family::Kind::kDay && change.key.size() >= schema::kHeadBytes &&
        schema::OnlyMovesForwardOnItsDay(change.key[schema::kHeadBytes - 1])) {
      const auto day = static_cast<std::uint32_t>(change.family.day().time_since_epoch().count());
      add(change.value ? LedgerEntry::Kind::kOnDate : LedgerEntry::Kind::kGoneFromDate,
          schema::U32(day) + change.key, change.value.value_or(std::string()));
    }
    if (change.family != Family::Sys() || change.key.size() < schema::kHeadBytes) continue;
    const char kind = change.key[schema::kHeadBytes - 1];
    if (change.value && schema::OnlyMovesForward(kind)) {
      add(LedgerEntry::Kind::kPut, change.key, *change.value);
    } else if (!change.value && schema::IsGoneForGood(kind)) {
      add(LedgerEntry::Kind::kRemoved, change.key, {});
    }
  }
  for (const auto& [id, account] : accounts_) {
    const auto before = core_.GetAccount(id);
    if (before && before->retention == account.retention) continue;
    add(LedgerEntry::Kind::kRetention, schema::Key(schema::kAccount, id.value),
        account.retention.ToString());
  }
  return core_.ledger_->Append(entries);
}

Status Transaction::Commit() {
  MAYFLY_RETURN_IF_ERROR(PutWords());
  MAYFLY_RETURN_IF_ERROR(PutRestrictions());
  ForgetWithheldChanges();
  for (const auto& [id, stats] : stats_) {
    Put(id.first, schema::Key(schema::kStats, id.second.value), codec::Encode(stats));
    core_.NoteBirth(id.first, stats.greatest_born);
  }
  if (sequences_taken_ > 0) {
    batch_.Put(Family::Sys(), schema::Key(schema::kNextSequence),
               codec::EncodeNumber(core_.next_sequence_ + sequences_taken_));
  }
  if (accounts_taken_ > 0) {
    batch_.Put(Family::Sys(), schema::Key(schema::kNextAccount),
               codec::EncodeNumber(core_.next_account_ + accounts_taken_));
  }
  if (batch_.changes.empty()) return {};
  // Whatever is committed after a destruction says that it happened: CheckKeyGeneration.
  const std::uint64_t generation = core_.vault_->Generation();
  if (generation != core_.key_generation_) {
    batch_.Put(Family::Sys(), schema::Key(schema::kKeyGeneration), codec::EncodeNumber(generation));
  }
  MAYFLY_RETURN_IF_ERROR(core_.NoteTracked(batch_));
  MAYFLY_RETURN_IF_ERROR(WriteLedger());
  if (heads_moved_) core_.head_moves_.fetch_add(1);  // odd: readers that miss a head look again
  auto committed = core_.engine_->Commit(batch_, core_.options_.durability);
  batch_ = {};
  PublishWords();
  if (!committed) {
    const bool untold = !std::exchange(changes_, {}).empty();
    // It may have happened all the same. What the caches say about it is worth nothing.
    if (heads_moved_) core_.head_moves_.fetch_add(1);
    core_.DistrustCaches();
    // Repeated, it would find its work done and nothing to tell.
    if (untold && committed.error().code == ErrorCode::kOutcomeUnknown) {
      core_.changes_in_doubt_ = true;
      if (core_.observer_ != nullptr) core_.observer_->OnDoubt();
    }
    return committed;
  }
  core_.key_generation_ = generation;
  Publish();
  // After the caches, so that whoever is told and asks sees what was told.
  if (core_.observer_ != nullptr && !changes_.empty()) core_.observer_->OnCommitted(changes_);
  changes_.clear();
  return {};
}

void Transaction::Publish() {
  core_.next_sequence_ += sequences_taken_;
  core_.next_account_ += accounts_taken_;
  core_.next_audit_ += core_.audit_uncommitted_;
  core_.audit_uncommitted_ = 0;
  sequences_taken_ = 0;
  accounts_taken_ = 0;
  for (auto& [id, stats] : stats_) core_.stats_[id] = stats;
  for (auto& [id, entry] : restrictions_) core_.restrictions_.Put(std::move(entry));
  for (const RestrictionId& id : lifted_) core_.restrictions_.Remove(id);
  restrictions_.clear();
  lifted_.clear();
  for (auto& [id, holes] : holes_) core_.holes_.insert_or_assign(id, std::move(holes));
  {
    MutexLock lock(core_.cache_mutex_);
    for (const HeadPtr& head : heads_) {
      core_.heads_.Put(head->record.id.bytes, head);
      core_.head_days_.Put(head->record.id.bytes, head->day);
    }
    for (const auto& [key, id] : lookups_) core_.lookups_.Put(key, id);
    for (const auto& [id, slot] : slots_) {
      core_.slots_.Put(DayBlind::Of(id.first, id.second), slot);
    }
    for (const DayBlind& gone : contacts_gone_) core_.contact_prints_.Erase(gone);
    for (const auto& [key, print] : contact_prints_) {
      // A row that the same batch put and took away is not there.
      if (std::find(contacts_gone_.begin(), contacts_gone_.end(), key) == contacts_gone_.end()) {
        core_.contact_prints_.Put(key, print);
      }
    }
    for (const auto& [id, conversation] : replies_) {
      if (conversation) {
        core_.pending_[id] = conversation;
      } else {
        core_.pending_.erase(id);
      }
    }
    // Under the cache lock, so that a reader's older finding cannot be cached after this.
    if (heads_moved_) core_.head_moves_.fetch_add(1);
  }
  MutexLock lock(core_.accounts_mutex_);
  for (auto& [id, account] : accounts_) {
    Core::AccountEntry& entry = core_.accounts_[id];
    entry.stored_success = account.last_success_at;
    entry.account = std::move(account);
  }
  for (auto& [id, rules] : rules_) core_.accounts_[id].rules = std::move(rules);
  for (const auto& [id, born] : forgotten_) core_.accounts_[id].forgotten_until = born;
  core_.fingerprints_.insert(fingerprints_.begin(), fingerprints_.end());
  for (const auto& gone : fingerprints_gone_) core_.fingerprints_.erase(gone);
}

}  // namespace mayfly::store
