#include "store/erasure/date_rewriter.h"

#include <algorithm>
#include <utility>

namespace mayfly::store {
namespace {

constexpr std::size_t kRowsAtOnce = 2'000;
constexpr std::size_t kBytesAtOnce = 4u << 20;  // pieces of attachments are large

Status StayBehind(DateRewriter&, std::string_view, std::string_view) { return {}; }
Status CarryAsItIs(DateRewriter& rewriter, std::string_view key, std::string_view value) {
  rewriter.Emit(std::string(key), std::string(value));
  return {};
}
template <char kKind>
Status CarrySealed(DateRewriter& rewriter, std::string_view key, std::string_view value) {
  return rewriter.Carry(kKind, key, value, std::string(key));
}
template <Status (DateRewriter::*kMethod)(std::string_view, std::string_view)>
Status Call(DateRewriter& rewriter, std::string_view key, std::string_view value) {
  return (rewriter.*kMethod)(key, value);
}

// How each kind of row comes into the successor of its date. A kind that is not named here keeps a
// date from being written anew, and a test from passing.
struct Kind {
  char kind;
  Status (*carry)(DateRewriter&, std::string_view key, std::string_view value);
};
constexpr Kind kKinds[] = {
    {schema::kAttachment, CarrySealed<schema::kAttachment>},
    {schema::kStats, StayBehind},  // counted anew
    {schema::kContact, Call<&DateRewriter::CarryContact>},
    {schema::kPointer, StayBehind},  // made with its message
    {schema::kWanted, Call<&DateRewriter::CarryWanted>},
    {schema::kBlock, CarryAsItIs},
    {schema::kHead, Call<&DateRewriter::CarryHead>},
    {schema::kInbox, Call<&DateRewriter::CarryInboxRow>},
    {schema::kLookup, StayBehind},  // made with its head
    {schema::kMessage, Call<&DateRewriter::CarryMessage>},
    {schema::kRestriction, CarrySealed<schema::kRestriction>},
    {schema::kReply, CarrySealed<schema::kReply>},
    {schema::kPending, Call<&DateRewriter::CarryPending>},
    {schema::kSubject, Call<&DateRewriter::CarrySubject>},
    {schema::kIndex, StayBehind},  // it has its own
    {schema::kIdempotency, CarrySealed<schema::kIdempotency>},
    {schema::kPosting, StayBehind},  // every message is indexed anew
    {schema::kWaiting, StayBehind},  // so all of them wait
};

}  // namespace

Status DateRewriter::Prepare() {
  MAYFLY_ASSIGN_OR_RETURN(old_index_, core_.IndexOf(day_));
  MAYFLY_ASSIGN_OR_RETURN(index_, core_.vault().TakeSlot(day_));
  // A head that named an erased person was sealed under its group's slot.
  std::vector<Slot> groups;
  MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(
      Family::Day(day_), {.prefix = schema::Key(schema::kSubject)},
      [&](std::string_view key, std::string_view value) {
        const auto row = core_.OpenRow(day_, schema::kSubject, key, value, pairs_);
        const bool moves =
            row && schema::IsPseudoInput(row->body) && row->body != schema::PostingsInput();
        if (moves) groups.push_back(row->header.slot);
        return true;
      }));
  for (const Slot from : groups) {
    MAYFLY_ASSIGN_OR_RETURN(const Slot to, core_.vault().TakeSlot(day_));
    moved_.emplace(from.number, std::pair(from, to));
  }
  return {};
}

Status DateRewriter::CopyAll() {
  ScanOptions options{.limit = kRowsAtOnce};
  for (bool more = true; more;) {
    std::vector<std::pair<std::string, std::string>> rows;
    std::size_t bytes = 0;
    // In pieces, so that the end of the date need not wait for all of them.
    MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(Family::Day(day_), options,
                                               [&](std::string_view key, std::string_view value) {
                                                 rows.emplace_back(key, value);
                                                 bytes += value.size();
                                                 return bytes < kBytesAtOnce;
                                               }));
    for (const auto& [key, value] : rows) MAYFLY_RETURN_IF_ERROR(Row(key, value));
    more = rows.size() == kRowsAtOnce || bytes >= kBytesAtOnce;
    if (!rows.empty()) options.after = rows.back().first;
    MAYFLY_RETURN_IF_ERROR(Flush());
  }
  return {};
}

Status DateRewriter::CatchUp(const Core::Tracked& tracked) {
  const auto stands = [&](const std::string& key) { return core_.Get(day_, key); };
  removing_ = true;
  for (const auto& [key, held] : tracked.removed) {
    MAYFLY_ASSIGN_OR_RETURN(const auto value, stands(key));
    if (!value) MAYFLY_RETURN_IF_ERROR(Row(key, held));
  }
  removing_ = false;
  for (const std::string& key : tracked.put) {
    MAYFLY_ASSIGN_OR_RETURN(const auto value, stands(key));
    if (value) MAYFLY_RETURN_IF_ERROR(Row(key, *value));
    MAYFLY_RETURN_IF_ERROR(FlushWhenLarge());
  }
  MAYFLY_RETURN_IF_ERROR(WriteStats());
  Emit(schema::Key(schema::kIndex), codec::Encode(index_));
  return Flush();
}

codec::RewritingRecord DateRewriter::Outcome() const {
  codec::RewritingRecord record{.index = index_, .doomed = {old_index_}};
  for (const auto& [number, slots] : moved_) record.doomed.push_back(slots.first);
  if (postings_) record.doomed.push_back(*postings_);
  for (const auto& [number, dropped] : dropped_) record.dropped.push_back(dropped);
  return record;
}

Status DateRewriter::Row(std::string_view key, std::string_view value) {
  if (key.size() >= schema::kHeadBytes) {
    for (const Kind& kind : kKinds) {
      if (key[schema::kHeadBytes - 1] == kind.kind) return kind.carry(*this, key, value);
    }
  }
  return Fail(ErrorCode::kInternal,
              "Family " + Family::Day(day_).Name() + ": a row of a kind that cannot be rewritten.");
}

Result<bool> DateRewriter::Lives(char kind, std::string_view key, const SealedHeader& header) {
  const std::uint32_t number = header.slot.number;
  if (!gone_.contains(number)) {
    const auto pair = pairs_.For(day_, header.slot);
    if (pair) return true;
    if (pair.error().code == ErrorCode::kCorrupt) {
      core_.CountDamage();
      return false;
    }
    if (pair.error().code != ErrorCode::kExpired || !core_.vault().HasDate(day_)) {
      return Fail(pair.error());
    }
    gone_.insert(number);
  }
  if (kind != schema::kMessage && kind != schema::kReply) return false;
  auto& dropped = dropped_[number];
  dropped.slot = header.slot;
  if (kind == schema::kMessage) {
    ++dropped.messages;
    ++dropped_of_account_[header.account];
  } else {
    ++dropped.replies;
    dropped_replies_.emplace(key.substr(schema::kHeadBytes));
  }
  return false;
}

Status DateRewriter::Carry(char kind, std::string_view key, std::string_view value,
                           std::string new_key) {
  const auto header = core_.Checked(PeekSealed(value));
  if (!header) return {};
  MAYFLY_ASSIGN_OR_RETURN(const bool lives, Lives(kind, key, *header));
  if (!lives) return {};
  const auto moved = moved_.find(header->slot.number);
  const Slot slot = moved == moved_.end() ? header->slot : moved->second.second;
  if (removing_ || (slot == header->slot && new_key == key)) {
    Emit(std::move(new_key), std::string(value));
    return {};
  }
  auto sealed = core_.Checked(core_.ResealRow(day_, kind, key, value, new_key, slot, pairs_));
  if (!sealed) {
    if (sealed.error().code == ErrorCode::kCorrupt) return {};
    return Fail(std::move(sealed).error());
  }
  Emit(std::move(new_key), *std::move(sealed));
  return {};
}

Result<std::optional<OpenedRow>> DateRewriter::Open(char kind, std::string_view key,
                                                    std::string_view value) {
  const auto header = core_.Checked(PeekSealed(value));
  if (!header) return std::optional<OpenedRow>();
  MAYFLY_ASSIGN_OR_RETURN(const bool lives, Lives(kind, key, *header));
  if (!lives) return std::optional<OpenedRow>();
  auto row = core_.OpenRow(day_, kind, key, value, pairs_);
  if (!row) {
    if (row.error().code == ErrorCode::kCorrupt) return std::optional<OpenedRow>();
    return Fail(std::move(row).error());
  }
  return std::optional<OpenedRow>(*std::move(row));
}

void DateRewriter::Emit(std::string key, std::string value) {
  if (removing_) {
    batch_.Remove(Family::Twin(day_), std::move(key));
  } else {
    batch_bytes_ += value.size();
    batch_.Put(Family::Twin(day_), std::move(key), std::move(value));
  }
}

Result<std::optional<Bytes16>> DateRewriter::NewConversationBlind(std::string_view key,
                                                                  std::string_view value) {
  const std::string_view old = key.substr(schema::kHeadBytes, 16);
  if (conversation_ && conversation_->first == old) return std::optional(conversation_->second);
  // Not through Open, which counts what stays behind: Carry does, for every message.
  const auto row = core_.OpenRow(day_, schema::kMessage, key, value, pairs_);
  if (!row) return std::optional<Bytes16>();
  const auto record = core_.Checked(codec::DecodeMessage(row->body));
  if (!record) return std::optional<Bytes16>();
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, Blind(schema::kBlindConversation,
                                                     schema::View(record->conversation.bytes)));
  conversation_.emplace(std::string(old), blind);
  return std::optional(blind);
}

Status DateRewriter::CarryMessage(std::string_view key, std::string_view value) {
  const auto position = schema::ParseMessageKey(key);
  const auto header = core_.Checked(PeekSealed(value));
  if (!position || !header) {
    if (!position) core_.CountDamage();
    return {};
  }
  MAYFLY_ASSIGN_OR_RETURN(const bool lives, Lives(schema::kMessage, key, *header));
  if (!lives) return {};
  MAYFLY_ASSIGN_OR_RETURN(const auto cblind, NewConversationBlind(key, value));
  if (!cblind) return {};  // damaged, and counted: the platform may serve it again
  const std::size_t before = batch_.changes.size();
  MAYFLY_RETURN_IF_ERROR(Carry(schema::kMessage, key, value,
                               schema::MessageKey(*cblind, position->sent_at, position->dkey)));
  if (batch_.changes.size() == before) return {};
  Emit(schema::Key(schema::kPointer, position->dkey),
       codec::Encode(codec::PointerRecord{.cblind = *cblind, .sent_at = position->sent_at}));
  if (!removing_) waiting_.push_back(position->dkey);
  return {};
}

Status DateRewriter::CarryHead(std::string_view key, std::string_view value) {
  MAYFLY_ASSIGN_OR_RETURN(const auto row, Open(schema::kHead, key, value));
  if (!row) return {};
  const auto head = core_.Checked(codec::DecodeHead(row->body));
  if (!head) return {};
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 cblind,
                          Blind(schema::kBlindConversation, schema::View(head->id.bytes)));
  MAYFLY_RETURN_IF_ERROR(Carry(schema::kHead, key, value, schema::Key(schema::kHead, cblind)));
  // Its lookup says the same in other words; that of a damaged head would lead nowhere.
  MAYFLY_ASSIGN_OR_RETURN(
      const Bytes16 lblind,
      Blind(schema::kBlindLookup, schema::LookupInput(head->account, head->platform_id.Reveal())));
  const auto moved = moved_.find(row->header.slot.number);
  SealedHeader header = row->header;
  if (moved != moved_.end()) header.slot = moved->second.second;
  std::string lookup_key = schema::Key(schema::kLookup, lblind);
  std::string sealed;
  if (!removing_) {
    MAYFLY_ASSIGN_OR_RETURN(sealed, core_.SealRow(day_, schema::kLookup, lookup_key, header,
                                                  codec::Encode(head->id), pairs_));
  }
  Emit(std::move(lookup_key), std::move(sealed));
  return {};
}

Status DateRewriter::CarryInboxRow(std::string_view key, std::string_view value) {
  if (key.size() != schema::kInboxKeyBytes) {
    core_.CountDamage();
    return {};
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto row, Open(schema::kInbox, key, value));
  if (!row) return {};
  const auto inbox = core_.Checked(codec::DecodeInbox(row->body));
  if (!inbox) return {};
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 cblind, Blind(schema::kBlindConversation,
                                                      schema::View(inbox->conversation.bytes)));
  std::string new_key(key.substr(0, schema::kHeadBytes + 8));
  new_key += schema::View(cblind);
  return Carry(schema::kInbox, key, value, std::move(new_key));
}

Status DateRewriter::CarrySubject(std::string_view key, std::string_view value) {
  MAYFLY_ASSIGN_OR_RETURN(const auto row, Open(schema::kSubject, key, value));
  if (!row) return {};
  if (row->body == schema::PostingsInput()) {
    postings_ = row->header.slot;  // ends with the rows that it sealed
    return {};
  }
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 sblind, Blind(schema::kBlindSubject, row->body));
  return Carry(schema::kSubject, key, value, schema::Key(schema::kSubject, sblind));
}

Status DateRewriter::CarryContact(std::string_view key, std::string_view value) {
  MAYFLY_ASSIGN_OR_RETURN(const auto row, Open(schema::kContact, key, value));
  if (!row) return {};
  const auto contact = core_.Checked(codec::DecodeContact(row->body));
  if (!contact) return {};
  MAYFLY_ASSIGN_OR_RETURN(
      const Bytes16 sblind,
      Blind(schema::kBlindSubject,
            schema::PersonInput(row->header.account, contact->platform_id.Reveal())));
  return Carry(schema::kContact, key, value, schema::Key(schema::kContact, sblind));
}

// Behind its reply: 'o' comes before 'q'.
Status DateRewriter::CarryPending(std::string_view key, std::string_view value) {
  if (dropped_replies_.contains(std::string(key.substr(schema::kHeadBytes)))) return {};
  return CarryAsItIs(*this, key, value);
}

// It says that there is a message, so it stays behind with one that does. What it leads to may have
// been removed by the same commit: then it is removed too.
Status DateRewriter::CarryWanted(std::string_view key, std::string_view value) {
  const auto wanted = schema::ParseWantedKey(key);
  if (!wanted) {
    core_.CountDamage();
    return {};
  }
  if (!removing_) {
    const std::string record_key = schema::AttachmentKey(wanted->first, wanted->second);
    MAYFLY_ASSIGN_OR_RETURN(const auto sealed, core_.Get(day_, record_key));
    if (!sealed) return {};
    const auto header = core_.Checked(PeekSealed(*sealed));
    if (!header) return {};
    MAYFLY_ASSIGN_OR_RETURN(const bool lives, Lives(schema::kAttachment, record_key, *header));
    if (!lives) return {};
  }
  return CarryAsItIs(*this, key, value);
}

// What stayed behind will not be there when the date ends. When it was born still counts.
Status DateRewriter::WriteStats() {
  std::vector<std::pair<std::string, std::string>> rows;
  MAYFLY_RETURN_IF_ERROR(core_.engine().Scan(Family::Day(day_),
                                             {.prefix = schema::Key(schema::kStats)},
                                             [&](std::string_view key, std::string_view value) {
                                               rows.emplace_back(key, value);
                                               return true;
                                             }));
  for (auto& [key, value] : rows) {
    auto stats = core_.Checked(codec::DecodeStats(value));
    if (stats) {
      const AccountId account{schema::ReadU32(std::string_view(key).substr(schema::kHeadBytes))};
      const auto dropped = dropped_of_account_.find(account);
      if (dropped != dropped_of_account_.end()) {
        stats->messages -= std::min(stats->messages, dropped->second);
      }
      value = codec::Encode(*stats);
    }
    Emit(std::move(key), std::move(value));
  }
  return {};
}

// The numbers of these rows are below those that commits give, which count every message.
void DateRewriter::WriteWaiting() {
  if (waiting_.empty()) return;
  batch_.Put(Family::Twin(day_), schema::Key(schema::kWaiting) + schema::U64(++waiting_rows_),
             codec::Encode(waiting_));
  waiting_.clear();
}

Status DateRewriter::Flush() {
  WriteWaiting();
  if (batch_.changes.empty()) return {};
  MAYFLY_RETURN_IF_ERROR(core_.engine().Commit(batch_, Durability::kUnlogged));
  batch_ = {};
  batch_bytes_ = 0;
  return {};
}

Status DateRewriter::FlushWhenLarge() { return batch_bytes_ < kBytesAtOnce ? Status() : Flush(); }

}  // namespace mayfly::store
