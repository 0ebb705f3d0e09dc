// A loopback imitation of a Bluesky personal data server and of the chat service behind it: as
// strict and as odd as the platform, judged by the npm package @atproto/api. Tests and mayfly-demo
// only.
//
// Odd on purpose: an uncursored log starts now; expired tokens are HTTP 400; chat calls without the
// proxy header are refused; a used refresh token lives two hours more and always yields the same
// successor; unknown kinds of log entry turn up; a message that was deleted since shows as deleted
// in the log entry of its creation.
#ifndef MAYFLY_CONNECTORS_BLUESKY_SIMULATOR_H_
#define MAYFLY_CONNECTORS_BLUESKY_SIMULATOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "connectors/platform_simulator.h"
#include "connectors/simulator_server.h"
#include "store/model/clock.h"
#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::connectors {

struct BlueskySimulatorOptions {
  std::uint16_t port = 0;          // 0: the kernel chooses
  bool control_endpoints = false;  // serve /_sim/* (see HandleControl in the .cc)
  std::size_t log_page_max = 100;  // entries in one answer of getLog
  bool unknown_log_kinds = true;   // every fifth message is followed by an entry of a made-up kind
  bool rate_limit_headers = true;  // RateLimit-* and Retry-After
  std::uint32_t requests_per_5_min = 3'000;
  std::uint32_t logins_per_5_min = 30;
  std::uint32_t logins_per_day = 300;
};

// All methods are thread-safe. Handles name actors. An unknown handle or conversation is kNotFound.
class BlueskySimulator {
 public:
  // `clock` decides every timestamp and expiry; it must outlive the simulator.
  static Result<std::unique_ptr<BlueskySimulator>> Start(
      const Clock& clock, const BlueskySimulatorOptions& options = {});
  ~BlueskySimulator();

  std::string origin() const;  // http://127.0.0.1:port
  std::uint16_t port() const;

  struct AppPassword {
    std::string password;
    bool direct_messages = false;  // "allow access to your direct messages"
  };
  enum class AllowIncoming { kAll, kFollowing, kNone };
  struct ActorOptions {
    std::string handle;
    std::string password;
    std::vector<AppPassword> app_passwords = {};
    std::string display_name = {};
    AllowIncoming allow_incoming = AllowIncoming::kAll;
  };
  // Adds an actor, or gives an existing one these passwords and settings. Returns its DID.
  std::string AddActor(const ActorOptions& actor);
  std::string AddActor(const std::string& handle, const std::string& password,
                       const std::vector<AppPassword>& app_passwords = {});
  // A conversation begun by somebody whom the recipient follows needs no acceptance.
  Status Follow(const std::string& follower, const std::string& followed);
  Status Block(const std::string& blocker, const std::string& blocked);
  // Login and refresh answer AccountTakedown from now on.
  Status TakeDown(const std::string& handle, bool taken_down = true);

  struct SendOptions {
    std::optional<TimePoint> sent_at = {};  // default: now
    std::string sent_at_text = {};          // written instead of a timestamp, to be wrong
    bool embed = false;                     // quotes a record
    bool leave_request = false;  // history only: do not accept the conversation by writing in it
  };
  struct Sent {
    std::string conversation_id;
    std::string message_id;
  };
  // Writes as `from` to `to`, as an official app would: creates the conversation, accepts it for
  // the writer. Platform rules (blocks, locks, limits) apply: kPlatformRejected.
  Result<Sent> SendAs(const std::string& from, const std::string& to, const std::string& text,
                      const SendOptions& options);
  Result<Sent> SendAs(const std::string& from, const std::string& to, const std::string& text);
  // The same in a conversation that exists, for groups.
  Result<Sent> SendIn(const std::string& from, const std::string& conversation_id,
                      const std::string& text);
  // A group; everybody but the owner has it as a request unless they follow the owner.
  Result<std::string> CreateGroup(const std::string& owner, const std::vector<std::string>& members,
                                  const std::string& name);
  Status Accept(const std::string& handle, const std::string& conversation_id);
  // The platform removes a message: both sides see it deleted.
  Status DeleteForBoth(const std::string& conversation_id, const std::string& message_id);
  Status LockConvo(const std::string& conversation_id, bool locked = true);
  // The direct conversation of two actors, if there is one.
  std::optional<std::string> FindConvo(const std::string& a, const std::string& b) const;

  struct SeenMessage {
    std::string id;
    std::string sender_handle;
    std::string text;
    bool deleted = false;
  };
  // What `viewer` sees in the direct conversation with `other`, oldest first.
  std::vector<SeenMessage> MessagesBetween(const std::string& viewer,
                                           const std::string& other) const;

  // Every access token given out so far has expired.
  void ExpireSessions();
  // Every refresh token given out so far is revoked.
  void RevokeRefresh();
  // The next `count` requests answer `status` and have no effect.
  void FailNext(int count, int status);
  // The next sendMessage takes effect and its connection closes without an answer.
  void DropNextSendAnswer();
  // The next sendMessage has no effect and its connection closes without an answer.
  void DropNextSendBeforeEffect();
  // The next sendMessage takes effect and is answered with this status.
  void FailNextSendAfterEffect(int status);
  // The next `count` requests answer 429.
  void RateLimitNext(int count, bool with_headers = true);
  // The next request whose method name (for example "chat.bsky.convo.getLog") is `method` gets this
  // answer and has no effect. An empty `method` means any request. Calls queue.
  void AnswerNext(const std::string& method, SimulatorResponse response);
  // Log cursors given out so far are refused: the platform's log reaches no further back.
  void ForgetLogCursors();
  void SetLogPageMax(std::size_t entries);
  // Each answer of getLog holds every entry twice.
  void SetDuplicateLogEntries(bool on);
  // Entries of one answer of getLog come newest first.
  void SetReorderLogEntries(bool on);
  // getLog answers with the cursor that it was asked with.
  void SetRepeatLogCursor(bool on);
  // Profiles in conversations lack their handle, as for an account that is being moved.
  void SetOmitHandles(bool on);
  // The service endpoint that DID documents name, instead of origin(). Empty: none is named.
  void SetPdsEndpoint(std::optional<std::string> endpoint);

  // See platform_simulator.h. Reads are all queries (GET); feeds and lists of messages are getLog
  // and getMessages. kTokenRevoked ends every session and removes every app password.
  void Inject(PlatformFault fault, int count, int after);

  // How many messages with exactly this text exist, deleted ones included.
  std::size_t CountSends(const std::string& text) const;
  // How many requests of one method arrived (any answer), or of all methods when empty.
  std::size_t CountRequests(const std::string& method = "") const;

 private:
  struct Impl;
  explicit BlueskySimulator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

namespace bluesky {

// The office has an app password and takes messages from everybody, so strangers stand as requests.
// There are no edits. A deletion is the platform's own, seen by both sides.
Result<std::unique_ptr<PlatformSimulator>> StartPlatform(const Clock& clock,
                                                         const PlatformSimulatorOptions& options);

}  // namespace bluesky
}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_BLUESKY_SIMULATOR_H_
