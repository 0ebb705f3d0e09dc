// Files that messages bring along.
#ifndef MAYFLY_STORE_MODEL_ATTACHMENT_H_
#define MAYFLY_STORE_MODEL_ATTACHMENT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "store/model/sensitive.h"

namespace mayfly {

using AttachmentName = Sensitive<struct AttachmentNameTag>;  // as its sender called it
// What a connector needs to fetch it, in its own encoding; often a link that is a key by itself.
using AttachmentLocator = Sensitive<struct AttachmentLocatorTag>;

inline constexpr std::size_t kAttachmentsMax = 64;                   // of one message
inline constexpr std::uint64_t kAttachmentBytesMax = 25ull << 20;    // of one file
inline constexpr std::size_t kAttachmentNameBytesMax = 255;          // more is cut at a character
inline constexpr std::size_t kAttachmentLocatorBytesMax = 4u << 10;  // more is not fetched

enum class AttachmentState : std::uint8_t {
  kWaiting = 1,  // the platform named it; it is still to be fetched
  kKept = 2,     // its bytes are here
  kRefused = 3,  // they are not and will not be; why: AttachmentRefusal
};
const char* ToString(AttachmentState state);  // waiting, kept, refused

enum class AttachmentRefusal : std::uint8_t {
  kNone = 0,
  kTooLarge = 1,     // more than kAttachmentBytesMax
  kGone = 2,         // the platform has it no more
  kNotAllowed = 3,   // it lies on a host that is not on the account's list
  kUnfetchable = 4,  // the platform gave something else, or nothing, each time it was asked
};
const char* ToString(AttachmentRefusal refusal);  // none, too-large, gone, not-allowed, unfetchable

struct Attachment {
  std::uint16_t number = 0;  // within its message, from 1, as the platform lists them
  AttachmentState state = AttachmentState::kWaiting;
  AttachmentRefusal refusal = AttachmentRefusal::kNone;
  std::uint64_t bytes = 0;  // of what is kept; of the others as the platform says, 0 if it does not
  // By content for what is kept (MediaTypeOf), never as the sender says.
  std::string media_type = {};
  AttachmentName name = {};  // may be empty
};

// The media type of a file that begins with these bytes, from a short list of kinds that people
// send; application/octet-stream for everything else, which includes all that a browser would run
// (HTML, SVG, scripts). 512 bytes are enough. Signatures as in the WHATWG MIME Sniffing Standard
// and the formats' own specifications.
const char* MediaTypeOf(std::string_view begin);

}  // namespace mayfly

#endif  // MAYFLY_STORE_MODEL_ATTACHMENT_H_
