#include "connectors/bluesky/simulator.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "connectors/bluesky/simulator_tokens.h"
#include "connectors/graphemes.h"
#include "connectors/platform_faults.h"
#include "store/model/json.h"
#include "store/model/mutex.h"

namespace mayfly::connectors {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr auto kAccessLife = minutes(120);
constexpr auto kRefreshLife = hours(24 * 90);
constexpr auto kRefreshGrace = hours(2);
constexpr auto kShortWindow = minutes(5);
constexpr auto kDayWindow = hours(24);
constexpr std::size_t kTextBytesMax = 10'000;
constexpr std::size_t kTextGraphemesMax = 1'000;
constexpr std::size_t kGroupMembersMax = 50;
constexpr int kUnknownEvery = 5;
constexpr const char* kProxy = "did:web:api.bsky.chat#bsky_chat";
constexpr const char* kScopeAccess = "com.atproto.access";
constexpr const char* kScopeAppPass = "com.atproto.appPass";
constexpr const char* kScopePrivileged = "com.atproto.appPassPrivileged";
constexpr const char* kScopeRefresh = "com.atproto.refresh";
constexpr const char* kDefs = "chat.bsky.convo.defs#";

struct Message {
  std::string id;
  std::string rev;
  std::string sender;  // a DID
  std::string text;
  std::string sent_at;
  bool embed = false;
  bool deleted = false;               // for everybody
  std::set<std::string> deleted_for;  // DIDs
  std::string added_member;           // not empty: a system message about this DID
};

struct Member {
  std::string did;
  bool accepted = true;
  bool muted = false;
  bool left = false;
  std::int64_t unread = 0;
};

struct Convo {
  std::string id;
  std::string rev;
  std::string owner;  // who began it
  bool group = false;
  std::string name;
  std::string created_at;
  bool locked = false;
  std::vector<Member> members;
  std::vector<Message> messages;
};

struct LogRow {
  std::string rev;
  std::string kind;
  std::string convo;
  std::optional<std::size_t> message;
};

struct Actor {
  std::string did;
  BlueskySimulator::ActorOptions settings;
  bool taken_down = false;
  std::set<std::string> follows;
  std::set<std::string> blocks;
  std::vector<LogRow> log;
  int logged_messages = 0;
};

struct RefreshRow {
  std::string did;
  std::string scope;  // of the access tokens that it yields
  TimePoint expires_at;
  std::string successor;  // once used
};

struct Window {
  TimePoint begun;
  std::uint32_t used = 0;
};

struct Refused {
  int status = 400;
  std::string name;
  std::string message;
};
using Answer = tl::expected<std::string, Refused>;  // a JSON body

tl::unexpected<Refused> Refuse(int status, std::string name, std::string message) {
  return tl::unexpected(
      Refused{.status = status, .name = std::move(name), .message = std::move(message)});
}
tl::unexpected<Refused> Invalid(std::string message) {
  return Refuse(400, "InvalidRequest", std::move(message));
}

SimulatorResponse ErrorAnswer(const Refused& refused) {
  SimulatorResponse response;
  response.status = refused.status;
  json::Writer writer(&response.body);
  writer.StartObject().Field("error", refused.name).Field("message", refused.message).EndObject();
  return response;
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

Member* FindMember(Convo& convo, const std::string& did) {
  for (Member& member : convo.members) {
    if (member.did == did) return &member;
  }
  return nullptr;
}

bool DeletedFor(const Message& message, const std::string& did) {
  return message.deleted || message.deleted_for.contains(did);
}

// Ids and revisions end in "22", the smallest there is, so a cursor that differs from one there
// lies between it and the next: it skips nothing. A thousand steps, then it stands still.
constexpr std::string_view kTidDigits = "234567abcdefghijklmnopqrstuvwxyz";
int LowPart(const std::string& tid) {
  return static_cast<int>(kTidDigits.find(tid[tid.size() - 2]) * kTidDigits.size() +
                          kTidDigits.find(tid.back()));
}
std::string WithLowPart(std::string tid, int low) {
  const auto digits = static_cast<int>(kTidDigits.size());
  low = std::clamp(low, 1, digits * digits - 1);
  tid[tid.size() - 2] = kTidDigits[static_cast<std::size_t>(low / digits)];
  tid.back() = kTidDigits[static_cast<std::size_t>(low % digits)];
  return tid;
}
std::string StepUp(const std::string& tid) { return WithLowPart(tid, LowPart(tid) + 1); }
// From above towards `tid`: the first step when `asked` is none of these.
std::string StepDown(const std::string& tid, const std::string& asked) {
  const std::size_t high = tid.size() - 2;
  const bool begun = asked.size() == tid.size() && asked.compare(0, high, tid, 0, high) == 0;
  return WithLowPart(tid, begun ? LowPart(asked) - 1 : 1 << 10);
}

// Everything that happens there. Not thread-safe: BlueskySimulator::Impl holds the lock.
class World {
 public:
  World(const Clock& clock, const BlueskySimulatorOptions& options)
      : clock_(clock), options_(options) {}

  SimulatorResponse Handle(const SimulatorRequest& request);

  void SetOrigin(std::string origin) { origin_ = std::move(origin); }
  std::string AddActor(const BlueskySimulator::ActorOptions& settings);
  Actor* FindActor(const std::string& handle_or_did);
  Convo* FindDirect(const std::string& a, const std::string& b);
  Convo* FindConvo(const std::string& id);
  tl::expected<Convo*, Refused> OpenDirect(Actor& from, Actor& to);
  Convo& OpenGroup(Actor& owner, const std::vector<Actor*>& others, const std::string& name);
  tl::expected<Message*, Refused> Write(Actor& from, Convo& convo, const std::string& text,
                                        const std::string& reply_to,
                                        const BlueskySimulator::SendOptions& options);
  std::optional<std::string> Accept(Actor& actor, Convo& convo);  // the new revision
  bool DeleteForBoth(Convo& convo, const std::string& message_id);
  void Lock(Convo& convo, bool locked);
  void ExpireSessions() { ++generation_; }
  void RevokeRefresh() { refresh_rows_.clear(); }
  void RevokeAll();
  void ForgetLogCursors() { log_floor_ = NextTid(); }
  std::vector<BlueskySimulator::SeenMessage> MessagesBetween(const std::string& viewer,
                                                             const std::string& other);
  std::size_t CountSends(const std::string& text) const;
  std::size_t CountRequests(const std::string& method) const;

  // Switches; see the header.
  PlatformFaults faults;
  int fail_next = 0;
  int fail_status = 500;
  bool drop_next_send_answer = false;
  bool drop_next_send_before_effect = false;
  int fail_next_send_after_effect = 0;
  int rate_limit_next = 0;
  bool rate_limit_headers = true;
  std::deque<std::pair<std::string, SimulatorResponse>> answers;
  bool duplicate_log = false;
  bool reorder_log = false;
  bool repeat_log_cursor = false;
  bool omit_handles = false;
  std::optional<std::string> pds_endpoint;
  BlueskySimulatorOptions& options() { return options_; }

 private:
  using Query = Answer (World::*)(const SimulatorRequest&, Actor&);
  using Procedure = Answer (World::*)(const json::Value&, Actor&);

  std::string NextTid() { return tids_.Next(clock_.Now()); }
  std::string Now() const { return FormatRfc3339(clock_.Now()); }
  void Log(Actor& actor, const std::string& kind, const std::string& convo,
           std::optional<std::size_t> message = std::nullopt, const std::string& rev = "");

  void BeginFaults();
  SimulatorResponse Route(const SimulatorRequest& request, const std::string& method);
  SimulatorResponse RouteSend(const SimulatorRequest& request, const std::string& method);
  Answer Chat(const SimulatorRequest& request, const std::string& method);
  Answer Server(const SimulatorRequest& request, const std::string& method);
  SimulatorResponse Control(const SimulatorRequest& request);
  Answer ControlPost(const std::string& what, const json::Value& body);
  Answer Faults(const json::Value& body);
  Answer State(const SimulatorRequest& request);

  // Uses up one of `limit` in the window; answers 429 when there is none left.
  std::optional<SimulatorResponse> Limit(const std::string& key, std::uint32_t limit,
                                         std::chrono::milliseconds length,
                                         std::vector<std::pair<std::string, std::string>>& headers);
  SimulatorResponse RateLimited(std::optional<TimePoint> until, std::uint32_t limit,
                                std::chrono::milliseconds length) const;

  tl::expected<TokenClaims, Refused> Bearer(const SimulatorRequest& request) const;
  tl::expected<Actor*, Refused> Access(const SimulatorRequest& request, bool privileged);
  std::string SessionBody(Actor& actor, const std::string& scope, const std::string& refresh_id);
  std::string NewRefresh(const Actor& actor, const std::string& scope);
  void WriteDidDocument(json::Writer& writer, const Actor& actor) const;
  Answer CreateSession(const SimulatorRequest& request);
  Answer RefreshSession(const SimulatorRequest& request);
  Answer DeleteSession(const SimulatorRequest& request);
  Answer GetSession(const SimulatorRequest& request);
  Answer DescribeServer() const;
  Answer ResolveHandle(const SimulatorRequest& request);
  Answer GetProfiles(const SimulatorRequest& request, bool many);

  Answer GetLog(const SimulatorRequest& request, Actor& actor);
  Answer ListConvos(const SimulatorRequest& request, Actor& actor);
  Answer ListConvoRequests(const SimulatorRequest& request, Actor& actor);
  Answer GetConvo(const SimulatorRequest& request, Actor& actor);
  Answer GetConvoMembers(const SimulatorRequest& request, Actor& actor);
  Answer GetConvoForMembers(const SimulatorRequest& request, Actor& actor);
  Answer GetConvoAvailability(const SimulatorRequest& request, Actor& actor);
  Answer GetMessages(const SimulatorRequest& request, Actor& actor);
  Answer GetUnreadCounts(const SimulatorRequest& request, Actor& actor);
  Answer SendMessage(const json::Value& body, Actor& actor);
  Answer DeleteMessageForSelf(const json::Value& body, Actor& actor);
  Answer AcceptConvo(const json::Value& body, Actor& actor);
  Answer UpdateRead(const json::Value& body, Actor& actor);
  Answer LeaveConvo(const json::Value& body, Actor& actor);
  Answer MuteConvo(const json::Value& body, Actor& actor);
  Answer UnmuteConvo(const json::Value& body, Actor& actor);
  Answer SetMuted(const json::Value& body, Actor& actor, bool muted);

  tl::expected<Convo*, Refused> ConvoOf(const std::optional<std::string>& id, const Actor& actor);
  tl::expected<Convo*, Refused> ConvoIn(const json::Value& body, const Actor& actor);
  tl::expected<std::vector<Actor*>, Refused> MembersParam(const SimulatorRequest& request,
                                                          const Actor& actor);
  std::vector<Convo*> ConvosOf(const Actor& actor);
  Answer ConvoPage(const SimulatorRequest& request, Actor& actor, std::vector<Convo*> convos,
                   const char* key, bool typed);
  void WriteProfile(json::Writer& writer, const std::string& did, const Convo* in);
  void WriteConvo(json::Writer& writer, Convo& convo, const Actor& viewer, bool typed);
  void WriteMessage(json::Writer& writer, const Message& message, const Actor& viewer, bool typed);
  Answer ConvoAnswer(Convo& convo, const Actor& viewer);

  const Clock& clock_;
  BlueskySimulatorOptions options_;
  std::string origin_;
  TidMaker tids_;
  TokenMaker tokens_;
  std::int64_t generation_ = 0;
  std::map<std::string, Actor> actors_;  // by DID
  std::map<std::string, std::string> handles_;
  std::map<std::string, Convo> convos_;
  std::map<std::string, RefreshRow> refresh_rows_;
  std::map<std::string, Window> windows_;
  std::map<std::string, std::size_t> requests_;
  std::string log_floor_;
};

// ---- people, conversations, messages ----

void World::RevokeAll() {
  ExpireSessions();
  RevokeRefresh();
  for (auto& [did, actor] : actors_) actor.settings.app_passwords.clear();
}

std::string World::AddActor(const BlueskySimulator::ActorOptions& settings) {
  const std::string handle = Lower(settings.handle);
  const std::string did = DidFor(handle);
  Actor& actor = actors_[did];
  actor.did = did;
  actor.settings = settings;
  actor.settings.handle = handle;
  handles_[handle] = did;
  return did;
}

Actor* World::FindActor(const std::string& handle_or_did) {
  const auto handle = handles_.find(Lower(handle_or_did));
  const auto it = actors_.find(handle != handles_.end() ? handle->second : handle_or_did);
  return it != actors_.end() ? &it->second : nullptr;
}

Convo* World::FindConvo(const std::string& id) {
  const auto it = convos_.find(id);
  return it != convos_.end() ? &it->second : nullptr;
}

Convo* World::FindDirect(const std::string& a, const std::string& b) {
  for (auto& [id, convo] : convos_) {
    if (!convo.group && FindMember(convo, a) != nullptr && FindMember(convo, b) != nullptr) {
      return &convo;
    }
  }
  return nullptr;
}

void World::Log(Actor& actor, const std::string& kind, const std::string& convo,
                std::optional<std::size_t> message, const std::string& rev) {
  LogRow row{
      .rev = rev.empty() ? NextTid() : rev, .kind = kind, .convo = convo, .message = message};
  // A cursor is a revision, so revisions must rise along the log.
  assert(actor.log.empty() || actor.log.back().rev < row.rev);
  actor.log.push_back(std::move(row));
}

tl::expected<Convo*, Refused> World::OpenDirect(Actor& from, Actor& to) {
  if (&from == &to) return Invalid("Error: members must include somebody else");
  if (to.blocks.contains(from.did)) {
    return Refuse(400, "BlockedActor", "recipient has blocked the actor");
  }
  if (from.blocks.contains(to.did)) {
    return Refuse(400, "BlockedSubject", "actor has blocked the recipient");
  }
  if (Convo* convo = FindDirect(from.did, to.did)) return convo;
  const bool followed = to.follows.contains(from.did);
  if (to.settings.allow_incoming == BlueskySimulator::AllowIncoming::kNone) {
    return Refuse(400, "MessagesDisabled", "recipient has disabled incoming messages");
  }
  if (to.settings.allow_incoming == BlueskySimulator::AllowIncoming::kFollowing && !followed) {
    return Refuse(400, "NotFollowedBySender",
                  "recipient requires incoming messages to come from someone they follow");
  }
  Convo convo;
  convo.id = NextTid();
  convo.rev = NextTid();
  convo.owner = from.did;
  convo.created_at = Now();
  convo.members = {Member{.did = from.did}, Member{.did = to.did, .accepted = followed}};
  Log(from, "logBeginConvo", convo.id, std::nullopt, convo.rev);
  const std::string id = convo.id;
  return &(convos_[id] = std::move(convo));
}

Convo& World::OpenGroup(Actor& owner, const std::vector<Actor*>& others, const std::string& name) {
  Convo convo;
  convo.id = NextTid();
  convo.rev = NextTid();
  convo.owner = owner.did;
  convo.group = true;
  convo.name = name;
  convo.created_at = Now();
  convo.members.push_back(Member{.did = owner.did});
  for (const Actor* other : others) {
    convo.members.push_back(
        Member{.did = other->did, .accepted = other->follows.contains(owner.did)});
    convo.messages.push_back(Message{.id = NextTid(),
                                     .rev = NextTid(),
                                     .sender = owner.did,
                                     .sent_at = Now(),
                                     .added_member = other->did});
  }
  const std::string id = convo.id;
  Convo& kept = convos_[id] = std::move(convo);
  for (const Member& member : kept.members) {
    Actor& actor = *FindActor(member.did);
    Log(actor, "logBeginConvo", id);
    for (std::size_t i = 0; i < kept.messages.size(); ++i) Log(actor, "logAddMember", id, i);
  }
  return kept;
}

std::optional<std::string> World::Accept(Actor& actor, Convo& convo) {
  Member* member = FindMember(convo, actor.did);
  if (member == nullptr || member->accepted) return std::nullopt;
  member->accepted = true;
  convo.rev = NextTid();
  Log(actor, "logAcceptConvo", convo.id, std::nullopt, convo.rev);
  return convo.rev;
}

tl::expected<Message*, Refused> World::Write(Actor& from, Convo& convo, const std::string& text,
                                             const std::string& reply_to,
                                             const BlueskySimulator::SendOptions& options) {
  if (convo.locked) return Refuse(400, "ConvoLocked", "the conversation is locked");
  if (text.size() > kTextBytesMax) {
    return Invalid("Error: Input/message/text must not be longer than 10000 characters");
  }
  if (CountGraphemes(text) > kTextGraphemesMax) {
    return Invalid("Error: Input/message/text must not be longer than 1000 graphemes");
  }
  const auto has = [&](const Message& message) { return message.id == reply_to; };
  if (!reply_to.empty() && std::none_of(convo.messages.begin(), convo.messages.end(), has)) {
    return Refuse(400, "ReplyTargetNotFound", "the message to reply to was not found");
  }
  for (const Member& member : convo.members) {
    const Actor* other = FindActor(member.did);
    if (!convo.group && other->blocks.contains(from.did)) {
      return Refuse(400, "BlockedActor", "recipient has blocked the actor");
    }
  }
  if (!options.leave_request) Accept(from, convo);  // writing in a request accepts it
  const bool first = std::none_of(convo.messages.begin(), convo.messages.end(),
                                  [](const Message& m) { return m.added_member.empty(); });
  for (Member& member : convo.members) {
    if (member.left) {  // a conversation that was left comes back as a request
      member.left = false;
      member.accepted = member.did == from.did;
      Log(*FindActor(member.did), "logBeginConvo", convo.id);
    } else if (first && !convo.group && member.did != from.did) {
      Log(*FindActor(member.did), "logBeginConvo", convo.id);
    }
  }
  Message message;
  message.id = NextTid();
  message.rev = NextTid();
  message.sender = from.did;
  message.text = text;
  message.sent_at = !options.sent_at_text.empty()
                        ? options.sent_at_text
                        : FormatRfc3339(options.sent_at.value_or(clock_.Now()));
  message.embed = options.embed;
  convo.rev = message.rev;
  convo.messages.push_back(std::move(message));
  const std::size_t index = convo.messages.size() - 1;
  for (Member& member : convo.members) {
    Actor& reader = *FindActor(member.did);
    if (member.did != from.did) ++member.unread;
    Log(reader, "logCreateMessage", convo.id, index, convo.messages[index].rev);
    // Of a kind that nobody knows yet.
    if (options_.unknown_log_kinds && ++reader.logged_messages % kUnknownEvery == 0) {
      Log(reader, "logSomethingNew", convo.id);
    }
  }
  return &convo.messages[index];
}

bool World::DeleteForBoth(Convo& convo, const std::string& message_id) {
  for (std::size_t i = 0; i < convo.messages.size(); ++i) {
    Message& message = convo.messages[i];
    if (message.id != message_id || message.deleted || !message.added_member.empty()) continue;
    message.deleted = true;
    message.rev = convo.rev = NextTid();
    for (const Member& member : convo.members) {
      Log(*FindActor(member.did), "logDeleteMessage", convo.id, i, message.rev);
    }
    return true;
  }
  return false;
}

void World::Lock(Convo& convo, bool locked) {
  convo.locked = locked;
  convo.rev = NextTid();
  // Only groups have a lock that members see; a direct conversation just refuses.
  if (!convo.group || convo.messages.empty()) return;
  for (const Member& member : convo.members) {
    Log(*FindActor(member.did), locked ? "logLockConvo" : "logUnlockConvo", convo.id, 0);
  }
}

std::vector<BlueskySimulator::SeenMessage> World::MessagesBetween(const std::string& viewer,
                                                                  const std::string& other) {
  std::vector<BlueskySimulator::SeenMessage> seen;
  const Actor* a = FindActor(viewer);
  const Actor* b = FindActor(other);
  const Convo* convo = a != nullptr && b != nullptr ? FindDirect(a->did, b->did) : nullptr;
  if (convo == nullptr) return seen;
  for (const Message& message : convo->messages) {
    const bool deleted = DeletedFor(message, a->did);
    seen.push_back({.id = message.id,
                    .sender_handle = FindActor(message.sender)->settings.handle,
                    .text = deleted ? std::string() : message.text,
                    .deleted = deleted});
  }
  return seen;
}

std::size_t World::CountSends(const std::string& text) const {
  std::size_t count = 0;
  for (const auto& [id, convo] : convos_) {
    count += static_cast<std::size_t>(
        std::count_if(convo.messages.begin(), convo.messages.end(), [&](const Message& message) {
          return message.added_member.empty() && message.text == text;
        }));
  }
  return count;
}

std::size_t World::CountRequests(const std::string& method) const {
  if (!method.empty()) {
    const auto it = requests_.find(method);
    return it != requests_.end() ? it->second : 0;
  }
  std::size_t count = 0;
  for (const auto& [name, number] : requests_) count += number;
  return count;
}

// ---- the door ----

SimulatorResponse World::RateLimited(std::optional<TimePoint> until, std::uint32_t limit,
                                     std::chrono::milliseconds length) const {
  SimulatorResponse response =
      ErrorAnswer({.status = 429, .name = "RateLimitExceeded", .message = "Rate Limit Exceeded"});
  if (!until) return response;
  const auto wait = std::chrono::ceil<std::chrono::seconds>(*until - clock_.Now()).count();
  const auto reset = std::chrono::ceil<std::chrono::seconds>(until->time_since_epoch()).count();
  const auto window = std::chrono::duration_cast<std::chrono::seconds>(length).count();
  response.headers = {{"RateLimit-Limit", std::to_string(limit)},
                      {"RateLimit-Remaining", "0"},
                      {"RateLimit-Reset", std::to_string(reset)},
                      {"RateLimit-Policy", std::to_string(limit) + ";w=" + std::to_string(window)},
                      {"Retry-After", std::to_string(wait)}};
  return response;
}

std::optional<SimulatorResponse> World::Limit(
    const std::string& key, std::uint32_t limit, std::chrono::milliseconds length,
    std::vector<std::pair<std::string, std::string>>& headers) {
  Window& window = windows_[key];
  const TimePoint now = clock_.Now();
  if (window.used == 0 || now >= window.begun + length || now < window.begun) {
    window = Window{.begun = now};
  }
  const TimePoint until = window.begun + length;
  if (window.used >= limit) {
    return RateLimited(options_.rate_limit_headers ? std::optional(until) : std::nullopt, limit,
                       length);
  }
  ++window.used;
  if (options_.rate_limit_headers) {
    const auto reset = std::chrono::ceil<std::chrono::seconds>(until.time_since_epoch()).count();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(length).count();
    headers = {{"RateLimit-Limit", std::to_string(limit)},
               {"RateLimit-Remaining", std::to_string(limit - window.used)},
               {"RateLimit-Reset", std::to_string(reset)},
               {"RateLimit-Policy", std::to_string(limit) + ";w=" + std::to_string(seconds)}};
  }
  return std::nullopt;
}

// Those that hold from now on.
void World::BeginFaults() {
  faults.Arrived();
  if (faults.Take(PlatformFault::kTokenExpired)) ExpireSessions();
  if (faults.Take(PlatformFault::kTokenRevoked)) RevokeAll();
  if (faults.Take(PlatformFault::kPositionForgotten)) ForgetLogCursors();
}

SimulatorResponse World::Handle(const SimulatorRequest& request) {
  constexpr std::string_view kXrpc = "/xrpc/";
  if (request.path.starts_with("/_sim/")) {
    if (!options_.control_endpoints) {
      return ErrorAnswer({.status = 404, .name = "NotFound", .message = "Not Found"});
    }
    return Control(request);
  }
  if (!request.path.starts_with(kXrpc)) {
    return ErrorAnswer({.status = 404, .name = "NotFound", .message = "Not Found"});
  }
  const std::string method = request.path.substr(kXrpc.size());
  ++requests_[method];
  BeginFaults();
  for (auto it = answers.begin(); it != answers.end(); ++it) {
    if (!it->first.empty() && it->first != method) continue;
    SimulatorResponse response = std::move(it->second);
    answers.erase(it);
    return response;
  }
  if (fail_next > 0) {
    --fail_next;
    return ErrorAnswer(
        {.status = fail_status, .name = "InternalServerError", .message = "Internal Server Error"});
  }
  if (rate_limit_next > 0) {
    --rate_limit_next;
    return RateLimited(
        rate_limit_headers ? std::optional(clock_.Now() + kShortWindow) : std::nullopt,
        options_.requests_per_5_min, kShortWindow);
  }
  std::vector<std::pair<std::string, std::string>> headers;
  if (auto limited = Limit("all", options_.requests_per_5_min, kShortWindow, headers)) {
    return *std::move(limited);
  }
  if (method == "com.atproto.server.createSession") {
    const auto body = json::Parse(request.body);
    const auto identifier = body ? body->String("identifier") : Result<std::string>("");
    const std::string who = Lower(identifier.value_or(""));
    if (auto limited = Limit("login day " + who, options_.logins_per_day, kDayWindow, headers)) {
      return *std::move(limited);
    }
    if (auto limited = Limit("login " + who, options_.logins_per_5_min, kShortWindow, headers)) {
      return *std::move(limited);
    }
  }
  const auto broken = request.method == "GET" ? faults.TakeForRead() : std::nullopt;
  if (broken == PlatformFault::kRateLimited) {
    return RateLimited(clock_.Now() + kShortWindow, options_.requests_per_5_min, kShortWindow);
  }
  SimulatorResponse response = Route(request, method);
  response.headers.insert(response.headers.end(), headers.begin(), headers.end());
  return broken ? BrokenAnswer(*broken, std::move(response)) : response;
}

SimulatorResponse World::Route(const SimulatorRequest& request, const std::string& method) {
  if (method == "chat.bsky.convo.sendMessage") return RouteSend(request, method);
  const Answer answer =
      method.starts_with("chat.") ? Chat(request, method) : Server(request, method);
  if (!answer) return ErrorAnswer(answer.error());
  SimulatorResponse response;
  response.body = *answer;
  return response;
}

SimulatorResponse World::RouteSend(const SimulatorRequest& request, const std::string& method) {
  SimulatorResponse response;
  if (std::exchange(drop_next_send_before_effect, false) || faults.Take(PlatformFault::kSendLost)) {
    response.drop_connection = true;
    return response;
  }
  if (faults.Take(PlatformFault::kSendRateLimited)) {
    return RateLimited(clock_.Now() + kShortWindow, options_.requests_per_5_min, kShortWindow);
  }
  if (faults.Take(PlatformFault::kSendRefused)) {
    return ErrorAnswer({.name = "BlockedActor", .message = "recipient has blocked the actor"});
  }
  const Answer answer = Chat(request, method);
  if (!answer) return ErrorAnswer(answer.error());
  int status = std::exchange(fail_next_send_after_effect, 0);
  if (faults.Take(PlatformFault::kSendFailsAfter)) status = 500;
  if (status != 0) {
    return ErrorAnswer(
        {.status = status, .name = "UpstreamFailure", .message = "Upstream Failure"});
  }
  response.body = *answer;
  if (faults.Take(PlatformFault::kSendAnswerBroken)) {
    return BrokenAnswer(PlatformFault::kNotJson, std::move(response));
  }
  response.drop_connection =
      std::exchange(drop_next_send_answer, false) || faults.Take(PlatformFault::kSendAnswerLost);
  return response;
}

// ---- sessions ----

tl::expected<TokenClaims, Refused> World::Bearer(const SimulatorRequest& request) const {
  const std::string header = request.Header("authorization");
  constexpr std::string_view kBearer = "Bearer ";
  if (!header.starts_with(kBearer)) {
    return Refuse(401, "AuthMissing", "Authentication Required");
  }
  const auto claims = tokens_.Read(header.substr(kBearer.size()));
  if (!claims) return Refuse(400, "InvalidToken", "Token could not be verified");
  const bool old = claims->scope != kScopeRefresh && claims->generation < generation_;
  if (old || clock_.Now() >= claims->expires_at) {
    return Refuse(400, "ExpiredToken", "Token has expired");
  }
  return *claims;
}

tl::expected<Actor*, Refused> World::Access(const SimulatorRequest& request, bool privileged) {
  const auto claims = Bearer(request);
  if (!claims) return tl::unexpected(claims.error());
  if (claims->scope == kScopeRefresh) return Refuse(400, "InvalidToken", "Bad token scope");
  if (privileged && claims->scope == kScopeAppPass) {
    return Refuse(400, "InvalidToken", "Bad token method");
  }
  Actor* actor = FindActor(claims->did);
  if (actor == nullptr) return Refuse(401, "AccountNotFound", "Account not found");
  return actor;
}

void World::WriteDidDocument(json::Writer& writer, const Actor& actor) const {
  writer.StartObject();
  writer.Key("@context").StartArray().String("https://www.w3.org/ns/did/v1").EndArray();
  writer.Field("id", actor.did);
  writer.Key("alsoKnownAs").StartArray().String("at://" + actor.settings.handle).EndArray();
  writer.Key("verificationMethod").StartArray().EndArray();
  writer.Key("service").StartArray();
  const std::string endpoint = pds_endpoint.value_or(origin_);
  if (!endpoint.empty()) {
    writer.StartObject()
        .Field("id", "#atproto_pds")
        .Field("type", "AtprotoPersonalDataServer")
        .Field("serviceEndpoint", endpoint)
        .EndObject();
  }
  writer.EndArray().EndObject();
}

std::string World::NewRefresh(const Actor& actor, const std::string& scope) {
  const std::string id = NextTid();
  refresh_rows_[id] =
      RefreshRow{.did = actor.did, .scope = scope, .expires_at = clock_.Now() + kRefreshLife};
  return id;
}

std::string World::SessionBody(Actor& actor, const std::string& scope,
                               const std::string& refresh_id) {
  const TimePoint now = clock_.Now();
  std::string body;
  json::Writer writer(&body);
  writer.StartObject();
  writer.Field("accessJwt", tokens_.Make({.scope = scope,
                                          .did = actor.did,
                                          .generation = generation_,
                                          .issued_at = now,
                                          .expires_at = now + kAccessLife}));
  writer.Field("refreshJwt", tokens_.Make({.scope = kScopeRefresh,
                                           .did = actor.did,
                                           .id = refresh_id,
                                           .issued_at = now,
                                           .expires_at = refresh_rows_[refresh_id].expires_at}));
  writer.Field("handle", actor.settings.handle).Field("did", actor.did);
  writer.Key("didDoc");
  WriteDidDocument(writer, actor);
  writer.Field("active", true).EndObject();
  return body;
}

Answer World::CreateSession(const SimulatorRequest& request) {
  const auto body = json::Parse(request.body);
  if (!body) return Invalid("Error: Input must be a JSON object");
  const auto identifier = body->String("identifier");
  const auto password = body->String("password");
  if (!identifier) return Invalid("Error: Input must have the property \"identifier\"");
  if (!password) return Invalid("Error: Input must have the property \"password\"");
  Actor* actor = FindActor(*identifier);
  std::optional<std::string> scope;
  if (actor != nullptr) {
    if (*password == actor->settings.password) scope = kScopeAccess;
    for (const BlueskySimulator::AppPassword& app : actor->settings.app_passwords) {
      if (*password == app.password) scope = app.direct_messages ? kScopePrivileged : kScopeAppPass;
    }
  }
  if (!scope) return Refuse(401, "AuthenticationRequired", "Invalid identifier or password");
  if (actor->taken_down) {
    return Refuse(401, "AccountTakedown", "Account has been taken down");
  }
  return SessionBody(*actor, *scope, NewRefresh(*actor, *scope));
}

Answer World::RefreshSession(const SimulatorRequest& request) {
  const auto claims = Bearer(request);
  if (!claims) return tl::unexpected(claims.error());
  if (claims->scope != kScopeRefresh) return Refuse(400, "InvalidToken", "Bad token scope");
  Actor* actor = FindActor(claims->did);
  if (actor == nullptr) return Invalid("Could not find user info for account");
  if (actor->taken_down) {
    return Refuse(401, "AccountTakedown", "Account has been taken down");
  }
  const auto row = refresh_rows_.find(claims->id);
  if (row == refresh_rows_.end() || clock_.Now() >= row->second.expires_at) {
    return Refuse(400, "ExpiredToken", "Token has been revoked");
  }
  // A first use starts the grace; every use within it leads to the same successor.
  row->second.expires_at = std::min(row->second.expires_at, clock_.Now() + kRefreshGrace);
  const std::string scope = row->second.scope;
  if (row->second.successor.empty() || !refresh_rows_.contains(row->second.successor)) {
    row->second.successor = NewRefresh(*actor, scope);
  }
  return SessionBody(*actor, scope, row->second.successor);
}

Answer World::DeleteSession(const SimulatorRequest& request) {
  const auto claims = Bearer(request);
  if (!claims) return tl::unexpected(claims.error());
  if (claims->scope != kScopeRefresh) return Refuse(400, "InvalidToken", "Bad token scope");
  refresh_rows_.erase(claims->id);
  return std::string();
}

Answer World::GetSession(const SimulatorRequest& request) {
  const auto actor = Access(request, false);
  if (!actor) return tl::unexpected(actor.error());
  std::string body;
  json::Writer writer(&body);
  writer.StartObject().Field("handle", (*actor)->settings.handle).Field("did", (*actor)->did);
  writer.Key("didDoc");
  WriteDidDocument(writer, **actor);
  writer.Field("active", !(*actor)->taken_down);
  if ((*actor)->taken_down) writer.Field("status", "takendown");
  writer.EndObject();
  return body;
}

Answer World::DescribeServer() const {
  std::string body;
  json::Writer writer(&body);
  writer.StartObject().Field("did", "did:web:simulator.test");
  writer.Key("availableUserDomains").StartArray().String(".simulator.test").EndArray();
  writer.Field("inviteCodeRequired", false).EndObject();
  return body;
}

Answer World::ResolveHandle(const SimulatorRequest& request) {
  const auto handle = request.Query("handle");
  if (!handle) return Invalid("Error: Params must have the property \"handle\"");
  const Actor* actor = FindActor(*handle);
  if (actor == nullptr) return Refuse(400, "HandleNotFound", "Unable to resolve handle");
  std::string body;
  json::Writer writer(&body);
  writer.StartObject().Field("did", actor->did).EndObject();
  return body;
}

Answer World::GetProfiles(const SimulatorRequest& request, bool many) {
  if (const auto actor = Access(request, false); !actor) return tl::unexpected(actor.error());
  std::string body;
  json::Writer writer(&body);
  if (many) writer.StartObject().Key("profiles").StartArray();
  std::size_t written = 0;
  for (const auto& [key, value] : request.query) {
    if (key != (many ? "actors" : "actor")) continue;
    const Actor* found = FindActor(value);
    if (found == nullptr) {
      if (many) continue;
      return Invalid("Profile not found");
    }
    if (!many && written > 0) break;
    WriteProfile(writer, found->did, nullptr);
    ++written;
  }
  if (many) {
    writer.EndArray().EndObject();
  } else if (written == 0) {
    return Invalid("Error: Params must have the property \"actor\"");
  }
  return body;
}

Answer World::Server(const SimulatorRequest& request, const std::string& method) {
  struct Row {
    const char* name;
    bool post;
  };
  static constexpr std::array<Row, 8> kRows = {{{"com.atproto.server.createSession", true},
                                                {"com.atproto.server.refreshSession", true},
                                                {"com.atproto.server.deleteSession", true},
                                                {"com.atproto.server.getSession", false},
                                                {"com.atproto.server.describeServer", false},
                                                {"com.atproto.identity.resolveHandle", false},
                                                {"app.bsky.actor.getProfile", false},
                                                {"app.bsky.actor.getProfiles", false}}};
  const auto row =
      std::find_if(kRows.begin(), kRows.end(), [&](const Row& r) { return method == r.name; });
  if (row == kRows.end()) return Refuse(501, "MethodNotImplemented", "Method Not Implemented");
  if ((request.method == "POST") != row->post) {
    return Invalid(std::string("Incorrect HTTP method (") + request.method + ") expected " +
                   (row->post ? "POST" : "GET"));
  }
  switch (row - kRows.begin()) {
    case 0:
      return CreateSession(request);
    case 1:
      return RefreshSession(request);
    case 2:
      return DeleteSession(request);
    case 3:
      return GetSession(request);
    case 4:
      return DescribeServer();
    case 5:
      return ResolveHandle(request);
    case 6:
      return GetProfiles(request, false);
    default:
      return GetProfiles(request, true);
  }
}

// ---- chat ----

Answer World::Chat(const SimulatorRequest& request, const std::string& method) {
  static const std::map<std::string, Query> kQueries = {
      {"chat.bsky.convo.getLog", &World::GetLog},
      {"chat.bsky.convo.listConvos", &World::ListConvos},
      {"chat.bsky.convo.listConvoRequests", &World::ListConvoRequests},
      {"chat.bsky.convo.getConvo", &World::GetConvo},
      {"chat.bsky.convo.getConvoMembers", &World::GetConvoMembers},
      {"chat.bsky.convo.getConvoForMembers", &World::GetConvoForMembers},
      {"chat.bsky.convo.getConvoAvailability", &World::GetConvoAvailability},
      {"chat.bsky.convo.getMessages", &World::GetMessages},
      {"chat.bsky.convo.getUnreadCounts", &World::GetUnreadCounts},
  };
  static const std::map<std::string, Procedure> kProcedures = {
      {"chat.bsky.convo.sendMessage", &World::SendMessage},
      {"chat.bsky.convo.deleteMessageForSelf", &World::DeleteMessageForSelf},
      {"chat.bsky.convo.acceptConvo", &World::AcceptConvo},
      {"chat.bsky.convo.updateRead", &World::UpdateRead},
      {"chat.bsky.convo.leaveConvo", &World::LeaveConvo},
      {"chat.bsky.convo.muteConvo", &World::MuteConvo},
      {"chat.bsky.convo.unmuteConvo", &World::UnmuteConvo},
  };
  // In the order of the reference server: who, may they, then where to.
  const auto actor = Access(request, true);
  if (!actor) return tl::unexpected(actor.error());
  const std::string proxy = request.Header("atproto-proxy");
  if (proxy.empty()) return Invalid("No service configured for " + method);
  if (proxy.find('#') == std::string::npos) {
    return Invalid("no service id specified in proxy header");
  }
  if (proxy != kProxy) return Invalid("could not resolve proxy did service url");
  if (const auto query = kQueries.find(method); query != kQueries.end()) {
    if (request.method != "GET") {
      return Invalid("Incorrect HTTP method (" + request.method + ") expected GET");
    }
    return (this->*query->second)(request, **actor);
  }
  const auto procedure = kProcedures.find(method);
  if (procedure == kProcedures.end()) {
    return Refuse(501, "MethodNotImplemented", "Method Not Implemented");
  }
  if (request.method != "POST") {
    return Invalid("Incorrect HTTP method (" + request.method + ") expected POST");
  }
  if (!request.Header("content-type").starts_with("application/json")) {
    return Invalid("Wrong request encoding (Content-Type): " + request.Header("content-type"));
  }
  const auto body = json::Parse(request.body);
  if (!body || !body->is_object()) return Invalid("Error: Input must be an object");
  return (this->*procedure->second)(*body, **actor);
}

// `limit` of a list; 1 to 100.
tl::expected<std::size_t, Refused> LimitParam(const SimulatorRequest& request) {
  const auto text = request.Query("limit");
  if (!text) return 50;
  std::size_t limit = 0;
  for (const char c : *text) {
    if (c < '0' || c > '9' || text->size() > 6) {
      return Invalid("Error: limit must be an integer");
    }
    limit = limit * 10 + static_cast<std::size_t>(c - '0');
  }
  if (text->empty()) return Invalid("Error: limit must be an integer");
  if (limit < 1) return Invalid("Error: limit can not be less than 1");
  if (limit > 100) return Invalid("Error: limit can not be greater than 100");
  return limit;
}

// An absent cursor, or one in the shape that this platform gives.
tl::expected<std::string, Refused> CursorParam(const SimulatorRequest& request) {
  const std::string cursor = request.Query("cursor").value_or("");
  if (!cursor.empty() && !IsTid(cursor)) return Invalid("Error: cursor is invalid");
  return cursor;
}

tl::expected<Convo*, Refused> World::ConvoOf(const std::optional<std::string>& id,
                                             const Actor& actor) {
  if (!id) return Invalid("Error: Params must have the property \"convoId\"");
  Convo* convo = FindConvo(*id);
  const Member* member = convo != nullptr ? FindMember(*convo, actor.did) : nullptr;
  if (member == nullptr || member->left) {
    return Refuse(400, "InvalidConvo", "Convo not found");
  }
  return convo;
}

tl::expected<Convo*, Refused> World::ConvoIn(const json::Value& body, const Actor& actor) {
  const auto id = body.String("convoId");
  if (!id) return Invalid("Error: Input must have the property \"convoId\"");
  return ConvoOf(*id, actor);
}

void World::WriteProfile(json::Writer& writer, const std::string& did, const Convo* in) {
  const Actor& actor = *FindActor(did);
  writer.StartObject().Field("did", did);
  if (!omit_handles) writer.Field("handle", actor.settings.handle);
  if (!actor.settings.display_name.empty()) {
    writer.Field("displayName", actor.settings.display_name);
  }
  if (in != nullptr) {
    writer.Key("kind").StartObject();
    writer.Field("$type", in->group ? "chat.bsky.actor.defs#groupConvoMember"
                                    : "chat.bsky.actor.defs#directConvoMember");
    if (in->group) writer.Field("role", did == in->owner ? "owner" : "standard");
    writer.EndObject();
  }
  writer.EndObject();
}

void World::WriteMessage(json::Writer& writer, const Message& message, const Actor& viewer,
                         bool typed) {
  const bool system = !message.added_member.empty();
  const bool deleted = !system && DeletedFor(message, viewer.did);
  writer.StartObject();
  if (typed) {
    writer.Field("$type", std::string(kDefs) + (system    ? "systemMessageView"
                                                : deleted ? "deletedMessageView"
                                                          : "messageView"));
  }
  writer.Field("id", message.id).Field("rev", message.rev);
  if (system) {
    writer.Key("data").StartObject();
    writer.Field("$type", std::string(kDefs) + "systemMessageDataAddMember");
    writer.Key("member").StartObject().Field("did", message.added_member).EndObject();
    writer.Field("role", "standard");
    writer.Key("addedBy").StartObject().Field("did", message.sender).EndObject();
    writer.EndObject();
  } else {
    if (!deleted) writer.Field("text", message.text);
    writer.Key("sender").StartObject().Field("did", message.sender).EndObject();
    if (!deleted && message.embed) {
      const std::string uri = "at://" + message.sender + "/app.bsky.feed.post/3kabcdefghi2x";
      writer.Key("embed").StartObject().Field("$type", "app.bsky.embed.record#view");
      writer.Key("record").StartObject();
      writer.Field("$type", "app.bsky.embed.record#viewNotFound").Field("uri", uri);
      writer.Field("notFound", true).EndObject().EndObject();
    }
  }
  writer.Field("sentAt", message.sent_at).EndObject();
}

void World::WriteConvo(json::Writer& writer, Convo& convo, const Actor& viewer, bool typed) {
  const Member& member = *FindMember(convo, viewer.did);
  writer.StartObject();
  if (typed) writer.Field("$type", std::string(kDefs) + "convoView");
  writer.Field("id", convo.id).Field("rev", convo.rev);
  writer.Key("members").StartArray();
  for (const Member& each : convo.members) WriteProfile(writer, each.did, &convo);
  writer.EndArray();
  if (!convo.messages.empty()) {
    writer.Key("lastMessage");
    WriteMessage(writer, convo.messages.back(), viewer, true);
  }
  writer.Field("muted", member.muted).Field("status", member.accepted ? "accepted" : "request");
  writer.IntField("unreadCount", member.unread);
  writer.Key("kind").StartObject();
  if (convo.group) {
    writer.Field("$type", std::string(kDefs) + "groupConvo").Field("createdAt", convo.created_at);
    writer.Field("lockStatus", convo.locked ? "locked" : "unlocked");
    writer.Field("lockStatusModerationOverride", false).Field("name", convo.name);
    writer.IntField("memberCount", static_cast<std::int64_t>(convo.members.size()));
    writer.IntField("memberLimit", static_cast<std::int64_t>(kGroupMembersMax));
  } else {
    writer.Field("$type", std::string(kDefs) + "directConvo");
  }
  writer.EndObject().EndObject();
}

Answer World::ConvoAnswer(Convo& convo, const Actor& viewer) {
  std::string body;
  json::Writer writer(&body);
  writer.StartObject().Key("convo");
  WriteConvo(writer, convo, viewer, false);
  writer.EndObject();
  return body;
}

// Those that `actor` sees, latest activity first. One without a message shows for its opener only.
std::vector<Convo*> World::ConvosOf(const Actor& actor) {
  std::vector<Convo*> convos;
  for (auto& [id, convo] : convos_) {
    const Member* member = FindMember(convo, actor.did);
    if (member == nullptr || member->left) continue;
    if (convo.messages.empty() && convo.owner != actor.did) continue;
    convos.push_back(&convo);
  }
  std::sort(convos.begin(), convos.end(),
            [](const Convo* a, const Convo* b) { return a->rev > b->rev; });
  return convos;
}

Answer World::ConvoPage(const SimulatorRequest& request, Actor& actor, std::vector<Convo*> convos,
                        const char* key, bool typed) {
  const auto limit = LimitParam(request);
  if (!limit) return tl::unexpected(limit.error());
  const auto cursor = CursorParam(request);
  if (!cursor) return tl::unexpected(cursor.error());
  if (!cursor->empty()) {
    std::erase_if(convos, [&](const Convo* convo) { return convo->rev >= *cursor; });
  }
  std::string body;
  json::Writer writer(&body);
  writer.StartObject();
  const bool more = convos.size() > *limit;
  if (more) {
    convos.resize(*limit);
    writer.Field("cursor", convos.back()->rev);
  }
  writer.Key(key).StartArray();
  for (Convo* convo : convos) WriteConvo(writer, *convo, actor, typed);
  writer.EndArray().EndObject();
  return body;
}

Answer World::ListConvos(const SimulatorRequest& request, Actor& actor) {
  std::vector<Convo*> convos = ConvosOf(actor);
  std::erase_if(convos, [&](Convo* convo) {
    const Member& member = *FindMember(*convo, actor.did);
    const auto status = request.Query("status");
    const auto kind = request.Query("kind");
    const auto lock = request.Query("lockStatus");
    return (status && (*status == "accepted") != member.accepted) ||
           (kind && (*kind == "group") != convo->group) ||
           (lock && (*lock == "unlocked") == convo->locked) ||
           (request.Query("readState") == "unread" && member.unread == 0);
  });
  return ConvoPage(request, actor, std::move(convos), "convos", false);
}

Answer World::ListConvoRequests(const SimulatorRequest& request, Actor& actor) {
  std::vector<Convo*> convos = ConvosOf(actor);
  std::erase_if(convos, [&](Convo* convo) { return FindMember(*convo, actor.did)->accepted; });
  return ConvoPage(request, actor, std::move(convos), "requests", true);
}

Answer World::GetConvo(const SimulatorRequest& request, Actor& actor) {
  const auto convo = ConvoOf(request.Query("convoId"), actor);
  if (!convo) return tl::unexpected(convo.error());
  return ConvoAnswer(**convo, actor);
}

Answer World::GetConvoMembers(const SimulatorRequest& request, Actor& actor) {
  const auto convo = ConvoOf(request.Query("convoId"), actor);
  if (!convo) return tl::unexpected(convo.error());
  if (const auto limit = LimitParam(request); !limit) return tl::unexpected(limit.error());
  std::string body;
  json::Writer writer(&body);
  writer.StartObject().Key("members").StartArray();
  for (const Member& member : (*convo)->members) WriteProfile(writer, member.did, *convo);
  writer.EndArray().EndObject();
  return body;
}

tl::expected<std::vector<Actor*>, Refused> World::MembersParam(const SimulatorRequest& request,
                                                               const Actor& actor) {
  std::vector<Actor*> others;
  std::size_t given = 0;
  for (const auto& [key, value] : request.query) {
    if (key != "members") continue;
    if (++given > 10) return Invalid("Error: members must not have more than 10 elements");
    if (!value.starts_with("did:")) return Invalid("Error: members/0 must be a did");
    Actor* other = FindActor(value);
    if (other == nullptr) return Refuse(400, "RecipientNotFound", "recipient not found");
    if (other != &actor) others.push_back(other);
  }
  if (given == 0) return Invalid("Error: Params must have the property \"members\"");
  if (others.size() != 1) return Invalid("a direct conversation has two members");
  return others;
}

Answer World::GetConvoForMembers(const SimulatorRequest& request, Actor& actor) {
  const auto others = MembersParam(request, actor);
  if (!others) return tl::unexpected(others.error());
  const auto convo = OpenDirect(actor, *others->front());
  if (!convo) return tl::unexpected(convo.error());
  if (Member* member = FindMember(**convo, actor.did)) member->left = false;
  return ConvoAnswer(**convo, actor);
}

Answer World::GetConvoAvailability(const SimulatorRequest& request, Actor& actor) {
  const auto others = MembersParam(request, actor);
  if (!others) return tl::unexpected(others.error());
  const Actor& other = *others->front();
  using Allow = BlueskySimulator::AllowIncoming;
  const Allow allow = other.settings.allow_incoming;
  const bool blocked = other.blocks.contains(actor.did) || actor.blocks.contains(other.did);
  Convo* convo = FindDirect(actor.did, other.did);
  const bool open = convo != nullptr || allow == Allow::kAll ||
                    (allow == Allow::kFollowing && other.follows.contains(actor.did));
  std::string body;
  json::Writer writer(&body);
  writer.StartObject().Field("canChat", open && !blocked);
  if (convo != nullptr && !FindMember(*convo, actor.did)->left) {
    writer.Key("convo");
    WriteConvo(writer, *convo, actor, false);
  }
  writer.EndObject();
  return body;
}

Answer World::GetMessages(const SimulatorRequest& request, Actor& actor) {
  const auto convo = ConvoOf(request.Query("convoId"), actor);
  if (!convo) return tl::unexpected(convo.error());
  const auto limit = LimitParam(request);
  if (!limit) return tl::unexpected(limit.error());
  const auto cursor = CursorParam(request);
  if (!cursor) return tl::unexpected(cursor.error());
  // Ids fall with age; revisions do not, since a deletion gives a new one.
  const std::vector<Message>& messages = (*convo)->messages;
  auto next = messages.rbegin();
  if (!cursor->empty()) {
    next = std::find_if(messages.rbegin(), messages.rend(),
                        [&](const Message& message) { return message.id < *cursor; });
  }
  std::vector<const Message*> page;
  for (; next != messages.rend() && page.size() < *limit; ++next) page.push_back(&*next);
  std::string leads_to = next != messages.rend() ? page.back()->id : "";
  if (faults.Take(PlatformFault::kEmptyPageGoesOn)) {
    leads_to = StepDown(page.empty() ? (*convo)->id : page.front()->id, *cursor);
    page.clear();
  }
  if (!cursor->empty() && faults.Take(PlatformFault::kCursorRepeats)) leads_to = *cursor;
  const int copies = !page.empty() && faults.Take(PlatformFault::kServedTwice) ? 2 : 1;
  if (page.size() > 1 && faults.Take(PlatformFault::kServedReordered)) {
    std::reverse(page.begin(), page.end());
  }
  std::string body;
  json::Writer writer(&body);
  writer.StartObject().Key("messages").StartArray();
  std::set<std::string> authors;
  for (const Message* message : page) {
    for (int copy = 0; copy < copies; ++copy) WriteMessage(writer, *message, actor, true);
    authors.insert(message->sender);
  }
  writer.EndArray();
  if (!leads_to.empty()) writer.Field("cursor", leads_to);
  writer.Key("relatedProfiles").StartArray();
  for (const std::string& did : authors) WriteProfile(writer, did, *convo);
  writer.EndArray().EndObject();
  return body;
}

Answer World::GetUnreadCounts(const SimulatorRequest&, Actor& actor) {
  std::int64_t accepted = 0;
  std::int64_t requests = 0;
  for (Convo* convo : ConvosOf(actor)) {
    const Member& member = *FindMember(*convo, actor.did);
    if (member.unread == 0 || convo->locked) continue;
    std::int64_t& count = member.accepted ? accepted : requests;
    count = std::min<std::int64_t>(100, count + 1);
  }
  std::string body;
  json::Writer writer(&body);
  writer.StartObject();
  writer.IntField("unreadAcceptedConvos", accepted).IntField("unreadRequestConvos", requests);
  writer.EndObject();
  return body;
}

Answer World::GetLog(const SimulatorRequest& request, Actor& actor) {
  const auto cursor = CursorParam(request);
  if (!cursor) return tl::unexpected(cursor.error());
  if (!cursor->empty() && *cursor < log_floor_) return Invalid("Error: cursor is invalid");
  std::vector<const LogRow*> rows;
  std::string next = *cursor;
  if (cursor->empty()) {
    next = NextTid();  // now, and nothing yet
  } else {
    auto row = std::find_if(actor.log.begin(), actor.log.end(),
                            [&](const LogRow& each) { return each.rev > *cursor; });
    for (; row != actor.log.end() && rows.size() < options_.log_page_max; ++row) {
      rows.push_back(&*row);
    }
    if (!rows.empty()) next = rows.back()->rev;
  }
  if (!cursor->empty() && faults.Take(PlatformFault::kEmptyPageGoesOn)) {
    rows.clear();
    next = StepUp(*cursor);
  }
  const bool repeats =
      !cursor->empty() && (repeat_log_cursor || faults.Take(PlatformFault::kCursorRepeats));
  const bool twice = duplicate_log || (!rows.empty() && faults.Take(PlatformFault::kServedTwice));
  if (reorder_log || (rows.size() > 1 && faults.Take(PlatformFault::kServedReordered))) {
    std::reverse(rows.begin(), rows.end());
  }
  std::string body;
  json::Writer writer(&body);
  writer.StartObject();
  writer.Field("cursor", repeats ? *cursor : next);
  writer.Key("logs").StartArray();
  for (const LogRow* row : rows) {
    for (int copy = 0; copy < (twice ? 2 : 1); ++copy) {
      const Convo& convo = convos_.at(row->convo);
      writer.StartObject().Field("$type", kDefs + row->kind);
      writer.Field("rev", row->rev).Field("convoId", row->convo);
      if (row->message) {
        const Message& message = convo.messages[*row->message];
        writer.Key("message");
        // Entries about members hold a system message by reference, without its type.
        WriteMessage(writer, message, actor, message.added_member.empty());
        writer.Key("relatedProfiles").StartArray();
        WriteProfile(writer, message.sender, &convo);
        writer.EndArray();
      }
      writer.EndObject();
    }
  }
  writer.EndArray().EndObject();
  return body;
}

Answer World::SendMessage(const json::Value& body, Actor& actor) {
  const auto convo = ConvoIn(body, actor);
  if (!convo) return tl::unexpected(convo.error());
  const json::Value* message = body.Find("message");
  if (message == nullptr || !message->is_object()) {
    return Invalid("Error: Input must have the property \"message\"");
  }
  const auto text = message->String("text");
  if (!text) return Invalid("Error: Input/message must have the property \"text\"");
  std::string reply_to;
  if (const json::Value* target = message->Find("replyTo")) {
    const auto id = target->String("messageId");
    if (!id) return Invalid("Error: Input/message/replyTo must have the property \"messageId\"");
    reply_to = *id;
  }
  const auto sent = Write(actor, **convo, *text, reply_to, {});
  if (!sent) return tl::unexpected(sent.error());
  std::string out;
  json::Writer writer(&out);
  WriteMessage(writer, **sent, actor, false);
  return out;
}

Answer World::DeleteMessageForSelf(const json::Value& body, Actor& actor) {
  const auto convo = ConvoIn(body, actor);
  if (!convo) return tl::unexpected(convo.error());
  const auto id = body.String("messageId");
  if (!id) return Invalid("Error: Input must have the property \"messageId\"");
  std::vector<Message>& messages = (*convo)->messages;
  const auto message = std::find_if(messages.begin(), messages.end(),
                                    [&](const Message& each) { return each.id == *id; });
  if (message == messages.end()) return Invalid("Message not found");
  if (!message->added_member.empty()) {
    return Refuse(400, "MessageDeleteNotAllowed", "a system message cannot be deleted");
  }
  if (message->deleted_for.insert(actor.did).second) {
    Log(actor, "logDeleteMessage", (*convo)->id,
        static_cast<std::size_t>(message - messages.begin()));
  }
  std::string out;
  json::Writer writer(&out);
  WriteMessage(writer, *message, actor, false);
  return out;
}

Answer World::AcceptConvo(const json::Value& body, Actor& actor) {
  const auto convo = ConvoIn(body, actor);
  if (!convo) return tl::unexpected(convo.error());
  const auto rev = Accept(actor, **convo);
  std::string out;
  json::Writer writer(&out);
  writer.StartObject();
  if (rev) writer.Field("rev", *rev);
  writer.EndObject();
  return out;
}

Answer World::UpdateRead(const json::Value& body, Actor& actor) {
  const auto convo = ConvoIn(body, actor);
  if (!convo) return tl::unexpected(convo.error());
  FindMember(**convo, actor.did)->unread = 0;
  if (!(*convo)->messages.empty()) {
    Log(actor, "logReadConvo", (*convo)->id, (*convo)->messages.size() - 1);
  }
  return ConvoAnswer(**convo, actor);
}

Answer World::LeaveConvo(const json::Value& body, Actor& actor) {
  const auto convo = ConvoIn(body, actor);
  if (!convo) return tl::unexpected(convo.error());
  FindMember(**convo, actor.did)->left = true;
  const std::string rev = NextTid();
  Log(actor, "logLeaveConvo", (*convo)->id, std::nullopt, rev);
  std::string out;
  json::Writer writer(&out);
  writer.StartObject().Field("convoId", (*convo)->id).Field("rev", rev).EndObject();
  return out;
}

Answer World::SetMuted(const json::Value& body, Actor& actor, bool muted) {
  const auto convo = ConvoIn(body, actor);
  if (!convo) return tl::unexpected(convo.error());
  FindMember(**convo, actor.did)->muted = muted;
  Log(actor, muted ? "logMuteConvo" : "logUnmuteConvo", (*convo)->id);
  return ConvoAnswer(**convo, actor);
}
Answer World::MuteConvo(const json::Value& body, Actor& actor) {
  return SetMuted(body, actor, true);
}
Answer World::UnmuteConvo(const json::Value& body, Actor& actor) {
  return SetMuted(body, actor, false);
}

// ---- /_sim/: the same controls for another process. POST takes and gives JSON:
//   actors {handle, password, displayName?, appPasswords?: [{password, directMessages}],
//           allowIncoming?: all|following|none} -> {did}
//   follow {follower, followed}
//   send {from, to, text, sentAt?} -> {convoId, messageId}
//   delete {convoId, messageId}, accept {handle, convoId}, lock {convoId, locked}
//   faults: any of expireSessions, revokeRefresh, dropNextSendAnswer, dropNextSendBeforeEffect,
//           forgetLogCursors (true), failNext {count, status}, failNextSendAfterEffect (status),
//           rateLimitNext {count, withHeaders}, answerNext {method, status, body}, logPageMax,
//           duplicateLogEntries, reorderLogEntries, repeatLogCursor, omitHandles
// GET state -> {requests: {method: count}, sends: {text: count}}
// GET messages?viewer=&other= -> {messages: [{id, sender, text, deleted}]}

SimulatorResponse World::Control(const SimulatorRequest& request) {
  const std::string what = request.path.substr(std::string_view("/_sim/").size());
  Answer answer = Refuse(404, "NotFound", "no such control");
  if (request.method == "GET") {
    answer = State(request);
  } else if (request.method == "POST") {
    const auto body = json::Parse(request.body);
    answer = body && body->is_object() ? ControlPost(what, *body)
                                       : Answer(Invalid("the body must be a JSON object"));
  }
  if (!answer) return ErrorAnswer(answer.error());
  SimulatorResponse response;
  response.body = answer->empty() ? "{}" : *answer;
  return response;
}

Answer World::State(const SimulatorRequest& request) {
  std::string out;
  json::Writer writer(&out);
  if (request.path == "/_sim/messages") {
    writer.StartObject().Key("messages").StartArray();
    for (const auto& seen : MessagesBetween(request.Query("viewer").value_or(""),
                                            request.Query("other").value_or(""))) {
      writer.StartObject().Field("id", seen.id).Field("sender", seen.sender_handle);
      writer.Field("text", seen.text).Field("deleted", seen.deleted).EndObject();
    }
    writer.EndArray().EndObject();
    return out;
  }
  if (request.path != "/_sim/state") return Refuse(404, "NotFound", "no such control");
  std::map<std::string, std::int64_t> sends;
  for (const auto& [id, convo] : convos_) {
    for (const Message& message : convo.messages) {
      if (message.added_member.empty()) ++sends[message.text];
    }
  }
  writer.StartObject().Key("requests").StartObject();
  for (const auto& [method, count] : requests_) {
    writer.IntField(method, static_cast<std::int64_t>(count));
  }
  writer.EndObject().Key("sends").StartObject();
  for (const auto& [text, count] : sends) writer.IntField(text, count);
  writer.EndObject().EndObject();
  return out;
}

Answer World::ControlPost(const std::string& what, const json::Value& body) {
  const auto text = [&](const char* key) { return body.OptString(key).value_or("").value_or(""); };
  std::string out;
  json::Writer writer(&out);
  if (what == "faults") return Faults(body);
  if (what == "actors") {
    BlueskySimulator::ActorOptions actor{.handle = text("handle"),
                                         .password = text("password"),
                                         .display_name = text("displayName")};
    if (actor.handle.empty() || actor.password.empty()) {
      return Invalid("handle and password are needed");
    }
    if (text("allowIncoming") == "none") {
      actor.allow_incoming = BlueskySimulator::AllowIncoming::kNone;
    } else if (text("allowIncoming") == "following") {
      actor.allow_incoming = BlueskySimulator::AllowIncoming::kFollowing;
    }
    const json::Value* apps = body.Find("appPasswords");
    if (apps != nullptr && apps->AsArray() != nullptr) {
      for (const json::Value& app : *apps->AsArray()) {
        const auto password = app.String("password");
        const auto direct_messages = app.Bool("directMessages");
        if (!password || !direct_messages) return Invalid("appPasswords is malformed");
        actor.app_passwords.push_back({.password = *password, .direct_messages = *direct_messages});
      }
    }
    writer.StartObject().Field("did", AddActor(actor)).EndObject();
    return out;
  }
  if (what == "follow") {
    Actor* follower = FindActor(text("follower"));
    const Actor* followed = FindActor(text("followed"));
    if (follower == nullptr || followed == nullptr) return Invalid("unknown actor");
    follower->follows.insert(followed->did);
    return std::string();
  }
  if (what == "send") {
    Actor* from = FindActor(text("from"));
    Actor* to = FindActor(text("to"));
    if (from == nullptr || to == nullptr) return Invalid("unknown actor");
    const auto convo = OpenDirect(*from, *to);
    if (!convo) return tl::unexpected(convo.error());
    BlueskySimulator::SendOptions options;
    if (!text("sentAt").empty()) options.sent_at = ParseRfc3339(text("sentAt"));
    const auto sent = Write(*from, **convo, text("text"), "", options);
    if (!sent) return tl::unexpected(sent.error());
    writer.StartObject().Field("convoId", (*convo)->id).Field("messageId", (*sent)->id).EndObject();
    return out;
  }
  Convo* convo = FindConvo(text("convoId"));
  if (convo == nullptr) return Refuse(404, "NotFound", "no such control or conversation");
  if (what == "delete") {
    if (!DeleteForBoth(*convo, text("messageId"))) return Invalid("unknown message");
    return std::string();
  }
  if (what == "accept") {
    Actor* actor = FindActor(text("handle"));
    if (actor == nullptr) return Invalid("unknown actor");
    Accept(*actor, *convo);
    return std::string();
  }
  if (what == "lock") {
    Lock(*convo, body.OptBool("locked").value_or(true).value_or(true));
    return std::string();
  }
  return Refuse(404, "NotFound", "no such control");
}

Answer World::Faults(const json::Value& body) {
  const json::Value nothing{json::Members{}};
  for (const auto& [key, value] : *body.AsObject()) {
    const bool on = value.AsBool() != nullptr && *value.AsBool();
    const std::int64_t number = value.AsInt() != nullptr ? *value.AsInt() : 0;
    const json::Value& object = value.is_object() ? value : nothing;
    const auto count =
        static_cast<int>(std::clamp<std::int64_t>(object.Int("count").value_or(1), 0, 1'000'000));
    const auto status =
        static_cast<int>(std::clamp<std::int64_t>(object.Int("status").value_or(500), 200, 599));
    if (key == "expireSessions") {
      if (on) ExpireSessions();
    } else if (key == "revokeRefresh") {
      if (on) RevokeRefresh();
    } else if (key == "forgetLogCursors") {
      if (on) ForgetLogCursors();
    } else if (key == "dropNextSendAnswer") {
      drop_next_send_answer = on;
    } else if (key == "dropNextSendBeforeEffect") {
      drop_next_send_before_effect = on;
    } else if (key == "failNextSendAfterEffect") {
      fail_next_send_after_effect = static_cast<int>(std::clamp<std::int64_t>(number, 0, 599));
    } else if (key == "failNext") {
      fail_next = count;
      fail_status = status;
    } else if (key == "rateLimitNext") {
      rate_limit_next = count;
      rate_limit_headers = object.Bool("withHeaders").value_or(true);
    } else if (key == "answerNext") {
      SimulatorResponse response;
      response.status = status;
      response.body = object.String("body").value_or("");
      answers.emplace_back(object.String("method").value_or(""), std::move(response));
    } else if (key == "logPageMax") {
      options_.log_page_max =
          static_cast<std::size_t>(std::clamp<std::int64_t>(number, 1, 100'000));
    } else if (key == "duplicateLogEntries") {
      duplicate_log = on;
    } else if (key == "reorderLogEntries") {
      reorder_log = on;
    } else if (key == "repeatLogCursor") {
      repeat_log_cursor = on;
    } else if (key == "omitHandles") {
      omit_handles = on;
    } else {
      return Invalid("unknown fault");
    }
  }
  return std::string();
}

tl::unexpected<Error> Rejected(const Refused& refused) {
  return Fail(Error{.code = ErrorCode::kPlatformRejected,
                    .message = "The simulated platform refused.",
                    .platform_code = refused.name});
}
tl::unexpected<Error> Unknown() {
  return Fail(ErrorCode::kNotFound, "The simulated platform has no such actor or conversation.");
}

}  // namespace

struct BlueskySimulator::Impl {
  Impl(const Clock& clock, const BlueskySimulatorOptions& options) : world(clock, options) {}
  mutable Mutex mutex;
  World world MAYFLY_GUARDED_BY(mutex);
  std::unique_ptr<SimulatorServer> server;  // last, so that it stops before the world ends
};

Result<std::unique_ptr<BlueskySimulator>> BlueskySimulator::Start(
    const Clock& clock, const BlueskySimulatorOptions& options) {
  auto impl = std::make_unique<Impl>(clock, options);
  Impl* const self = impl.get();
  MAYFLY_ASSIGN_OR_RETURN(impl->server, SimulatorServer::Start(
                                            [self](const SimulatorRequest& request) {
                                              MutexLock lock(self->mutex);
                                              return self->world.Handle(request);
                                            },
                                            options.port));
  {
    MutexLock lock(impl->mutex);
    impl->world.SetOrigin(impl->server->origin());
  }
  return std::unique_ptr<BlueskySimulator>(new BlueskySimulator(std::move(impl)));
}

BlueskySimulator::BlueskySimulator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BlueskySimulator::~BlueskySimulator() = default;

std::string BlueskySimulator::origin() const { return impl_->server->origin(); }
std::uint16_t BlueskySimulator::port() const { return impl_->server->port(); }

std::string BlueskySimulator::AddActor(const ActorOptions& actor) {
  MutexLock lock(impl_->mutex);
  return impl_->world.AddActor(actor);
}

std::string BlueskySimulator::AddActor(const std::string& handle, const std::string& password,
                                       const std::vector<AppPassword>& app_passwords) {
  return AddActor(
      ActorOptions{.handle = handle, .password = password, .app_passwords = app_passwords});
}

Status BlueskySimulator::Follow(const std::string& follower, const std::string& followed) {
  MutexLock lock(impl_->mutex);
  Actor* a = impl_->world.FindActor(follower);
  const Actor* b = impl_->world.FindActor(followed);
  if (a == nullptr || b == nullptr) return Unknown();
  a->follows.insert(b->did);
  return {};
}

Status BlueskySimulator::Block(const std::string& blocker, const std::string& blocked) {
  MutexLock lock(impl_->mutex);
  Actor* a = impl_->world.FindActor(blocker);
  const Actor* b = impl_->world.FindActor(blocked);
  if (a == nullptr || b == nullptr) return Unknown();
  a->blocks.insert(b->did);
  return {};
}

Status BlueskySimulator::TakeDown(const std::string& handle, bool taken_down) {
  MutexLock lock(impl_->mutex);
  Actor* actor = impl_->world.FindActor(handle);
  if (actor == nullptr) return Unknown();
  actor->taken_down = taken_down;
  return {};
}

Result<BlueskySimulator::Sent> BlueskySimulator::SendAs(const std::string& from,
                                                        const std::string& to,
                                                        const std::string& text,
                                                        const SendOptions& options) {
  MutexLock lock(impl_->mutex);
  Actor* a = impl_->world.FindActor(from);
  Actor* b = impl_->world.FindActor(to);
  if (a == nullptr || b == nullptr) return Unknown();
  const auto convo = impl_->world.OpenDirect(*a, *b);
  if (!convo) return Rejected(convo.error());
  const auto message = impl_->world.Write(*a, **convo, text, "", options);
  if (!message) return Rejected(message.error());
  return Sent{.conversation_id = (*convo)->id, .message_id = (*message)->id};
}

Result<BlueskySimulator::Sent> BlueskySimulator::SendAs(const std::string& from,
                                                        const std::string& to,
                                                        const std::string& text) {
  return SendAs(from, to, text, SendOptions{});
}

Result<BlueskySimulator::Sent> BlueskySimulator::SendIn(const std::string& from,
                                                        const std::string& conversation_id,
                                                        const std::string& text) {
  MutexLock lock(impl_->mutex);
  Actor* actor = impl_->world.FindActor(from);
  Convo* convo = impl_->world.FindConvo(conversation_id);
  if (actor == nullptr || convo == nullptr) return Unknown();
  const auto message = impl_->world.Write(*actor, *convo, text, "", {});
  if (!message) return Rejected(message.error());
  return Sent{.conversation_id = convo->id, .message_id = (*message)->id};
}

Result<std::string> BlueskySimulator::CreateGroup(const std::string& owner,
                                                  const std::vector<std::string>& members,
                                                  const std::string& name) {
  MutexLock lock(impl_->mutex);
  Actor* actor = impl_->world.FindActor(owner);
  if (actor == nullptr || members.empty() || members.size() >= kGroupMembersMax) return Unknown();
  std::vector<Actor*> others;
  for (const std::string& member : members) {
    others.push_back(impl_->world.FindActor(member));
    if (others.back() == nullptr) return Unknown();
  }
  return impl_->world.OpenGroup(*actor, others, name).id;
}

Status BlueskySimulator::Accept(const std::string& handle, const std::string& conversation_id) {
  MutexLock lock(impl_->mutex);
  Actor* actor = impl_->world.FindActor(handle);
  Convo* convo = impl_->world.FindConvo(conversation_id);
  if (actor == nullptr || convo == nullptr) return Unknown();
  impl_->world.Accept(*actor, *convo);
  return {};
}

Status BlueskySimulator::DeleteForBoth(const std::string& conversation_id,
                                       const std::string& message_id) {
  MutexLock lock(impl_->mutex);
  Convo* convo = impl_->world.FindConvo(conversation_id);
  if (convo == nullptr || !impl_->world.DeleteForBoth(*convo, message_id)) return Unknown();
  return {};
}

Status BlueskySimulator::LockConvo(const std::string& conversation_id, bool locked) {
  MutexLock lock(impl_->mutex);
  Convo* convo = impl_->world.FindConvo(conversation_id);
  if (convo == nullptr) return Unknown();
  impl_->world.Lock(*convo, locked);
  return {};
}

std::optional<std::string> BlueskySimulator::FindConvo(const std::string& a,
                                                       const std::string& b) const {
  MutexLock lock(impl_->mutex);
  const Actor* one = impl_->world.FindActor(a);
  const Actor* two = impl_->world.FindActor(b);
  if (one == nullptr || two == nullptr) return std::nullopt;
  const Convo* convo = impl_->world.FindDirect(one->did, two->did);
  return convo != nullptr ? std::optional(convo->id) : std::nullopt;
}

std::vector<BlueskySimulator::SeenMessage> BlueskySimulator::MessagesBetween(
    const std::string& viewer, const std::string& other) const {
  MutexLock lock(impl_->mutex);
  return impl_->world.MessagesBetween(viewer, other);
}

void BlueskySimulator::ExpireSessions() {
  MutexLock lock(impl_->mutex);
  impl_->world.ExpireSessions();
}

void BlueskySimulator::RevokeRefresh() {
  MutexLock lock(impl_->mutex);
  impl_->world.RevokeRefresh();
}

void BlueskySimulator::FailNext(int count, int status) {
  MutexLock lock(impl_->mutex);
  impl_->world.fail_next = count;
  impl_->world.fail_status = status;
}

void BlueskySimulator::DropNextSendAnswer() {
  MutexLock lock(impl_->mutex);
  impl_->world.drop_next_send_answer = true;
}

void BlueskySimulator::DropNextSendBeforeEffect() {
  MutexLock lock(impl_->mutex);
  impl_->world.drop_next_send_before_effect = true;
}

void BlueskySimulator::FailNextSendAfterEffect(int status) {
  MutexLock lock(impl_->mutex);
  impl_->world.fail_next_send_after_effect = status;
}

void BlueskySimulator::RateLimitNext(int count, bool with_headers) {
  MutexLock lock(impl_->mutex);
  impl_->world.rate_limit_next = count;
  impl_->world.rate_limit_headers = with_headers;
}

void BlueskySimulator::AnswerNext(const std::string& method, SimulatorResponse response) {
  MutexLock lock(impl_->mutex);
  impl_->world.answers.emplace_back(method, std::move(response));
}

void BlueskySimulator::ForgetLogCursors() {
  MutexLock lock(impl_->mutex);
  impl_->world.ForgetLogCursors();
}

void BlueskySimulator::SetLogPageMax(std::size_t entries) {
  MutexLock lock(impl_->mutex);
  impl_->world.options().log_page_max = entries;
}

void BlueskySimulator::SetDuplicateLogEntries(bool on) {
  MutexLock lock(impl_->mutex);
  impl_->world.duplicate_log = on;
}

void BlueskySimulator::SetReorderLogEntries(bool on) {
  MutexLock lock(impl_->mutex);
  impl_->world.reorder_log = on;
}

void BlueskySimulator::SetRepeatLogCursor(bool on) {
  MutexLock lock(impl_->mutex);
  impl_->world.repeat_log_cursor = on;
}

void BlueskySimulator::SetOmitHandles(bool on) {
  MutexLock lock(impl_->mutex);
  impl_->world.omit_handles = on;
}

void BlueskySimulator::SetPdsEndpoint(std::optional<std::string> endpoint) {
  MutexLock lock(impl_->mutex);
  impl_->world.pds_endpoint = std::move(endpoint);
}

void BlueskySimulator::Inject(PlatformFault fault, int count, int after) {
  MutexLock lock(impl_->mutex);
  impl_->world.faults.Inject(fault, count, after);
}

std::size_t BlueskySimulator::CountSends(const std::string& text) const {
  MutexLock lock(impl_->mutex);
  return impl_->world.CountSends(text);
}

std::size_t BlueskySimulator::CountRequests(const std::string& method) const {
  MutexLock lock(impl_->mutex);
  return impl_->world.CountRequests(method);
}

}  // namespace mayfly::connectors
