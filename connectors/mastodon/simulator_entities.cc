#include "connectors/mastodon/simulator_entities.h"

#include <algorithm>
#include <chrono>
#include <vector>

namespace mayfly::connectors::mastodon::sim {
namespace {

using std::chrono::days;

void Nullable(json::Writer& writer, const char* key, const std::string& value) {
  writer.Key(key);
  if (value.empty()) {
    writer.Null();
  } else {
    writer.String(value);
  }
}

void EmptyArray(json::Writer& writer, const char* key) { writer.Key(key).StartArray().EndArray(); }

std::string Midnight(TimePoint at) {
  return FormatRfc3339(TimePoint(std::chrono::floor<days>(at)));
}

}  // namespace

void Entities::WriteAccount(json::Writer& writer, const Account& account, bool with_source) {
  const std::string url = world_.UrlOf(account);
  const std::string host = account.local() ? world_.options().domain : account.domain;
  const std::string picture = "https://files." + host + "/missing.png";
  std::int64_t statuses = 0;
  std::int64_t followers = 0;
  std::string last;
  for (const auto& [id, note] : world_.notes()) {
    if (note.author != account.id || note.deleted || note.visibility == "direct") continue;
    ++statuses;
    last = FormatDay(std::chrono::floor<days>(note.created_at));
  }
  for (const auto& [id, other] : world_.accounts()) {
    followers += other.follows.contains(account.id) ? 1 : 0;
  }
  writer.StartObject();
  writer.Field("id", account.id).Field("username", account.username);
  writer.Field("acct", account.acct()).Field("display_name", account.settings.display_name);
  writer.Field("locked", account.settings.locked).Field("bot", account.settings.bot);
  writer.Field("discoverable", true).Field("indexable", false).Field("group", false);
  writer.Field("created_at", Midnight(account.created_at)).Field("note", "").Field("url", url);
  writer.Field("uri", "https://" + host + "/users/" + account.username);
  writer.Field("avatar", picture).Field("avatar_static", picture);
  writer.Field("header", picture).Field("header_static", picture);
  writer.IntField("followers_count", followers);
  writer.IntField("following_count", static_cast<std::int64_t>(account.follows.size()));
  writer.IntField("statuses_count", statuses);
  Nullable(writer, "last_status_at", last);
  writer.Key("hide_collections").Null();
  EmptyArray(writer, "emojis");
  EmptyArray(writer, "fields");
  if (account.settings.silenced) writer.Field("limited", true);
  if (account.local()) {
    writer.Field("noindex", false);
    EmptyArray(writer, "roles");
  }
  if (with_source) {
    writer.Key("source").StartObject();
    writer.Field("privacy", "public").Field("sensitive", false).Key("language").Null();
    writer.Field("note", "");
    EmptyArray(writer, "fields");
    writer.IntField("follow_requests_count", 0).Key("hide_collections").Null();
    writer.Field("discoverable", true).Field("indexable", false);
    EmptyArray(writer, "attribution_domains");
    writer.Field("quote_policy", "public").EndObject();
    writer.Key("role").StartObject();
    writer.Field("id", "-99").Field("name", "").Field("permissions", "65536").Field("color", "");
    writer.Field("highlighted", false).EndObject();
  }
  writer.EndObject();
}

// snac mastoapi.c knows two words. GoToSocial and Mastodon say what it is.
std::string Entities::Visibility(const Note& note) const {
  if (world_.options().flavour != MastodonFlavour::kSnac) return note.visibility;
  return note.visibility == "public" || note.visibility == "unlisted" ? "public" : "private";
}

void Entities::WriteMentions(json::Writer& writer, const Note& note) {
  writer.Key("mentions").StartArray();
  for (const std::string& id : note.mentions) {
    const Account& account = *world_.AccountById(id);
    writer.StartObject().Field("id", id).Field("username", account.username);
    writer.Field("url", world_.UrlOf(account)).Field("acct", account.acct()).EndObject();
  }
  writer.EndArray();
}

void Entities::WriteTags(json::Writer& writer, const Note& note) {
  writer.Key("tags").StartArray();
  for (const Entity& entity : FindEntities(note.text)) {
    if (entity.kind != Entity::Kind::kTag) continue;
    const std::string name =
        Lower(std::string_view(note.text).substr(entity.begin + 1, entity.end - entity.begin - 1));
    writer.StartObject().Field("name", name);
    writer.Field("url", "https://" + world_.options().domain + "/tags/" + UrlEncode(name));
    writer.EndObject();
  }
  writer.EndArray();
}

void Entities::WriteMedia(json::Writer& writer, const Note& note) {
  const bool remote = !world_.AccountById(note.author)->local();
  writer.Key("media_attachments").StartArray();
  for (std::size_t i = 0; i < note.images; ++i) {
    const std::string name = note.id + "-" + std::to_string(i) + ".png";
    const std::string files = "https://files." + world_.options().domain + "/media/";
    writer.StartObject().Field("id", note.id + std::to_string(i)).Field("type", "image");
    writer.Field("url", files + name).Field("preview_url", files + "small/" + name);
    Nullable(writer, "remote_url", remote ? "https://far.example/" + name : "");
    writer.Key("meta").StartObject().Key("original").StartObject();
    writer.IntField("width", 640).IntField("height", 480).Field("size", "640x480");
    writer.Key("aspect").Double(640.0 / 480.0).EndObject().EndObject();
    writer.Key("description").Null();
    writer.Key("blurhash").Null().EndObject();
  }
  writer.EndArray();
}

void Entities::WritePoll(json::Writer& writer, const Note& note) {
  writer.Key("poll");
  if (!note.poll) {
    writer.Null();
    return;
  }
  writer.StartObject().Field("id", note.id);
  writer.Field("expires_at", FormatRfc3339(note.created_at + days(1)));
  writer.Field("expired", note.created_at + days(1) <= world_.Now()).Field("multiple", false);
  writer.IntField("votes_count", 0).Key("voters_count").Int(0).Key("options").StartArray();
  for (const char* title : {"yes", "no"}) {
    writer.StartObject().Field("title", title).IntField("votes_count", 0).EndObject();
  }
  writer.EndArray();
  EmptyArray(writer, "emojis");
  writer.EndObject();
}

void Entities::WriteStatus(json::Writer& writer, const Note& note, const Account* viewer,
                           bool source) {
  const Account& author = *world_.AccountById(note.author);
  const auto& all = world_.notes();
  const auto replies = std::count_if(all.begin(), all.end(), [&](const auto& row) {
    return row.second.in_reply_to == note.id && !row.second.deleted;
  });
  const std::string host = author.local() ? world_.options().domain : author.domain;
  writer.StartObject();
  writer.Field("id", note.id).Field("created_at", FormatRfc3339(note.created_at));
  Nullable(writer, "in_reply_to_id", note.in_reply_to);
  Nullable(writer, "in_reply_to_account_id", note.in_reply_to_author);
  writer.Field("sensitive", note.sensitive).Field("spoiler_text", note.spoiler_text);
  writer.Field("visibility", Visibility(note)).Field("language", "en");
  writer.Field("uri", "https://" + host + "/users/" + author.username + "/statuses/" + note.id);
  writer.Field("url", world_.UrlOf(author) + "/" + note.id);
  writer.IntField("replies_count", replies).IntField("reblogs_count", 0);
  writer.IntField("favourites_count", 0).IntField("quotes_count", 0);
  writer.Key("edited_at");
  if (note.edited_at) {
    writer.String(FormatRfc3339(*note.edited_at));
  } else {
    writer.Null();
  }
  if (source) {
    writer.Field("text", note.text);
  } else {
    writer.Field("content", note.html);
  }
  writer.Key("reblog").Null();
  if (viewer != nullptr) {
    writer.Field("favourited", false).Field("reblogged", false).Field("muted", false);
    writer.Field("bookmarked", false);
    EmptyArray(writer, "filtered");
    if (viewer->id == note.author && note.visibility != "direct") writer.Field("pinned", false);
  }
  if (author.local() && viewer != nullptr && viewer->id == author.id) {
    writer.Key("application").StartObject().Field("name", "Web").Key("website").Null().EndObject();
  }
  writer.Key("account");
  WriteAccount(writer, author);
  WriteMedia(writer, note);
  WriteMentions(writer, note);
  WriteTags(writer, note);
  EmptyArray(writer, "emojis");
  writer.Key("quote").Null().Key("card").Null();
  WritePoll(writer, note);
  if (world_.options().flavour == MastodonFlavour::kPleroma) {
    const Entry* entry = viewer != nullptr ? world_.EntryWith(*viewer, note.id) : nullptr;
    writer.Key("pleroma").StartObject();
    writer.Key("content").StartObject().Field("text/plain", note.text).EndObject();
    writer.Key("direct_conversation_id");
    if (entry != nullptr) {
      writer.Int(std::stoll(entry->id));
    } else {
      writer.Null();
    }
    writer.IntField("conversation_id", note.thread).EndObject();
  }
  writer.EndObject();
}

void Entities::WriteConversation(json::Writer& writer, const Entry& entry) {
  const Account* owner = world_.AccountById(entry.owner);
  writer.StartObject().Field("id", entry.id).Field("unread", entry.unread);
  writer.Key("accounts").StartArray();
  for (const std::string& id : entry.others) WriteAccount(writer, *world_.AccountById(id));
  if (entry.others.empty()) WriteAccount(writer, *owner);  // a note to oneself
  writer.EndArray().Key("last_status");
  WriteStatus(writer, *world_.FindNote(entry.last()), owner);
  writer.EndObject();
}

void Entities::WriteNotification(json::Writer& writer, const Notice& notice) {
  writer.StartObject().Field("id", notice.id).Field("type", "mention");
  writer.Field("created_at", FormatRfc3339(notice.created_at));
  writer.Field("group_key", "ungrouped-" + notice.id);
  if (notice.filtered) writer.Field("filtered", true);
  writer.Key("account");
  WriteAccount(writer, *world_.AccountById(notice.from));
  writer.Key("status");
  WriteStatus(writer, *world_.FindNote(notice.note), world_.AccountById(notice.owner));
  writer.EndObject();
}

void Entities::WriteRequest(json::Writer& writer, const Request& request) {
  const Account& owner = *world_.AccountById(request.owner);
  const std::vector<Notice*> notices = world_.NoticesOf(owner);
  const auto count = std::count_if(notices.begin(), notices.end(), [&](const Notice* each) {
    return each->from == request.from && each->filtered;
  });
  writer.StartObject().Field("id", request.id);
  writer.Field("created_at", FormatRfc3339(request.created_at));
  writer.Field("updated_at", FormatRfc3339(request.updated_at));
  writer.Field("notifications_count", std::to_string(count)).Key("account");
  WriteAccount(writer, *world_.AccountById(request.from));
  writer.Key("last_status");
  if (const Note* note = world_.FindNote(request.last_note)) {
    WriteStatus(writer, *note, &owner);
  } else {
    writer.Null();
  }
  writer.EndObject();
}

void Entities::WriteEdit(json::Writer& writer, const Note& note, const Version& version) {
  writer.StartObject().Field("content", version.html);
  writer.Field("spoiler_text", version.spoiler_text).Field("sensitive", note.sensitive);
  writer.Field("created_at", FormatRfc3339(version.at)).Key("account");
  WriteAccount(writer, *world_.AccountById(note.author));
  WriteMedia(writer, note);
  EmptyArray(writer, "emojis");
  writer.EndObject();
}

void Entities::WriteHistory(json::Writer& writer, const Note& note) {
  writer.StartArray();
  for (const Version& version : note.earlier) WriteEdit(writer, note, version);
  WriteEdit(writer, note,
            Version{.text = note.text,
                    .spoiler_text = note.spoiler_text,
                    .html = note.html,
                    .at = note.edited_at.value_or(note.created_at)});
  writer.EndArray();
}

void Entities::WriteSource(json::Writer& writer, const Note& note) {
  writer.StartObject().Field("id", note.id).Field("text", note.text);
  writer.Field("spoiler_text", note.spoiler_text).EndObject();
}

void Entities::WritePolicy(json::Writer& writer, const Account& account, bool version_1) {
  const Policy& policy = account.policy;
  writer.StartObject();
  if (version_1) {
    writer.Field("filter_not_following", policy.not_following != "accept");
    writer.Field("filter_not_followers", policy.not_followers != "accept");
    writer.Field("filter_new_accounts", policy.new_accounts != "accept");
    writer.Field("filter_private_mentions", policy.private_mentions != "accept");
  } else {
    writer.Field("for_not_following", policy.not_following);
    writer.Field("for_not_followers", policy.not_followers);
    writer.Field("for_new_accounts", policy.new_accounts);
    writer.Field("for_private_mentions", policy.private_mentions);
    writer.Field("for_limited_accounts", policy.limited_accounts);
  }
  const std::vector<Notice*> notices = world_.NoticesOf(account);
  const auto filtered = std::count_if(notices.begin(), notices.end(),
                                      [](const Notice* each) { return each->filtered; });
  writer.Key("summary").StartObject();
  writer.IntField("pending_requests_count",
                  static_cast<std::int64_t>(world_.RequestsOf(account).size()));
  writer.IntField("pending_notifications_count", filtered).EndObject().EndObject();
}

std::string Entities::ServerVersion() const {
  switch (world_.options().flavour) {
    case MastodonFlavour::kMastodon:
      return world_.options().before_4_3 ? "4.2.10" : "4.5.2";
    case MastodonFlavour::kHometown:
      return world_.options().before_4_3 ? "4.2.10+hometown-1.1.1" : "4.5.2+hometown-1.2.0";
    case MastodonFlavour::kGoToSocial:
      return "0.20.1+git-2c5d4a7";
    case MastodonFlavour::kPleroma:
      return "2.7.2 (compatible; Pleroma 2.9.1)";
    case MastodonFlavour::kSnac:
      return "4.0.0 (not true; really snac/2.80)";
  }
  return "";
}

void Entities::WriteConfiguration(json::Writer& writer) {
  writer.Key("configuration").StartObject();
  writer.Key("urls").StartObject();
  writer.Field("streaming", "wss://" + world_.options().domain).EndObject();
  writer.Key("accounts").StartObject();
  writer.IntField("max_featured_tags", 10).IntField("max_pinned_statuses", 5).EndObject();
  writer.Key("statuses").StartObject();
  writer.IntField("max_characters", static_cast<std::int64_t>(world_.max_characters()));
  writer.IntField("max_media_attachments", 4).IntField("characters_reserved_per_url", 23);
  writer.EndObject().Key("media_attachments").StartObject();
  writer.Key("supported_mime_types").StartArray().String("image/png").EndArray();
  writer.IntField("image_size_limit", 16'777'216).IntField("image_matrix_limit", 33'177'600);
  writer.IntField("video_size_limit", 103'809'024).IntField("video_frame_rate_limit", 120);
  writer.IntField("video_matrix_limit", 8'294'400).IntField("description_limit", 1'500);
  writer.EndObject().Key("polls").StartObject();
  writer.IntField("max_options", 4).IntField("max_characters_per_option", 50);
  writer.IntField("min_expiration", 300).IntField("max_expiration", 2'629'746).EndObject();
  writer.Key("translation").StartObject().Field("enabled", false).EndObject().EndObject();
}

void Entities::WriteInstance(json::Writer& writer, bool version_1) {
  const std::string& domain = world_.options().domain;
  writer.StartObject().Field("title", "A simulated server").Field("version", ServerVersion());
  writer.Field("description", "");
  writer.Key("languages").StartArray().String("en").EndArray();
  EmptyArray(writer, "rules");
  WriteConfiguration(writer);
  if (version_1) {
    writer.Field("uri", domain).Field("short_description", "").Field("email", "admin@" + domain);
    writer.Key("urls").StartObject().Field("streaming_api", "wss://" + domain).EndObject();
    writer.Key("stats").StartObject();
    writer.IntField("user_count", 1).IntField("status_count", 1).IntField("domain_count", 1);
    writer.EndObject().Key("thumbnail").Null().Field("registrations", false);
    writer.Field("approval_required", false).Field("invites_enabled", false);
    writer.Key("contact_account").Null();
    // How clients of the older interface learn the limit (Pleroma, GoToSocial, Hometown).
    writer.IntField("max_toot_chars", static_cast<std::int64_t>(world_.max_characters()));
    writer.EndObject();
    return;
  }
  writer.Field("domain", domain).Field("source_url", "https://" + domain + "/source");
  writer.Key("usage").StartObject().Key("users").StartObject();
  writer.IntField("active_month", 1).EndObject().EndObject();
  writer.Key("thumbnail").StartObject().Field("url", origin_ + "/thumbnail.png").EndObject();
  EmptyArray(writer, "icon");
  writer.Key("registrations").StartObject().Field("enabled", false);
  writer.Field("approval_required", false).Key("message").Null().Key("url").Null().EndObject();
  writer.Key("api_versions").StartObject();
  if (world_.IsMastodon()) writer.IntField("mastodon", world_.options().before_4_3 ? 1 : 7);
  writer.EndObject().Key("contact").StartObject().Field("email", "admin@" + domain);
  writer.Key("account").Null().EndObject().EndObject();
}

}  // namespace mayfly::connectors::mastodon::sim
