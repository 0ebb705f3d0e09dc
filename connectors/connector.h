// The contract between a platform and the rest of Mayfly.
//
// A connector turns one account's platform into plain values that can travel over a pipe. It runs
// in a worker process of its own, on one thread. It never sleeps, retries, stores, reads the clock
// or logs content: it returns an Error with `retry_at` or `retry_after`, and the poller waits. It
// holds no state that matters: everything needed to go on is in the Cursor that it returns.
#ifndef MAYFLY_CONNECTORS_CONNECTOR_H_
#define MAYFLY_CONNECTORS_CONNECTOR_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "store/model/conversation.h"
#include "store/model/message.h"
#include "store/model/result.h"
#include "store/model/sensitive.h"

namespace mayfly::connectors {

// Where collecting stopped; the connector's own encoding, at most 16 KiB. Empty means "never
// asked". The core stores it in the same commit as the messages that it covers and never looks
// inside.
struct Cursor {
  std::string value;
};

struct PlatformMessage {
  PlatformId conversation;
  PlatformId id;
  PlatformId sender;
  Direction direction = Direction::kIncoming;
  std::optional<TimePoint> sent_at;  // absent when the platform gives none
  MessageBody text;                  // UTF-8; invalid sequences already replaced by U+FFFD
  UnreadableReason unreadable = UnreadableReason::kNone;
  bool has_unsupported_content = false;
};

// The platform shows another text than before for this message, because its sender changed it. May
// be reported again and again: the store keeps what is new and drops what it has. A message that
// the store does not hold is not made by an edit; one that was edited before it is first reported
// comes in a page with its edit, so that staff see that it was.
struct Edit {
  PlatformId conversation;
  PlatformId id;
  std::optional<TimePoint> edited_at;  // absent when the platform gives none
  MessageBody text;                    // as in PlatformMessage
  bool has_unsupported_content = false;
};

// The platform reported that this message was deleted or unsent.
struct Withdrawal {
  PlatformId conversation;
  PlatformId id;
};

struct PlatformConversation {
  PlatformId id;
  std::vector<Contact> participants;  // the people other than us
  bool group = false;
  PlatformStanding standing = PlatformStanding::kAccepted;
};

// One step of collecting. Messages come in any order; edits apply after them and withdrawals last.
// Each conversation named by a message is described in the same page.
struct Page {
  std::vector<PlatformConversation> conversations;
  std::vector<PlatformMessage> messages;
  std::vector<Edit> edits;
  std::vector<Withdrawal> withdrawals;
  Cursor next;
  bool caught_up = false;         // nothing newer stood at the platform when this was asked; the
                                  // poller waits an interval before it asks again
  bool history_complete = false;  // history has been read back to the horizon
  bool position_lost = false;  // the platform no longer knew our position: from here the connector
                               // re-reads, and the stretch since the last page is in doubt
  bool gap =
      false;  // of what came since the page before (on the first ones: since the horizon) the
              // platform no longer shows everything; what is missing cannot be had any more
  std::size_t skipped_past_horizon = 0;  // served but older than the horizon, left out
  // What a person should change at the platform although collecting goes on: a word from a closed
  // list of the connector. Empty: nothing.
  std::string warning = {};
};

struct FetchRequest {
  Cursor after;
  TimePoint horizon;               // nothing sent before this instant is wanted
  std::size_t messages_max = 200;  // a page may stop earlier; a platform page is not split
};

struct OutgoingReply {
  PlatformId conversation;
  std::string idempotency_key;  // unique for this reply; used where the platform honours one
  MessageBody text;
  PlatformId in_reply_to;           // the message that the writer answered; empty when it was
                                    // withdrawn since
  std::vector<Contact> recipients;  // the participants of the conversation, and nobody else; at
                                    // most 50. One of whom only the id is known has no handle
};

struct SentReply {
  PlatformId id;
  std::optional<TimePoint> sent_at;
};

struct FindSentRequest {
  PlatformId conversation;
  MessageBody text;
  TimePoint not_before;  // when the send was started, less the platform's clock allowance
};

struct CheckReport {
  std::string own_platform_id;
  std::string own_handle;
  std::vector<std::string> permissions_held;     // from a closed list of the connector
  std::vector<std::string> permissions_missing;  //
};

// How much the platform still lets this account ask, as it said itself with an answer. Where it
// counts several things apart it is what the newest answer was counted under.
struct PlatformBudget {
  std::uint64_t limit = 0;
  std::uint64_t remaining = 0;
  std::optional<TimePoint> resets_at;
};

// What the core must know without asking the platform. Part of ConnectorInfo.
struct Capabilities {
  std::size_t text_bytes_max = 0;
  std::size_t text_graphemes_max = 0;  // 0: the platform counts something else
  std::chrono::milliseconds poll_interval_min{};
  std::chrono::milliseconds poll_interval_default{};
  std::chrono::milliseconds send_deadline{};  // a send without an answer for so long is `unknown`
  bool idempotent_send = false;
  bool reports_edits = false;
  bool reports_withdrawals = false;
  // A mention such as @name@example.org in a reply's text makes that person a recipient. The API
  // then refuses one that would add somebody (kAddsRecipient), and so does the connector. Handles
  // on such a platform, our own too, are name@host.
  bool mentions_deliver = false;
};

class Connector {
 public:
  virtual ~Connector() = default;
  // The next page after `request.after`. Errors: kCredentialDead, kMissingPrivilege,
  // kHostForbidden, kRateLimited, kPlatformUnavailable, kPlatformRejected, kProtocol, kCancelled.
  virtual Result<Page> Fetch(const FetchRequest& request, std::stop_token stop) = 0;
  // Sends once. kOutcomeUnknown whenever the platform may have taken it; every other error means
  // that it certainly did not.
  virtual Result<SentReply> Send(const OutgoingReply& reply, std::stop_token stop) = 0;
  // Looks for messages of ours with exactly this text, oldest first, to settle an unknown send.
  virtual Result<std::vector<SentReply>> FindSent(const FindSentRequest& request,
                                                  std::stop_token stop) = 0;
  // Who we are there and what we may do. Collects nothing.
  virtual Result<CheckReport> Check(std::stop_token stop) = 0;
  // As last told; absent when the platform tells nothing. Asks nobody.
  virtual std::optional<PlatformBudget> budget() const { return std::nullopt; }
};

// What the value of an option may be; judged by connectors/options.h, without the connector.
enum class OptionKind {
  kText,    // anything
  kOrigin,  // the address of a server, as EgressPolicy lets it be
  kHandle,  // printable ASCII without blanks; an @ before it is not counted
  kToken,   // printable ASCII without blanks
};

// One option of an account. Secret ones go into the credential and are never returned.
struct OptionInfo {
  std::string name;
  std::string help;
  bool required = false;
  bool secret = false;
  OptionKind kind = OptionKind::kText;
  std::size_t bytes_max = 1024;
};

struct ConnectorInfo {
  std::string name;          // as in connectors.def
  std::string display_name;  //
  std::vector<OptionInfo> options;
  Capabilities capabilities;
  // The data that this platform keeps regardless of us, for /v1/about.
  std::string data_location;
};

// Called by a connector when the platform gave it new tokens. Returns only when the core has them
// sealed and synced; until then the connector must not use them. An error ends the connector.
using CredentialSink = std::function<Status(const Credential& renewed)>;

// Told what the platform says the time is, from the Date field of an answer over TLS; on the
// thread of the call.
using PlatformTimeSink = std::function<void(TimePoint said)>;

// Which hosts an account may talk to. Applied in the shared client, once.
struct EgressPolicy {
  bool insecure_loopback = false;          // plain HTTP, loopback addresses only
  std::vector<std::string> private_hosts;  // host[:port] that may resolve to a private address
  std::string ca_file;                     // additional CA for those, or empty
};

struct ConnectorContext {
  std::map<std::string, std::string> options;  // non-secret
  Credential credential;  // JSON object of the secret options, or what the sink was last given
  CredentialSink renew;
  EgressPolicy egress;
  PlatformTimeSink platform_time;  // for the HttpClient; may be empty
};

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_CONNECTOR_H_
