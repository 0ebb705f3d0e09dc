#include "connectors/bluesky/connector.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "connectors/bluesky/client.h"
#include "connectors/graphemes.h"
#include "store/model/json.h"

namespace mayfly::connectors::bluesky {
namespace {

constexpr std::size_t kCursorMax = 16 * 1024;     // of ours, by the contract
constexpr int kStepsPerFetch = 20;                // keeps one Fetch short and under the rate limit
constexpr int kRoundsMax = 8;                     // of the walk, see Walk
constexpr int kEmptyPagesMax = 10;                // in a row, before a list counts as endless
constexpr int kRestartsMax = 3;                   // of one list or conversation
constexpr int kFindPagesMax = 200;                // 20,000 messages of one conversation
constexpr std::size_t kCachedConvosMax = 2'000;   //
constexpr std::size_t kSeenCursorsMax = 20'000;   //
constexpr std::size_t kParticipantsMax = 50;      // as many as a conversation keeps
constexpr std::size_t kUnknownBeforeListing = 3;  // more strangers than this are listed at once

// Where reading the history stands. The platform lists conversations newest activity first, and one
// that is written in while we walk jumps to the front of the list, past the place that we have
// reached. So the walk goes in rounds: each later one reads only conversations whose revision is
// higher than the highest one that stood when the round before began, and the walk ends with a
// round that finds nothing to read. New messages are not the walk's business: the log's position
// was taken before it began.
struct Walk {
  ConvoListKind list = ConvoListKind::kAccepted;
  std::string page;      // the list's cursor of the page in work; empty is the first
  std::string after;     // the last conversation of that page that is done
  std::string convo;     // the conversation in work, if any
  std::string messages;  // its message cursor; empty is the newest page
  int round = 1;
  std::string since;    // only conversations with a higher revision
  std::string top;      // the highest revision when this round began
  bool worked = false;  // this round read a conversation
};

struct Position {
  std::string log;  // the log's cursor; empty means that nothing was asked yet
  std::optional<Walk> walk;
};

Result<std::string> Encode(const Position& position) {
  std::string text;
  json::Writer writer(&text);
  writer.StartObject().IntField("v", 1).Field("log", position.log);
  if (position.walk) {
    const Walk& walk = *position.walk;
    writer.Key("walk").StartObject();
    writer.Field("list", walk.list == ConvoListKind::kAccepted ? "accepted" : "requests");
    writer.Field("page", walk.page).Field("after", walk.after);
    writer.Field("convo", walk.convo).Field("messages", walk.messages);
    writer.IntField("round", walk.round).Field("since", walk.since).Field("top", walk.top);
    writer.Field("worked", walk.worked).EndObject();
  }
  writer.EndObject();
  if (text.size() > kCursorMax) {
    return Fail(ErrorCode::kProtocol, "The platform's cursors are too long to keep.");
  }
  return text;
}

std::optional<Position> Decode(const std::string& text) {
  const auto value = json::Parse(text, {.bytes_max = kCursorMax, .items_max = 64});
  if (!value) return std::nullopt;
  const auto version = value->Int("v");
  auto log = value->String("log");
  if (!version || *version != 1 || !log || log->empty()) return std::nullopt;
  Position position{.log = *std::move(log), .walk = std::nullopt};
  const json::Value* walk = value->Find("walk");
  if (walk == nullptr) return position;
  const auto list = walk->String("list");
  const auto page = walk->String("page");
  const auto after = walk->String("after");
  const auto convo = walk->String("convo");
  const auto messages = walk->String("messages");
  const auto round = walk->Int("round");
  const auto since = walk->String("since");
  const auto top = walk->String("top");
  const auto worked = walk->Bool("worked");
  if (!list || !page || !after || !convo || !messages || !round || !since || !top || !worked ||
      *round < 1 || *round > kRoundsMax) {
    return std::nullopt;
  }
  position.walk =
      Walk{.list = *list == "requests" ? ConvoListKind::kRequests : ConvoListKind::kAccepted,
           .page = *page,
           .after = *after,
           .convo = *convo,
           .messages = *messages,
           .round = static_cast<int>(*round),
           .since = *since,
           .top = *top,
           .worked = *worked};
  return position;
}

// Whether nothing wanted can come after this page of a conversation, which is newest first. A page
// in another order ends the reading only when it holds nothing wanted at all.
bool ReachesBefore(const MessagePage& page, TimePoint horizon) {
  bool all_older = true;
  bool any = false;
  bool falling = true;
  std::optional<TimePoint> last;
  for (const MessageItem& item : page.messages) {
    if (!item.sent_at) continue;
    any = true;
    if (*item.sent_at >= horizon) all_older = false;
    if (last && *item.sent_at > *last) falling = false;
    last = item.sent_at;
  }
  return any && (all_older || (falling && *last < horizon));
}

// Empty pages that lead on and on are not the end of a list: what stands behind them is not known,
// and must not count as read.
Status GuardEmptyPages(int in_a_row) {
  if (in_a_row <= kEmptyPagesMax) return {};
  return Fail(ErrorCode::kProtocol, "The platform's list goes on without anything in it.");
}

class BlueskyConnector final : public Connector {
 public:
  explicit BlueskyConnector(std::unique_ptr<Client> client) : client_(std::move(client)) {}

  Result<Page> Fetch(const FetchRequest& request, std::stop_token stop) override;
  Result<SentReply> Send(const OutgoingReply& reply, std::stop_token stop) override;
  Result<std::vector<SentReply>> FindSent(const FindSentRequest& request,
                                          std::stop_token stop) override;
  Result<CheckReport> Check(std::stop_token stop) override;
  std::optional<PlatformBudget> budget() const override { return client_->budget(); }

 private:
  // Each step makes few calls, and moves `position` and adds to `page` only what it has finished.
  Status Start(Position& position, Page& page, std::stop_token stop);
  Status WalkStep(Position& position, const FetchRequest& request, Page& page,
                  std::stop_token stop);
  Status ReadConvo(Walk& walk, const FetchRequest& request, Page& page, std::stop_token stop);
  Status LogStep(Position& position, const FetchRequest& request, Page& page, std::stop_token stop);
  // Chooses the next conversation of the listed page. False: the page holds none.
  bool PickConvo(Walk& walk, TimePoint horizon) const;
  // Goes on to the next list, round or, at the end, out of the walk.
  void NextList(Position& position);

  PlatformConversation ToConversation(const ConvoView& view) const;
  void Remember(const PlatformConversation& conversation);
  // Descriptions of these conversations; of one that is gone, what its messages tell.
  Result<std::vector<PlatformConversation>> Describe(const std::set<std::string>& ids,
                                                     const Page& messages, std::stop_token stop);
  void AddMessage(const std::string& convo_id, MessageItem item, TimePoint horizon, Page& page);
  void ForgetWalk();
  Status Guard(std::set<std::string>& seen, const std::string& asked, const std::string& given);

  std::unique_ptr<Client> client_;

  // Only to save calls. Belongs to the cursor that was returned last: when the core comes with
  // another one, what it had not stored must be read again.
  std::string returned_;
  struct ListedPage {
    ConvoListKind list;
    std::string cursor;
    ConvoPage page;
  };
  std::optional<ListedPage> listed_;
  std::set<std::string> walked_;
  // Against a platform that leads in a circle.
  std::set<std::string> seen_lists_;
  std::set<std::string> seen_messages_;
  std::set<std::string> seen_logs_;
  int empty_pages_ = 0;
  int restarts_ = 0;
  bool lost_unproven_ = false;  // a position was lost, and none has been accepted since
  // Descriptions; never wrong for long, because the log reports changes.
  std::map<std::string, PlatformConversation> convos_;
};

void BlueskyConnector::ForgetWalk() {
  listed_.reset();
  walked_.clear();
  seen_lists_.clear();
  seen_messages_.clear();
  empty_pages_ = 0;
  restarts_ = 0;
}

// A cursor that was given before leads in a circle; a page that ends nothing must lead somewhere
// new.
Status BlueskyConnector::Guard(std::set<std::string>& seen, const std::string& asked,
                               const std::string& given) {
  if (given == asked || seen.contains(given)) {
    return Fail(ErrorCode::kProtocol, "The platform's cursor leads in a circle.");
  }
  if (seen.size() < kSeenCursorsMax) seen.insert(given);
  return {};
}

PlatformConversation BlueskyConnector::ToConversation(const ConvoView& view) const {
  PlatformConversation conversation{.id = PlatformId(view.id),
                                    .participants = {},
                                    .group = view.group,
                                    .standing = PlatformStanding::kAccepted};
  for (const Contact& member : view.members) {
    if (conversation.participants.size() == kParticipantsMax) break;
    if (member.platform_id.Reveal() != client_->did()) conversation.participants.push_back(member);
  }
  if (view.locked) {
    conversation.standing = PlatformStanding::kLocked;
  } else if (view.request) {
    conversation.standing = PlatformStanding::kRequest;
  }
  return conversation;
}

void BlueskyConnector::Remember(const PlatformConversation& conversation) {
  if (convos_.size() >= kCachedConvosMax) convos_.clear();
  convos_[conversation.id.Reveal()] = conversation;
}

Result<std::vector<PlatformConversation>> BlueskyConnector::Describe(
    const std::set<std::string>& ids, const Page& messages, std::stop_token stop) {
  std::vector<PlatformConversation> described;
  std::set<std::string> unknown;
  const auto take = [&](const PlatformConversation& conversation) {
    if (unknown.erase(conversation.id.Reveal()) > 0) described.push_back(conversation);
    Remember(conversation);
  };
  for (const std::string& id : ids) {
    const auto it = convos_.find(id);
    if (it != convos_.end()) {
      described.push_back(it->second);
    } else {
      unknown.insert(id);
    }
  }
  if (unknown.size() > kUnknownBeforeListing) {
    // A burst of strangers: what was just written in stands in front of the lists.
    for (const ConvoListKind kind : {ConvoListKind::kAccepted, ConvoListKind::kRequests}) {
      MAYFLY_ASSIGN_OR_RETURN(const ConvoPage page,
                              client_->ListConvos(kind, "", kPageItemsMax, stop));
      for (const ConvoView& view : page.convos) take(ToConversation(view));
    }
  }
  const std::set<std::string> rest = unknown;
  for (const std::string& id : rest) {
    auto view = client_->GetConvo(id, stop);
    if (view && view->id == id) {
      take(ToConversation(*view));
      continue;
    }
    if (!view && view.error().code != ErrorCode::kPlatformRejected) {
      return Fail(std::move(view).error());
    }
    // It was left or removed since. Its messages are ours all the same.
    PlatformConversation gone{.id = PlatformId(id), .participants = {}};
    std::set<std::string> senders;
    for (const PlatformMessage& message : messages.messages) {
      if (message.conversation.Reveal() != id || message.direction == Direction::kOutgoing ||
          !senders.insert(message.sender.Reveal()).second ||
          gone.participants.size() == kParticipantsMax) {
        continue;
      }
      gone.participants.push_back(Contact{.platform_id = message.sender});
    }
    described.push_back(std::move(gone));
  }
  return described;
}

void BlueskyConnector::AddMessage(const std::string& convo_id, MessageItem item, TimePoint horizon,
                                  Page& page) {
  if (item.kind != ItemKind::kMessage && item.kind != ItemKind::kDeleted) return;
  if (item.sent_at && *item.sent_at < horizon) {
    if (item.kind == ItemKind::kMessage) ++page.skipped_past_horizon;
    return;
  }
  if (item.kind == ItemKind::kDeleted) {
    page.withdrawals.push_back(
        Withdrawal{.conversation = PlatformId(convo_id), .id = PlatformId(std::move(item.id))});
    return;
  }
  const bool ours = item.sender_did == client_->did();
  page.messages.push_back(PlatformMessage{
      .conversation = PlatformId(convo_id),
      .id = PlatformId(std::move(item.id)),
      .sender = PlatformId(std::move(item.sender_did)),
      .direction = ours ? Direction::kOutgoing : Direction::kIncoming,
      .sent_at = item.sent_at,
      .text = std::move(item.text),
      .unreadable = item.text_missing ? UnreadableReason::kNotAvailable : UnreadableReason::kNone,
      .has_unsupported_content = item.has_embed});
}

Status BlueskyConnector::Start(Position& position, Page& page, std::stop_token stop) {
  MAYFLY_ASSIGN_OR_RETURN(const LogPage log, client_->GetLog("", stop));
  if (log.cursor.empty()) {
    return Fail(ErrorCode::kProtocol, "The platform gave no position in its log.");
  }
  // Entries in this first answer lie before the position and so in the history that is read next.
  ForgetWalk();
  position.log = log.cursor;
  position.walk = Walk{};
  page.history_complete = false;
  return {};
}

bool BlueskyConnector::PickConvo(Walk& walk, TimePoint horizon) const {
  const std::vector<ConvoView>& convos = listed_->page.convos;
  auto next = convos.begin();
  if (!walk.after.empty()) {
    const auto done = std::find_if(convos.begin(), convos.end(),
                                   [&](const ConvoView& c) { return c.id == walk.after; });
    // When the place is gone (the list shifted while we were not running) the page is taken again.
    if (done != convos.end()) next = done + 1;
  }
  for (; next != convos.end(); ++next) {
    if (walk.round > 1 && next->rev <= walk.since) continue;
    if (walked_.contains(next->id)) continue;
    const bool asleep =
        next->last_message && next->last_message->sent_at && *next->last_message->sent_at < horizon;
    if (asleep) continue;
    walk.convo = next->id;
    walk.messages.clear();
    return true;
  }
  return false;
}

void BlueskyConnector::NextList(Position& position) {
  Walk& walk = *position.walk;
  listed_.reset();
  seen_lists_.clear();
  empty_pages_ = 0;
  restarts_ = 0;
  walk.page.clear();
  walk.after.clear();
  if (walk.list == ConvoListKind::kAccepted) {
    walk.list = ConvoListKind::kRequests;
    return;
  }
  if (walk.round >= kRoundsMax || (walk.round > 1 && !walk.worked)) {
    position.walk.reset();
    ForgetWalk();
    return;
  }
  walk.list = ConvoListKind::kAccepted;
  walk.since = walk.top;
  walk.top.clear();
  walk.worked = false;
  ++walk.round;
}

Status BlueskyConnector::WalkStep(Position& position, const FetchRequest& request, Page& page,
                                  std::stop_token stop) {
  Walk& walk = *position.walk;
  if (!walk.convo.empty()) return ReadConvo(walk, request, page, stop);

  const bool at_hand = listed_ && listed_->list == walk.list && listed_->cursor == walk.page;
  if (!at_hand) {
    auto listed = client_->ListConvos(walk.list, walk.page, kPageItemsMax, stop);
    if (!listed) {
      const bool stale = listed.error().code == ErrorCode::kPlatformRejected && !walk.page.empty();
      if (!stale || ++restarts_ > kRestartsMax) return Fail(std::move(listed).error());
      walk.page.clear();
      walk.after.clear();
      seen_lists_.clear();
      return {};
    }
    if (walk.list == ConvoListKind::kAccepted && walk.page.empty() && walk.top.empty()) {
      walk.top = walk.since;
      for (const ConvoView& convo : listed->convos) walk.top = std::max(walk.top, convo.rev);
      if (walk.top.size() > kIdBytesMax) {
        return Fail(ErrorCode::kProtocol, "The platform's revision is too long.");
      }
    }
    empty_pages_ = listed->convos.empty() ? empty_pages_ + 1 : 0;
    for (const ConvoView& convo : listed->convos) Remember(ToConversation(convo));
    listed_ = ListedPage{.list = walk.list, .cursor = walk.page, .page = *std::move(listed)};
  }
  if (PickConvo(walk, request.horizon)) return ReadConvo(walk, request, page, stop);

  const ConvoPage& listed = listed_->page;
  // In a later round, a page without anything that moved has only older ones behind it.
  const bool nothing_moved =
      walk.round > 1 && !listed.convos.empty() &&
      std::all_of(listed.convos.begin(), listed.convos.end(),
                  [&](const ConvoView& convo) { return convo.rev <= walk.since; });
  const bool ended = listed.cursor.empty() || nothing_moved ||
                     (listed.convos.empty() && listed.cursor == walk.page);
  if (ended) {
    NextList(position);
    return {};
  }
  MAYFLY_RETURN_IF_ERROR(GuardEmptyPages(empty_pages_));
  MAYFLY_RETURN_IF_ERROR(Guard(seen_lists_, walk.page, listed.cursor));
  walk.page = listed.cursor;
  walk.after.clear();
  return {};
}

Status BlueskyConnector::ReadConvo(Walk& walk, const FetchRequest& request, Page& page,
                                   std::stop_token stop) {
  const auto finish = [&] {
    walked_.insert(walk.convo);
    walk.after = walk.convo;
    walk.convo.clear();
    walk.messages.clear();
    seen_messages_.clear();
    empty_pages_ = 0;
    restarts_ = 0;
  };
  auto messages = client_->GetMessages(walk.convo, walk.messages, stop);
  if (!messages) {
    if (messages.error().code != ErrorCode::kPlatformRejected) {
      return Fail(std::move(messages).error());
    }
    if (messages.error().platform_code == "InvalidConvo") {
      finish();  // left or removed since it was listed
      return {};
    }
    if (walk.messages.empty() || ++restarts_ > kRestartsMax) {
      return Fail(std::move(messages).error());
    }
    walk.messages.clear();
    seen_messages_.clear();
    return {};
  }
  Page part;
  for (MessageItem& item : messages->messages) {
    AddMessage(walk.convo, std::move(item), request.horizon, part);
  }
  if (!part.messages.empty()) {
    MAYFLY_ASSIGN_OR_RETURN(part.conversations, Describe({walk.convo}, part, stop));
  }
  empty_pages_ = messages->messages.empty() ? empty_pages_ + 1 : 0;
  const bool ended = messages->cursor.empty() ||
                     (messages->messages.empty() && messages->cursor == walk.messages) ||
                     ReachesBefore(*messages, request.horizon);
  if (!ended) {
    MAYFLY_RETURN_IF_ERROR(GuardEmptyPages(empty_pages_));
    MAYFLY_RETURN_IF_ERROR(Guard(seen_messages_, walk.messages, messages->cursor));
  }

  walk.worked = true;
  if (ended) {
    finish();
  } else {
    walk.messages = messages->cursor;
  }
  for (PlatformConversation& conversation : part.conversations) {
    const bool there =
        std::any_of(page.conversations.begin(), page.conversations.end(),
                    [&](const PlatformConversation& c) { return c.id == conversation.id; });
    if (!there) page.conversations.push_back(std::move(conversation));
  }
  std::move(part.messages.begin(), part.messages.end(), std::back_inserter(page.messages));
  std::move(part.withdrawals.begin(), part.withdrawals.end(), std::back_inserter(page.withdrawals));
  page.skipped_past_horizon += part.skipped_past_horizon;
  return {};
}

Status BlueskyConnector::LogStep(Position& position, const FetchRequest& request, Page& page,
                                 std::stop_token stop) {
  auto log = client_->GetLog(position.log, stop);
  if (!log) {
    if (log.error().code != ErrorCode::kPlatformRejected) return Fail(std::move(log).error());
    // Its only argument is the cursor, so that is what was refused; a call without one decides. One
    // that loses every position at once is broken, and is met with a growing pause instead.
    if (lost_unproven_) return Fail(std::move(log).error());
    MAYFLY_RETURN_IF_ERROR(Start(position, page, stop));
    lost_unproven_ = true;
    page.position_lost = true;
    return {};
  }
  lost_unproven_ = false;
  Page part;
  std::set<std::string> touched;
  for (LogEntry& entry : log->entries) {
    switch (entry.kind) {
      case LogKind::kCreateMessage: {
        const std::size_t before = part.messages.size();
        AddMessage(entry.convo_id, *std::move(entry.message), request.horizon, part);
        if (part.messages.size() > before) touched.insert(entry.convo_id);
        if (const auto known = convos_.find(entry.convo_id); known != convos_.end()) {
          for (Contact& contact : known->second.participants) {
            for (const Contact& profile : entry.profiles) {
              if (contact.platform_id == profile.platform_id) contact = profile;
            }
          }
        }
        break;
      }
      case LogKind::kDeleteMessage: {
        if (entry.message->id.empty()) break;  // of a kind that is never kept
        part.withdrawals.push_back(Withdrawal{.conversation = PlatformId(entry.convo_id),
                                              .id = PlatformId(std::move(entry.message->id))});
        break;
      }
      case LogKind::kBeginConvo:
      case LogKind::kAcceptConvo:
      case LogKind::kLockConvo:
      case LogKind::kUnlockConvo:
      case LogKind::kMembersChanged:
        convos_.erase(entry.convo_id);  // asked afresh below
        touched.insert(entry.convo_id);
        break;
      case LogKind::kOther:
        break;
    }
  }
  MAYFLY_ASSIGN_OR_RETURN(part.conversations, Describe(touched, part, stop));

  // A later step knows better than an earlier one of the same page.
  for (PlatformConversation& conversation : part.conversations) {
    std::erase_if(page.conversations,
                  [&](const PlatformConversation& c) { return c.id == conversation.id; });
    page.conversations.push_back(std::move(conversation));
  }
  std::move(part.messages.begin(), part.messages.end(), std::back_inserter(page.messages));
  std::move(part.withdrawals.begin(), part.withdrawals.end(), std::back_inserter(page.withdrawals));
  page.skipped_past_horizon += part.skipped_past_horizon;

  const bool leads_on = !log->cursor.empty() && log->cursor != position.log;
  if (!log->entries.empty() && leads_on && !seen_logs_.contains(log->cursor)) {
    if (seen_logs_.size() >= kSeenCursorsMax) seen_logs_.clear();
    seen_logs_.insert(log->cursor);
  } else {
    // Nothing new, or a cursor that stands still or leads in a circle: what it repeats is known
    // already, and the poller's interval keeps it from turning for ever.
    page.caught_up = true;
    seen_logs_.clear();
  }
  if (leads_on) position.log = log->cursor;
  return {};
}

Result<Page> BlueskyConnector::Fetch(const FetchRequest& request, std::stop_token stop) {
  if (request.after.value.empty() || request.after.value != returned_) {
    ForgetWalk();
    seen_logs_.clear();
  }
  returned_.clear();
  MAYFLY_RETURN_IF_ERROR(client_->EnsureSession(stop));

  Page page;
  Position position;
  if (!request.after.value.empty()) {
    if (std::optional<Position> decoded = Decode(request.after.value)) {
      position = *std::move(decoded);
    } else {
      page.position_lost = true;  // not one of ours, or of a version that is gone
    }
  }
  for (int steps = 0; steps < kStepsPerFetch; ++steps) {
    Status step;
    if (position.log.empty()) {
      step = Start(position, page, stop);
    } else if (position.walk) {
      step = WalkStep(position, request, page, stop);
    } else {
      step = LogStep(position, request, page, stop);
    }
    if (!step) {
      // What earlier steps brought is worth keeping; the next call will meet the trouble itself.
      if (steps > 0 && step.error().code != ErrorCode::kCancelled) break;
      ForgetWalk();
      lost_unproven_ = false;  // the pause is on its way
      return Fail(std::move(step).error());
    }
    if (page.caught_up || page.position_lost) break;
    if (!page.messages.empty() && page.messages.size() + kPageItemsMax > request.messages_max) {
      break;
    }
  }
  page.history_complete = !position.walk.has_value();
  MAYFLY_ASSIGN_OR_RETURN(page.next.value, Encode(position));
  returned_ = page.next.value;
  return page;
}

Result<SentReply> BlueskyConnector::Send(const OutgoingReply& reply, std::stop_token stop) {
  const std::string& text = reply.text.Reveal();
  if (text.empty()) return Fail(ErrorCode::kInvalidArgument, "A reply needs text.", "/text");
  if (text.size() > kInfo.capabilities.text_bytes_max) {
    return Fail(ErrorCode::kInvalidArgument, "Bluesky takes at most 10,000 bytes.", "/text");
  }
  if (!json::IsValidUtf8(text)) {
    return Fail(ErrorCode::kInvalidArgument, "The text is not valid UTF-8.", "/text");
  }
  if (CountGraphemes(text) > kInfo.capabilities.text_graphemes_max) {
    return Fail(ErrorCode::kInvalidArgument, "Bluesky takes at most 1,000 characters.", "/text");
  }
  MAYFLY_ASSIGN_OR_RETURN(const MessageItem sent,
                          client_->SendMessage(reply.conversation.Reveal(), reply.text, stop));
  return SentReply{.id = PlatformId(sent.id), .sent_at = sent.sent_at};
}

Result<std::vector<SentReply>> BlueskyConnector::FindSent(const FindSentRequest& request,
                                                          std::stop_token stop) {
  MAYFLY_RETURN_IF_ERROR(client_->EnsureSession(stop));
  std::vector<SentReply> found;
  std::set<std::string> seen;
  std::set<std::string> ids;  // a platform may show a message twice
  std::string cursor;
  int empty_pages = 0;
  for (int pages = 0; pages < kFindPagesMax; ++pages) {
    MAYFLY_ASSIGN_OR_RETURN(const MessagePage page,
                            client_->GetMessages(request.conversation.Reveal(), cursor, stop));
    for (const MessageItem& item : page.messages) {
      if (item.kind != ItemKind::kMessage || item.sender_did != client_->did()) continue;
      if (item.text_missing || item.text != request.text) continue;
      if (item.sent_at && *item.sent_at < request.not_before) continue;
      if (!ids.insert(item.id).second) continue;
      found.push_back(SentReply{.id = PlatformId(item.id), .sent_at = item.sent_at});
    }
    const bool ended = page.cursor.empty() || (page.messages.empty() && page.cursor == cursor) ||
                       ReachesBefore(page, request.not_before);
    if (ended) {
      std::reverse(found.begin(), found.end());
      std::stable_sort(found.begin(), found.end(), [](const SentReply& a, const SentReply& b) {
        return a.sent_at && b.sent_at && *a.sent_at < *b.sent_at;
      });
      return found;
    }
    empty_pages = page.messages.empty() ? empty_pages + 1 : 0;
    MAYFLY_RETURN_IF_ERROR(GuardEmptyPages(empty_pages));
    MAYFLY_RETURN_IF_ERROR(Guard(seen, cursor, page.cursor));
    cursor = page.cursor;
  }
  return Fail(ErrorCode::kProtocol, "The conversation is too long to look through.");
}

Result<CheckReport> BlueskyConnector::Check(std::stop_token stop) {
  MAYFLY_ASSIGN_OR_RETURN(const Session session, client_->GetSession(stop));
  if (!session.active) {
    return Fail(ErrorCode::kCredentialDead,
                "The platform has suspended, taken down or deactivated the account.");
  }
  CheckReport report{.own_platform_id = session.did, .own_handle = session.handle};
  const auto convos = client_->ListConvos(ConvoListKind::kAccepted, "", 1, stop);
  if (convos) {
    report.permissions_held.push_back("direct-messages");
  } else if (convos.error().code == ErrorCode::kMissingPrivilege) {
    report.permissions_missing.push_back("direct-messages");
  } else {
    return Fail(convos.error());
  }
  return report;
}

}  // namespace

Result<std::unique_ptr<Connector>> Make(const ConnectorContext& context) {
  MAYFLY_ASSIGN_OR_RETURN(std::unique_ptr<Client> client, Client::Create(context));
  return std::unique_ptr<Connector>(new BlueskyConnector(std::move(client)));
}

}  // namespace mayfly::connectors::bluesky
