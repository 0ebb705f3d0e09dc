#include "connectors/mastodon/connector.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "connectors/graphemes.h"
#include "connectors/mastodon/client.h"
#include "connectors/mastodon/html_text.h"
#include "connectors/mentions.h"
#include "connectors/repair_json.h"
#include "store/model/json.h"

namespace mayfly::connectors::mastodon {
namespace {

constexpr std::size_t kCursorMax = 16 * 1024;     // of ours, by the contract
constexpr std::size_t kCursorWanted = 15 * 1024;  // what is watched is cut to this
constexpr std::uint64_t kCallsPerFetch = 30;      // then the core gets what there is
constexpr int kEmptyPagesMax = 10;                // in a row, that say that there is more
constexpr int kFailuresMax = 3;  // at one thread or status, in a row; then it is done without
constexpr int kParentsMax = 10;  // asked for one by one
constexpr std::size_t kSnacShows = 64;         // notifications, the newest
constexpr int kFindPagesMax = 10;              // of our own statuses
constexpr int kPolicyEvery = 10;               // polls
constexpr std::size_t kWatchedMax = 150;       // messages re-read for edits and deletions
constexpr std::size_t kSinglesPerFetch = 3;    // re-read one by one
constexpr std::size_t kConfirmedPerFetch = 5;  // missing ones asked for again
constexpr std::size_t kWithdrawnPerHour = 20;  // found by their absence; more is a doubt
constexpr int kLookBackEvery = 20;             // quiet polls
constexpr std::size_t kCachedMax = 20'000;     // of each cache
// A page of ours, well below what the link to the core takes (service/link/worker_link.h: 2,000
// messages, 8 MiB, in which a quotation mark is two bytes).
constexpr std::size_t kPageItemsMax = 1'000;
constexpr std::size_t kPageBytesMax = 2u << 20;
constexpr std::size_t kParticipantsMax = 50;       // as many as a conversation keeps
constexpr std::size_t kPeopleBytesMax = 400;       // of a conversation's id
constexpr std::size_t kCharactersPerAddress = 23;  // as Mastodon counts each address

// Words of Check and of Page::warning, beside the scopes.
constexpr const char* kPolicyFilters = "notification-policy-filters";
constexpr const char* kPolicyDrops = "notification-policy-drops";
constexpr const char* kManyDeletions = "many-deletions";
constexpr const char* kSentOtherwise = "reply-not-as-asked";

// Ids grow: longer ones are newer, equally long ones compare byte by byte. True of the numbers of
// Mastodon, Pleroma and snac, of GoToSocial's ULIDs and of Pleroma's flakes.
bool IsNewer(std::string_view a, std::string_view b) {
  return a.size() != b.size() ? a.size() > b.size() : a > b;
}

// Where one of the two lists stands. `at` is the newest id when we came; new entries are those
// above it. While `walking`, history is read backwards from there, page after page.
struct Feed {
  std::string at;  // empty: nothing was ever in it
  bool walking = false;
  std::string back;   // only entries older than this; empty is the newest page
  std::string after;  // the last entry of that page that is done
};

// A message that is read again now and then, because edits and deletions move nothing.
struct Watched {
  std::string id;
  std::string conversation;
  std::int64_t sent_s = 0;
  std::int64_t edited_ms = 0;  // of the version that was reported; 0: never edited
};

struct Position {
  Feed mentions;
  Feed conversations;
  std::vector<Watched> watched;
  std::string checked;  // the last one that was read again
};

void WriteFeed(json::Writer& writer, std::string_view key, const Feed& feed) {
  writer.Key(key).StartObject().Field("at", feed.at).Field("walking", feed.walking);
  writer.Field("back", feed.back).Field("after", feed.after).EndObject();
}

std::string EncodeAll(const Position& position) {
  std::string text;
  json::Writer writer(&text);
  writer.StartObject().IntField("v", 1);
  WriteFeed(writer, "mentions", position.mentions);
  WriteFeed(writer, "conversations", position.conversations);
  writer.Field("checked", position.checked);
  std::map<std::string, std::int64_t> numbers;
  std::vector<const std::string*> conversations;
  for (const Watched& watched : position.watched) {
    const auto number = static_cast<std::int64_t>(numbers.size());
    if (numbers.emplace(watched.conversation, number).second) {
      conversations.push_back(&watched.conversation);
    }
  }
  writer.Key("in").StartArray();
  for (const std::string* conversation : conversations) writer.String(*conversation);
  writer.EndArray().Key("watched").StartArray();
  for (const Watched& watched : position.watched) {
    writer.StartArray().String(watched.id).Int(numbers[watched.conversation]);
    writer.Int(watched.sent_s).Int(watched.edited_ms).EndArray();
  }
  writer.EndArray().EndObject();
  return text;
}

// Drops the oldest watched messages until it fits.
Result<std::string> Encode(Position& position) {
  std::string text = EncodeAll(position);
  while (text.size() > kCursorWanted && !position.watched.empty()) {
    const auto oldest =
        std::min_element(position.watched.begin(), position.watched.end(),
                         [](const Watched& a, const Watched& b) { return a.sent_s < b.sent_s; });
    position.watched.erase(oldest);
    text = EncodeAll(position);
  }
  if (text.size() > kCursorMax) {
    return Fail(ErrorCode::kProtocol, "The server's identifiers are too long to keep.");
  }
  return text;
}

std::optional<Feed> ReadFeed(const json::Value& value, std::string_view key) {
  const json::Value* feed = value.Find(key);
  if (feed == nullptr) return std::nullopt;
  const auto at = feed->String("at");
  const auto walking = feed->Bool("walking");
  const auto back = feed->String("back");
  const auto after = feed->String("after");
  if (!at || !walking || !back || !after) return std::nullopt;
  return Feed{.at = *at, .walking = *walking, .back = *back, .after = *after};
}

std::optional<Position> Decode(const std::string& text) {
  const auto value = json::Parse(text, {.bytes_max = kCursorMax, .items_max = 4'000});
  if (!value) return std::nullopt;
  const auto version = value->Int("v");
  auto mentions = ReadFeed(*value, "mentions");
  auto conversations = ReadFeed(*value, "conversations");
  const auto checked = value->String("checked");
  const json::Value* in = value->Find("in");
  const json::Value* watched = value->Find("watched");
  if (!version || *version != 1 || !mentions || !conversations || !checked || in == nullptr ||
      in->AsArray() == nullptr || watched == nullptr || watched->AsArray() == nullptr) {
    return std::nullopt;
  }
  Position position{.mentions = *std::move(mentions),
                    .conversations = *std::move(conversations),
                    .watched = {},
                    .checked = *checked};
  for (const json::Value& entry : *watched->AsArray()) {
    const json::Array* row = entry.AsArray();
    if (row == nullptr || row->size() != 4) return std::nullopt;
    const std::string* id = (*row)[0].AsString();
    const std::int64_t* number = (*row)[1].AsInt();
    const std::int64_t* sent = (*row)[2].AsInt();
    const std::int64_t* edited = (*row)[3].AsInt();
    if (id == nullptr || number == nullptr || sent == nullptr || edited == nullptr || *number < 0 ||
        static_cast<std::size_t>(*number) >= in->AsArray()->size()) {
      return std::nullopt;
    }
    const std::string* conversation =
        (*in->AsArray())[static_cast<std::size_t>(*number)].AsString();
    if (conversation == nullptr) return std::nullopt;
    position.watched.push_back(
        {.id = *id, .conversation = *conversation, .sent_s = *sent, .edited_ms = *edited});
  }
  return position;
}

std::int64_t Seconds(std::optional<TimePoint> at) {
  return at ? std::chrono::floor<std::chrono::seconds>(*at).time_since_epoch().count() : 0;
}

// Which version of a status this is; 0 is the first.
std::int64_t VersionOf(const MastodonStatus& status) {
  return status.edited_at ? status.edited_at->time_since_epoch().count() : 0;
}

// A short name for a set of people too many to write down. Not against somebody who looks for
// equal ones: all they would gain is to see two of their own groups shown as one.
std::string Digest(std::string_view text) {
  std::string digest;
  for (std::uint64_t hash : {0xCBF29CE484222325ull, 0x9E3779B97F4A7C15ull}) {
    for (const char c : text) {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
      hash ^= hash >> 29;
    }
    for (int shift = 60; shift >= 0; shift -= 4) digest += "0123456789abcdef"[(hash >> shift) & 15];
  }
  return digest;
}

constexpr char kIdSeparator = '~';  // never in an identifier of the server's, see api_types.cc

std::string RootOf(const std::string& conversation) {
  return conversation.substr(0, conversation.find(kIdSeparator));
}

// How long the server may take a text to be, at the least: as Mastodon counts, a mention is its
// name and an address is 23 characters.
std::size_t CountLeast(std::string_view text) {
  std::size_t count = CountGraphemes(std::string(text));
  const auto less = [&](std::size_t by) { count -= std::min(by, count); };
  for (const Mention& mention : FindMentions(text)) {
    const std::string_view written = text.substr(mention.offset, mention.length);
    const std::size_t host = written.find('@', 1);
    if (host != std::string_view::npos) less(CountGraphemes(std::string(written.substr(host))));
  }
  for (std::size_t i = text.find("http"); i != std::string_view::npos; i = text.find("http", i)) {
    const std::size_t end = std::min(text.find_first_of(" \t\n\r", i), text.size());
    const std::string_view address = text.substr(i, end - i);
    i = end;
    const bool is_one = address.starts_with("http://") || address.starts_with("https://");
    const std::size_t length = CountGraphemes(std::string(address));
    if (is_one && length > kCharactersPerAddress) less(length - kCharactersPerAddress);
  }
  return count;
}

// "@Bob" and "@bob@social.example" are one person on the server social.example.
std::string WithFullMentions(const std::string& text, const std::string& domain) {
  std::string full;
  std::size_t i = 0;
  for (const Mention& mention : FindMentions(text)) {
    full.append(text, i, mention.offset - i);
    std::string handle = text.substr(mention.offset, mention.length);
    std::transform(handle.begin(), handle.end(), handle.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    full += handle;
    if (handle.find('@', 1) == std::string::npos) full.append("@").append(domain);
    i = mention.offset + mention.length;
  }
  return full.append(text, i);
}

class MastodonConnector final : public Connector {
 public:
  explicit MastodonConnector(std::unique_ptr<Client> client) : client_(std::move(client)) {}

  Result<Page> Fetch(const FetchRequest& request, std::stop_token stop) override;
  Result<SentReply> Send(const OutgoingReply& reply, std::stop_token stop) override;
  Result<std::vector<SentReply>> FindSent(const FindSentRequest& request,
                                          std::stop_token stop) override;
  Result<CheckReport> Check(std::stop_token stop) override;
  std::optional<PlatformBudget> budget() const override { return client_->budget(); }

 private:
  // Where a message hangs: the top of its thread, and the topmost message above it without a
  // public status in between, whose context shows all that is private around it. What stands above
  // that one has no such top: the private branches below a public status do not see each other.
  struct Place {
    std::string root;
    std::string top;  // empty: not known
  };
  // What one Fetch works on.
  struct Work {
    const FetchRequest& request;
    std::stop_token stop;
    Position position;
    Page page = {};
    std::map<std::string, std::size_t> described = {};  // index in page.conversations
    std::uint64_t calls_max = 0;
    bool mentions_quiet = false;
    bool conversations_quiet = false;
    int empty_pages = 0;
    bool proven = false;    // the server gave something private, so the token is good
    std::size_t items = 0;  // in the page: messages and edits
    std::size_t bytes = 0;  // in the page: their texts, and the people of its conversations
    bool cut = false;       // the page was full before a thread was; the next Fetch goes on with it
  };

  Status Know(std::stop_token stop);
  Status VerifyOwn(std::stop_token stop);

  // Steps. Each moves `position` and adds to `page` only what it has finished.
  Status Step(Work& work, bool& done);
  Status Fix(Work& work, Feed& feed, bool& quiet, Result<std::string> newest);
  Status WalkMentions(Work& work);
  Status WalkConversations(Work& work);
  Status PollMentions(Work& work);
  Status PollConversations(Work& work);
  Status LookBack(Work& work);
  Status Finish(Work& work);
  Status Recheck(Work& work);
  Status Withdraw(const std::set<std::string>& gone, Work& work);

  Result<std::string> NewestMention(Work& work);
  Result<std::string> NewestConversation(Work& work);
  bool Spent(const Work& work) const {
    return client_->calls() >= work.calls_max ||
           work.page.messages.size() >= work.request.messages_max || IsFull(work) || work.cut;
  }
  static bool IsFull(const Work& work) {
    return work.items >= kPageItemsMax || work.bytes >= kPageBytesMax;
  }
  static void CountText(const MessageBody& text, Work& work) {
    ++work.items;
    work.bytes += text.Reveal().size();
  }
  // A single entry right behind where a list stands is too large for us. Goes around it from the
  // newest side where that is possible; what cannot be reached then is a hole.
  static Status GoAround(Feed& feed, bool& quiet, Result<std::string> newest);
  void StopWalking(Work& work, Feed& feed);
  // An empty page that says that there is more, too often in a row.
  Status LeadsNowhere(Work& work);

  // Takes a message, and of its thread what a call shows. `whole`: the thread changed, and what
  // else is new in it shows nowhere else.
  Status ReadThread(const MastodonStatus& head, bool whole, Work& work);
  Status ReadThreadOnce(const MastodonStatus& head, bool whole, Work& work);
  // Nothing once the server has failed often enough to show it: one thread that is too large for
  // us, or that breaks the server, must not stop the account.
  Result<std::optional<Context>> ContextOf(const std::string& id, Work& work);
  bool GivesUp(const std::string& id, const Error& error);
  std::optional<Place> KnownPlace(const MastodonStatus& status, const Work& work) const;
  Place PlaceIn(const MastodonStatus& head, const Context& context, const Work& work) const;
  // What stands above `head`: below the top of its private part, or above it.
  void TakeAncestors(const MastodonStatus& head, const Context& context, const Place& place,
                     Work& work);
  Result<Place> PlaceByParents(const MastodonStatus& head, const Work& work);
  void TakeAll(const std::vector<MastodonStatus>& statuses, const Place& place, Work& work);
  // Leaves what is new to the next Fetch once the page is full, and says so in work.cut.
  void Take(const MastodonStatus& status, const Place& place, Work& work);
  void Compare(const MastodonStatus& status, Watched& watched, Work& work);
  void Watch(Watched watched, Work& work);

  bool IsMessage(const MastodonStatus& status) const;
  bool IsOurs(const Person& person) const;
  std::string IdOf(const Person& person) const;
  Contact ContactOf(const Person& person) const;
  void Meet(const Person& person);
  // The people other than us, by id.
  std::map<std::string, Contact> Others(const MastodonStatus& status) const;
  static std::string ConversationId(const std::string& root,
                                    const std::map<std::string, Contact>& others);
  MessageBody Text(const MastodonStatus& status, const std::map<std::string, Contact>& others,
                   bool& cut) const;

  // What FindSent has seen.
  struct Search {
    std::string root;
    std::map<std::string, MastodonStatus> statuses = {};  // by id
    std::set<std::string> below = {};                     // in this thread, for certain
    bool thread_read = false;                             // from its first status on
    bool settled = false;  // the list of what we wrote is enough for a verdict

    void Add(std::vector<MastodonStatus> more) {
      for (MastodonStatus& status : more) statuses.insert_or_assign(status.id, std::move(status));
    }
  };
  Status ListLately(const FindSentRequest& request, Search& search, std::stop_token stop);
  Status LookIntoThread(Search& search, std::stop_token stop);
  std::optional<bool> IsBelow(const MastodonStatus& status, const Search& search) const;
  std::vector<SentReply> Matching(const FindSentRequest& request, const Search& search,
                                  bool surely) const;
  std::string SameWords(const std::string& text,
                        const std::map<std::string, Contact>& others) const;
  // The status that a reply is put below when the message that it answers is not known; empty:
  // none.
  Result<std::string> ParentInstead(const std::string& root,
                                    const std::set<std::string>& recipients, std::stop_token stop);
  std::size_t Count(const std::string& text) const;

  std::unique_ptr<Client> client_;
  std::optional<Person> own_;
  std::optional<Instance> instance_;

  // Only to save calls and repetitions. `reported_` belongs to the cursor that was returned last:
  // when the core comes with another one, what it had not stored must be reported again.
  std::string returned_;
  std::map<std::string, std::int64_t> reported_;  // message -> version
  std::map<std::string, Place> places_;           // likewise: of threads that were read
  std::string unfinished_;                        // likewise: a head whose thread did not fit
  std::map<std::string, Contact> people_;         // with their names
  std::set<std::string> counted_;                 // as past the horizon
  std::set<std::string> seen_backs_;              // against a list that leads in a circle
  std::string stuck_;                             // what the server fails to show
  int failures_ = 0;
  int polls_ = 0;
  int quiet_polls_ = 0;
  std::set<std::string> missing_;       // of what is watched: not there when it was last asked for
  std::deque<TimePoint> withdrawn_at_;  // the horizons of those Fetches; they move with the clock
  bool many_gone_ = false;              // too many to be believed
  std::string warning_;                 // what the account's policy hides
  std::string send_warning_;            // a reply that the server took otherwise than asked
};

// ---- who is who ----

Status MastodonConnector::Know(std::stop_token stop) {
  if (!own_) {
    MAYFLY_ASSIGN_OR_RETURN(own_, client_->VerifyCredentials(stop));
  }
  if (!instance_) {
    MAYFLY_ASSIGN_OR_RETURN(instance_, client_->GetInstance(stop));
  }
  return {};
}

Status MastodonConnector::VerifyOwn(std::stop_token stop) {
  MAYFLY_ASSIGN_OR_RETURN(const Person person, client_->VerifyCredentials(stop));
  if (person.id != own_->id) {
    return Fail(ErrorCode::kCredentialDead, "The access token belongs to another account.");
  }
  return {};
}

// snac numbers the people whom a status mentions from 0; there only addresses tell who is who.
std::string MastodonConnector::IdOf(const Person& person) const {
  if (instance_->flavour == Flavour::kSnac && !person.url.empty()) return person.url.Reveal();
  return person.id;
}

bool MastodonConnector::IsOurs(const Person& person) const { return IdOf(person) == IdOf(*own_); }

Contact MastodonConnector::ContactOf(const Person& person) const {
  return Contact{.platform_id = PlatformId(IdOf(person)),
                 .handle = ContactHandle(FullHandle(person, instance_->domain)),
                 .display_name = person.display_name};
}

void MastodonConnector::Meet(const Person& person) {
  if (people_.size() >= kCachedMax) people_.clear();
  people_.insert_or_assign(IdOf(person), ContactOf(person));
}

std::map<std::string, Contact> MastodonConnector::Others(const MastodonStatus& status) const {
  std::map<std::string, Contact> others;
  const auto add = [&](const Person& person) {
    if (IsOurs(person)) return;
    const std::string id = IdOf(person);
    const auto known = people_.find(id);
    others.insert_or_assign(id, known != people_.end() ? known->second : ContactOf(person));
  };
  for (const Person& person : status.mentions) add(person);
  add(status.account);
  return others;
}

// As on the platform: one conversation for each thread and each set of people in it, so that
// somebody who is added sees nothing earlier, and staff see who gets a reply.
std::string MastodonConnector::ConversationId(const std::string& root,
                                              const std::map<std::string, Contact>& others) {
  std::string people;
  for (const auto& [id, contact] : others) {
    if (!people.empty()) people += ',';
    people += id;
  }
  return root + kIdSeparator + (people.size() <= kPeopleBytesMax ? people : Digest(people));
}

// snac gives one word to everything that is not public.
bool MastodonConnector::IsMessage(const MastodonStatus& status) const {
  if (status.is_reblog) return false;
  if (status.visibility == Visibility::kDirect) return true;
  return status.visibility == Visibility::kPrivate && instance_->flavour == Flavour::kSnac;
}

MessageBody MastodonConnector::Text(const MastodonStatus& status,
                                    const std::map<std::string, Contact>& others, bool& cut) const {
  std::vector<std::string> addressees;
  if (IsOurs(status.account)) {
    for (const auto& [id, contact] : others) addressees.push_back(contact.handle.Reveal());
  } else {
    addressees.push_back(FullHandle(*own_, instance_->domain));
  }
  const std::array<Person, 1> people = {*own_};
  return TextOf(status, instance_->domain, people, addressees, &cut);
}

// ---- messages ----

void MastodonConnector::Watch(Watched watched, Work& work) {
  std::vector<Watched>& all = work.position.watched;
  const auto known =
      std::find_if(all.begin(), all.end(), [&](const Watched& w) { return w.id == watched.id; });
  if (known != all.end()) {
    known->edited_ms = watched.edited_ms;
    return;
  }
  all.push_back(std::move(watched));
  if (all.size() <= kWatchedMax) return;
  all.erase(std::min_element(all.begin(), all.end(), [](const Watched& a, const Watched& b) {
    return a.sent_s < b.sent_s;
  }));
}

void MastodonConnector::Compare(const MastodonStatus& status, Watched& watched, Work& work) {
  const std::int64_t version = VersionOf(status);
  if (version == watched.edited_ms || !IsMessage(status)) return;
  if (IsFull(work)) {
    work.cut = true;
    return;
  }
  watched.edited_ms = version;
  reported_[status.id] = version;
  bool cut = false;
  MessageBody text = Text(status, Others(status), cut);
  CountText(text, work);
  work.page.edits.push_back(Edit{.conversation = PlatformId(watched.conversation),
                                 .id = PlatformId(status.id),
                                 .edited_at = status.edited_at,
                                 .text = std::move(text),
                                 .has_unsupported_content = status.has_attachment || cut});
}

void MastodonConnector::Take(const MastodonStatus& status, const Place& place, Work& work) {
  if (places_.size() >= kCachedMax) places_.clear();
  places_.insert_or_assign(status.id, place);
  if (!IsMessage(status)) return;
  work.proven = true;
  Meet(status.account);
  const std::map<std::string, Contact> others = Others(status);
  if (others.empty()) return;  // a note to ourselves
  if (status.created_at && *status.created_at < work.request.horizon) {
    if (counted_.size() >= kCachedMax) counted_.clear();
    if (counted_.insert(status.id).second) ++work.page.skipped_past_horizon;
    return;
  }
  std::vector<Watched>& all = work.position.watched;
  if (const auto known =
          std::find_if(all.begin(), all.end(), [&](const Watched& w) { return w.id == status.id; });
      known != all.end()) {
    Compare(status, *known, work);
    return;
  }
  const std::int64_t version = VersionOf(status);
  const auto reported = reported_.find(status.id);
  if (reported != reported_.end() && reported->second == version) return;
  if (IsFull(work)) {
    work.cut = true;
    return;
  }
  const bool first = reported == reported_.end();
  if (reported_.size() >= kCachedMax) reported_.clear();
  reported_[status.id] = version;

  const std::string conversation = ConversationId(place.root, others);
  bool cut = false;
  const MessageBody text = Text(status, others, cut);
  const bool unsupported = status.has_attachment || cut;
  if (first) {
    CountText(text, work);
    const bool ours = IsOurs(status.account);
    work.page.messages.push_back(
        PlatformMessage{.conversation = PlatformId(conversation),
                        .id = PlatformId(status.id),
                        .sender = PlatformId(IdOf(status.account)),
                        .direction = ours ? Direction::kOutgoing : Direction::kIncoming,
                        .sent_at = status.created_at,
                        .text = text,
                        .unreadable = status.content_missing ? UnreadableReason::kNotAvailable
                                                             : UnreadableReason::kNone,
                        .has_unsupported_content = unsupported});
  }
  if (status.edited_at) {
    // The store may hold an earlier text of it, from before it was last watched.
    CountText(text, work);
    work.page.edits.push_back(Edit{.conversation = PlatformId(conversation),
                                   .id = PlatformId(status.id),
                                   .edited_at = status.edited_at,
                                   .text = text,
                                   .has_unsupported_content = unsupported});
  }
  PlatformConversation described{.id = PlatformId(conversation),
                                 .participants = {},
                                 .group = others.size() > 1,
                                 .standing = PlatformStanding::kAccepted};
  for (const auto& [id, contact] : others) {
    if (described.participants.size() == kParticipantsMax) break;
    work.bytes += contact.platform_id.Reveal().size() + contact.handle.Reveal().size() +
                  contact.display_name.Reveal().size();
    described.participants.push_back(contact);
  }
  const auto [at, is_new] = work.described.emplace(conversation, work.page.conversations.size());
  if (is_new) {
    work.page.conversations.push_back(std::move(described));
  } else {
    work.page.conversations[at->second] = std::move(described);
  }
  // Nobody could say when one without a date has to leave the cursor.
  if (!status.created_at) return;
  Watch({.id = status.id,
         .conversation = conversation,
         .sent_s = Seconds(status.created_at),
         .edited_ms = version},
        work);
}

void MastodonConnector::TakeAll(const std::vector<MastodonStatus>& statuses, const Place& place,
                                Work& work) {
  for (const MastodonStatus& status : statuses) Take(status, place, work);
}

// ---- threads ----

// Asks what is watched first: a thread whose top was deleted keeps the name that it had.
std::optional<MastodonConnector::Place> MastodonConnector::KnownPlace(const MastodonStatus& status,
                                                                      const Work& work) const {
  for (const std::string* id : {&status.id, &status.in_reply_to_id}) {
    if (id->empty()) continue;
    const auto place = places_.find(*id);
    if (place != places_.end() && !place->second.top.empty()) return place->second;
    for (const Watched& watched : work.position.watched) {
      if (watched.id == *id) return Place{.root = RootOf(watched.conversation), .top = {}};
    }
    if (place != places_.end()) return place->second;
  }
  if (status.in_reply_to_id.empty()) return Place{.root = status.id, .top = status.id};
  return std::nullopt;
}

MastodonConnector::Place MastodonConnector::PlaceIn(const MastodonStatus& head,
                                                    const Context& context,
                                                    const Work& work) const {
  std::map<std::string, std::size_t> left;  // by id, where it stands in the answer
  for (std::size_t i = 0; i < context.ancestors.size(); ++i)
    left.emplace(context.ancestors[i].id, i);
  Place place{.root = head.id, .top = head.id};
  const MastodonStatus* at = &head;
  std::string root;
  bool all_private = true;
  while (!at->in_reply_to_id.empty() || !left.empty()) {
    place.root = at->in_reply_to_id.empty() ? at->id : at->in_reply_to_id;
    auto parent = left.find(at->in_reply_to_id);
    if (parent == left.end()) {
      // One between them is hidden from us. The answer begins with the top.
      parent = std::max_element(left.begin(), left.end(),
                                [](const auto& a, const auto& b) { return a.second < b.second; });
      if (parent == left.end()) break;
    }
    at = &context.ancestors[parent->second];
    left.erase(parent);
    all_private = all_private && IsMessage(*at);
    if (all_private) place.top = at->id;
    place.root = at->id;
    // The nearest name counts, so that a thread keeps it when its top goes.
    if (const auto known = KnownPlace(*at, work); known && root.empty()) root = known->root;
  }
  if (!root.empty()) place.root = root;
  return place;
}

// For a thread that the server does not show whole: up, one by one.
Result<MastodonConnector::Place> MastodonConnector::PlaceByParents(const MastodonStatus& head,
                                                                   const Work& work) {
  std::string parent = head.in_reply_to_id;
  for (int i = 0; i < kParentsMax && !parent.empty(); ++i) {
    auto status = client_->GetStatus(parent, work.stop);
    if (!status) {
      // The context was given up already; here nothing is worth stopping for but what ends any
      // call.
      const ErrorCode code = status.error().code;
      if (code == ErrorCode::kPlatformRejected || code == ErrorCode::kProtocol ||
          code == ErrorCode::kPlatformUnavailable || code == ErrorCode::kMissingPrivilege) {
        break;
      }
      return Fail(std::move(status).error());
    }
    if (const auto known = KnownPlace(*status, work)) return Place{.root = known->root, .top = {}};
    parent = status->in_reply_to_id;
  }
  return Place{.root = parent.empty() ? head.id : parent, .top = {}};
}

// A thing that the server refuses or has failed often enough to show is done without.
bool MastodonConnector::GivesUp(const std::string& id, const Error& error) {
  if (error.code == ErrorCode::kPlatformRejected || IsTooLarge(error)) return true;
  if (error.code != ErrorCode::kProtocol && error.code != ErrorCode::kPlatformUnavailable) {
    return false;
  }
  failures_ = stuck_ == id ? failures_ + 1 : 1;
  stuck_ = id;
  return failures_ >= kFailuresMax;
}

Result<std::optional<Context>> MastodonConnector::ContextOf(const std::string& id, Work& work) {
  auto context = client_->GetContext(id, work.stop);
  if (context) return std::optional<Context>(*std::move(context));
  if (context.error().code != ErrorCode::kPlatformRejected && GivesUp(id, context.error())) {
    return std::optional<Context>();
  }
  return Fail(std::move(context).error());
}

void MastodonConnector::TakeAncestors(const MastodonStatus& head, const Context& context,
                                      const Place& place, Work& work) {
  std::map<std::string, const MastodonStatus*> left;
  for (const MastodonStatus& status : context.ancestors) left.emplace(status.id, &status);
  const MastodonStatus* at = &head;
  while (at->id != place.top) {
    const auto parent = left.find(at->in_reply_to_id);
    if (parent == left.end() || !IsMessage(*parent->second)) break;
    at = parent->second;
    left.erase(parent);
    Take(*at, place, work);
  }
  for (const MastodonStatus& status : context.ancestors) {
    if (left.contains(status.id)) Take(status, Place{.root = place.root, .top = {}}, work);
  }
}

Status MastodonConnector::ReadThread(const MastodonStatus& head, bool whole, Work& work) {
  // What did not fit into the page before shows nowhere else.
  const bool again = !unfinished_.empty() && unfinished_ == head.id;
  MAYFLY_RETURN_IF_ERROR(ReadThreadOnce(head, whole || again, work));
  if (work.cut) {
    unfinished_ = head.id;
  } else if (again) {
    unfinished_.clear();
  }
  return {};
}

Status MastodonConnector::ReadThreadOnce(const MastodonStatus& head, bool whole, Work& work) {
  std::optional<Place> place = KnownPlace(head, work);
  // snac has no list of conversations: what we wrote elsewhere shows in contexts only.
  const bool is_snac = instance_->flavour == Flavour::kSnac;
  if (place && !whole && !is_snac) {
    Take(head, *place, work);
    return {};
  }
  bool from_top = place && !place->top.empty() && !is_snac && place->top != head.id;
  auto context = ContextOf(from_top ? place->top : head.id, work);
  if (!context && from_top && context.error().code == ErrorCode::kPlatformRejected) {
    place->top.clear();  // it is gone; the name of the conversation stays
    from_top = false;
    context = ContextOf(head.id, work);
  }
  if (!context) {
    // Deleted since it was listed: there is nothing to take.
    if (context.error().code == ErrorCode::kPlatformRejected) return {};
    return Fail(std::move(context).error());
  }
  // What only the thread would have shown, such as what we wrote elsewhere, is missing.
  const bool shows_elsewhere = !whole && !is_snac;
  if (!*context) {
    if (!shows_elsewhere) work.page.gap = true;
    if (!place) {
      MAYFLY_ASSIGN_OR_RETURN(place, PlaceByParents(head, work));
    }
    Take(head, *place, work);
    return {};
  }
  if (!place || place->top.empty()) {
    const Place found = PlaceIn(head, **context, work);
    place = Place{.root = place ? place->root : found.root, .top = found.top};
  }
  if (from_top) {
    TakeAll((*context)->ancestors, Place{.root = place->root, .top = {}}, work);
  } else {
    TakeAncestors(head, **context, *place, work);
  }
  Take(head, *place, work);
  TakeAll((*context)->descendants, *place, work);
  if (!whole || is_snac || from_top || place->top == head.id) return {};
  // What hangs beside the head, under the same top.
  auto rest = ContextOf(place->top, work);
  if (rest && *rest) {
    TakeAll((*rest)->descendants, *place, work);
  } else if (rest) {
    work.page.gap = true;
  } else if (!rest && rest.error().code != ErrorCode::kPlatformRejected) {
    return Fail(std::move(rest).error());
  }
  return {};
}

// ---- lists ----

Status MastodonConnector::LeadsNowhere(Work& work) {
  if (++work.empty_pages <= kEmptyPagesMax) return {};
  return Fail(ErrorCode::kProtocol, "The server's empty pages say that there is more.");
}

// The entry's own id is not known, so that nothing can be asked for behind it by number. But the
// newest one is: from there the list is walked backwards, down to it. When it is the newest itself,
// that has to wait until something newer stands there.
Status MastodonConnector::GoAround(Feed& feed, bool& quiet, Result<std::string> newest) {
  if (!newest) return Fail(std::move(newest).error());
  if (!IsNewer(*newest, feed.at)) {
    return Fail(ErrorCode::kProtocol, "The server's list has an entry that is too large.");
  }
  feed = Feed{.at = *std::move(newest), .walking = true};
  quiet = false;
  return {};
}

void MastodonConnector::StopWalking(Work& work, Feed& feed) {
  work.page.gap = true;
  feed = Feed{.at = feed.at};
}

Result<std::string> MastodonConnector::NewestMention(Work& work) {
  MAYFLY_ASSIGN_OR_RETURN(const auto listed, client_->ListMentions({}, work.stop));
  std::string newest;
  for (const Notification& item : listed.items) {
    if (IsNewer(item.id, newest)) newest = item.id;
  }
  if (newest.empty() && listed.has_links) MAYFLY_RETURN_IF_ERROR(LeadsNowhere(work));
  work.mentions_quiet = newest.empty() && !listed.has_links;
  return newest;
}

Result<std::string> MastodonConnector::NewestConversation(Work& work) {
  MAYFLY_ASSIGN_OR_RETURN(const auto listed, client_->ListConversations({}, work.stop));
  std::string newest;
  for (const ConversationEntry& item : listed.items) {
    if (item.last_status && IsNewer(item.last_status->id, newest)) newest = item.last_status->id;
  }
  if (newest.empty() && listed.has_links) MAYFLY_RETURN_IF_ERROR(LeadsNowhere(work));
  work.conversations_quiet = newest.empty() && !(listed.has_links && listed.items.empty());
  return newest;
}

Status MastodonConnector::WalkMentions(Work& work) {
  Feed& feed = work.position.mentions;
  auto answer = client_->ListMentions({.max_id = feed.back}, work.stop);
  if (!answer && IsTooLarge(answer.error())) {
    StopWalking(work, feed);
    return {};
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto listed, std::move(answer));
  std::map<std::string, const Notification*> items;  // once each
  std::vector<const Notification*> order;
  for (const Notification& item : listed.items) {
    if (!feed.back.empty() && !IsNewer(feed.back, item.id)) continue;
    if (items.emplace(item.id, &item).second) order.push_back(&item);
  }
  if (order.empty()) {
    const std::string& on = listed.links.next_max_id;
    // snac shows its newest ones, and there is nothing else to be had.
    if (!listed.items.empty() && instance_->flavour != Flavour::kSnac) {
      return Fail(ErrorCode::kProtocol, "The server's list leads in a circle.");
    }
    if (listed.has_links && !on.empty()) {
      MAYFLY_RETURN_IF_ERROR(LeadsNowhere(work));
      if (work.empty_pages <= kEmptyPagesMax / 2) return {};  // it may have been a slip
      if (feed.back.empty() || IsNewer(feed.back, on)) feed.back = on;
      return {};
    }
    feed = Feed{.at = feed.at};
    return {};
  }
  work.empty_pages = 0;
  work.proven = true;
  std::sort(order.begin(), order.end(),
            [](const Notification* a, const Notification* b) { return IsNewer(a->id, b->id); });
  // A full list that does not reach the horizon: what is older than it cannot be had.
  const std::optional<TimePoint> oldest = order.back()->created_at;
  if (instance_->flavour == Flavour::kSnac && feed.back.empty() && feed.after.empty() &&
      listed.items.size() >= kSnacShows && (!oldest || *oldest >= work.request.horizon)) {
    work.page.gap = true;
  }
  bool past = false;
  for (const Notification* item : order) {
    past = item->created_at && *item->created_at < work.request.horizon;
    if (item->status && IsMessage(*item->status) && !past) {
      MAYFLY_RETURN_IF_ERROR(ReadThread(*item->status, false, work));
    } else if (item->status && IsMessage(*item->status) &&
               counted_.insert(item->status->id).second) {
      ++work.page.skipped_past_horizon;
    }
    if (work.cut) return {};  // with this one again
    feed.back = item->id;
    if (Spent(work)) return {};
  }
  if (past) feed = Feed{.at = feed.at};
  return {};
}

Status MastodonConnector::WalkConversations(Work& work) {
  Feed& feed = work.position.conversations;
  auto answer = client_->ListConversations({.max_id = feed.back}, work.stop);
  if (!answer && IsTooLarge(answer.error())) {
    StopWalking(work, feed);
    return {};
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto listed, std::move(answer));
  std::map<std::string, const ConversationEntry*> entries;
  for (const ConversationEntry& entry : listed.items) {
    if (entry.last_status) entries.emplace(entry.last_status->id, &entry);
  }
  std::vector<const ConversationEntry*> order;
  for (const auto& [id, entry] : entries) {
    // One thread may have several entries with the same last status only if the server errs.
    if (feed.after.empty() || IsNewer(feed.after, id)) order.push_back(entry);
  }
  std::sort(order.begin(), order.end(), [](const ConversationEntry* a, const ConversationEntry* b) {
    return IsNewer(a->last_status->id, b->last_status->id);
  });
  bool past = false;
  for (const ConversationEntry* entry : order) {
    const MastodonStatus& last = *entry->last_status;
    past = last.created_at && *last.created_at < work.request.horizon;
    if (!past && IsMessage(last)) {
      for (const Person& person : entry->accounts) Meet(person);
      MAYFLY_RETURN_IF_ERROR(ReadThread(last, true, work));
    } else if (past && IsMessage(last) && counted_.insert(last.id).second) {
      ++work.page.skipped_past_horizon;
    }
    if (work.cut) return {};
    feed.after = last.id;
    if (Spent(work)) return {};
  }
  const auto done = [&] {
    feed = Feed{.at = feed.at};
    seen_backs_.clear();
    return Status();
  };
  if (past || (listed.items.empty() && listed.links.next_max_id.empty())) return done();
  if (listed.items.empty()) {
    MAYFLY_RETURN_IF_ERROR(LeadsNowhere(work));
    if (work.empty_pages <= kEmptyPagesMax / 2) return {};  // it may have been a slip
  } else {
    work.empty_pages = 0;
    work.proven = true;
  }
  // The list is paged by the ids of last statuses, and by another number on Pleroma: the server
  // says where to go on. One that leads nowhere new is helped along where that can be.
  const auto leads_on = [&](const std::string& id) {
    return !id.empty() && id != feed.back && !seen_backs_.contains(id);
  };
  std::string on = listed.links.next_max_id;
  if (!leads_on(on) && instance_->flavour != Flavour::kPleroma) {
    on.clear();
    for (const auto& [id, entry] : entries) {
      if (on.empty() || IsNewer(on, id)) on = id;
    }
    if (on.empty()) return listed.items.empty() ? Status() : done();
  }
  if (on.empty() && !listed.has_links) return done();
  if (!leads_on(on)) return Fail(ErrorCode::kProtocol, "The server's list leads in a circle.");
  if (seen_backs_.size() < kCachedMax) seen_backs_.insert(on);
  feed.back = on;
  feed.after.clear();
  return {};
}

Status MastodonConnector::PollMentions(Work& work) {
  Feed& feed = work.position.mentions;
  auto answer = client_->ListMentions({.min_id = feed.at}, work.stop);
  if (!answer && IsTooLarge(answer.error())) {
    return GoAround(feed, work.mentions_quiet, NewestMention(work));
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto listed, std::move(answer));
  std::map<std::string, const Notification*> items;
  std::vector<const Notification*> order;
  for (const Notification& item : listed.items) {
    if (!IsNewer(item.id, feed.at)) continue;
    if (items.emplace(item.id, &item).second) order.push_back(&item);
  }
  // snac shows its newest ones, whatever is asked for. When none of them was there before, they may
  // not be all that came.
  const bool meets = std::any_of(listed.items.begin(), listed.items.end(),
                                 [&](const Notification& n) { return !IsNewer(n.id, feed.at); });
  if (instance_->flavour == Flavour::kSnac && !feed.at.empty() && !order.empty() && !meets) {
    work.page.gap = true;
  }
  if (order.empty()) {
    if (listed.items.empty() && listed.has_links) return LeadsNowhere(work);
    work.mentions_quiet = true;
    return ++quiet_polls_ % kLookBackEvery == 0 ? LookBack(work) : Status();
  }
  work.proven = true;
  work.empty_pages = 0;
  std::sort(order.begin(), order.end(),
            [](const Notification* a, const Notification* b) { return IsNewer(b->id, a->id); });
  for (const Notification* item : order) {
    if (item->status && IsMessage(*item->status)) {
      MAYFLY_RETURN_IF_ERROR(ReadThread(*item->status, false, work));
    }
    if (work.cut) return {};
    feed.at = item->id;
    if (Spent(work)) return {};
  }
  return {};
}

// A server gives out an id before the entry can be seen. One that is seen late lies below where the
// list already stands.
Status MastodonConnector::LookBack(Work& work) {
  const auto listed = client_->ListMentions({}, work.stop);
  if (!listed) return IsTooLarge(listed.error()) ? Status() : Fail(listed.error());
  for (const Notification& item : listed->items) {
    if (!item.status || !IsMessage(*item.status)) continue;
    const std::string& id = item.status->id;
    const auto& watched = work.position.watched;
    const bool known =
        reported_.contains(id) ||
        std::any_of(watched.begin(), watched.end(), [&](const Watched& w) { return w.id == id; });
    if (known && id != unfinished_) continue;
    MAYFLY_RETURN_IF_ERROR(ReadThread(*item.status, false, work));
    if (work.cut) --quiet_polls_;  // once more at the next quiet poll
    if (Spent(work)) return {};
  }
  return {};
}

Status MastodonConnector::PollConversations(Work& work) {
  Feed& feed = work.position.conversations;
  // Pleroma's list is paged by a number that a new message does not change; its newest page is all
  // that can be asked for.
  const bool newest_only = instance_->flavour == Flavour::kPleroma;
  auto answer =
      client_->ListConversations(newest_only ? Stretch{} : Stretch{.min_id = feed.at}, work.stop);
  if (!answer && IsTooLarge(answer.error())) {
    return GoAround(feed, work.conversations_quiet, NewestConversation(work));
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto listed, std::move(answer));
  std::map<std::string, const ConversationEntry*> entries;
  std::vector<const ConversationEntry*> order;
  for (const ConversationEntry& entry : listed.items) {
    if (!entry.last_status || !IsNewer(entry.last_status->id, feed.at)) continue;
    if (entries.emplace(entry.last_status->id, &entry).second) order.push_back(&entry);
  }
  if (order.empty()) {
    if (listed.items.empty() && listed.has_links) return LeadsNowhere(work);
    work.conversations_quiet = true;
    return {};
  }
  work.proven = true;
  work.empty_pages = 0;
  std::sort(order.begin(), order.end(), [](const ConversationEntry* a, const ConversationEntry* b) {
    return IsNewer(b->last_status->id, a->last_status->id);
  });
  for (const ConversationEntry* entry : order) {
    if (IsMessage(*entry->last_status)) {
      for (const Person& person : entry->accounts) Meet(person);
      MAYFLY_RETURN_IF_ERROR(ReadThread(*entry->last_status, true, work));
    }
    if (work.cut) return {};
    feed.at = entry->last_status->id;
    if (Spent(work)) return {};
  }
  return {};
}

// ---- edits and deletions ----

Status MastodonConnector::Recheck(Work& work) {
  std::vector<Watched>& all = work.position.watched;
  if (all.empty()) return {};
  auto next = std::find_if(all.begin(), all.end(),
                           [&](const Watched& w) { return w.id == work.position.checked; });
  std::size_t i = next != all.end() ? static_cast<std::size_t>(next - all.begin()) + 1 : 0;
  if (i >= all.size()) i = 0;
  std::vector<std::string> ids;
  for (std::size_t n = 0; n < std::min(kStatusesPerCall, all.size()); ++n) {
    ids.push_back(all[(i + n) % all.size()].id);
  }
  MAYFLY_ASSIGN_OR_RETURN(const auto many, client_->GetStatuses(ids, work.stop));
  std::map<std::string, const MastodonStatus*> shown;
  if (many) {
    for (const MastodonStatus& status : *many) shown.emplace(status.id, &status);
  } else if (ids.size() > kSinglesPerFetch) {
    ids.resize(kSinglesPerFetch);
  }
  std::size_t asked = 0;
  std::set<std::string> absent;
  for (const std::string& id : ids) {
    const auto watched =
        std::find_if(all.begin(), all.end(), [&](const Watched& w) { return w.id == id; });
    if (IsFull(work)) break;  // the rest comes next time
    if (const auto there = shown.find(id); there != shown.end()) {
      work.proven = true;
      missing_.erase(id);
      Compare(*there->second, *watched, work);
    } else {
      // What is missing from a list may be the list's fault. The rest is asked for next time.
      if (++asked > kConfirmedPerFetch) break;
      auto status = client_->GetStatus(id, work.stop);
      if (status) {
        work.proven = true;
        missing_.erase(id);
        Compare(*status, *watched, work);
      } else if (status.error().platform_code == kGone) {
        absent.insert(id);
      } else if (!GivesUp(id, status.error())) {
        return Fail(std::move(status).error());
      }
    }
    work.position.checked = id;
  }
  // Once may be a slip of the server's. It counts when it is so again, the next time around.
  std::set<std::string> gone;
  for (const std::string& id : absent) {
    if (!missing_.insert(id).second) gone.insert(id);
  }
  std::erase_if(missing_, [&](const std::string& id) {
    return std::none_of(all.begin(), all.end(), [&](const Watched& w) { return w.id == id; });
  });
  if (missing_.empty()) many_gone_ = false;
  return gone.empty() ? Status() : Withdraw(gone, work);
}

Status MastodonConnector::Withdraw(const std::set<std::string>& gone, Work& work) {
  // A server may answer so to a token that it no longer knows. Nothing is destroyed for that.
  MAYFLY_RETURN_IF_ERROR(VerifyOwn(work.stop));
  work.proven = true;
  const TimePoint now = work.request.horizon;
  while (!withdrawn_at_.empty() && withdrawn_at_.front() < now - std::chrono::hours(1)) {
    withdrawn_at_.pop_front();
  }
  std::vector<Watched>& all = work.position.watched;
  for (const std::string& id : gone) {
    // Nor for a server that lost its data, or shows us less than before.
    many_gone_ = many_gone_ || withdrawn_at_.size() >= kWithdrawnPerHour;
    if (many_gone_) return {};
    withdrawn_at_.push_back(now);
    missing_.erase(id);
    const auto watched =
        std::find_if(all.begin(), all.end(), [&](const Watched& w) { return w.id == id; });
    work.page.withdrawals.push_back(
        Withdrawal{.conversation = PlatformId(watched->conversation), .id = PlatformId(id)});
    if (work.position.checked == id) {
      work.position.checked = watched != all.begin() ? (watched - 1)->id : std::string();
    }
    all.erase(watched);
  }
  return {};
}

// ---- Fetch ----

Status MastodonConnector::Fix(Work& work, Feed& feed, bool& quiet, Result<std::string> newest) {
  if (!newest) return Fail(std::move(newest).error());
  if (newest->empty()) return {};
  work.proven = true;
  feed = Feed{.at = *std::move(newest), .walking = true};
  quiet = false;
  return {};
}

Status MastodonConnector::Finish(Work& work) {
  MAYFLY_RETURN_IF_ERROR(Recheck(work));
  // An empty list proves nothing: a server may give one to a token that it no longer knows.
  if (!work.proven) MAYFLY_RETURN_IF_ERROR(VerifyOwn(work.stop));
  if (instance_->flavour == Flavour::kMastodon && polls_++ % kPolicyEvery == 0) {
    const auto policy = client_->GetPolicy(work.stop);
    if (policy) {
      warning_.clear();
      if (*policy && (*policy)->filters_private_mentions) warning_ = kPolicyFilters;
      if (*policy && (*policy)->drops) warning_ = kPolicyDrops;
    } else if (policy.error().code == ErrorCode::kCredentialDead ||
               policy.error().code == ErrorCode::kCancelled) {
      return Fail(policy.error());
    } else {
      polls_ = 0;  // what was known stands; it is asked again at the next poll
    }
  }
  work.page.caught_up = true;
  return {};
}

Status MastodonConnector::Step(Work& work, bool& done) {
  Position& position = work.position;
  if (position.mentions.at.empty() && !work.mentions_quiet) {
    return Fix(work, position.mentions, work.mentions_quiet, NewestMention(work));
  }
  if (position.conversations.at.empty() && !work.conversations_quiet) {
    return Fix(work, position.conversations, work.conversations_quiet, NewestConversation(work));
  }
  if (position.mentions.walking) return WalkMentions(work);
  if (position.conversations.walking) return WalkConversations(work);
  if (!work.mentions_quiet) return PollMentions(work);
  if (!work.conversations_quiet) return PollConversations(work);
  done = true;
  return Finish(work);
}

Result<Page> MastodonConnector::Fetch(const FetchRequest& request, std::stop_token stop) {
  if (request.after.value.empty() || request.after.value != returned_) {
    reported_.clear();
    unfinished_.clear();
    places_.clear();  // a known place says that the thread around it was reported, too
    seen_backs_.clear();
  }
  returned_.clear();
  MAYFLY_RETURN_IF_ERROR(Know(stop));

  Work work{.request = request, .stop = stop, .position = {}};
  work.calls_max = client_->calls() + kCallsPerFetch;
  if (!request.after.value.empty()) {
    if (std::optional<Position> decoded = Decode(request.after.value)) {
      work.position = *std::move(decoded);
    } else {
      work.page.position_lost = true;  // not one of ours, or of a version that is gone
    }
  }
  // Nothing of a message outlives it, not even that we looked after it.
  std::erase_if(work.position.watched,
                [&](const Watched& watched) { return watched.sent_s < Seconds(request.horizon); });
  const std::string before = EncodeAll(work.position);
  bool done = false;
  // A lost position is told before anything is read again.
  const int steps_max = work.page.position_lost ? 2 : 1'000'000;
  for (int steps = 0; steps < steps_max && !done && !Spent(work); ++steps) {
    const Status step = Step(work, done);
    if (step) continue;
    // What was finished is worth keeping; the next call will meet the trouble itself, at once.
    const bool progress = !work.page.messages.empty() || EncodeAll(work.position) != before;
    const bool ends = step.error().code == ErrorCode::kCancelled ||
                      step.error().code == ErrorCode::kCredentialDead;
    if (progress && !ends) break;
    return Fail(step.error());
  }
  work.page.history_complete =
      !work.position.mentions.walking && !work.position.conversations.walking;
  work.page.warning = many_gone_ ? kManyDeletions : warning_;
  if (!send_warning_.empty()) work.page.warning = send_warning_;
  MAYFLY_ASSIGN_OR_RETURN(work.page.next.value, Encode(work.position));
  returned_ = work.page.next.value;
  return std::move(work.page);
}

// ---- replies ----

std::size_t MastodonConnector::Count(const std::string& text) const {
  if (instance_->flavour == Flavour::kMastodon) return CountLeast(text);
  std::size_t points = 0;
  for (const char c : text) points += (static_cast<unsigned char>(c) & 0xC0u) != 0x80u ? 1 : 0;
  return points;
}

// Some servers (Pleroma) make the author of the parent a recipient, so that it has to be one of
// those whom the reply goes to anyway.
Result<std::string> MastodonConnector::ParentInstead(const std::string& root,
                                                     const std::set<std::string>& recipients,
                                                     std::stop_token stop) {
  const auto status = client_->GetStatus(root, stop);
  if (status) {
    const bool known = IsOurs(status->account) || recipients.contains(IdOf(status->account));
    return known ? root : std::string();
  }
  const ErrorCode code = status.error().code;
  if (code == ErrorCode::kPlatformRejected || code == ErrorCode::kProtocol) return std::string();
  return Fail(status.error());
}

Result<SentReply> MastodonConnector::Send(const OutgoingReply& reply, std::stop_token stop) {
  const std::string& text = reply.text.Reveal();
  if (text.empty()) return Fail(ErrorCode::kInvalidArgument, "A reply needs text.", "/text");
  if (text.size() > kInfo.capabilities.text_bytes_max) {
    return Fail(ErrorCode::kInvalidArgument, "The text is too long.", "/text");
  }
  if (!json::IsValidUtf8(text)) {
    return Fail(ErrorCode::kInvalidArgument, "The text is not valid UTF-8.", "/text");
  }
  if (reply.recipients.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "A reply needs somebody whom it goes to.");
  }
  MAYFLY_RETURN_IF_ERROR(Know(stop));

  std::string whole;
  std::vector<ContactHandle> known;
  std::set<std::string> asked_for;
  for (const Contact& recipient : reply.recipients) {
    std::string handle = recipient.handle.Reveal();
    if (handle.starts_with('@')) handle.erase(0, 1);
    if (handle.find('@') == std::string::npos) handle += "@" + instance_->domain;
    // What does not read as a mention of just this person would reach somebody else, or nobody.
    const std::string mention = "@" + handle;
    const std::vector<Mention> found = FindMentions(mention);
    if (found.size() != 1 || found.front().length != mention.size()) {
      return Fail(ErrorCode::kInvalidArgument, "A recipient's handle cannot be written to.");
    }
    known.emplace_back(handle);
    asked_for.insert(recipient.platform_id.Reveal());
    whole += mention + " ";
  }
  known.emplace_back(FullHandle(*own_, instance_->domain));
  if (!MentionsOfOthers(text, known, instance_->domain).empty()) {
    return Fail(ErrorCode::kAddsRecipient,
                "The text mentions somebody who is not among the recipients.", "/text");
  }
  whole += text;
  if (instance_->max_characters > 0 && Count(whole) > instance_->max_characters) {
    return Fail(ErrorCode::kInvalidArgument,
                "The server takes at most " + std::to_string(instance_->max_characters) +
                    " characters, with the names of the recipients.",
                "/text");
  }
  std::string parent = reply.in_reply_to.Reveal();
  if (parent.empty()) {
    MAYFLY_ASSIGN_OR_RETURN(parent,
                            ParentInstead(RootOf(reply.conversation.Reveal()), asked_for, stop));
  }
  MAYFLY_ASSIGN_OR_RETURN(
      const MastodonStatus sent,
      client_->PostDirect(MessageBody(std::move(whole)), parent, reply.idempotency_key, stop));

  // It is there now, whatever it became. A reply that others read than were shown is told.
  std::set<std::string> reached;
  for (const auto& [id, contact] : Others(sent)) reached.insert(id);
  if (!IsMessage(sent) || reached != asked_for) send_warning_ = kSentOtherwise;
  return SentReply{.id = PlatformId(sent.id), .sent_at = sent.created_at};
}

// A text as two servers may show it: mentions in full, and what Comparable evens out.
std::string MastodonConnector::SameWords(const std::string& text,
                                         const std::map<std::string, Contact>& others) const {
  std::vector<std::string> handles;
  for (const auto& [person, contact] : others) handles.push_back(contact.handle.Reveal());
  return Comparable(WithoutLeadingMentions(WithFullMentions(text, instance_->domain), handles));
}

Status MastodonConnector::ListLately(const FindSentRequest& request, Search& search,
                                     std::stop_token stop) {
  std::string max_id;
  bool reached = false;
  bool shows_private = false;
  for (int pages = 0; pages < kFindPagesMax && !reached; ++pages) {
    auto listed = client_->ListOwnStatuses(own_->id, max_id, stop);
    if (!listed) {
      const Error& error = listed.error();
      if (IsTooLarge(error) || (error.code == ErrorCode::kPlatformRejected && max_id.empty())) {
        break;
      }
      return Fail(std::move(listed).error());
    }
    std::string oldest;
    for (MastodonStatus& status : *listed) {
      if (oldest.empty() || IsNewer(oldest, status.id)) oldest = status.id;
      reached = reached || (status.created_at && *status.created_at < request.not_before);
      shows_private = shows_private || (IsOurs(status.account) && IsMessage(status));
    }
    reached = reached || listed->empty() || oldest == max_id;
    search.Add(*std::move(listed));
    max_id = oldest;
  }
  // A server that shows nothing private there has shown nothing at all.
  search.settled = reached && shows_private;
  return {};
}

// The thread, as the server shows it below its first status, or around the newest message of the
// conversation that we know.
Status MastodonConnector::LookIntoThread(Search& search, std::stop_token stop) {
  std::vector<std::string> starts = {search.root};
  std::string newest;
  for (const auto& [id, place] : places_) {
    if (place.root == search.root && IsNewer(id, newest)) newest = id;
  }
  if (const auto known = places_.find(newest); known != places_.end()) {
    if (!known->second.top.empty()) starts.push_back(known->second.top);
    starts.push_back(newest);
  }
  for (const std::string& start : starts) {
    auto context = client_->GetContext(start, stop);
    if (context) {
      for (const auto* part : {&context->ancestors, &context->descendants}) {
        for (const MastodonStatus& status : *part) search.below.insert(status.id);
      }
      search.below.insert(start);
      search.thread_read = start == search.root;
      search.Add(std::move(context->ancestors));
      search.Add(std::move(context->descendants));
      return {};
    }
    // Deleted, hidden, or too large for us: for good.
    const ErrorCode code = context.error().code;
    if (code != ErrorCode::kPlatformRejected && code != ErrorCode::kProtocol) {
      return Fail(std::move(context).error());
    }
  }
  if (search.settled) return {};
  return Fail(ErrorCode::kPlatformRejected,
              "The server shows neither our statuses nor the thread.");
}

// Whether one of ours hangs in this thread. Nothing: nobody can tell.
std::optional<bool> MastodonConnector::IsBelow(const MastodonStatus& status,
                                               const Search& search) const {
  if (status.id == search.root || search.below.contains(status.id)) return true;
  const std::string& parent = status.in_reply_to_id;
  if (parent.empty()) return std::nullopt;
  if (parent == search.root || search.below.contains(parent)) return true;
  if (const auto known = places_.find(parent); known != places_.end()) {
    return known->second.root == search.root;
  }
  return search.thread_read ? std::optional(false) : std::nullopt;
}

std::vector<SentReply> MastodonConnector::Matching(const FindSentRequest& request,
                                                   const Search& search, bool surely) const {
  std::vector<std::pair<std::optional<TimePoint>, std::string>> found;
  for (const auto& [id, status] : search.statuses) {
    if (!IsOurs(status.account)) continue;
    if (status.created_at && *status.created_at < request.not_before) continue;
    const std::map<std::string, Contact> others = Others(status);
    if (ConversationId(search.root, others) != request.conversation.Reveal()) continue;
    const std::optional<bool> below = IsBelow(status, search);
    if (surely ? below != true : below == false) continue;
    bool cut = false;
    const MessageBody text = Text(status, others, cut);
    if (SameWords(text.Reveal(), others) == SameWords(request.text.Reveal(), others)) {
      found.emplace_back(status.created_at, id);
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<SentReply> replies;
  for (auto& [at, id] : found) replies.push_back({.id = PlatformId(id), .sent_at = at});
  return replies;
}

Result<std::vector<SentReply>> MastodonConnector::FindSent(const FindSentRequest& request,
                                                           std::stop_token stop) {
  MAYFLY_RETURN_IF_ERROR(Know(stop));
  Search search{.root = RootOf(request.conversation.Reveal())};
  // What we wrote lately, wherever it hangs now. Not every server shows private ones there.
  MAYFLY_RETURN_IF_ERROR(ListLately(request, search, stop));
  if (auto replies = Matching(request, search, true); !replies.empty()) return replies;
  // "Not found" is a verdict: the thread is asked, too. And only there the same words to the same
  // people in another thread are told apart.
  MAYFLY_RETURN_IF_ERROR(LookIntoThread(search, stop));
  if (auto replies = Matching(request, search, true); !replies.empty()) return replies;
  return Matching(request, search, false);
}

Result<CheckReport> MastodonConnector::Check(std::stop_token stop) {
  own_.reset();
  instance_.reset();
  MAYFLY_RETURN_IF_ERROR(Know(stop));
  CheckReport report{.own_platform_id = IdOf(*own_),
                     .own_handle = FullHandle(*own_, instance_->domain),
                     .permissions_held = {kReadAccounts},
                     .permissions_missing = {}};
  const auto note = [&](const char* scope, const std::optional<Error>& error) -> Status {
    if (!error) {
      report.permissions_held.emplace_back(scope);
    } else if (error->code == ErrorCode::kMissingPrivilege) {
      report.permissions_missing.emplace_back(scope);
    } else {
      return Fail(*error);
    }
    return {};
  };
  const auto error_of = [](const auto& result) {
    return result ? std::optional<Error>() : std::optional<Error>(result.error());
  };
  MAYFLY_RETURN_IF_ERROR(note(kReadStatuses, error_of(client_->ListConversations({}, stop))));
  const auto mentions = client_->ListMentions({}, stop);
  MAYFLY_RETURN_IF_ERROR(note(kReadNotifications, error_of(mentions)));
  MAYFLY_RETURN_IF_ERROR(note(kWriteStatuses, error_of(client_->ProbeWriting(stop))));
  if (!mentions || instance_->flavour != Flavour::kMastodon) return report;
  MAYFLY_ASSIGN_OR_RETURN(const auto policy, client_->GetPolicy(stop));
  // What is only filtered is asked for and collected; Fetch tells of it. What is dropped is
  // nowhere.
  if (policy && policy->drops) report.permissions_missing.emplace_back(kPolicyDrops);
  return report;
}

}  // namespace

Result<std::unique_ptr<Connector>> Make(const ConnectorContext& context) {
  MAYFLY_ASSIGN_OR_RETURN(std::unique_ptr<Client> client, Client::Create(context));
  return std::unique_ptr<Connector>(new MastodonConnector(std::move(client)));
}

}  // namespace mayfly::connectors::mastodon
