// What every simulator offers, so that one conformance suite can drive all of them: people who
// write to one office, and the ways in which a platform or a network goes wrong. Tests and
// mayfly-demo only.
//
// A simulator is judged by strictness: one that is kinder than its platform is a defect.
#ifndef MAYFLY_CONNECTORS_PLATFORM_SIMULATOR_H_
#define MAYFLY_CONNECTORS_PLATFORM_SIMULATOR_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/model/clock.h"
#include "store/model/result.h"
#include "store/model/sensitive.h"
#include "store/model/time.h"

namespace mayfly::connectors {

enum class PlatformFault {
  // The next `count` requests that read (GET) have no effect and are answered ...
  kRateLimited,       // ... in the platform's own dialect, with its headers
  kUnavailable,       // ... with 503
  kTruncatedAnswer,   // ... with the right status and the first half of a right body
  kHugeAnswer,        // ... with a body far beyond the client's cap
  kNotJson,           // ... with 200 and a page of HTML
  kWrongShape,        // ... with 200 and JSON that breaks the contract
  kConnectionClosed,  // ... with nothing: the connection closes
  kRedirect,          // ... with a redirect to another host
  // The next `count` answers of a feed or list of messages ...
  kServedTwice,      // ... hold each of their items twice
  kServedReordered,  // ... hold their items in another order than the platform's
  kCursorRepeats,    // ... lead to the position that was asked for
  kEmptyPageGoesOn,  // ... are empty and yet say that there is more
  // The next `count` sends ...
  kSendAnswerLost,    // ... take effect, and the connection closes
  kSendLost,          // ... have no effect, and the connection closes
  kSendFailsAfter,    // ... take effect, and are answered with 500
  kSendAnswerBroken,  // ... take effect, and are answered with 200 and a page of HTML
  kSendRateLimited,   // ... have no effect, in the platform's dialect of 429
  kSendRefused,       // ... have no effect, with the platform's words for "no"
  // From now on (`count` does not matter) ...
  kTokenExpired,       // ... access tokens given so far are refused; renewing helps, where there is
                       //     such a thing
  kTokenRevoked,       // ... everything that the office's credential can give is refused
  kPositionForgotten,  // ... positions given so far are not known, where the platform forgets them
};

struct PlatformSimulatorOptions {
  std::uint16_t port = 0;          // 0: the kernel chooses
  bool control_endpoints = false;  // serve /_sim/*, for tests in other processes
};

// Thread-safe. Persons are numbers from 0 and come into being when they first write.
class PlatformSimulator {
 public:
  virtual ~PlatformSimulator() = default;

  virtual std::string origin() const = 0;  // http://127.0.0.1:port
  // With these a connector reaches the office's account here.
  struct Office {
    std::map<std::string, std::string> options;  // non-secret
    Credential credential;                       // JSON object of the secret options
  };
  virtual Office office() const = 0;

  struct Written {
    std::string conversation;  // ids as the connector reports them; empty while nobody can know it
    std::string message;
  };
  // As `person` to the office, by the rules of the platform. `sent_at` in the past makes history.
  virtual Result<Written> Write(int person, const std::string& text,
                                std::optional<TimePoint> sent_at = std::nullopt) = 0;
  // As the office to `person`, typed in the platform's own app.
  virtual Result<Written> WriteAsOffice(int person, const std::string& text) = 0;
  // By the one who wrote it; a deletion that only the platform itself can make is the platform's.
  // kPlatformRejected where there is no such thing.
  virtual Status Edit(const Written& written, const std::string& text) = 0;
  virtual Status Delete(const Written& written) = 0;
  // As `person`, what is no direct message to the office: to somebody else and, where the platform
  // has such a thing, in public with the office's name in it. To judge that nobody else's words are
  // collected.
  virtual Status WriteElsewhere(int person, const std::string& text) = 0;

  // What `person` was sent by the office with exactly this text, as a reader sees it (a mention
  // that the platform wants in front does not count). To judge that a reply arrived at most once.
  virtual std::size_t CountReceived(int person, const std::string& text) const = 0;
  // The platform's own handle of `person`, as the connector reports it.
  virtual std::string HandleOf(int person) const = 0;

  // Takes the place of what is left of the same fault; `count` 0 withdraws it. It begins when
  // `after` more requests of any kind have arrived, so that a suite can break every step of a call.
  // kPlatformRejected where the platform cannot do this to anybody; the suite then skips, visibly.
  virtual Status Inject(PlatformFault fault, int count = 1, int after = 0) = 0;
  virtual std::size_t CountRequests() const = 0;  // that arrived, whatever the answer
  // The greatest number of messages that one answer of the platform holds.
  virtual std::size_t MessagesPerAnswer() const = 0;
};

// `clock` decides every timestamp and expiry; it must outlive the simulator. kNotFound for an
// unknown platform. Each platform folder's simulator.h declares, in the namespace
// mayfly::connectors::<platform>:
//
//   Result<std::unique_ptr<PlatformSimulator>> StartPlatform(const Clock&,
//                                                            const PlatformSimulatorOptions&);
Result<std::unique_ptr<PlatformSimulator>> StartPlatformSimulator(
    std::string_view platform, const Clock& clock, const PlatformSimulatorOptions& options = {});

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_PLATFORM_SIMULATOR_H_
