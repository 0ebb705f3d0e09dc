// The bytes of attachments, sealed in pieces under the locks of their message: the same date, the
// same person. They go with it, whichever way it goes. docs/decisions/0028.
#ifndef MAYFLY_STORE_ATTACHMENTS_H_
#define MAYFLY_STORE_ATTACHMENTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/audit_log.h"
#include "store/keys/key_vault.h"
#include "store/model/attachment.h"
#include "store/model/ids.h"
#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::store {

class Core;

inline constexpr std::size_t kAttachmentPieceBytes = 64u << 10;

// One that is to be fetched.
struct WantedAttachment {
  MessageId message;
  std::uint16_t number = 0;
  PlatformId platform_message;
  AttachmentLocator locator;
  std::uint64_t bytes = 0;  // as the platform says; 0 if it does not
};

// Takes the bytes of one attachment in their order; at most 256 KiB of them are in memory at once.
// Nobody sees any before Finish succeeded. Dropped before that, what was written is overwritten by
// the next try or goes with the message. Not thread-safe; the store must outlive it.
//
// Errors of its calls: kNotFound or kExpired when the message has gone meanwhile, or its attachment
// is not waiting any more: give up. kTooLarge beyond kAttachmentBytesMax: it is refused already.
// kDiskFull (room_gate.h), kIo and kOutcomeUnknown: begin again later with another writer.
class AttachmentWriter {
 public:
  ~AttachmentWriter();
  AttachmentWriter(const AttachmentWriter&) = delete;
  AttachmentWriter& operator=(const AttachmentWriter&) = delete;

  Status Append(std::string_view bytes, TimePoint now);
  // The media type is found in the bytes. An empty file is kept as one.
  Status Finish(TimePoint now);

 private:
  friend class Attachments;
  AttachmentWriter(Core& core, const MessageId& message, std::uint16_t number);
  Status Write(bool last, TimePoint now);

  Core& core_;
  const MessageId message_;
  const std::uint16_t number_;
  const Bytes16 writing_;
  std::string media_type_;
  std::uint64_t written_ = 0;
  std::string waiting_;
};

// Thread-safe. Every read needs a Look (audit_log.h) and answers as Conversations::GetMessage does:
// kExpired, kRestricted, kNotFound for what was withdrawn, destroyed or erased.
class Attachments {
 public:
  explicit Attachments(Core& core) : core_(core) {}

  // kNotFound when the message has no attachment of this number.
  Result<Attachment> Get(const Look& look, const MessageId& message, std::uint16_t number,
                         TimePoint now) const;
  // The bytes from `offset` on, as far as their piece goes: 1 to kAttachmentPieceBytes of them, and
  // none at the end. kNotFound when it is not kept; kCorrupt when a piece does not open. No key is
  // held between two calls, so a message that ends or is destroyed ends its reading.
  Result<std::string> Read(const Look& look, const MessageId& message, std::uint16_t number,
                           std::uint64_t offset, TimePoint now) const;

  // What is to be fetched for an account, of the dates that end last first; at most `count`.
  // Without those whose message is hidden now.
  Result<std::vector<WantedAttachment>> Wanted(AccountId account, std::size_t count,
                                               TimePoint now) const;
  // kNotFound when it is not waiting. Of two writers for one attachment the first to finish counts.
  Result<std::unique_ptr<AttachmentWriter>> Write(const MessageId& message, std::uint16_t number,
                                                  TimePoint now);
  // It is not to be fetched any more. Idempotent; kNotFound when it is kept, or not there.
  Status Refuse(const MessageId& message, std::uint16_t number, AttachmentRefusal why,
                TimePoint now);

 private:
  Core& core_;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ATTACHMENTS_H_
