#include "connectors/mastodon/simulator.h"

#include <algorithm>
#include <utility>

#include "connectors/mastodon/simulator_api.h"
#include "connectors/mastodon/simulator_text.h"
#include "connectors/mastodon/simulator_world.h"
#include "store/model/json.h"
#include "store/model/mutex.h"

namespace mayfly::connectors {
namespace {

namespace sim = mastodon::sim;

tl::unexpected<Error> Unknown() {
  return Fail(ErrorCode::kNotFound, "The simulated platform has no such account or status.");
}
tl::unexpected<Error> Rejected() {
  return Fail(ErrorCode::kPlatformRejected, "The simulated platform refused.");
}

std::optional<PlatformFault> FaultByName(const std::string& name) {
  const std::pair<const char*, PlatformFault> names[] = {
      {"rateLimited", PlatformFault::kRateLimited},
      {"unavailable", PlatformFault::kUnavailable},
      {"truncatedAnswer", PlatformFault::kTruncatedAnswer},
      {"hugeAnswer", PlatformFault::kHugeAnswer},
      {"notJson", PlatformFault::kNotJson},
      {"wrongShape", PlatformFault::kWrongShape},
      {"connectionClosed", PlatformFault::kConnectionClosed},
      {"redirect", PlatformFault::kRedirect},
      {"servedTwice", PlatformFault::kServedTwice},
      {"servedReordered", PlatformFault::kServedReordered},
      {"cursorRepeats", PlatformFault::kCursorRepeats},
      {"emptyPageGoesOn", PlatformFault::kEmptyPageGoesOn},
      {"sendAnswerLost", PlatformFault::kSendAnswerLost},
      {"sendLost", PlatformFault::kSendLost},
      {"sendFailsAfter", PlatformFault::kSendFailsAfter},
      {"sendAnswerBroken", PlatformFault::kSendAnswerBroken},
      {"sendRateLimited", PlatformFault::kSendRateLimited},
      {"sendRefused", PlatformFault::kSendRefused},
      {"tokenRevoked", PlatformFault::kTokenRevoked},
  };
  for (const auto& [each, fault] : names) {
    if (name == each) return fault;
  }
  return std::nullopt;
}

}  // namespace

struct MastodonSimulator::Impl {
  Impl(const Clock& clock, const MastodonSimulatorOptions& options)
      : world(clock, options), api(world) {}

  SimulatorResponse Handle(const SimulatorRequest& request) MAYFLY_REQUIRES(mutex);
  SimulatorResponse Control(const SimulatorRequest& request) MAYFLY_REQUIRES(mutex);
  Result<std::string> ControlPost(const std::string& what, const json::Value& body)
      MAYFLY_REQUIRES(mutex);
  std::string State() MAYFLY_REQUIRES(mutex);
  Result<Posted> Post(const std::string& acct, const std::string& text, const PostOptions& options)
      MAYFLY_REQUIRES(mutex);
  Status Inject(PlatformFault fault, int count, int after = 0) MAYFLY_REQUIRES(mutex);
  std::vector<Seen> SeenBy(const std::string& viewer) MAYFLY_REQUIRES(mutex);

  mutable Mutex mutex;
  sim::World world MAYFLY_GUARDED_BY(mutex);
  sim::Api api MAYFLY_GUARDED_BY(mutex);
  std::unique_ptr<SimulatorServer> server;  // last, so that it stops before the world ends
};

Result<std::unique_ptr<MastodonSimulator>> MastodonSimulator::Start(
    const Clock& clock, const MastodonSimulatorOptions& options) {
  auto impl = std::make_unique<Impl>(clock, options);
  Impl* const self = impl.get();
  MAYFLY_ASSIGN_OR_RETURN(impl->server, SimulatorServer::Start(
                                            [self](const SimulatorRequest& request) {
                                              MutexLock lock(self->mutex);
                                              return self->Handle(request);
                                            },
                                            options.port));
  {
    MutexLock lock(impl->mutex);
    impl->api.SetOrigin(impl->server->origin());
  }
  return std::unique_ptr<MastodonSimulator>(new MastodonSimulator(std::move(impl)));
}

MastodonSimulator::MastodonSimulator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MastodonSimulator::~MastodonSimulator() = default;

std::string MastodonSimulator::origin() const { return impl_->server->origin(); }
std::uint16_t MastodonSimulator::port() const { return impl_->server->port(); }

std::string MastodonSimulator::AddAccount(const AccountOptions& account) {
  MutexLock lock(impl_->mutex);
  return impl_->world.AddAccount(account).id;
}

std::string MastodonSimulator::AddAccount(const std::string& acct) {
  return AddAccount(AccountOptions{.acct = acct});
}

Result<std::string> MastodonSimulator::IssueToken(const std::string& acct,
                                                  const std::string& scopes) {
  MutexLock lock(impl_->mutex);
  const sim::Account* account = impl_->world.FindAccount(acct);
  if (account == nullptr || !account->local()) return Unknown();
  return impl_->api.IssueToken(account->id, scopes);
}

Result<std::string> MastodonSimulator::Authorize(const std::string& acct,
                                                 const std::string& client_id,
                                                 const std::string& redirect_uri,
                                                 const std::string& scopes) {
  MutexLock lock(impl_->mutex);
  const sim::Account* account = impl_->world.FindAccount(acct);
  if (account == nullptr || !account->local()) return Unknown();
  return impl_->api.IssueCode(account->id, client_id, redirect_uri, scopes);
}

Status MastodonSimulator::RevokeTokens(const std::string& acct) {
  MutexLock lock(impl_->mutex);
  const sim::Account* account = impl_->world.FindAccount(acct);
  if (account == nullptr) return Unknown();
  impl_->api.RevokeTokens(account->id);
  return {};
}

Status MastodonSimulator::Follow(const std::string& follower, const std::string& followed) {
  MutexLock lock(impl_->mutex);
  sim::Account* a = impl_->world.FindAccount(follower);
  const sim::Account* b = impl_->world.FindAccount(followed);
  if (a == nullptr || b == nullptr) return Unknown();
  a->follows[b->id] = impl_->world.Now();
  return {};
}

Status MastodonSimulator::Block(const std::string& blocker, const std::string& blocked) {
  MutexLock lock(impl_->mutex);
  sim::Account* a = impl_->world.FindAccount(blocker);
  const sim::Account* b = impl_->world.FindAccount(blocked);
  if (a == nullptr || b == nullptr) return Unknown();
  a->blocks.insert(b->id);
  return {};
}

Status MastodonSimulator::SetPrivateMentions(const std::string& acct, const std::string& policy) {
  MutexLock lock(impl_->mutex);
  sim::Account* account = impl_->world.FindAccount(acct);
  if (account == nullptr) return Unknown();
  if (policy != "accept" && policy != "filter" && policy != "drop") return Rejected();
  account->policy.private_mentions = policy;
  return {};
}

Status MastodonSimulator::AcceptRequest(const std::string& acct, const std::string& from) {
  MutexLock lock(impl_->mutex);
  sim::Account* account = impl_->world.FindAccount(acct);
  const sim::Account* sender = impl_->world.FindAccount(from);
  if (account == nullptr || sender == nullptr) return Unknown();
  impl_->world.AcceptFrom(*account, sender->id);
  return {};
}

Result<MastodonSimulator::Posted> MastodonSimulator::Impl::Post(const std::string& acct,
                                                                const std::string& text,
                                                                const PostOptions& options) {
  sim::Account* account = world.FindAccount(acct);
  if (account == nullptr) return Unknown();
  if (!options.in_reply_to_id.empty() && world.FindNote(options.in_reply_to_id) == nullptr) {
    return Unknown();
  }
  const auto note = world.Post(*account, sim::Draft{.text = text,
                                                    .visibility = options.visibility,
                                                    .in_reply_to = options.in_reply_to_id,
                                                    .spoiler_text = options.spoiler_text,
                                                    .images = options.images,
                                                    .poll = options.poll,
                                                    .at = options.at,
                                                    .html = options.html,
                                                    .mentions = options.mentions});
  if (!note) return Rejected();
  Posted posted{.id = (*note)->id, .conversation_id = {}};
  const sim::Account* owner = account;
  for (const std::string& id : (*note)->mentions) {
    const sim::Account* mentioned = world.AccountById(id);
    if (!mentioned->local()) continue;
    owner = mentioned;
    break;
  }
  if (const sim::Entry* entry = world.EntryWith(*owner, posted.id)) {
    posted.conversation_id = entry->id;
  }
  return posted;
}

Result<MastodonSimulator::Posted> MastodonSimulator::Post(const std::string& acct,
                                                          const std::string& text,
                                                          const PostOptions& options) {
  MutexLock lock(impl_->mutex);
  return impl_->Post(acct, text, options);
}

Result<MastodonSimulator::Posted> MastodonSimulator::Post(const std::string& acct,
                                                          const std::string& text) {
  return Post(acct, text, PostOptions{});
}

Status MastodonSimulator::Edit(const std::string& status_id, const std::string& text,
                               const std::string& spoiler_text) {
  MutexLock lock(impl_->mutex);
  sim::Note* note = impl_->world.FindNote(status_id);
  if (note == nullptr) return Unknown();
  if (!impl_->world.Edit(*note, text, spoiler_text)) return Rejected();
  return {};
}

Status MastodonSimulator::Delete(const std::string& status_id) {
  MutexLock lock(impl_->mutex);
  sim::Note* note = impl_->world.FindNote(status_id);
  if (note == nullptr) return Unknown();
  impl_->world.Delete(*note);
  return {};
}

std::optional<std::string> MastodonSimulator::ConversationOf(const std::string& acct,
                                                             const std::string& status_id) const {
  MutexLock lock(impl_->mutex);
  const sim::Account* account = impl_->world.FindAccount(acct);
  if (account == nullptr) return std::nullopt;
  const sim::Entry* entry = impl_->world.EntryWith(*account, status_id);
  return entry != nullptr ? std::optional(entry->id) : std::nullopt;
}

std::vector<MastodonSimulator::Seen> MastodonSimulator::Impl::SeenBy(const std::string& viewer) {
  std::vector<Seen> seen;
  const sim::Account* account = world.FindAccount(viewer);
  if (account == nullptr) return seen;
  for (const auto& [id, note] : world.notes()) {
    const auto& mentions = note.mentions;
    if (note.author != account->id &&
        std::find(mentions.begin(), mentions.end(), account->id) == mentions.end()) {
      continue;
    }
    seen.push_back(Seen{.id = id,
                        .author = world.AccountById(note.author)->acct(),
                        .text = note.text,
                        .visibility = note.visibility,
                        .in_reply_to_id = note.in_reply_to,
                        .deleted = note.deleted});
  }
  return seen;
}

std::vector<MastodonSimulator::Seen> MastodonSimulator::StatusesSeenBy(
    const std::string& viewer) const {
  MutexLock lock(impl_->mutex);
  return impl_->SeenBy(viewer);
}

Status MastodonSimulator::Impl::Inject(PlatformFault fault, int count, int after) {
  // Tokens have no end of their own, and positions are ids that are only compared.
  if (fault == PlatformFault::kTokenExpired || fault == PlatformFault::kPositionForgotten) {
    return Rejected();
  }
  // snac has no pages.
  const bool pages =
      fault == PlatformFault::kCursorRepeats || fault == PlatformFault::kEmptyPageGoesOn;
  if (pages && world.options().flavour == MastodonFlavour::kSnac) return Rejected();
  api.Inject(fault, count, after);
  return {};
}

Status MastodonSimulator::Inject(PlatformFault fault, int count, int after) {
  MutexLock lock(impl_->mutex);
  return impl_->Inject(fault, count, after);
}

void MastodonSimulator::AnswerNext(const std::string& method, const std::string& path,
                                   SimulatorResponse response) {
  MutexLock lock(impl_->mutex);
  impl_->api.AnswerNext(method, path, std::move(response));
}

std::size_t MastodonSimulator::CountRequests(const std::string& path) const {
  MutexLock lock(impl_->mutex);
  return impl_->api.CountRequests(path);
}

// ---- /_sim/: the same controls for another process. POST takes and gives JSON:
//   accounts {acct, displayName?, silenced?} -> {id}
//   token {acct, scopes} -> {token}
//   post {acct, text, visibility?, inReplyToId?, spoilerText?, images?, poll?, at?, html?}
//     -> {id, conversationId}
//   edit {id, text, spoilerText?}, delete {id}
//   follow {follower, followed}, block {blocker, blocked}
//   policy {acct, privateMentions}, accept {acct, from}, revoke {acct}
//   fault {name, count?}; names as in FaultByName
// GET state -> {requests: {path: count}, statuses: {text: count}}
// GET messages?viewer= -> {messages: [{id, author, text, visibility, inReplyToId, deleted}]}

SimulatorResponse MastodonSimulator::Impl::Handle(const SimulatorRequest& request) {
  if (world.options().control_endpoints && request.path.starts_with("/_sim/")) {
    return Control(request);
  }
  return api.Handle(request);
}

SimulatorResponse MastodonSimulator::Impl::Control(const SimulatorRequest& request) {
  SimulatorResponse response;
  response.status = 404;
  response.body = R"({"error":"no such control"})";
  const std::string what = request.path.substr(std::string_view("/_sim/").size());
  if (request.method == "GET" && what == "state") {
    response.status = 200;
    response.body = State();
  } else if (request.method == "GET" && what == "messages") {
    response.status = 200;
    response.body.clear();
    json::Writer writer(&response.body);
    writer.StartObject().Key("messages").StartArray();
    for (const Seen& seen : SeenBy(request.Query("viewer").value_or(""))) {
      writer.StartObject().Field("id", seen.id).Field("author", seen.author);
      writer.Field("text", seen.text).Field("visibility", seen.visibility);
      writer.Field("inReplyToId", seen.in_reply_to_id).Field("deleted", seen.deleted).EndObject();
    }
    writer.EndArray().EndObject();
  } else if (request.method == "POST") {
    const auto body = json::Parse(request.body);
    const auto done = body && body->is_object()
                          ? ControlPost(what, *body)
                          : Result<std::string>(Fail(ErrorCode::kInvalidArgument,
                                                     "The body must be a JSON object."));
    response.status = done ? 200 : done.error().code == ErrorCode::kNotFound ? 404 : 400;
    response.body = done ? *done : R"({"error":"refused"})";
  }
  return response;
}

std::string MastodonSimulator::Impl::State() {
  std::map<std::string, std::int64_t> texts;
  for (const auto& [id, note] : world.notes()) ++texts[note.text];
  std::string out;
  json::Writer writer(&out);
  writer.StartObject().Key("requests").StartObject();
  for (const auto& [path, count] : api.requests()) {
    writer.IntField(path, static_cast<std::int64_t>(count));
  }
  writer.EndObject().Key("statuses").StartObject();
  for (const auto& [text, count] : texts) writer.IntField(text, count);
  writer.EndObject().EndObject();
  return out;
}

Result<std::string> MastodonSimulator::Impl::ControlPost(const std::string& what,
                                                         const json::Value& body) {
  const auto text = [&](const char* key) { return body.OptString(key).value_or("").value_or(""); };
  const auto flag = [&](const char* key) {
    return body.OptBool(key).value_or(false).value_or(false);
  };
  const auto account = [&](const char* key) { return world.FindAccount(text(key)); };
  std::string out;
  json::Writer writer(&out);
  if (what == "accounts") {
    if (text("acct").empty()) return Fail(ErrorCode::kInvalidArgument, "acct is needed.");
    const sim::Account& added = world.AddAccount(
        {.acct = text("acct"), .display_name = text("displayName"), .silenced = flag("silenced")});
    writer.StartObject().Field("id", added.id).EndObject();
    return out;
  }
  if (what == "fault") {
    const auto fault = FaultByName(text("name"));
    if (!fault) return Fail(ErrorCode::kInvalidArgument, "There is no such fault.");
    const std::int64_t count = body.OptInt("count").value_or(1).value_or(1);
    MAYFLY_RETURN_IF_ERROR(
        Inject(*fault, static_cast<int>(std::clamp<std::int64_t>(count, 0, 1'000'000))));
    return std::string("{}");
  }
  if (what == "post") {
    PostOptions options{.in_reply_to_id = text("inReplyToId"),
                        .spoiler_text = text("spoilerText"),
                        .poll = flag("poll")};
    if (!text("visibility").empty()) options.visibility = text("visibility");
    if (!text("at").empty()) options.at = ParseRfc3339(text("at"));
    if (!text("html").empty()) options.html = text("html");
    const std::int64_t images = body.OptInt("images").value_or(0).value_or(0);
    options.images = static_cast<std::size_t>(std::clamp<std::int64_t>(images, 0, 4));
    MAYFLY_ASSIGN_OR_RETURN(const Posted posted, Post(text("acct"), text("text"), options));
    writer.StartObject().Field("id", posted.id);
    writer.Field("conversationId", posted.conversation_id).EndObject();
    return out;
  }
  if (what == "edit" || what == "delete") {
    sim::Note* note = world.FindNote(text("id"));
    if (note == nullptr) return Unknown();
    if (what == "delete") {
      world.Delete(*note);
    } else if (!world.Edit(*note, text("text"), text("spoilerText"))) {
      return Rejected();
    }
    return std::string("{}");
  }
  if (what == "follow" || what == "block") {
    sim::Account* a = account(what == "follow" ? "follower" : "blocker");
    const sim::Account* b = account(what == "follow" ? "followed" : "blocked");
    if (a == nullptr || b == nullptr) return Unknown();
    if (what == "follow") {
      a->follows[b->id] = world.Now();
    } else {
      a->blocks.insert(b->id);
    }
    return std::string("{}");
  }
  sim::Account* named = account("acct");
  if (named == nullptr) return Unknown();
  if (what == "token") {
    const std::string token = api.IssueToken(named->id, text("scopes"));
    writer.StartObject().Field("token", token).EndObject();
    return out;
  }
  if (what == "policy") {
    named->policy.private_mentions = text("privateMentions");
    return std::string("{}");
  }
  if (what == "accept") {
    const sim::Account* from = account("from");
    if (from == nullptr) return Unknown();
    world.AcceptFrom(*named, from->id);
    return std::string("{}");
  }
  if (what == "revoke") {
    api.RevokeTokens(named->id);
    return std::string("{}");
  }
  return Fail(ErrorCode::kNotFound, "There is no such control.");
}

}  // namespace mayfly::connectors
