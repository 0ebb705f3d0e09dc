#include "connectors/mastodon/simulator_world.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace mayfly::connectors::mastodon::sim {
namespace {

using std::chrono::days;

constexpr auto kNewAccount = days(30);  // Mastodon app/services/notify_service.rb
constexpr auto kNewFollower = days(3);  // the same
constexpr int kAnswerDepth = 100;       // the same
constexpr std::size_t kContextMax = 4'096;

bool Holds(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

World::World(const Clock& clock, const MastodonSimulatorOptions& options)
    : clock_(clock), options_(options), ids_(options.flavour) {}

bool World::IsMastodon() const {
  return options_.flavour == MastodonFlavour::kMastodon ||
         options_.flavour == MastodonFlavour::kHometown;
}

bool World::HasPolicy() const { return IsMastodon() && !options_.before_4_3; }

std::size_t World::max_characters() const {
  if (options_.max_characters != 0) return options_.max_characters;
  switch (options_.flavour) {
    case MastodonFlavour::kMastodon:
    case MastodonFlavour::kHometown:
      return 500;
    case MastodonFlavour::kGoToSocial:
    case MastodonFlavour::kPleroma:
      return 5'000;
    case MastodonFlavour::kSnac:
      return 1'000'000;
  }
  return 500;
}

// ---- accounts ----

Account& World::AddAccount(const MastodonSimulator::AccountOptions& settings) {
  const std::size_t at = settings.acct.find('@');
  std::string domain = at == std::string::npos ? "" : Lower(settings.acct.substr(at + 1));
  if (domain == options_.domain) domain.clear();
  const std::string username = settings.acct.substr(0, at);
  const std::string name = Lower(domain.empty() ? username : username + "@" + domain);
  if (const auto known = names_.find(name); known != names_.end()) {
    Account& account = accounts_.at(known->second);
    account.settings = settings;
    return account;
  }
  Account account;
  account.created_at = settings.created_at.value_or(Now() - days(365));
  account.id = ids_.Next(account.created_at);
  account.username = username;
  account.domain = domain;
  account.settings = settings;
  names_[name] = account.id;
  const std::string id = account.id;
  return accounts_[id] = std::move(account);
}

Account* World::FindAccount(std::string_view acct) {
  std::string name = Lower(acct);
  if (name.starts_with('@')) name.erase(0, 1);
  if (const std::size_t at = name.find('@');
      at != std::string::npos && name.substr(at + 1) == options_.domain) {
    name.resize(at);
  }
  const auto it = names_.find(name);
  return it != names_.end() ? &accounts_.at(it->second) : nullptr;
}

Account* World::AccountById(const std::string& id) {
  const auto it = accounts_.find(id);
  return it != accounts_.end() ? &it->second : nullptr;
}

std::string World::UrlOf(const Account& account) const {
  return "https://" + (account.local() ? options_.domain : account.domain) + "/@" +
         account.username;
}

// ---- statuses ----

tl::expected<void, Refusal> World::Check(const Account& author, const std::string& text,
                                         const std::string& spoiler_text, bool attachments) const {
  if (!author.local()) return {};  // other servers have other rules
  const bool too_long = CountCharacters(spoiler_text, text) > max_characters();
  const std::string max = std::to_string(max_characters());
  switch (options_.flavour) {
    case MastodonFlavour::kMastodon:
    case MastodonFlavour::kHometown:
      if (text.empty() && !attachments) {
        return tl::unexpected(Refusal{422, "Validation failed: Text can't be blank"});
      }
      if (too_long) {
        return tl::unexpected(
            Refusal{422, "Validation failed: Text character limit of " + max + " exceeded"});
      }
      return {};
    case MastodonFlavour::kGoToSocial:
      if (text.empty() && !attachments) {
        return tl::unexpected(Refusal{400, "Bad Request: no status text, media or poll provided"});
      }
      if (too_long) {
        return tl::unexpected(Refusal{400, "Bad Request: status too long, limit is " + max});
      }
      return {};
    case MastodonFlavour::kPleroma:
      if (text.empty() && !attachments) {
        return tl::unexpected(Refusal{422, "Cannot post an empty status without attachments"});
      }
      if (too_long) return tl::unexpected(Refusal{422, "The status is over the character limit"});
      return {};
    case MastodonFlavour::kSnac:
      return {};
  }
  return {};
}

std::optional<Mentioned> World::Lookup(const Entity& entity, const Account& author) {
  // A name without a domain is one on the author's own server.
  const std::string& domain = entity.domain.empty() ? author.domain : entity.domain;
  const Account* account = FindAccount(domain.empty() ? entity.user : entity.user + "@" + domain);
  if (account == nullptr) return std::nullopt;
  return Mentioned{.username = account->username,
                   .domain = account->domain,
                   .url = UrlOf(*account),
                   .id = account->id};
}

std::string World::Render(const Account& author, const std::string& text) {
  const std::string domain = author.local() ? options_.domain : author.domain;
  return RenderHtml(options_.flavour, !author.local(), text, "https://" + domain + "/tags/",
                    [&](const Entity& entity) { return Lookup(entity, author); });
}

// Who is no longer mentioned may still read it: Mastodon app/services/process_mentions_service.rb.
void World::Mention(Note& note, const Account& author) {
  note.silent.insert(note.silent.end(), note.mentions.begin(), note.mentions.end());
  note.mentions.clear();
  const auto add = [&](const std::string& id) {
    if (!Holds(note.mentions, id)) note.mentions.push_back(id);
  };
  for (const Entity& entity : FindEntities(note.text)) {
    if (entity.kind != Entity::Kind::kMention) continue;
    if (const auto who = Lookup(entity, author)) add(who->id);
  }
  for (const std::string& acct : note.named) {
    if (const Account* account = FindAccount(acct)) add(account->id);
  }
}

tl::expected<Note*, Refusal> World::Post(Account& author, const Draft& draft) {
  Note note;
  note.text = author.local() ? Trim(draft.text) : draft.text;
  note.spoiler_text = Trim(draft.spoiler_text);
  const bool attachments = draft.images > 0 || draft.poll;
  if (IsMastodon() && author.local() && note.text.empty() && !note.spoiler_text.empty()) {
    note.text =
        std::exchange(note.spoiler_text, "");  // Mastodon app/services/post_status_service.rb
  }
  if (const auto checked = Check(author, note.text, note.spoiler_text, attachments); !checked) {
    return tl::unexpected(checked.error());
  }
  note.author = author.id;
  note.visibility = draft.visibility;
  note.sensitive = draft.sensitive || !note.spoiler_text.empty();
  note.images = draft.images;
  note.poll = draft.poll;
  note.created_at = draft.at.value_or(Now());
  if (Note* thread = FindNote(draft.in_reply_to)) {
    note.in_reply_to = thread->id;
    // Mastodon app/models/status.rb: an answer to oneself is one to whom oneself answered.
    const bool carried =
        IsMastodon() && thread->author == author.id && !thread->in_reply_to_author.empty();
    note.in_reply_to_author = carried ? thread->in_reply_to_author : thread->author;
    note.thread = thread->thread;
  } else {
    note.thread = ++threads_;
  }
  note.html = draft.html && !author.local() ? *draft.html : Render(author, note.text);
  if (!author.local()) note.named = draft.mentions;
  Mention(note, author);
  // A status that arrives late gets the id of its own time on Mastodon and GoToSocial.
  do {
    note.id = ids_.Next(options_.flavour == MastodonFlavour::kPleroma ? Now() : note.created_at);
  } while (notes_.contains(note.id));
  const std::string id = note.id;
  Note& kept = notes_[id] = std::move(note);
  // Mastodon app/services/fan_out_on_write_service.rb: the author has it first.
  if (kept.visibility == "direct" && author.local()) AddToEntry(author, kept);
  for (const std::string& mentioned : kept.mentions) Deliver(kept, accounts_.at(mentioned));
  return &kept;
}

// Mastodon app/services/update_status_service.rb: who is mentioned now for the first time is told,
// and nobody else.
tl::expected<Note*, Refusal> World::Edit(Note& note, const std::string& text,
                                         const std::string& spoiler_text) {
  Account& author = accounts_.at(note.author);
  const std::string new_text = author.local() ? Trim(text) : text;
  if (const auto checked = Check(author, new_text, spoiler_text, note.images > 0 || note.poll);
      !checked) {
    return tl::unexpected(checked.error());
  }
  if (new_text == note.text && spoiler_text == note.spoiler_text) return &note;
  note.earlier.push_back(Version{.text = note.text,
                                 .spoiler_text = note.spoiler_text,
                                 .html = note.html,
                                 .at = note.edited_at.value_or(note.created_at)});
  const std::vector<std::string> before = note.mentions;
  note.text = new_text;
  note.spoiler_text = spoiler_text;
  note.sensitive = note.sensitive || !spoiler_text.empty();
  note.html = Render(author, note.text);
  note.edited_at = Now();
  Mention(note, author);
  for (const std::string& mentioned : note.mentions) {
    if (!Holds(before, mentioned)) Deliver(note, accounts_.at(mentioned));
  }
  return &note;
}

// Mastodon app/services/remove_status_service.rb. Replies stay and no longer say to what.
void World::Delete(Note& note) {
  note.deleted = true;
  for (auto& [id, other] : notes_) {
    if (other.in_reply_to == note.id) other.in_reply_to.clear();  // its author stays named
  }
  std::erase_if(notices_, [&](const auto& row) { return row.second.note == note.id; });
  for (auto it = entries_.begin(); it != entries_.end();) {
    it->second.notes.erase(note.id);
    it = it->second.notes.empty() ? entries_.erase(it) : std::next(it);
  }
  std::erase_if(requests_, [&](const auto& row) {
    return std::none_of(notices_.begin(), notices_.end(), [&](const auto& each) {
      return each.second.owner == row.second.owner && each.second.from == row.second.from &&
             each.second.filtered;
    });
  });
}

Note* World::FindNote(const std::string& id) {
  const auto it = notes_.find(id);
  return it != notes_.end() && !it->second.deleted ? &it->second : nullptr;
}

// Mastodon app/policies/status_policy.rb.
bool World::IsVisible(const Note& note, const Account* viewer) const {
  if (viewer != nullptr) {
    if (note.author == viewer->id || Holds(note.mentions, viewer->id) ||
        Holds(note.silent, viewer->id)) {
      return true;
    }
    if (accounts_.at(note.author).blocks.contains(viewer->id)) return false;
    if (note.visibility == "private") return viewer->follows.contains(note.author);
  }
  return note.visibility == "public" || note.visibility == "unlisted";
}

std::vector<Note*> World::Ancestors(const Note& note, const Account* viewer) {
  std::vector<Note*> found;
  const Note* at = &note;
  while (found.size() < kContextMax) {
    Note* parent = FindNote(at->in_reply_to);
    if (parent == nullptr) break;
    if (IsVisible(*parent, viewer)) found.push_back(parent);
    at = parent;
  }
  std::reverse(found.begin(), found.end());
  return found;
}

std::vector<Note*> World::Descendants(const Note& note, const Account* viewer) {
  std::multimap<std::string, Note*> children;
  for (auto& [id, each] : notes_) {
    if (!each.deleted && !each.in_reply_to.empty()) children.emplace(each.in_reply_to, &each);
  }
  std::vector<Note*> found;
  std::vector<Note*> open;
  const auto reply_to = [&](const std::string& id) {
    // Depth first, the oldest reply first; one that is not visible still leads on.
    const auto [first, last] = children.equal_range(id);
    const auto begin = static_cast<std::ptrdiff_t>(open.size());
    for (auto it = first; it != last; ++it) open.push_back(it->second);
    std::reverse(open.begin() + begin, open.end());
  };
  reply_to(note.id);
  while (!open.empty() && found.size() < kContextMax) {
    Note* const each = open.back();
    open.pop_back();
    if (IsVisible(*each, viewer)) found.push_back(each);
    reply_to(each->id);
  }
  // Mastodon app/models/concerns/status/threading_concern.rb: answers to oneself come first.
  if (IsMastodon()) {
    std::stable_partition(found.begin(), found.end(), [](const Note* each) {
      return each->in_reply_to_author == each->author;
    });
  }
  return found;
}

// ---- what each account's lists hold ----

// Is it an answer, somewhere up its thread, to a private mention that the recipient wrote to the
// sender? As notify_service.rb's statuses_that_mention_sender.
bool World::AnswersRecipient(const Note& note, const Account& recipient, const Account& sender) {
  const Note* at = FindNote(note.in_reply_to);
  for (int depth = 0; at != nullptr && depth < kAnswerDepth; ++depth) {
    if (at->author == recipient.id && at->visibility == "direct" &&
        Holds(at->mentions, sender.id)) {
      return true;
    }
    at = FindNote(at->in_reply_to);
  }
  return false;
}

// "drop", "filter" or "accept": Mastodon app/services/notify_service.rb, DropCondition and
// FilterCondition, whose order of questions does not matter here.
std::string World::Verdict(const Note& note, const Account& recipient, const Account& sender) {
  if (!HasPolicy() || recipient.permitted.contains(sender.id)) return "accept";
  const bool following = recipient.follows.contains(sender.id);
  const auto follow = sender.follows.find(recipient.id);
  const bool follower = follow != sender.follows.end() && follow->second <= Now() - kNewFollower;
  std::vector<std::string> verdicts;
  if (!following) verdicts.push_back(recipient.policy.not_following);
  if (!follower) verdicts.push_back(recipient.policy.not_followers);
  if (!following && sender.created_at > Now() - kNewAccount) {
    verdicts.push_back(recipient.policy.new_accounts);
  }
  if (!following && sender.settings.silenced) {
    verdicts.push_back(recipient.policy.limited_accounts);
  }
  if (!following && note.visibility == "direct" && !AnswersRecipient(note, recipient, sender)) {
    verdicts.push_back(recipient.policy.private_mentions);
  }
  if (Holds(verdicts, "drop")) return "drop";
  return Holds(verdicts, "filter") ? "filter" : "accept";
}

void World::Deliver(Note& note, Account& recipient) {
  const Account& sender = accounts_.at(note.author);
  if (!recipient.local() || recipient.id == sender.id) return;
  if (recipient.blocks.contains(sender.id)) return;
  const std::string verdict = Verdict(note, recipient, sender);
  if (verdict == "drop") return;
  Notice notice{.owner = recipient.id,
                .from = sender.id,
                .note = note.id,
                .created_at = Now(),
                .filtered = verdict == "filter"};
  // Serial numbers on Mastodon and Pleroma; ids in the manner of statuses elsewhere.
  const bool serial = IsMastodon() || options_.flavour == MastodonFlavour::kPleroma;
  notice.id = serial ? NextNumber() : ids_.Next(Now());
  const std::string id = notice.id;
  const bool filtered = notice.filtered;
  notices_[id] = std::move(notice);
  if (!filtered) {
    if (note.visibility == "direct") AddToEntry(recipient, note);
    return;
  }
  for (auto& [each, request] : requests_) {
    if (request.owner != recipient.id || request.from != sender.id) continue;
    request.last_note = note.id;
    request.updated_at = Now();
    return;
  }
  const std::string request = ids_.Next(Now());
  requests_[request] = Request{.id = request,
                               .owner = recipient.id,
                               .from = sender.id,
                               .last_note = note.id,
                               .created_at = Now(),
                               .updated_at = Now()};
}

// Mastodon app/models/account_conversation.rb: one entry for each thread and set of participants.
// Pleroma lib/pleroma/conversation.ex: one for each thread, in which the participants grow.
void World::AddToEntry(const Account& owner, const Note& note) {
  if (options_.flavour == MastodonFlavour::kSnac) return;
  std::set<std::string, ById> others(note.mentions.begin(), note.mentions.end());
  others.insert(note.author);
  others.erase(owner.id);
  const bool by_thread = options_.flavour == MastodonFlavour::kPleroma;
  Entry* found = nullptr;
  for (auto& [id, entry] : entries_) {
    if (entry.owner != owner.id || entry.thread != note.thread) continue;
    if (by_thread || entry.others == others) found = &entry;
  }
  if (found == nullptr) {
    Entry entry{.owner = owner.id, .thread = note.thread, .others = others};
    entry.id = options_.flavour == MastodonFlavour::kGoToSocial ? ids_.Next(Now()) : NextNumber();
    const std::string id = entry.id;
    found = &(entries_[id] = std::move(entry));
  }
  if (!found->notes.insert(note.id).second) return;
  found->others.insert(others.begin(), others.end());
  found->unread = note.author != owner.id;
  found->touched = ++touches_;
}

std::vector<Entry*> World::EntriesOf(const Account& owner) {
  std::vector<Entry*> found;
  for (auto& [id, entry] : entries_) {
    if (entry.owner == owner.id) found.push_back(&entry);
  }
  return found;
}

Entry* World::FindEntry(const Account& owner, const std::string& id) {
  const auto it = entries_.find(id);
  return it != entries_.end() && it->second.owner == owner.id ? &it->second : nullptr;
}

Entry* World::EntryWith(const Account& owner, const std::string& note_id) {
  for (auto& [id, entry] : entries_) {
    if (entry.owner == owner.id && entry.notes.contains(note_id)) return &entry;
  }
  return nullptr;
}

void World::RemoveEntry(const Entry& entry) {
  const std::string id = entry.id;
  entries_.erase(id);
}

std::vector<Notice*> World::NoticesOf(const Account& owner) {
  std::vector<Notice*> found;
  for (auto& [id, notice] : notices_) {
    if (notice.owner == owner.id) found.push_back(&notice);
  }
  return found;
}

void World::RemoveNotices(const Account& owner, const std::string& id) {
  std::erase_if(notices_, [&](const auto& row) {
    return row.second.owner == owner.id && (id.empty() || row.first == id);
  });
}

std::vector<Request*> World::RequestsOf(const Account& owner) {
  std::vector<Request*> found;
  for (auto& [id, request] : requests_) {
    if (request.owner == owner.id) found.push_back(&request);
  }
  return found;
}

// Mastodon app/services/accept_notification_request_service.rb and
// app/workers/unfilter_notifications_worker.rb, which keeps the old ids.
void World::AcceptFrom(Account& owner, const std::string& from) {
  owner.permitted.insert(from);
  for (auto& [id, notice] : notices_) {
    if (notice.owner != owner.id || notice.from != from || !notice.filtered) continue;
    const Note* note = FindNote(notice.note);
    if (note != nullptr && note->visibility == "direct") AddToEntry(owner, *note);
    notice.filtered = false;
  }
  std::erase_if(requests_, [&](const auto& row) {
    return row.second.owner == owner.id && row.second.from == from;
  });
}

void World::DismissFrom(const Account& owner, const std::string& from) {
  std::erase_if(notices_, [&](const auto& row) {
    return row.second.owner == owner.id && row.second.from == from && row.second.filtered;
  });
  std::erase_if(requests_, [&](const auto& row) {
    return row.second.owner == owner.id && row.second.from == from;
  });
}

}  // namespace mayfly::connectors::mastodon::sim
