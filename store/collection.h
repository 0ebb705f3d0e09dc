// What pollers write: a page of messages, the cursor that covers it, and the coverage record, in
// one synced commit (promise P4).
#ifndef MAYFLY_STORE_COLLECTION_H_
#define MAYFLY_STORE_COLLECTION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/model/account.h"
#include "store/model/attachment.h"
#include "store/model/conversation.h"
#include "store/model/coverage.h"
#include "store/model/message.h"
#include "store/model/result.h"

namespace mayfly::store {

class Core;

struct CollectedAttachment {
  AttachmentName name;
  std::optional<std::uint64_t> bytes;  // as the platform says, if it does
  AttachmentLocator locator;
};
// The same values as a connector's page, stamped by the core. The store takes no time from the page
// but `sent_at`.
struct CollectedMessage {
  PlatformId conversation;
  PlatformId id;
  PlatformId sender;
  Direction direction = Direction::kIncoming;
  std::optional<TimePoint> sent_at;
  MessageBody text;
  UnreadableReason unreadable = UnreadableReason::kNone;
  bool has_unsupported_content = false;
  std::vector<CollectedAttachment> attachments = {};
};
struct CollectedConversation {
  PlatformId id;
  std::vector<Contact> participants;
  bool group = false;
  PlatformStanding standing = PlatformStanding::kAccepted;
};
struct CollectedEdit {
  PlatformId conversation;
  PlatformId id;
  std::optional<TimePoint> edited_at;
  MessageBody text;
  bool has_unsupported_content = false;
};
struct CollectedWithdrawal {
  PlatformId conversation;
  PlatformId id;
};

struct CollectedPage {
  AccountId account;
  std::vector<CollectedConversation> conversations;
  std::vector<CollectedMessage> messages;
  std::vector<CollectedEdit> edits;              // applied after the messages
  std::vector<CollectedWithdrawal> withdrawals;  // applied after the edits
  std::string cursor;                            // replaces the stored one in the same commit
  bool backfilled = false;                       // history: stored, never unread
  Coverage coverage;                             // the whole record as it stands with this page
};

struct CollectOutcome {
  std::size_t stored = 0;
  std::size_t duplicates = 0;
  std::size_t past_horizon =
      0;                   // expired already, or born at or before forgotten_until; not stored
  std::size_t future = 0;  // claimed to be sent later than first seen; stored from first seen
  std::size_t edited = 0;  // stored before, and with another text now
  std::size_t withdrawn = 0;
  std::size_t held = 0;  // of these, too many at once: hidden, and destroyed later
  std::size_t unreadable = 0;
  std::size_t erased = 0;    // of an erased person, and born before that; not stored
  std::size_t objected = 0;  // of a person who has objected, or to them alone; not stored
};

class Collection {
 public:
  explicit Collection(Core& core) : core_(core) {}
  // Stores each message exactly once (key: account and platform message id), moves heads, contacts
  // and inbox rows into the family of their latest expiry, settles an outgoing message against a
  // pending reply of the same platform id, and writes cursor and coverage. Idempotent. kNotFound
  // when the account is retired, kDiskFull (room_gate.h): then nothing is stored, and the cursor
  // stays.
  //
  // An edit overwrites the text of the stored message and nothing else: id, expiry, slot, place in
  // the thread and unread mark stay; the conversation's revision grows. It makes no message and
  // revives none. One that is older than what is stored, or says the same, changes nothing; so
  // does one of a stub. A time from the future counts as none. A message that is served again
  // with another text, and without an edit, stays as it was stored.
  //
  // Attachments are listed with their message and fetched later (store/attachments.h), the first
  // kAttachmentsMax of them; that there were more is content that is not listed. One that says to
  // be too large, or has no usable locator, is refused at once. They stay as they were listed
  // first: neither an edit nor serving the message again brings or takes one.
  //
  // What a person who has objected writes is counted and not stored, nor is what was written to
  // them alone, nor how they are named now (rights/rights.h). Edits and withdrawals of what is
  // stored already are honoured.
  //
  // A withdrawal hides the message; its text is then destroyed (store/erasure/erasure.h), at once
  // or, when there are too many of them, later: store/erasure/withdrawal_brake.h.
  Result<CollectOutcome> Collect(const CollectedPage& page, TimePoint now);

  Result<std::string> Cursor(AccountId account) const;  // empty for a new account
  Result<mayfly::Coverage> Coverage(AccountId account) const;
  Status SetCoverage(AccountId account, const mayfly::Coverage& coverage);
  // Nothing born before it is wanted: the account's expiry horizon or forgotten_until, the later.
  Result<TimePoint> Horizon(AccountId account, TimePoint now) const;

 private:
  Core& core_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_COLLECTION_H_
