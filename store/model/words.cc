// The words of every enumeration, in one place: the REST API, the logs and the link say the same.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "store/model/account.h"
#include "store/model/actor.h"
#include "store/model/attachment.h"
#include "store/model/conversation.h"
#include "store/model/message.h"
#include "store/model/reply.h"
#include "store/model/result.h"

namespace mayfly {

namespace {

template <class Enum>
struct Word {
  Enum value;
  const char* word;
};

// A value outside its enumeration can only come from a defect; it has no word, and `unnamed` parses
// as nothing.
template <class Enum, std::size_t kCount>
const char* WordOf(const Word<Enum> (&words)[kCount], Enum value) {
  for (const Word<Enum>& entry : words) {
    if (entry.value == value) return entry.word;
  }
  return "unnamed";
}

template <class Enum, std::size_t kCount>
std::optional<Enum> ValueOf(const Word<Enum> (&words)[kCount], std::string_view word) {
  for (const Word<Enum>& entry : words) {
    if (entry.word == word) return entry.value;
  }
  return std::nullopt;
}

constexpr Word<ErrorCode> kErrorCodes[] = {
    {ErrorCode::kInvalidArgument, "invalid-argument"},
    {ErrorCode::kNotFound, "not-found"},
    {ErrorCode::kExpired, "expired"},
    {ErrorCode::kPreconditionFailed, "precondition-failed"},
    {ErrorCode::kConversationMoved, "conversation-moved"},
    {ErrorCode::kIdempotencyConflict, "idempotency-conflict"},
    {ErrorCode::kIdempotencyInProgress, "idempotency-in-progress"},
    {ErrorCode::kReplyWindowClosed, "reply-window-closed"},
    {ErrorCode::kRestricted, "restricted"},
    {ErrorCode::kAddsRecipient, "adds-recipient"},
    {ErrorCode::kCredentialDead, "credential-dead"},
    {ErrorCode::kMissingPrivilege, "missing-privilege"},
    {ErrorCode::kOptionUnusable, "option-unusable"},
    {ErrorCode::kHostForbidden, "host-forbidden"},
    {ErrorCode::kRateLimited, "rate-limited"},
    {ErrorCode::kPlatformRejected, "platform-rejected"},
    {ErrorCode::kPlatformUnavailable, "platform-unavailable"},
    {ErrorCode::kOutcomeUnknown, "outcome-unknown"},
    {ErrorCode::kProtocol, "protocol"},
    {ErrorCode::kTooLarge, "too-large"},
    {ErrorCode::kCeilingExceeded, "ceiling-exceeded"},
    {ErrorCode::kCursorInvalid, "cursor-invalid"},
    {ErrorCode::kSealed, "sealed"},
    {ErrorCode::kCorrupt, "corrupt"},
    {ErrorCode::kDiskFull, "disk-full"},
    {ErrorCode::kIo, "io"},
    {ErrorCode::kUnavailable, "unavailable"},
    {ErrorCode::kCancelled, "cancelled"},
    {ErrorCode::kInternal, "internal"},
};

constexpr Word<AccountState> kAccountStates[] = {
    {AccountState::kStarting, "starting"},
    {AccountState::kOk, "ok"},
    {AccountState::kThrottled, "throttled"},
    {AccountState::kUnreachable, "unreachable"},
    {AccountState::kCredentialDead, "credential-dead"},
    {AccountState::kMissingPrivilege, "missing-privilege"},
    {AccountState::kCrashLoop, "crash-loop"},
    {AccountState::kRetired, "retired"},
    {AccountState::kMisconfigured, "misconfigured"},
    {AccountState::kDiskFull, "disk-full"},
};

constexpr Word<Direction> kDirections[] = {
    {Direction::kIncoming, "incoming"},
    {Direction::kOutgoing, "outgoing"},
};

constexpr Word<UnreadableReason> kUnreadableReasons[] = {
    {UnreadableReason::kNone, "none"},
    {UnreadableReason::kEncrypted, "encrypted"},
    {UnreadableReason::kNotAvailable, "not-available"},
    {UnreadableReason::kUnsupportedKind, "unsupported-kind"},
};

constexpr Word<AttachmentState> kAttachmentStates[] = {
    {AttachmentState::kWaiting, "waiting"},
    {AttachmentState::kKept, "kept"},
    {AttachmentState::kRefused, "refused"},
};

constexpr Word<AttachmentRefusal> kAttachmentRefusals[] = {
    {AttachmentRefusal::kNone, "none"},
    {AttachmentRefusal::kTooLarge, "too-large"},
    {AttachmentRefusal::kGone, "gone"},
    {AttachmentRefusal::kNotAllowed, "not-allowed"},
    {AttachmentRefusal::kUnfetchable, "unfetchable"},
};

constexpr Word<ConversationStatus> kConversationStatuses[] = {
    {ConversationStatus::kOpen, "open"},
    {ConversationStatus::kClosed, "closed"},
};

constexpr Word<PlatformStanding> kPlatformStandings[] = {
    {PlatformStanding::kAccepted, "accepted"},
    {PlatformStanding::kRequest, "request"},
    {PlatformStanding::kLocked, "locked"},
};

constexpr Word<ReplyState> kReplyStates[] = {
    {ReplyState::kQueued, "queued"}, {ReplyState::kSending, "sending"}, {ReplyState::kSent, "sent"},
    {ReplyState::kFailed, "failed"}, {ReplyState::kUnknown, "unknown"},
};

constexpr Word<Scope> kScopes[] = {
    {Scope::kInboxRead, "inbox:read"},
    {Scope::kInboxReply, "inbox:reply"},
    {Scope::kInboxManage, "inbox:manage"},
    {Scope::kAdminAccounts, "admin:accounts"},
    {Scope::kAdminSettings, "admin:settings"},
    {Scope::kPrivacyAccess, "privacy:access"},
    {Scope::kPrivacyErase, "privacy:erase"},
    {Scope::kPrivacyRestrict, "privacy:restrict"},
    {Scope::kOpsRead, "ops:read"},
    {Scope::kOpsAct, "ops:act"},
    {Scope::kAuditRead, "audit:read"},
};

constexpr Word<Role> kRoles[] = {
    {Role::kComms, "comms"},
    {Role::kPrivacy, "privacy"},
    {Role::kAdministrator, "administrator"},
    {Role::kAuditor, "auditor"},
    {Role::kOperator, "operator"},
};

constexpr std::uint32_t Bit(Scope scope) { return static_cast<std::uint32_t>(scope); }

}  // namespace

const char* ToString(ErrorCode code) { return WordOf(kErrorCodes, code); }
std::optional<ErrorCode> ParseErrorCode(const std::string& word) {
  return ValueOf(kErrorCodes, word);
}

const char* ToString(AccountState state) { return WordOf(kAccountStates, state); }
std::optional<AccountState> ParseAccountState(const std::string& word) {
  return ValueOf(kAccountStates, word);
}

const char* ToString(Direction direction) { return WordOf(kDirections, direction); }
const char* ToString(UnreadableReason reason) { return WordOf(kUnreadableReasons, reason); }

const char* ToString(AttachmentState state) { return WordOf(kAttachmentStates, state); }
const char* ToString(AttachmentRefusal refusal) { return WordOf(kAttachmentRefusals, refusal); }

const char* ToString(ConversationStatus status) { return WordOf(kConversationStatuses, status); }
std::optional<ConversationStatus> ParseConversationStatus(const std::string& word) {
  return ValueOf(kConversationStatuses, word);
}
const char* ToString(PlatformStanding standing) { return WordOf(kPlatformStandings, standing); }

const char* ToString(ReplyState state) { return WordOf(kReplyStates, state); }

const char* ToString(Scope scope) { return WordOf(kScopes, scope); }
const char* ToString(Role role) { return WordOf(kRoles, role); }
std::optional<Role> ParseRole(const std::string& word) { return ValueOf(kRoles, word); }

std::uint32_t ScopesOf(Role role) {
  switch (role) {
    case Role::kComms:
      return Bit(Scope::kInboxRead) | Bit(Scope::kInboxReply) | Bit(Scope::kInboxManage);
    case Role::kPrivacy:
      return Bit(Scope::kPrivacyAccess) | Bit(Scope::kPrivacyErase) | Bit(Scope::kPrivacyRestrict);
    case Role::kAdministrator:
      return Bit(Scope::kAdminAccounts) | Bit(Scope::kAdminSettings);
    case Role::kAuditor:
      return Bit(Scope::kAuditRead) | Bit(Scope::kOpsRead);
    case Role::kOperator:
      return Bit(Scope::kOpsRead) | Bit(Scope::kOpsAct);
  }
  return 0;
}

}  // namespace mayfly
