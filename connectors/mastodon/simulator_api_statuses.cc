// The simulated server's statuses and accounts.
#include <algorithm>
#include <set>

#include "connectors/mastodon/simulator_api.h"

namespace mayfly::connectors::mastodon::sim {
namespace {

using std::chrono::hours;

constexpr auto kIdempotency = hours(1);         // Mastodon app/services/post_status_service.rb
constexpr auto kPleromaIdempotency = hours(6);  // Pleroma's idempotency cache
// Mastodon app/controllers/api/v1/statuses_controller.rb.
constexpr std::size_t kManyStatusesMax = 20;

}  // namespace

// ---- statuses: Mastodon app/controllers/api/v1/statuses_controller.rb ----

tl::expected<Note*, Refusal> Api::VisibleNote(const Call& call, const std::string& id) {
  if (const auto allowed = Allow(call, {"read", "read:statuses"}); !allowed) {
    return tl::unexpected(allowed.error());
  }
  Note* note = world_.FindNote(id);
  if (note == nullptr || !world_.IsVisible(*note, call.viewer)) return tl::unexpected(NotFound());
  return note;
}

Api::Answer Api::RouteStatuses(Call& call) {
  if (call.Is("POST", {"api", "v1", "statuses"})) return PostStatus(call);
  if (call.Is("GET", {"api", "v1", "statuses"})) return ManyStatuses(call);
  if (call.path.size() < 4) return tl::unexpected(NoRoute());
  if (call.request.method == "PUT" || call.request.method == "DELETE") {
    if (call.path.size() != 4) return tl::unexpected(NoRoute());
    const auto viewer = Require(call, {"write", "write:statuses"});
    if (!viewer) return tl::unexpected(viewer.error());
    Note* note = world_.FindNote(call.path[3]);
    if (note == nullptr || note->author != (*viewer)->id) return tl::unexpected(NotFound());
    return call.request.method == "PUT" ? EditStatus(call, *note) : DeleteStatus(call, *note);
  }
  if (call.request.method != "GET" || call.path.size() > 5) return tl::unexpected(NoRoute());
  const auto note = VisibleNote(call, call.path[3]);
  if (!note) return tl::unexpected(note.error());
  if (call.path.size() == 4) {
    return Body([&](json::Writer& writer) { entities_.WriteStatus(writer, **note, call.viewer); });
  }
  if (call.path[4] == "context") return Context(call, **note);
  if (call.path[4] == "history") {
    return Body([&](json::Writer& writer) { entities_.WriteHistory(writer, **note); });
  }
  if (call.path[4] == "source") {
    return Body([&](json::Writer& writer) { entities_.WriteSource(writer, **note); });
  }
  return tl::unexpected(NoRoute());
}

Api::Answer Api::Context(Call& call, const Note& note) {
  std::vector<Note*> ancestors = world_.Ancestors(note, call.viewer);
  std::vector<Note*> descendants = world_.Descendants(note, call.viewer);
  SpoilPage(ancestors);
  SpoilPage(descendants);
  return Body([&](json::Writer& writer) {
    writer.StartObject().Key("ancestors").StartArray();
    for (const Note* each : ancestors) entities_.WriteStatus(writer, *each, call.viewer);
    writer.EndArray().Key("descendants").StartArray();
    for (const Note* each : descendants) entities_.WriteStatus(writer, *each, call.viewer);
    writer.EndArray().EndObject();
  });
}

Api::Answer Api::ManyStatuses(Call& call) {
  if (!world_.HasPolicy()) return tl::unexpected(NoRoute());  // Mastodon since 4.3, too
  if (const auto allowed = Allow(call, {"read", "read:statuses"}); !allowed) {
    return tl::unexpected(allowed.error());
  }
  const std::vector<std::string> ids = call.Params("id[]");
  if (ids.size() > kManyStatusesMax) {
    return tl::unexpected(Refusal{422, "Mastodon::ValidationError"});
  }
  return Body([&](json::Writer& writer) {
    writer.StartArray();
    for (const std::string& id : std::set<std::string, ById>(ids.begin(), ids.end())) {
      const Note* note = world_.FindNote(id);
      if (note == nullptr || !world_.IsVisible(*note, call.viewer)) continue;
      entities_.WriteStatus(writer, *note, call.viewer);
    }
    writer.EndArray();
  });
}

Api::Answer Api::PostStatus(Call& call) {
  const auto viewer = Require(call, {"write", "write:statuses"});
  if (!viewer) return tl::unexpected(viewer.error());
  Draft draft{.text = call.Param("status").value_or(""),
              .visibility = call.Param("visibility").value_or("public"),
              .in_reply_to = call.Param("in_reply_to_id").value_or(""),
              .spoiler_text = call.Param("spoiler_text").value_or(""),
              .sensitive = Truthy(call.Param("sensitive"))};
  if (draft.visibility.empty()) draft.visibility = "public";
  const std::set<std::string> known = {"public", "unlisted", "private", "direct"};
  if (!known.contains(draft.visibility)) {
    return tl::unexpected(
        Refusal{422, "Validation failed: Visibility is not included in the list"});
  }
  // The thread is looked for before the key is: Mastodon's controller does, not its service.
  const Note* thread = world_.FindNote(draft.in_reply_to);
  if (!draft.in_reply_to.empty() && (thread == nullptr || !world_.IsVisible(*thread, *viewer))) {
    return tl::unexpected(
        world_.IsMastodon()
            ? Refusal{404, "The post you are trying to reply to does not appear to exist."}
            : NotFound());
  }
  const std::string key = call.request.Header("idempotency-key");
  const std::string kept = (*viewer)->id + " " + key;
  const bool idempotent = !key.empty() && (world_.IsMastodon() ||
                                           world_.options().flavour == MastodonFlavour::kPleroma);
  if (const auto sent = idempotency_.find(kept);
      idempotent && sent != idempotency_.end() && sent->second.until > world_.Now()) {
    // The same key gives the same status, whatever else the request says; 404 once it is deleted.
    const Note* note = world_.FindNote(sent->second.note);
    if (note == nullptr) return tl::unexpected(NotFound());
    return Body([&](json::Writer& writer) { entities_.WriteStatus(writer, *note, *viewer); });
  }
  const auto note = world_.Post(**viewer, draft);
  if (!note) return tl::unexpected(note.error());
  if (idempotent) {
    const auto life = world_.IsMastodon() ? kIdempotency : kPleromaIdempotency;
    idempotency_[kept] = Sent{.note = (*note)->id, .until = world_.Now() + life};
  }
  return Body([&](json::Writer& writer) { entities_.WriteStatus(writer, **note, *viewer); });
}

Api::Answer Api::EditStatus(Call& call, Note& note) {
  const auto edited = world_.Edit(note, call.Param("status").value_or(note.text),
                                  call.Param("spoiler_text").value_or(note.spoiler_text));
  if (!edited) return tl::unexpected(edited.error());
  return Body([&](json::Writer& writer) { entities_.WriteStatus(writer, note, call.viewer); });
}

Api::Answer Api::DeleteStatus(Call& call, Note& note) {
  const std::string body =
      Body([&](json::Writer& writer) { entities_.WriteStatus(writer, note, call.viewer, true); });
  world_.Delete(note);
  return body;
}

// ---- accounts ----

// Mastodon app/models/account_statuses_filter.rb: one's own are all there, private ones included.
Api::Answer Api::AccountStatuses(Call& call) {
  if (const auto allowed = Allow(call, {"read", "read:statuses"}); !allowed) {
    return tl::unexpected(allowed.error());
  }
  const Account* account = world_.AccountById(call.path[3]);
  if (account == nullptr) return tl::unexpected(NotFound());
  const auto page = PageOf(call, 20, 40);
  if (!page) return tl::unexpected(page.error());
  std::vector<Note*> rows;
  for (auto& [id, note] : world_.notes()) {
    const bool theirs = note.author == account->id && !note.deleted;
    if (theirs && world_.IsVisible(note, call.viewer)) rows.push_back(&note);
  }
  rows = Cut(std::move(rows), *page, [](const Note* note) { return note->id; });
  if (!rows.empty()) {
    const bool next = !world_.IsMastodon() || rows.size() == page->limit;
    SetLink(call, call.request.path, *page, rows.front()->id, rows.back()->id, next);
  }
  SpoilPage(rows);
  return Body([&](json::Writer& writer) {
    writer.StartArray();
    for (const Note* note : rows) entities_.WriteStatus(writer, *note, call.viewer);
    writer.EndArray();
  });
}

Api::Answer Api::RouteAccounts(Call& call) {
  if (call.Is("GET", {"api", "v1", "accounts", "*", "statuses"})) return AccountStatuses(call);
  if (call.request.method != "GET" || call.path.size() != 4) return tl::unexpected(NoRoute());
  const std::string& what = call.path[3];
  if (what == "verify_credentials") {
    const auto viewer = Require(call, {"profile", "read", "read:accounts"});
    if (!viewer) return tl::unexpected(viewer.error());
    return Body([&](json::Writer& writer) { entities_.WriteAccount(writer, **viewer, true); });
  }
  if (what == "search") {
    const auto viewer = Require(call, {"read", "read:accounts"});
    if (!viewer) return tl::unexpected(viewer.error());
    const std::string query = Lower(call.Param("q").value_or(""));
    return Body([&](json::Writer& writer) {
      writer.StartArray();
      for (const auto& [id, account] : world_.accounts()) {
        if (Lower(account.acct()).find(query) == std::string::npos) continue;
        entities_.WriteAccount(writer, account);
      }
      writer.EndArray();
    });
  }
  if (const auto allowed = Allow(call, {"read", "read:accounts"}); !allowed) {
    return tl::unexpected(allowed.error());
  }
  const Account* account = what == "lookup" ? world_.FindAccount(call.Param("acct").value_or(""))
                                            : world_.AccountById(what);
  if (account == nullptr) return tl::unexpected(NotFound());
  return Body([&](json::Writer& writer) { entities_.WriteAccount(writer, *account); });
}

}  // namespace mayfly::connectors::mastodon::sim
