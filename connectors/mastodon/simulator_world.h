// Everything that happens on the simulated server: accounts, statuses, and what each account's
// lists hold. No HTTP. Not thread-safe: MastodonSimulator::Impl holds the lock.
#ifndef MAYFLY_CONNECTORS_MASTODON_SIMULATOR_WORLD_H_
#define MAYFLY_CONNECTORS_MASTODON_SIMULATOR_WORLD_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "connectors/mastodon/simulator.h"
#include "connectors/mastodon/simulator_text.h"
#include "store/model/clock.h"
#include "store/model/time.h"

namespace mayfly::connectors::mastodon::sim {

// In the server's words.
struct Refusal {
  int status = 422;
  std::string error;
};

struct Policy {  // each: accept, filter or drop (Mastodon app/models/notification_policy.rb)
  std::string not_following = "accept";
  std::string not_followers = "accept";
  std::string new_accounts = "accept";
  std::string private_mentions = "filter";
  std::string limited_accounts = "filter";
};

struct Account {
  std::string id;
  std::string username;
  std::string domain;  // empty: local
  MastodonSimulator::AccountOptions settings;
  TimePoint created_at;
  std::map<std::string, TimePoint> follows;  // by account id, since
  std::set<std::string> blocks;
  std::set<std::string> permitted;  // senders whom an accepted request lets through
  Policy policy;
  bool local() const { return domain.empty(); }
  std::string acct() const { return domain.empty() ? username : username + "@" + domain; }
};

struct Version {
  std::string text;
  std::string spoiler_text;
  std::string html;
  TimePoint at;
};

struct Note {  // a status
  std::string id;
  std::string author;  // account id
  std::string text;
  std::string html;
  std::string spoiler_text;
  std::string visibility;
  std::string in_reply_to;
  std::string in_reply_to_author;
  std::int64_t thread = 0;
  bool sensitive = false;
  std::size_t images = 0;
  bool poll = false;
  TimePoint created_at;
  std::optional<TimePoint> edited_at;
  std::vector<std::string> mentions;  // account ids
  std::vector<std::string> silent;    // who was mentioned before an edit, and may still read it
  std::vector<std::string> named;     // accts that are mentioned whatever the text says
  std::vector<Version> earlier;       // oldest first
  bool deleted = false;
};

struct Entry {  // a conversation as one account has it
  std::string id = {};
  std::string owner;
  std::int64_t thread = 0;
  std::set<std::string, ById> others;  // account ids
  std::set<std::string, ById> notes = {};
  bool unread = false;
  std::int64_t touched = 0;  // rises with every change; Pleroma's order
  const std::string& last() const { return *notes.rbegin(); }
};

struct Notice {  // a notification of type mention
  std::string id = {};
  std::string owner;
  std::string from;
  std::string note;
  TimePoint created_at;
  bool filtered = false;
};

struct Request {  // of a stranger, to be let through
  std::string id;
  std::string owner;
  std::string from;
  std::string last_note;
  TimePoint created_at;
  TimePoint updated_at;
};

struct Draft {
  std::string text;
  std::string visibility = "public";
  std::string in_reply_to;
  std::string spoiler_text;
  bool sensitive = false;
  std::size_t images = 0;
  bool poll = false;
  std::optional<TimePoint> at = {};
  std::optional<std::string> html = {};
  std::vector<std::string> mentions = {};  // accts, beyond those in the text
};

class World {
 public:
  World(const Clock& clock, const MastodonSimulatorOptions& options);

  const MastodonSimulatorOptions& options() const { return options_; }
  TimePoint Now() const { return clock_.Now(); }
  std::size_t max_characters() const;
  // Filters and requests exist since 4.3, and on Mastodon and its forks alone.
  bool HasPolicy() const;
  bool IsMastodon() const;

  Account& AddAccount(const MastodonSimulator::AccountOptions& settings);
  Account* FindAccount(std::string_view acct);  // name or name@domain
  Account* AccountById(const std::string& id);
  std::map<std::string, Account, ById>& accounts() { return accounts_; }
  std::string UrlOf(const Account& account) const;
  std::string NextId(TimePoint at) { return ids_.Next(at); }
  std::string NextNumber() { return std::to_string(++serial_); }

  tl::expected<Note*, Refusal> Post(Account& author, const Draft& draft);
  tl::expected<Note*, Refusal> Edit(Note& note, const std::string& text,
                                    const std::string& spoiler_text);
  void Delete(Note& note);
  Note* FindNote(const std::string& id);  // nothing once it is deleted
  bool IsVisible(const Note& note, const Account* viewer) const;
  std::map<std::string, Note, ById>& notes() { return notes_; }             // deleted ones included
  std::vector<Note*> Ancestors(const Note& note, const Account* viewer);    // oldest first
  std::vector<Note*> Descendants(const Note& note, const Account* viewer);  // depth first

  std::vector<Entry*> EntriesOf(const Account& owner);  // that still hold a status
  Entry* FindEntry(const Account& owner, const std::string& id);
  Entry* EntryWith(const Account& owner, const std::string& note_id);
  void RemoveEntry(const Entry& entry);

  std::vector<Notice*> NoticesOf(const Account& owner);             // by rising id
  void RemoveNotices(const Account& owner, const std::string& id);  // "": all
  std::vector<Request*> RequestsOf(const Account& owner);           // by rising id
  void AcceptFrom(Account& owner, const std::string& from);
  void DismissFrom(const Account& owner, const std::string& from);

 private:
  tl::expected<void, Refusal> Check(const Account& author, const std::string& text,
                                    const std::string& spoiler_text, bool attachments) const;
  std::optional<Mentioned> Lookup(const Entity& entity, const Account& author);
  std::string Render(const Account& author, const std::string& text);
  void Mention(Note& note, const Account& author);
  void Deliver(Note& note, Account& recipient);
  void AddToEntry(const Account& owner, const Note& note);
  bool AnswersRecipient(const Note& note, const Account& recipient, const Account& sender);
  std::string Verdict(const Note& note, const Account& recipient, const Account& sender);

  const Clock& clock_;
  MastodonSimulatorOptions options_;
  IdMaker ids_;
  std::int64_t serial_ = 1'000;
  std::int64_t threads_ = 0;
  std::int64_t touches_ = 0;
  std::map<std::string, Account, ById> accounts_;
  std::map<std::string, std::string> names_;  // acct in lower case -> id
  std::map<std::string, Note, ById> notes_;
  std::map<std::string, Entry, ById> entries_;
  std::map<std::string, Notice, ById> notices_;
  std::map<std::string, Request, ById> requests_;
};

}  // namespace mayfly::connectors::mastodon::sim

#endif  // MAYFLY_CONNECTORS_MASTODON_SIMULATOR_WORLD_H_
