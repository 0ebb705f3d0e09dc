// Errors as values. Exceptions of libraries are caught where they enter and become an Error; they
// never cross a layer.
#ifndef MAYFLY_STORE_MODEL_RESULT_H_
#define MAYFLY_STORE_MODEL_RESULT_H_

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <tl/expected.hpp>

#include "store/model/time.h"

namespace mayfly {

// What went wrong, as far as a caller can act on it. `service/api/problem.cc` is the only place
// that turns these into HTTP.
enum class ErrorCode {
  kInvalidArgument,        // input breaks a rule; `field` names it
  kNotFound,               //
  kExpired,                // it lived and its time has passed (or its id says so)
  kPreconditionFailed,     // stale revision
  kConversationMoved,      // a newer message or a colleague's pending reply exists
  kIdempotencyConflict,    // same key, other body
  kIdempotencyInProgress,  // same key, still running
  kReplyWindowClosed,      //
  kRestricted,             // kept, and not shown: its person asked for that
  kAddsRecipient,          // the text would reach somebody who is not shown as recipient
  kCredentialDead,         // the platform no longer accepts our credential; a person must renew it
  kMissingPrivilege,       // the credential is accepted but lacks a permission; `message` names it
  kOptionUnusable,         // an account's option or secret can never work here: `field` names it,
                           // `message` says what would; a person must choose another
  kHostForbidden,          // an account's host leads only to where nothing here may connect to;
                           // certain not to have had an effect; a person must see to it
  kRateLimited,            // `retry_at` or `retry_after` says when
  kPlatformRejected,       // the platform understood and said no; `platform_code` says why
  kPlatformUnavailable,    // transient, and certain not to have had an effect
  kOutcomeUnknown,         // the call may or may not have had its effect
  kProtocol,               // an answer that breaks the platform's contract or our limits
  kTooLarge,               //
  kCeilingExceeded,        // a period longer than three calendar months
  kCursorInvalid,          //
  kSealed,                 // no usable master key
  kCorrupt,                // a record, key file or row that does not open; `message` names it
  kDiskFull,               // too little room for more of what people write; nothing happened
  kIo,                     // the operating system or the engine refused
  kUnavailable,            // not now: starting, draining, degraded
  kCancelled,              // the caller asked to stop
  kInternal,               // a defect of ours
};

// Stable lower-case words, for logs, link frames and account states.
const char* ToString(ErrorCode code);
std::optional<ErrorCode> ParseErrorCode(const std::string& word);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message =
      {};                  // for people; never message text, names, tokens, query or platform text
  std::string field = {};  // the offending input as a JSON pointer or option name, if there is one
  std::string platform_code = {};  // the platform's own error word, only from a closed list
  std::optional<TimePoint> retry_at = {};
  std::optional<std::chrono::milliseconds> retry_after = {};
};

template <class T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

using Status = Result<void>;

inline tl::unexpected<Error> Fail(ErrorCode code, std::string message, std::string field = {}) {
  return tl::unexpected<Error>(
      Error{.code = code, .message = std::move(message), .field = std::move(field)});
}
inline tl::unexpected<Error> Fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

}  // namespace mayfly

#define MAYFLY_CONCAT_INNER_(a, b) a##b
#define MAYFLY_CONCAT_(a, b) MAYFLY_CONCAT_INNER_(a, b)
#define MAYFLY_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr)      \
  auto tmp = (expr);                                       \
  if (!tmp) return ::mayfly::Fail(std::move(tmp).error()); \
  lhs = *std::move(tmp)
// MAYFLY_ASSIGN_OR_RETURN(const Message message, messages.Get(id, now));
#define MAYFLY_ASSIGN_OR_RETURN(lhs, expr) \
  MAYFLY_ASSIGN_OR_RETURN_IMPL_(MAYFLY_CONCAT_(mayfly_result_, __LINE__), lhs, expr)
#define MAYFLY_RETURN_IF_ERROR(expr)                                               \
  do {                                                                             \
    auto mayfly_status_ = (expr);                                                  \
    if (!mayfly_status_) return ::mayfly::Fail(std::move(mayfly_status_).error()); \
  } while (false)

#endif  // MAYFLY_STORE_MODEL_RESULT_H_
