// Writes a date anew under another index: every row that still opens goes into the date's twin, its
// key blind under the new index, and the rows of groups under a new slot. What does not open
// because its slot was destroyed stays behind. One function for each kind of row. Internal to the
// store.
#ifndef MAYFLY_STORE_ERASURE_DATE_REWRITER_H_
#define MAYFLY_STORE_ERASURE_DATE_REWRITER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/core.h"

namespace mayfly::store {

class DateRewriter {
 public:
  // The twin must be open and empty. Not thread-safe.
  DateRewriter(Core& core, ExpiryDay day) : core_(core), day_(day), pairs_(core) {}

  // Takes the slots of the new index and of groups. Without the commit lock, as is the next.
  Status Prepare();
  // Copies what is there. Commits may go on meanwhile, if they are tracked (Core::Track).
  Status CopyAll();
  // What they changed. Commit lock, from here until the swap.
  Status CatchUp(const Core::Tracked& tracked);

  Slot index() const { return index_; }
  // What to destroy after the swap, and what stayed behind.
  codec::RewritingRecord Outcome() const;

  // --- for the functions of the kinds
  ExpiryDay day() const { return day_; }
  // The row under its own or another key, if it still opens.
  Status Carry(char kind, std::string_view key, std::string_view value, std::string new_key);
  // The row's content; nullopt when it is to stay behind.
  Result<std::optional<OpenedRow>> Open(char kind, std::string_view key, std::string_view value);
  void Emit(std::string key, std::string value);
  Result<Bytes16> Blind(const char* label, std::string_view input) const {
    return core_.vault().BlindUnder(day_, index_, label, input);
  }
  Status CarryMessage(std::string_view key, std::string_view value);
  Status CarryHead(std::string_view key, std::string_view value);
  Status CarryInboxRow(std::string_view key, std::string_view value);
  Status CarrySubject(std::string_view key, std::string_view value);
  Status CarryContact(std::string_view key, std::string_view value);
  Status CarryPending(std::string_view key, std::string_view value);
  Status CarryWanted(std::string_view key, std::string_view value);

 private:
  // Pairs without a claim on the view: the keys that are destroyed meanwhile are not of rows that
  // are carried.
  class OwnPairs : public Pairs {
   public:
    explicit OwnPairs(const Core& core) : Pairs(core.vault()) {}
  };
  Status Row(std::string_view key, std::string_view value);
  Result<bool> Lives(char kind, std::string_view key, const SealedHeader& header);
  Result<std::optional<Bytes16>> NewConversationBlind(std::string_view key, std::string_view value);
  Status WriteStats();
  void WriteWaiting();
  Status Flush();
  Status FlushWhenLarge();

  Core& core_;
  const ExpiryDay day_;
  OwnPairs pairs_;
  Slot index_;
  Slot old_index_;
  std::map<std::uint32_t, std::pair<Slot, Slot>> moved_;  // by number: of groups, from and to
  std::set<std::uint32_t> gone_;                          // slots that are destroyed, by number
  std::map<std::uint32_t, codec::RewritingRecord::Dropped> dropped_;
  std::map<AccountId, std::uint64_t> dropped_of_account_;
  std::set<std::string> dropped_replies_;
  // Messages of one conversation follow each other.
  std::optional<std::pair<std::string, Bytes16>> conversation_;  // old blind value, new one
  std::optional<Slot> postings_;
  std::vector<Bytes16> waiting_;  // messages whose words are to be indexed
  std::uint64_t waiting_rows_ = 0;
  bool removing_ = false;
  Batch batch_;
  std::size_t batch_bytes_ = 0;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ERASURE_DATE_REWRITER_H_
