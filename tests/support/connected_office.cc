#include "tests/support/connected_office.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <gtest/gtest.h>

#include "connectors/factory.h"
#include "connectors/registry.h"
#include "service/ingest/coverage.h"
#include "service/ingest/ingestor.h"
#include "service/worker/worker.h"
#include "tests/support/processes.h"

namespace mayfly::testing {

using connectors::Page;
using connectors::PlatformSimulator;

namespace {

constexpr std::size_t kCursorMax = 16 * 1024;
constexpr std::uint64_t kEpoch = 7;

// What Fetch may answer; see connector.h.
bool IsErrorOfFetch(ErrorCode code) {
  switch (code) {
    case ErrorCode::kCredentialDead:
    case ErrorCode::kMissingPrivilege:
    case ErrorCode::kRateLimited:
    case ErrorCode::kPlatformUnavailable:
    case ErrorCode::kPlatformRejected:
    case ErrorCode::kProtocol:
    case ErrorCode::kCancelled:
      return true;
    default:
      return false;
  }
}

// Lends the office's connector to a worker loop.
class Borrowed final : public connectors::Connector {
 public:
  explicit Borrowed(connectors::Connector& real) : real_(real) {}
  Result<Page> Fetch(const connectors::FetchRequest& request, std::stop_token stop) override {
    return real_.Fetch(request, stop);
  }
  Result<connectors::SentReply> Send(const connectors::OutgoingReply& reply,
                                     std::stop_token stop) override {
    return real_.Send(reply, stop);
  }
  Result<std::vector<connectors::SentReply>> FindSent(const connectors::FindSentRequest& request,
                                                      std::stop_token stop) override {
    return real_.FindSent(request, stop);
  }
  Result<connectors::CheckReport> Check(std::stop_token stop) override { return real_.Check(stop); }

 private:
  connectors::Connector& real_;
};

// The link to a worker loop on a thread of its own, as between core and worker.
class Linked {
 public:
  Linked(const std::string& platform, connectors::Connector& connector) {
    Pipe to;
    Pipe from;
    link_ = std::make_unique<service::WorkerLink>(
        service::WorkerPipes{to.write.Release(), from.read.Release(), kEpoch},
        [](const Credential&) -> Status { return {}; });  // the connector has its own sink
    thread_ = std::jthread([in = std::move(to.read), out = std::move(from.write),
                            &connector]() mutable {
      service::RunWorker(in.get(), out.get(), kEpoch,
                         [&connector](std::string_view, const connectors::ConnectorContext&)
                             -> Result<std::unique_ptr<connectors::Connector>> {
                           return std::unique_ptr<connectors::Connector>(new Borrowed(connector));
                         });
      in.Reset();
      out.Reset();
    });
    Must(link_->Hello(platform, {}));
  }
  service::WorkerLink& link() { return *link_; }

 private:
  std::jthread thread_;  // joined last, when the link is closed
  std::unique_ptr<service::WorkerLink> link_;
};

const connectors::ConnectorInfo& InfoOf(const std::string& platform) {
  const connectors::ConnectorInfo* info = connectors::FindConnector(platform);
  if (info == nullptr) throw std::runtime_error("no connector: " + platform);
  return *info;
}

}  // namespace

std::string WithoutMentions(std::string text) {
  while (text.starts_with('@')) {
    const std::size_t space = text.find_first_of(" \n");
    if (space == std::string::npos) break;
    text.erase(0, space + 1);
  }
  return text;
}

ConnectedOffice::ConnectedOffice(const std::string& platform, const OfficeOptions& options)
    : clock_(At("2026-05-04T09:00:00Z")),
      platform_clock_(clock_, options.platform_ahead),
      info_(InfoOf(platform)),
      platform_(Must(connectors::StartPlatformSimulator(platform, platform_clock_))),
      store_(std::make_unique<TempStore>(EngineKind::kMemory)),
      pacer_({.interval = info_.capabilities.poll_interval_default}) {
  const PlatformSimulator::Office office = platform_->office();
  store::Accounts::NewAccount account;
  account.platform = platform;
  account.label = "Office";
  account.options = office.options;
  account.retention = Must(RetentionPeriod::Parse(options.period));
  account.credential = office.credential;
  account_ = Must((*store_)->accounts().Create(account, Officer("cli:0"), clock_.Now())).id;
  RestartConnector();
  const connectors::CheckReport report = Must(connector_->Check({}));
  own_platform_id_ = report.own_platform_id;
  Must((*store_)->accounts().SetState(account_,
                                      {.state = AccountState::kOk,
                                       .own_platform_id = report.own_platform_id,
                                       .own_handle = report.own_handle},
                                      clock_.Now()));
}

ConnectedOffice::~ConnectedOffice() = default;

std::unique_ptr<connectors::Connector> ConnectedOffice::MakeConnector() {
  connectors::ConnectorContext context;
  context.options = platform_->office().options;
  context.credential = Must((*store_)->accounts().RevealCredential(account_));
  context.renew = [this](const Credential& renewed) {
    return (*store_)->accounts().ReplaceCredential(account_, renewed, clock_.Now());
  };
  context.egress.insecure_loopback = true;
  return Must(connectors::MakeConnector(info_.name, context));
}

void ConnectedOffice::RestartConnector() {
  connector_.reset();
  connector_ = MakeConnector();
}

void ConnectedOffice::RestartAll() {
  connector_.reset();
  store_->Reopen();
  connector_ = MakeConnector();
}

// ---- on the platform

Said& ConnectedOffice::Write(int person, const std::string& text,
                             std::optional<TimePoint> sent_at) {
  clock_.Advance(std::chrono::seconds(1));
  Said said{.person = person, .text = text, .sent_at = sent_at.value_or(platform_clock_.Now())};
  said.written = Must(platform_->Write(person, text, sent_at));
  return ledger_.emplace_back(std::move(said));
}

Said& ConnectedOffice::WriteAsOffice(int person, const std::string& text) {
  clock_.Advance(std::chrono::seconds(1));
  Said said{.person = person,
            .text = text,
            .direction = Direction::kOutgoing,
            .sent_at = platform_clock_.Now()};
  said.written = Must(platform_->WriteAsOffice(person, text));
  return ledger_.emplace_back(std::move(said));
}

void ConnectedOffice::WriteElsewhere(int person, const std::string& text) {
  clock_.Advance(std::chrono::seconds(1));
  Must(platform_->WriteElsewhere(person, text));
  elsewhere_.push_back(text);
}

void ConnectedOffice::Delete(Said& said) {
  clock_.Advance(std::chrono::seconds(1));
  Must(platform_->Delete(said.written));
  said.expected = false;
}

void ConnectedOffice::Edit(Said& said, const std::string& text) {
  clock_.Advance(std::chrono::seconds(1));
  Must(platform_->Edit(said.written, text));
  said.text = text;
}

Said& ConnectedOffice::Expect(int person, const std::string& text, Direction direction) {
  return ledger_.emplace_back(Said{
      .person = person, .text = text, .direction = direction, .sent_at = platform_clock_.Now()});
}

// ---- collecting

std::string ConnectedOffice::cursor() { return Must((*store_)->collection().Cursor(account_)); }

TimePoint ConnectedOffice::horizon() {
  return Must((*store_)->collection().Horizon(account_, clock_.Now()));
}

Result<Page> ConnectedOffice::FetchAfter(const std::string& cursor,
                                         connectors::Connector& connector) {
  auto page = connector.Fetch({.after = {cursor}, .horizon = horizon()}, {});
  if (page) {
    CheckPage(*page);
  } else {
    EXPECT_TRUE(IsErrorOfFetch(page.error().code))
        << "Fetch may not answer " << ToString(page.error().code) << ": " << page.error().message;
  }
  return page;
}

Result<Page> ConnectedOffice::Fetch() { return FetchAfter(cursor(), *connector_); }

void ConnectedOffice::CheckPage(const Page& page) {
  EXPECT_LE(page.next.value.size(), kCursorMax);
  EXPECT_FALSE(page.next.value.empty()) << "an empty cursor means that nothing was asked yet";
  std::set<std::string> described;
  for (const auto& conversation : page.conversations) {
    EXPECT_TRUE(described.insert(conversation.id.Reveal()).second)
        << "a conversation is described twice";
    EXPECT_FALSE(conversation.id.empty());
    EXPECT_LE(conversation.participants.size(), 50u);
    for (const Contact& contact : conversation.participants) {
      EXPECT_NE(contact.platform_id.Reveal(), own_platform_id_) << "we are no participant";
    }
  }
  for (const auto& message : page.messages) {
    EXPECT_FALSE(message.id.empty());
    EXPECT_FALSE(message.sender.empty());
    EXPECT_TRUE(described.contains(message.conversation.Reveal()))
        << "a message of a conversation that the page does not describe";
    EXPECT_EQ(message.direction == Direction::kOutgoing,
              message.sender.Reveal() == own_platform_id_);
  }
}

Result<Polled> ConnectedOffice::Ingest(Page page, TimePoint asked_at) {
  Polled polled{.caught_up = page.caught_up,
                .history_complete = page.history_complete,
                .position_lost = page.position_lost,
                .messages = page.messages.size(),
                .past_horizon = page.skipped_past_horizon};
  MAYFLY_ASSIGN_OR_RETURN(const store::CollectOutcome outcome,
                          service::Ingest((*store_)->collection(), account_, std::move(page),
                                          asked_at, horizon(), clock_.Now()));
  polled.stored = outcome.stored;
  polled.withdrawn = outcome.withdrawn;
  polled.past_horizon += outcome.past_horizon;
  return polled;
}

Result<Polled> ConnectedOffice::Poll() {
  const std::string before = cursor();
  const TimePoint asked_at = clock_.Now();
  auto page = Fetch();
  if (!page) {
    EXPECT_EQ(cursor(), before);
    const Coverage coverage = Must((*store_)->collection().Coverage(account_));
    Must((*store_)->collection().SetCoverage(
        account_, service::AfterFailure(coverage, ToString(page.error().code), clock_.Now(),
                                        info_.capabilities.poll_interval_default)));
    return tl::unexpected(page.error());
  }
  return Ingest(*std::move(page), asked_at);
}

Polls ConnectedOffice::PollUntilQuiet(int polls_max) {
  Polls polls;
  int quiet = 0;
  for (int i = 0; i < polls_max && quiet < 2; ++i) {
    const auto polled = Poll();
    if (!polled) {
      quiet = 0;
      polls.errors.push_back(polled.error());
      clock_.Set(std::max(clock_.Now(), pacer_.AfterError(clock_.Now(), polled.error())));
      continue;
    }
    ++polls.pages;
    polls.messages += polled->messages;
    polls.positions_lost += polled->position_lost ? 1 : 0;
    const bool nothing = polled->caught_up && polled->history_complete && polled->stored == 0;
    quiet = nothing ? quiet + 1 : 0;
    clock_.Set(std::max(clock_.Now(), pacer_.AfterSuccess(clock_.Now(), polled->caught_up)));
  }
  polls.quiet = quiet == 2;
  return polls;
}

// ---- replying

std::optional<Conversation> ConnectedOffice::ConversationWith(int person) {
  const std::string handle = platform_->HandleOf(person);
  for (Conversation& conversation : Inbox(**store_, clock_.Now())) {
    for (const Contact& contact : conversation.participants) {
      if (contact.handle.Reveal() == handle) return std::move(conversation);
    }
  }
  return std::nullopt;
}

ReplyId ConnectedOffice::Enqueue(int person, const std::string& text) {
  const auto conversation = ConversationWith(person);
  if (!conversation || !conversation->last_message) throw std::runtime_error("nobody to answer");
  return Must((*store_)->outbox().Enqueue({.conversation = conversation->id,
                                           .after_message = *conversation->last_message,
                                           .text = MessageBody(text),
                                           .idempotency_key = "key of " + text},
                                          Officer(), clock_.Now()))
      .reply.id;
}

void ConnectedOffice::RunSender(int runs_max) {
  Linked worker(info_.name, *connector_);
  service::Sender sender(**store_, clock_, account_);
  for (int run = 0; run < runs_max; ++run) {
    const auto next = sender.RunOnce(&worker.link());
    if (!next) return;
    clock_.Set(std::max(clock_.Now(), *next));
  }
}

Reply ConnectedOffice::ReplyOf(const ReplyId& id) {
  const TimePoint now = clock_.Now();
  const ConversationId conversation = Must((*store_)->outbox().ConversationOf(id, now));
  return Must((*store_)->outbox().Get(LookAt(**store_, conversation, now), id, now));
}

connectors::OutgoingReply ConnectedOffice::Outgoing(int person, const std::string& text) {
  const auto conversation = ConversationWith(person);
  if (!conversation) throw std::runtime_error("nobody to answer");
  PlatformId newest;
  for (const Message& message : Thread(**store_, conversation->id, clock_.Now(), 50)) {
    if (conversation->last_message && message.id == *conversation->last_message) {
      newest = message.platform_id;
    }
  }
  return {.conversation = conversation->platform_id,
          .idempotency_key = "key of " + text,
          .text = MessageBody(text),
          .in_reply_to = newest,
          .recipients = conversation->participants};
}

// ---- judging

std::vector<Message> ConnectedOffice::Stored() {
  std::vector<Message> all;
  for (const Conversation& conversation : Inbox(**store_, clock_.Now())) {
    for (Message& message : Thread(**store_, conversation.id, clock_.Now(), 50)) {
      all.push_back(std::move(message));
    }
  }
  return all;
}

std::vector<Message> ConnectedOffice::StoredWithText(const std::string& text) {
  std::vector<Message> found = Stored();
  std::erase_if(found, [&](const Message& message) {
    return WithoutMentions(message.text.Reveal()) != text;
  });
  return found;
}

std::string ConnectedOffice::WrongIn(const Said& said, const Message& message,
                                     const std::string& conversation) {
  const auto wrong = [&](const std::string& what) { return "'" + said.text + "' has " + what; };
  if (message.direction != said.direction) return wrong("the wrong direction");
  const bool incoming = said.direction == Direction::kIncoming;
  if (incoming && message.sender_handle.Reveal() != platform_->HandleOf(said.person)) {
    return wrong("another sender");
  }
  if (!incoming && message.sender_platform_id.Reveal() != own_platform_id_) {
    return wrong("another sender than us");
  }
  if (!said.written.message.empty()) {
    if (message.platform_id.Reveal() != said.written.message) return wrong("another id");
    if (message.sent_at != said.sent_at) return wrong("another time of sending");
  }
  if (!said.written.conversation.empty() && conversation != said.written.conversation) {
    return wrong("another conversation: " + conversation + ", not " + said.written.conversation);
  }
  return "";
}

std::vector<std::string> ConnectedOffice::Wrongs() {
  std::vector<std::string> wrongs;
  std::multimap<std::string, std::pair<Message, std::string>> stored;
  for (const Conversation& conversation : Inbox(**store_, clock_.Now())) {
    for (Message& message : Thread(**store_, conversation.id, clock_.Now(), 50)) {
      std::string text = WithoutMentions(message.text.Reveal());
      stored.emplace(std::move(text),
                     std::pair(std::move(message), conversation.platform_id.Reveal()));
    }
  }
  for (const std::string& text : elsewhere_) {
    if (stored.contains(text)) wrongs.push_back("'" + text + "' was not for us");
  }
  std::set<std::string> known(elsewhere_.begin(), elsewhere_.end());
  for (const Said& said : ledger_) {
    known.insert(said.text);
    const auto [first, last] = stored.equal_range(said.text);
    const auto count = std::distance(first, last);
    if (!said.expected && count != 0) wrongs.push_back("'" + said.text + "' should not be there");
    if (!said.expected || count == 1) continue;
    wrongs.push_back("'" + said.text + "' is there " + std::to_string(count) + " times");
  }
  for (const Said& said : ledger_) {
    const auto found = stored.find(said.text);
    if (!said.expected || found == stored.end()) continue;
    const std::string wrong = WrongIn(said, found->second.first, found->second.second);
    if (!wrong.empty()) wrongs.push_back(wrong);
  }
  for (const auto& [text, message] : stored) {
    if (!known.contains(text)) wrongs.push_back("nobody said '" + text + "'");
  }
  if ((*store_)->damaged_records() != 0) wrongs.push_back("records are damaged");
  return wrongs;
}

}  // namespace mayfly::testing
