// The simulated server's lists: pages, conversations, notifications.
#include <algorithm>
#include <array>
#include <utility>

#include "connectors/mastodon/simulator_api.h"

namespace mayfly::connectors::mastodon::sim {
namespace {

constexpr std::size_t kSnacNotifications = 64;

}  // namespace

// ---- pages ----

tl::expected<Api::Page, Refusal> Api::PageOf(const Call& call, std::size_t limit_default,
                                             std::size_t limit_max) const {
  Page page{.max_id = call.Param("max_id"),
            .since_id = call.Param("since_id"),
            .min_id = call.Param("min_id"),
            .limit = limit_default};
  for (auto* id : {&page.max_id, &page.since_id, &page.min_id}) {
    if (*id && (*id)->empty()) id->reset();
  }
  const auto text = call.Param("limit");
  if (!text) return page;
  const bool digits = !text->empty() && text->size() < 10 &&
                      text->find_first_not_of("0123456789") == std::string::npos;
  if (!digits && world_.options().flavour == MastodonFlavour::kGoToSocial) {
    return tl::unexpected(Refusal{400, "Bad Request: error parsing limit"});
  }
  // Mastodon app/controllers/api/base_controller.rb, limit_param: to_i, and a limit of 0 is kept.
  page.limit = std::min<std::size_t>(digits ? std::stoul(*text) : 0, limit_max);
  if (!world_.IsMastodon()) page.limit = std::max<std::size_t>(page.limit, 1);
  return page;
}

// What the request named is kept, in the order of the names, as Rails writes it.
std::string Api::LinkTo(const Call& call, const std::string& path, const std::string& name,
                        const std::string& value) const {
  std::vector<std::pair<std::string, std::string>> kept;
  for (const auto& [key, each] : call.request.query) {
    if (key == "limit" || key == "account_id" || key == "types[]" || key == "exclude_types[]" ||
        key == "include_filtered") {
      kept.emplace_back(key, each);
    }
  }
  if (!value.empty()) kept.emplace_back(name, value);
  std::stable_sort(kept.begin(), kept.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string url = origin_ + path;
  char sign = '?';
  for (const auto& [key, each] : kept) {
    url += std::exchange(sign, '&') + UrlEncode(key) + "=" + UrlEncode(each);
  }
  return url;
}

void Api::SetLink(Call& call, const std::string& path, const Page& page, const std::string& newest,
                  const std::string& oldest, bool next) {
  std::string max_id = oldest;
  std::string min_id = newest;
  if (Take(PlatformFault::kCursorRepeats)) {
    max_id = page.max_id.value_or("");
    min_id = page.min_id.value_or(page.since_id.value_or(""));
    next = true;
  }
  if (max_id.empty() && min_id.empty() && !next) return;
  if (next) call.link = "<" + LinkTo(call, path, "max_id", max_id) + ">; rel=\"next\"";
  if (!call.link.empty()) call.link += ", ";
  call.link += "<" + LinkTo(call, path, "min_id", min_id) + ">; rel=\"prev\"";
}

// ---- conversations: Mastodon app/controllers/api/v1/conversations_controller.rb ----

Api::Answer Api::RouteConversations(Call& call) {
  if (call.Is("GET", {"api", "v1", "conversations"})) return ListConversations(call);
  const bool read = call.Is("POST", {"api", "v1", "conversations", "*", "read"});
  if (!read && !call.Is("DELETE", {"api", "v1", "conversations", "*"})) {
    return tl::unexpected(NoRoute());
  }
  const auto viewer = Require(call, {"write", "write:conversations"});
  if (!viewer) return tl::unexpected(viewer.error());
  Entry* entry = world_.FindEntry(**viewer, call.path[3]);
  if (entry == nullptr) return tl::unexpected(NotFound());
  if (!read) {
    world_.RemoveEntry(*entry);
    return std::string();
  }
  entry->unread = false;
  return Body([&](json::Writer& writer) { entities_.WriteConversation(writer, *entry); });
}

Api::Answer Api::ListConversations(Call& call) {
  const MastodonFlavour flavour = world_.options().flavour;
  if (flavour == MastodonFlavour::kSnac) return std::string("[]");  // whoever asks
  const auto viewer = Require(call, {"read", "read:statuses"});
  if (!viewer) return tl::unexpected(viewer.error());
  const bool gotosocial = flavour == MastodonFlavour::kGoToSocial;
  const auto page = PageOf(call, gotosocial ? 40 : 20, gotosocial ? 80 : 40);
  if (!page) return tl::unexpected(page.error());
  std::vector<Entry*> rows = world_.EntriesOf(**viewer);
  // Pleroma lib/pleroma/conversation/participation.ex pages by its own id, and orders by change.
  const bool by_entry = flavour == MastodonFlavour::kPleroma;
  const auto key = [&](const Entry* entry) { return by_entry ? entry->id : entry->last(); };
  if (!by_entry) {
    std::sort(rows.begin(), rows.end(),
              [](const Entry* a, const Entry* b) { return ById()(a->last(), b->last()); });
  }
  rows = Cut(std::move(rows), *page, key);
  if (Take(PlatformFault::kEmptyPageGoesOn)) {
    const std::string at = page->max_id.value_or(rows.empty() ? "1" : key(rows.front()));
    SetLink(call, call.request.path, *page, page->min_id.value_or(at), at, true);
    return std::string("[]");
  }
  if (!rows.empty()) {
    // Mastodon: records_continue? is size == limit. The others say "next" on every page with rows.
    const bool next = !world_.IsMastodon() || rows.size() == page->limit;
    SetLink(call, call.request.path, *page, key(rows.front()), key(rows.back()), next);
  }
  if (by_entry) {
    std::sort(rows.begin(), rows.end(),
              [](const Entry* a, const Entry* b) { return a->touched > b->touched; });
  }
  SpoilPage(rows);
  return Body([&](json::Writer& writer) {
    writer.StartArray();
    for (const Entry* entry : rows) entities_.WriteConversation(writer, *entry);
    writer.EndArray();
  });
}

Api::Answer Api::PleromaStatuses(Call& call) {
  if (world_.options().flavour != MastodonFlavour::kPleroma) return tl::unexpected(NoRoute());
  const auto viewer = Require(call, {"read", "read:statuses"});
  if (!viewer) return tl::unexpected(viewer.error());
  const Entry* entry = world_.FindEntry(**viewer, call.path[4]);
  if (entry == nullptr) return tl::unexpected(NotFound());
  const auto page = PageOf(call, 20, 40);
  if (!page) return tl::unexpected(page.error());
  std::vector<Note*> rows;
  for (const std::string& id : entry->notes) rows.push_back(world_.FindNote(id));
  rows = Cut(std::move(rows), *page, [](const Note* note) { return note->id; });
  if (!rows.empty()) {
    SetLink(call, call.request.path, *page, rows.front()->id, rows.back()->id, true);
  }
  SpoilPage(rows);
  return Body([&](json::Writer& writer) {
    writer.StartArray();
    for (const Note* note : rows) entities_.WriteStatus(writer, *note, *viewer);
    writer.EndArray();
  });
}

// ---- notifications: Mastodon app/controllers/api/v1/notifications_controller.rb ----

Api::Answer Api::ListNotifications(Call& call) {
  const MastodonFlavour flavour = world_.options().flavour;
  const auto viewer = Require(call, {"read", "read:notifications"});
  if (!viewer) return tl::unexpected(viewer.error());
  auto page =
      PageOf(call, world_.IsMastodon() ? 40 : 20, flavour == MastodonFlavour::kPleroma ? 40 : 80);
  if (!page) return tl::unexpected(page.error());
  // snac mastoapi.c reads its newest ones, whatever the position.
  if (flavour == MastodonFlavour::kSnac) *page = Page{.limit = kSnacNotifications};
  const std::vector<std::string> types = call.Params("types[]");
  const std::vector<std::string> excluded = call.Params("exclude_types[]");
  const auto from = call.Param("account_id");
  const bool with_filtered = Truthy(call.Param("include_filtered")) || from.has_value();
  const bool wanted = (types.empty() || flavour == MastodonFlavour::kSnac ||
                       std::find(types.begin(), types.end(), "mention") != types.end()) &&
                      std::find(excluded.begin(), excluded.end(), "mention") == excluded.end();
  std::vector<Notice*> rows;
  if (wanted) rows = world_.NoticesOf(**viewer);
  std::erase_if(rows, [&](const Notice* notice) {
    return (notice->filtered && !with_filtered) || (from && notice->from != *from);
  });
  rows = Cut(std::move(rows), *page, [](const Notice* notice) { return notice->id; });
  if (Take(PlatformFault::kEmptyPageGoesOn)) {
    const std::string at = page->max_id.value_or(rows.empty() ? "1" : rows.front()->id);
    SetLink(call, call.request.path, *page, page->min_id.value_or(at), at, true);
    return std::string("[]");
  }
  if (!rows.empty() && flavour != MastodonFlavour::kSnac) {
    SetLink(call, call.request.path, *page, rows.front()->id, rows.back()->id, true);
  }
  SpoilPage(rows);
  return Body([&](json::Writer& writer) {
    writer.StartArray();
    for (const Notice* notice : rows) entities_.WriteNotification(writer, *notice);
    writer.EndArray();
  });
}

Api::Answer Api::RouteNotifications(Call& call) {
  if (call.Is("GET", {"api", "v1", "notifications"})) return ListNotifications(call);
  if (call.path.size() > 3 && call.path[3] == "requests") return RouteRequests(call);
  if (call.Is("GET", {"api", "v1", "notifications", "*"})) {
    const auto viewer = Require(call, {"read", "read:notifications"});
    if (!viewer) return tl::unexpected(viewer.error());
    for (const Notice* notice : world_.NoticesOf(**viewer)) {
      if (notice->id != call.path[3]) continue;
      return Body([&](json::Writer& writer) { entities_.WriteNotification(writer, *notice); });
    }
    return tl::unexpected(NotFound());
  }
  const bool all = call.Is("POST", {"api", "v1", "notifications", "clear"});
  if (!all && !call.Is("POST", {"api", "v1", "notifications", "*", "dismiss"})) {
    return tl::unexpected(NoRoute());
  }
  const auto viewer = Require(call, {"write", "write:notifications"});
  if (!viewer) return tl::unexpected(viewer.error());
  world_.RemoveNotices(**viewer, all ? "" : call.path[3]);
  return std::string();
}

// Mastodon app/controllers/api/v1/notifications/requests_controller.rb.
Api::Answer Api::RouteRequests(Call& call) {
  if (!world_.HasPolicy()) return tl::unexpected(NoRoute());
  const bool reads = call.request.method == "GET";
  const auto viewer = reads ? Require(call, {"read", "read:notifications"})
                            : Require(call, {"write", "write:notifications"});
  if (!viewer) return tl::unexpected(viewer.error());
  std::vector<Request*> rows = world_.RequestsOf(**viewer);
  if (call.Is("GET", {"api", "v1", "notifications", "requests"})) {
    const auto page = PageOf(call, 40, 80);
    if (!page) return tl::unexpected(page.error());
    rows = Cut(std::move(rows), *page, [](const Request* request) { return request->id; });
    if (!rows.empty()) {
      SetLink(call, call.request.path, *page, rows.front()->id, rows.back()->id,
              rows.size() == page->limit);
    }
    return Body([&](json::Writer& writer) {
      writer.StartArray();
      for (const Request* request : rows) entities_.WriteRequest(writer, *request);
      writer.EndArray();
    });
  }
  if (call.Is("GET", {"api", "v1", "notifications", "requests", "merged"})) {
    return std::string(R"({"merged":true})");
  }
  const bool bulk = call.Is("POST", {"api", "v1", "notifications", "requests", "accept"}) ||
                    call.Is("POST", {"api", "v1", "notifications", "requests", "dismiss"});
  const bool one = call.Is("POST", {"api", "v1", "notifications", "requests", "*", "accept"}) ||
                   call.Is("POST", {"api", "v1", "notifications", "requests", "*", "dismiss"});
  const bool show = call.Is("GET", {"api", "v1", "notifications", "requests", "*"});
  if (!bulk && !one && !show) return tl::unexpected(NoRoute());
  const std::vector<std::string> ids =
      bulk ? call.Params("id[]") : std::vector<std::string>{call.path[4]};
  bool found = false;
  for (const Request* request : rows) {
    if (std::find(ids.begin(), ids.end(), request->id) == ids.end()) continue;
    found = true;
    if (show) {
      return Body([&](json::Writer& writer) { entities_.WriteRequest(writer, *request); });
    }
    const std::string from = request->from;  // the row goes
    if (call.path.back() == "accept") {
      world_.AcceptFrom(**viewer, from);
    } else {
      world_.DismissFrom(**viewer, from);
    }
  }
  if (!found && !bulk) return tl::unexpected(NotFound());
  return std::string();
}

Api::Answer Api::RoutePolicy(Call& call, bool version_1) {
  if (!world_.HasPolicy()) return tl::unexpected(NoRoute());
  const bool reads = call.request.method == "GET";
  if (!reads && call.request.method != "PATCH" && call.request.method != "PUT") {
    return tl::unexpected(NoRoute());
  }
  const auto viewer = reads ? Require(call, {"read", "read:notifications"})
                            : Require(call, {"write", "write:notifications"});
  if (!viewer) return tl::unexpected(viewer.error());
  Policy& policy = (*viewer)->policy;
  const std::array<std::pair<const char*, std::string*>, 5> settings = {
      {{"not_following", &policy.not_following},
       {"not_followers", &policy.not_followers},
       {"new_accounts", &policy.new_accounts},
       {"private_mentions", &policy.private_mentions},
       {"limited_accounts", &policy.limited_accounts}}};
  if (!reads) {
    for (const auto& [name, setting] : settings) {
      if (version_1) {
        const auto value = call.Param(std::string("filter_") + name);
        if (value) *setting = Truthy(value) ? "filter" : "accept";
        continue;
      }
      const auto value = call.Param(std::string("for_") + name);
      if (!value) continue;
      if (*value != "accept" && *value != "filter" && *value != "drop") {
        return tl::unexpected(Refusal{422, "'" + *value + "' is not a valid for_" + name});
      }
      *setting = *value;
    }
  }
  return Body([&](json::Writer& writer) { entities_.WritePolicy(writer, **viewer, version_1); });
}

}  // namespace mayfly::connectors::mastodon::sim
