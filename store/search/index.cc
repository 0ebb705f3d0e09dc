#include "store/search/index.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "store/core.h"
#include "store/search/core_keys.h"

namespace mayfly::store::search {
namespace {

constexpr int kWriteTriesMax = 3;
constexpr std::size_t kWaitingRowsMax = 64;  // read at once; each is of one commit
// A segment is joined with the new one when it is at most so many times as large.
constexpr std::size_t kJoinFactor = 4;

bool IsPassedOver(ErrorCode code) {
  return code == ErrorCode::kExpired || code == ErrorCode::kNotFound || code == ErrorCode::kCorrupt;
}

std::uint64_t SequenceOf(std::string_view waiting_key) {
  return schema::ReadU64(waiting_key.substr(schema::kHeadBytes));
}

// `w` rows of a date behind `after`, up to `through`.
Result<std::vector<std::pair<std::string, std::string>>> WaitingRows(const Core& core,
                                                                     ExpiryDay day,
                                                                     std::uint64_t after,
                                                                     std::uint64_t through) {
  std::vector<std::pair<std::string, std::string>> rows;
  ScanOptions options{.prefix = schema::Key(schema::kWaiting)};
  if (through == UINT64_MAX) options.limit = kWaitingRowsMax;
  if (after > 0) options.after = options.prefix + schema::U64(after);
  MAYFLY_RETURN_IF_ERROR(core.engine().Scan(Family::Day(day), options,
                                            [&](std::string_view key, std::string_view value) {
                                              if (SequenceOf(key) > through) return false;
                                              rows.emplace_back(key, value);
                                              return true;
                                            }));
  return rows;
}

}  // namespace

Status SearchIndex::CatchUp(TimePoint now) {
  const std::lock_guard lock(work_mutex_);
  return CatchUpLocked(now);
}

Status SearchIndex::CatchUpLocked(TimePoint now) {
  YoungWords& young = core_.young_words();
  std::set<ExpiryDay> waiting = young.TakeWaiting();
  Status first_error;
  for (const ExpiryDay day : waiting) {
    if (!core_.IsUsable(day, now)) continue;  // its date has come: what it says is not looked for
    const auto read_all = [&]() -> Status {
      const std::uint64_t changes = young.changes();
      for (bool more = true; more;) {
        MAYFLY_ASSIGN_OR_RETURN(more, ReadSomeWaiting(day, now));
        if (more) MAYFLY_RETURN_IF_ERROR(Shrink(now));
      }
      young.SetCleanAt(day, changes);
      return Shrink(now);
    };
    auto read = read_all();
    if (read || read.error().code == ErrorCode::kExpired) continue;
    young.NoteWaiting(day);
    if (first_error) first_error = std::move(read);
  }
  return first_error;
}

Result<bool> SearchIndex::ReadSomeWaiting(ExpiryDay day, TimePoint now) {
  YoungWords& young = core_.young_words();
  const std::uint64_t epoch = young.Epoch(day);
  MAYFLY_ASSIGN_OR_RETURN(const auto rows,
                          WaitingRows(core_, day, young.ReadThrough(day), UINT64_MAX));
  for (const auto& [key, value] : rows) {
    const auto messages = core_.Checked(codec::DecodeWaiting(value));
    if (messages) {
      for (const Bytes16& message : *messages) {
        MAYFLY_RETURN_IF_ERROR(ReadMessage(day, message, now));
      }
    }
    young.SetReadThrough(day, SequenceOf(key), epoch);
  }
  return rows.size() == kWaitingRowsMax;
}

Status SearchIndex::ReadMessage(ExpiryDay day, const Bytes16& message, TimePoint now) {
  YoungWords& young = core_.young_words();
  ReaderPairs pairs(core_);
  auto stored = core_.FindMessage({day, message}, now, pairs);
  if (!stored) {
    if (!IsPassedOver(stored.error().code)) return Fail(std::move(stored).error());
    young.Remove(day, message);
    return {};
  }
  if (stored->record.withdrawn || stored->record.text.empty()) {
    young.Remove(day, message);
    return {};
  }
  std::vector<std::string> terms = {AccountTerm(stored->header.account),
                                    ConversationTerm(stored->record.conversation)};
  tokenizer_->Visit(stored->record.text.Reveal(),
                    [&](std::string_view, const std::vector<std::string_view>& found) {
                      terms.insert(terms.end(), found.begin(), found.end());
                      return true;
                    });
  young.Add(day, message, stored->record.sent_at, terms);
  for (std::string& term : terms) WipeString(term);
  return {};
}

Status SearchIndex::Shrink(TimePoint now) {
  auto sizes = core_.young_words().Sizes();
  std::sort(sizes.begin(), sizes.end(),
            [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  std::size_t messages = 0;
  std::size_t bytes = 0;
  for (const auto& size : sizes) {
    messages += size.messages;
    bytes += size.bytes;
  }
  Status first_error;
  for (const auto& size : sizes) {
    const bool crowded = messages > limits_.messages_max || bytes > limits_.bytes_max;
    if (!crowded && size.messages <= limits_.day_messages_max) continue;
    auto written = WriteOutDay(size.day, now);
    if (!written && first_error) first_error = std::move(written);
    messages -= size.messages;
    bytes -= size.bytes;
  }
  return first_error;
}

Status SearchIndex::WriteOut(TimePoint now) {
  const std::lock_guard lock(work_mutex_);
  MAYFLY_RETURN_IF_ERROR(CatchUpLocked(now));
  for (const auto& size : core_.young_words().Sizes()) {
    MAYFLY_RETURN_IF_ERROR(WriteOutDay(size.day, now));
  }
  return {};
}

Status SearchIndex::WriteOutDay(ExpiryDay day, TimePoint now) {
  for (int i = 0; i < kWriteTriesMax; ++i) {
    if (!core_.IsUsable(day, now)) return {};
    auto written = TryWriteOutDay(day, now);
    if (!written) {
      if (written.error().code == ErrorCode::kExpired) return {};
      if (written.error().code != ErrorCode::kPreconditionFailed) {
        return Fail(std::move(written).error());
      }
    } else if (*written) {
      return {};
    }
    const std::uint64_t changes = core_.young_words().changes();
    for (bool more = true; more;) {
      MAYFLY_ASSIGN_OR_RETURN(more, ReadSomeWaiting(day, now));
    }
    core_.young_words().SetCleanAt(day, changes);
  }
  return {};  // words keep changing under us: the next pass tries again
}

// Before anything is sealed with it, since sealing needs no commit lock.
Result<Slot> SearchIndex::SlotOfPostings(ExpiryDay day, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  if (!core_.IsUsable(day, now)) return Fail(ErrorCode::kExpired, "The date has ended.");
  MAYFLY_ASSIGN_OR_RETURN(const Slot slot, transaction.SlotOf(day, Subject::Postings()));
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  return slot;
}

// Adds to `table` what is to be written anew together with it. `written_before` when a commit of
// which nobody knew whether it had happened did happen.
Status SearchIndex::Join(ExpiryDay day, const PostingKeys& keys, std::uint64_t through,
                         const std::set<Bytes16>& here, WordTable& table,
                         std::vector<SegmentHead>& joined, bool& written_before) {
  std::size_t damaged = 0;
  MAYFLY_ASSIGN_OR_RETURN(const auto heads, ReadHeads(core_.engine(), day, keys, &damaged));
  for (; damaged > 0; --damaged) core_.CountDamage();
  written_before = std::any_of(heads.begin(), heads.end(),
                               [&](const auto& head) { return head.segment == through; });
  if (table.living() == 0 || written_before) return {};
  for (auto head = heads.rbegin(); head != heads.rend(); ++head) {
    const std::size_t living = head->meta.documents - head->meta.removed;
    if (head->meta.languages != tokenizer_->languages() || living > kJoinFactor * table.living() ||
        living + table.living() > limits_.joined_messages_max) {
      break;
    }
    SegmentReader reader(core_.engine(), keys, day, *head);
    MAYFLY_RETURN_IF_ERROR(ReadSegment(reader, here, table));
    joined.push_back(*head);
  }
  return {};
}

Result<bool> SearchIndex::TryWriteOutDay(ExpiryDay day, TimePoint now) {
  YoungWords& young = core_.young_words();
  // Of a message that lost its words since then the `w` row may not have been read, and what is in
  // memory may be what it no longer says.
  const std::uint64_t changes = young.CleanAt(day);
  const std::uint64_t through = young.ReadThrough(day);
  MAYFLY_ASSIGN_OR_RETURN(const Slot slot, SlotOfPostings(day, now));
  MAYFLY_ASSIGN_OR_RETURN(const Slot index, core_.IndexOf(day));
  const VaultPostingKeys keys(core_.vault(), day, index, slot);

  // Sealing takes milliseconds, so it is done before the commit lock is taken, and thrown away when
  // words changed meanwhile.
  WordTable table;
  const bool any = young.Use(day, [&](const WordTable& words) { table.Append(words); });
  if (!any) return true;
  std::set<Bytes16> here;
  for (const Document& document : table.documents()) here.insert(document.message);
  std::vector<SegmentHead> joined;
  bool written_before = false;
  {
    const ReaderPairs view(core_);
    MAYFLY_RETURN_IF_ERROR(Join(day, keys, through, here, table, joined, written_before));
  }
  // Its number is that of the last `w` row in it, which is given once.
  std::vector<Row> rows;
  if (!written_before) {
    MAYFLY_ASSIGN_OR_RETURN(rows, WriteSegment(day, through, table, tokenizer_->languages(), keys));
  }

  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  if (young.changes() != changes || !core_.IsUsable(day, now)) return false;
  // A slot or an index that is replaced meanwhile takes what was sealed for the old one along.
  MAYFLY_ASSIGN_OR_RETURN(const Slot slot_now, transaction.SlotOf(day, Subject::Postings()));
  MAYFLY_ASSIGN_OR_RETURN(const Slot index_now, core_.IndexOf(day));
  if (slot_now != slot || index_now != index) return false;
  const Family family = Family::Day(day);
  for (const SegmentHead& head : joined) {
    std::vector<std::string> old_keys = KeysOf(head);
    transaction.batch().conditions.push_back({family, old_keys.front(), head.row});
    for (std::string& key : old_keys) transaction.Remove(day, std::move(key));
  }
  for (Row& row : rows) transaction.Put(day, std::move(row.first), std::move(row.second));
  MAYFLY_ASSIGN_OR_RETURN(const auto waiting, WaitingRows(core_, day, 0, through));
  for (const auto& [key, value] : waiting) transaction.Remove(day, key);
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  young.Written(day);
  return true;
}

}  // namespace mayfly::store::search
