// A loopback imitation of a Mastodon server and of its relatives (GoToSocial, Pleroma, snac), as
// strict and as odd as they are, judged by the npm package masto and by Mastodon's OpenAPI
// description. Tests and mayfly-demo only.
//
// Odd on purpose, and so in the servers' sources, which are named where each rule is kept:
//  - GET /api/v1/conversations pages by the id of each conversation's last STATUS, while the entity
//    has an id of its own; it says "next" exactly when the page was full, so that a full last page
//    leads to one more, empty one. One thread has one entry for each set of participants.
//  - GET /api/v1/notifications pages by notification ids, small serial numbers on Mastodon, and
//    says "next" on every page that is not empty. An empty page has no Link header at all.
//  - since_id gives the newest page above it and skips the middle; min_id is free of gaps.
//  - A private mention that the policy filters (Mastodon's default for strangers) is in neither
//    list. It is a notification with include_filtered=true and in /notifications/requests; once
//    the request is accepted, it appears in both lists under its old, low ids: below every
//    position that a reader holds by then.
//  - An edit changes neither list's order; a deletion removes silently.
//  - snac: the list of conversations is always empty, every status that is not public says
//    "private", and a bad token is answered with an empty list.
//
// Which id stands for a conversation: that of the Conversation entity of the account that reads
// (Mastodon: serial number; GoToSocial: ULID; Pleroma: number of the participation). snac has none.
#ifndef MAYFLY_CONNECTORS_MASTODON_SIMULATOR_H_
#define MAYFLY_CONNECTORS_MASTODON_SIMULATOR_H_

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

enum class MastodonFlavour { kMastodon, kHometown, kGoToSocial, kPleroma, kSnac };

struct MastodonSimulatorOptions {
  std::uint16_t port = 0;          // 0: the kernel chooses
  bool control_endpoints = false;  // serve /_sim/* (see Control in simulator.cc)
  MastodonFlavour flavour = MastodonFlavour::kMastodon;
  // Mastodon before 4.3: no GET /api/v1/statuses?id[]=, no notification policy, nothing is
  // filtered.
  bool before_4_3 = false;
  std::string domain = "social.example";   // of local accounts; not where the server listens
  std::size_t max_characters = 0;          // of a status; 0: what the flavour ships with
  std::uint32_t requests_per_5_min = 300;  // and on Mastodon as many pages per 15 minutes
  bool rate_limit_headers = true;          // X-RateLimit-*
};

// All methods are thread-safe. `acct` names an account: "ann" is local, "ann@far.example" remote.
// An unknown account or status is kNotFound; what the server refuses is kPlatformRejected.
class MastodonSimulator {
 public:
  // `clock` decides every timestamp; it must outlive the simulator.
  static Result<std::unique_ptr<MastodonSimulator>> Start(
      const Clock& clock, const MastodonSimulatorOptions& options = {});
  ~MastodonSimulator();

  std::string origin() const;  // http://127.0.0.1:port
  std::uint16_t port() const;

  struct AccountOptions {
    std::string acct;
    std::string display_name = {};
    bool bot = false;
    bool locked = false;
    bool silenced = false;                     // "limited" by the moderators
    std::optional<TimePoint> created_at = {};  // default: a year before the clock's now
  };
  // Adds an account, or gives an existing one these settings. Returns its id.
  std::string AddAccount(const AccountOptions& account);
  std::string AddAccount(const std::string& acct);
  // A token of this local account. Scopes are separated by spaces, for example "read write".
  Result<std::string> IssueToken(const std::string& acct, const std::string& scopes);
  // What the account's owner would do in the browser: the code for /oauth/token.
  Result<std::string> Authorize(const std::string& acct, const std::string& client_id,
                                const std::string& redirect_uri, const std::string& scopes);
  Status RevokeTokens(const std::string& acct);
  Status Follow(const std::string& follower, const std::string& followed);
  Status Block(const std::string& blocker, const std::string& blocked);
  // The recipient's notification policy for private mentions: accept, filter or drop.
  Status SetPrivateMentions(const std::string& acct, const std::string& policy);
  // Lets a stranger's filtered mentions through, from now on and afterwards.
  Status AcceptRequest(const std::string& acct, const std::string& from);

  struct PostOptions {
    std::string visibility = "direct";  // public, unlisted, private, direct
    std::string in_reply_to_id = {};
    std::string spoiler_text = {};  // the content warning
    std::size_t images = 0;         // media attachments
    bool poll = false;
    std::optional<TimePoint> at = {};  // default: now; the past makes history
    // Remote accounts only: the content as their server wrote it, and whom it mentions, whatever
    // the text says.
    std::optional<std::string> html = {};
    std::vector<std::string> mentions = {};
  };
  struct Posted {
    std::string id;
    // The conversation in which the first mentioned local account has it, else the author's; empty
    // when neither has one.
    std::string conversation_id;
  };
  // By the server's rules: a direct status reaches whom its text mentions (@ann, @ann@far.example).
  Result<Posted> Post(const std::string& acct, const std::string& text, const PostOptions& options);
  Result<Posted> Post(const std::string& acct, const std::string& text);
  Status Edit(const std::string& status_id, const std::string& text,
              const std::string& spoiler_text = "");
  Status Delete(const std::string& status_id);
  // The conversation entity in which `acct` has this status.
  std::optional<std::string> ConversationOf(const std::string& acct,
                                            const std::string& status_id) const;

  struct Seen {
    std::string id;
    std::string author;      // acct
    std::string text;        // as it was typed; of a remote status, the text that was given
    std::string visibility;  // as it really is
    std::string in_reply_to_id;
    bool deleted = false;
  };
  // Every status that `viewer` wrote or that mentions them, oldest first, deleted ones included.
  std::vector<Seen> StatusesSeenBy(const std::string& viewer) const;

  // As PlatformSimulator::Inject. Tokens do not expire and positions are not forgotten here.
  Status Inject(PlatformFault fault, int count = 1, int after = 0);
  // The next request with this method and path gets this answer and has no effect. An empty path
  // means any request. Calls queue.
  void AnswerNext(const std::string& method, const std::string& path, SimulatorResponse response);
  // How many requests to one path arrived (any method and answer), or to all when empty.
  std::size_t CountRequests(const std::string& path = "") const;

 private:
  struct Impl;
  explicit MastodonSimulator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

namespace mastodon {

// The office is the local account "office", whose policy is the server's default: what strangers
// write to it is filtered. Person n is "citizen<n>", local when n is odd, else on another server,
// and goes on in the thread with the office where there is one. Written::message is the status id;
// Written::conversation is what the connector makes of thread and people: the id of the thread's
// first status, "~", and the person's account id.
Result<std::unique_ptr<PlatformSimulator>> StartPlatform(const Clock& clock,
                                                         const PlatformSimulatorOptions& options);

}  // namespace mastodon
}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_MASTODON_SIMULATOR_H_
