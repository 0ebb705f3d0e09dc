// An office whose account is connected to a simulated platform: a real store and the real ingestor
// and sender on one side, the platform's people on the other, one movable clock for both. It keeps
// a ledger of everything that was said there, and judges the store by it.
#ifndef MAYFLY_TESTS_SUPPORT_CONNECTED_OFFICE_H_
#define MAYFLY_TESTS_SUPPORT_CONNECTED_OFFICE_H_

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "connectors/connector.h"
#include "connectors/pacer.h"
#include "connectors/platform_simulator.h"
#include "service/link/worker_link.h"
#include "service/outbox/sender.h"
#include "tests/support/simulated_clock.h"
#include "tests/support/temp_store.h"

namespace mayfly::testing {

// The platform's clock, which may go wrong.
class OffsetClock final : public Clock {
 public:
  OffsetClock(SimulatedClock& base, std::chrono::milliseconds ahead) : base_(base), ahead_(ahead) {}
  TimePoint Now() const override { return base_.Now() + ahead_; }
  bool SleepUntil(TimePoint until, std::stop_token stop) override {
    return base_.SleepUntil(until - ahead_, stop);
  }

 private:
  SimulatedClock& base_;
  const std::chrono::milliseconds ahead_;
};

struct OfficeOptions {
  std::string period = "P3M";
  std::chrono::milliseconds platform_ahead{0};
};

// What was said on the platform.
struct Said {
  int person = 0;
  std::string text;
  Direction direction = Direction::kIncoming;
  TimePoint sent_at;  // by the platform's clock
  connectors::PlatformSimulator::Written written;
  bool expected = true;  // in the store, by now
};

// What one poll brought.
struct Polled {
  bool caught_up = false;
  bool history_complete = false;
  bool position_lost = false;
  std::size_t messages = 0;  // in the page
  std::size_t stored = 0;
  std::size_t withdrawn = 0;
  std::size_t past_horizon = 0;
};

// Of many polls.
struct Polls {
  bool quiet = false;  // ended because nothing was left to collect
  int pages = 0;
  int positions_lost = 0;
  std::size_t messages = 0;  // in all pages, duplicates included
  std::vector<Error> errors;
};

// One thread. A broken expectation of the harness itself throws; a rule that the connector breaks
// is an ADD_FAILURE.
class ConnectedOffice {
 public:
  explicit ConnectedOffice(const std::string& platform, const OfficeOptions& options = {});
  ~ConnectedOffice();

  SimulatedClock& clock() { return clock_; }
  connectors::PlatformSimulator& platform() { return *platform_; }
  TempStore& store() { return *store_; }
  connectors::Connector& connector() { return *connector_; }
  const connectors::ConnectorInfo& info() const { return info_; }
  AccountId account() const { return account_; }

  // --- on the platform. Each moves the clock by a second first, so that all times differ.
  Said& Write(int person, const std::string& text, std::optional<TimePoint> sent_at = {});
  Said& WriteAsOffice(int person, const std::string& text);
  void WriteElsewhere(int person, const std::string& text);
  void Delete(Said& said);                         // throws where the platform refuses
  void Edit(Said& said, const std::string& text);  // likewise
  // A reply through the connector arrived there, or did not.
  Said& Expect(int person, const std::string& text, Direction direction);
  std::deque<Said>& ledger() { return ledger_; }

  // --- collecting
  // Asks, checks the page against the contract, stores it. An error leaves the cursor alone.
  Result<Polled> Poll();
  // Asks and checks, stores nothing.
  Result<connectors::Page> Fetch();
  Result<connectors::Page> FetchAfter(const std::string& cursor, connectors::Connector& connector);
  Result<Polled> Ingest(connectors::Page page, TimePoint asked_at);
  // Polls, waiting as the pacer says, until two polls in a row found nothing newer.
  Polls PollUntilQuiet(int polls_max = 200);
  // Another process from here on: the connector is made anew, from what the store holds.
  void RestartConnector();
  // The store is closed and opened too.
  void RestartAll();
  std::unique_ptr<connectors::Connector> MakeConnector();
  std::string cursor();
  TimePoint horizon();

  // --- replying
  // A person of the comms team answers the newest message of `person`.
  ReplyId Enqueue(int person, const std::string& text);
  // The sender works, and the clock moves, until nothing is pending or `runs_max` is reached.
  void RunSender(int runs_max = 40);
  Reply ReplyOf(const ReplyId& id);
  // As the sender would hand it to the connector.
  connectors::OutgoingReply Outgoing(int person, const std::string& text);

  // --- judging
  // What is wrong in the store, one sentence each: missing, twice, changed, somebody else's.
  std::vector<std::string> Wrongs();
  std::vector<Message> Stored();
  std::vector<Message> StoredWithText(const std::string& text);
  std::optional<Conversation> ConversationWith(int person);

 private:
  void CheckPage(const connectors::Page& page);
  std::string WrongIn(const Said& said, const Message& message, const std::string& conversation);

  SimulatedClock clock_;
  OffsetClock platform_clock_;
  const connectors::ConnectorInfo& info_;
  std::unique_ptr<connectors::PlatformSimulator> platform_;
  std::unique_ptr<TempStore> store_;
  AccountId account_;
  std::string own_platform_id_;
  connectors::Pacer pacer_;
  std::unique_ptr<connectors::Connector> connector_;
  std::deque<Said> ledger_;
  std::vector<std::string> elsewhere_;
};

// The same text to a reader: a mention that the platform wants in front does not count.
std::string WithoutMentions(std::string text);

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_CONNECTED_OFFICE_H_
