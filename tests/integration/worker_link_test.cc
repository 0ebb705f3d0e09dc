// The core's end of the link against the real worker loop with a connector of the test's, and
// against workers that break the rules.
#include "service/link/worker_link.h"

#include <atomic>
#include <future>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "link.pb.h"
#include "service/link/convert.h"
#include "service/link/frames.h"
#include "service/worker/worker.h"
#include "tests/support/fake_connector.h"
#include "tests/support/linked_worker.h"
#include "tests/support/processes.h"

namespace mayfly::service {
namespace {

using connectors::ConnectorContext;
using connectors::Page;
using connectors::PlatformMessage;
using testing::FakeConnector;
using testing::Fd;
using testing::kEpoch;
using testing::LinkedWorker;
using testing::Make;
using testing::NoRenewal;
using testing::Pipe;

TimePoint At(std::int64_t ms) { return TimePoint(std::chrono::milliseconds(ms)); }

PlatformMessage MakeMessage(int number, std::string text) {
  PlatformMessage message;
  message.conversation = PlatformId("conversation-" + std::to_string(number % 7));
  message.id = PlatformId("message-" + std::to_string(number));
  message.sender = PlatformId("person-" + std::to_string(number % 7));
  message.sent_at = At(1'700'000'000'000 + number);
  message.text = MessageBody(std::move(text));
  return message;
}

connectors::FetchRequest MakeFetch() {
  connectors::FetchRequest request;
  request.after.value = std::string("cursor \0\xff bytes", 15);
  request.horizon = At(1'600'000'000'000);
  request.messages_max = 77;
  return request;
}

connectors::OutgoingReply MakeReply() {
  connectors::OutgoingReply reply;
  reply.conversation = PlatformId("conversation-1");
  reply.idempotency_key = "key-1";
  reply.text = MessageBody("Thank you, we will look at it.");
  reply.in_reply_to = PlatformId("message-1");
  reply.recipients = {{PlatformId("person-1"), ContactHandle("ana.example"), ContactHandle("Ana")},
                      {PlatformId("person-2"), ContactHandle(), ContactHandle()}};
  return reply;
}

TEST(WorkerLink, HelloCarriesTheContextAndBringsTheSandboxState) {
  std::string platform;
  ConnectorContext seen;
  LinkedWorker worker(
      [&](std::string_view name,
          const ConnectorContext& context) -> Result<std::unique_ptr<connectors::Connector>> {
        platform = name;
        seen = context;
        return Result<std::unique_ptr<connectors::Connector>>(std::make_unique<FakeConnector>());
      });
  ConnectorContext context;
  context.options = {{"handle", "office.example"}, {"origin", "https://pds.example"}};
  context.credential = Credential(std::string("\x01 secret \xff\x00", 11));
  context.egress.insecure_loopback = true;
  context.egress.private_hosts = {"10.0.0.7:8443"};
  context.egress.ca_file = "/etc/mayfly/ca.pem";
  const auto sandbox = worker.link().Hello("bluesky", context);
  ASSERT_TRUE(sandbox);
  EXPECT_TRUE(sandbox->landlock);
  EXPECT_EQ(sandbox->landlock_abi, 6u);
  EXPECT_EQ(platform, "bluesky");
  EXPECT_EQ(seen.options, context.options);
  EXPECT_EQ(seen.credential, context.credential);
  EXPECT_TRUE(seen.egress.insecure_loopback);
  EXPECT_EQ(seen.egress.private_hosts, context.egress.private_hosts);
  EXPECT_EQ(seen.egress.ca_file, context.egress.ca_file);
  EXPECT_EQ(worker.Close(), 0);
}

TEST(WorkerLink, APageArrivesWhole) {
  connectors::FetchRequest asked;
  LinkedWorker worker(Make([&](FakeConnector& connector, const ConnectorContext&) {
    connector.on_fetch = [&](const connectors::FetchRequest& request,
                             std::stop_token) -> Result<Page> {
      asked = request;
      Page page;
      connectors::PlatformConversation conversation;
      conversation.id = PlatformId("conversation-1");
      conversation.participants = {Contact{PlatformId("person-1"), ContactHandle("ana.example"),
                                           ContactHandle("Ana \xf0\x9f\x90\x9e")}};
      conversation.group = true;
      conversation.standing = PlatformStanding::kRequest;
      page.conversations.push_back(conversation);
      page.messages.push_back(MakeMessage(1,
                                          "Gr\xc3\xbc\xc3\x9f"
                                          "e\nand a NUL: " +
                                              std::string(1, '\0')));
      PlatformMessage stub;
      stub.conversation = PlatformId("conversation-1");
      stub.id = PlatformId("message-2");
      stub.direction = Direction::kOutgoing;
      stub.unreadable = UnreadableReason::kEncrypted;
      stub.has_unsupported_content = true;
      page.messages.push_back(stub);
      page.edits.push_back({.conversation = PlatformId("conversation-1"),
                            .id = PlatformId("message-3"),
                            .edited_at = At(1'700'000'000'777),
                            .text = MessageBody("b\xff"),
                            .has_unsupported_content = true});
      page.edits.push_back({.conversation = PlatformId("conversation-1"),
                            .id = PlatformId("message-4"),
                            .edited_at = std::nullopt,
                            .text = MessageBody()});
      page.withdrawals.push_back({PlatformId("conversation-1"), PlatformId("message-0")});
      page.next.value = std::string("next \0\xfe", 7);
      page.caught_up = true;
      page.position_lost = true;
      page.gap = true;
      page.skipped_past_horizon = 12;
      page.warning = "policy-filters";
      return page;
    };
  }));
  ASSERT_TRUE(worker.link().Hello("fake", {}));
  const auto page = worker.link().Fetch(MakeFetch());
  ASSERT_TRUE(page) << page.error().message;
  EXPECT_EQ(asked.after.value, MakeFetch().after.value);
  EXPECT_EQ(asked.horizon, MakeFetch().horizon);
  EXPECT_EQ(asked.messages_max, 77u);
  ASSERT_EQ(page->conversations.size(), 1u);
  EXPECT_EQ(page->conversations[0].id.Reveal(), "conversation-1");
  EXPECT_TRUE(page->conversations[0].group);
  EXPECT_EQ(page->conversations[0].standing, PlatformStanding::kRequest);
  ASSERT_EQ(page->conversations[0].participants.size(), 1u);
  EXPECT_EQ(page->conversations[0].participants[0].handle.Reveal(), "ana.example");
  ASSERT_EQ(page->messages.size(), 2u);
  EXPECT_EQ(page->messages[0].text.size(), 20u);
  EXPECT_EQ(page->messages[0].sent_at, At(1'700'000'000'001));
  EXPECT_EQ(page->messages[0].direction, Direction::kIncoming);
  EXPECT_FALSE(page->messages[1].sent_at);
  EXPECT_EQ(page->messages[1].direction, Direction::kOutgoing);
  EXPECT_EQ(page->messages[1].unreadable, UnreadableReason::kEncrypted);
  EXPECT_TRUE(page->messages[1].has_unsupported_content);
  ASSERT_EQ(page->edits.size(), 2u);
  EXPECT_EQ(page->edits[0].conversation.Reveal(), "conversation-1");
  EXPECT_EQ(page->edits[0].id.Reveal(), "message-3");
  EXPECT_EQ(page->edits[0].edited_at, At(1'700'000'000'777));
  EXPECT_EQ(page->edits[0].text.Reveal(), "b\xef\xbf\xbd");
  EXPECT_TRUE(page->edits[0].has_unsupported_content);
  EXPECT_EQ(page->edits[1].edited_at, std::nullopt);
  EXPECT_TRUE(page->edits[1].text.empty());
  EXPECT_FALSE(page->edits[1].has_unsupported_content);
  ASSERT_EQ(page->withdrawals.size(), 1u);
  EXPECT_EQ(page->withdrawals[0].id.Reveal(), "message-0");
  EXPECT_EQ(page->next.value, std::string("next \0\xfe", 7));
  EXPECT_TRUE(page->caught_up);
  EXPECT_FALSE(page->history_complete);
  EXPECT_TRUE(page->position_lost);
  EXPECT_TRUE(page->gap);
  EXPECT_EQ(page->warning, "policy-filters");
  EXPECT_EQ(page->skipped_past_horizon, 12u);
  EXPECT_FALSE(worker.link().broken());
}

TEST(WorkerLink, ABigPageArrivesAcrossManyFrames) {
  LinkedWorker worker(Make([](FakeConnector& connector, const ConnectorContext&) {
    connector.on_fetch = [](const connectors::FetchRequest&, std::stop_token) -> Result<Page> {
      Page page;
      for (int i = 0; i < 2'000; ++i) {
        page.messages.push_back(MakeMessage(i, std::string(3'000, 'a')));
      }
      page.caught_up = true;
      return page;
    };
  }));
  ASSERT_TRUE(worker.link().Hello("fake", {}));
  const auto page = worker.link().Fetch(MakeFetch());
  ASSERT_TRUE(page) << page.error().message;
  ASSERT_EQ(page->messages.size(), 2'000u);
  EXPECT_EQ(page->messages[1'999].id.Reveal(), "message-1999");
}

TEST(WorkerLink, SendFindAndCheckAnswer) {
  LinkedWorker worker(Make([](FakeConnector& connector, const ConnectorContext&) {
    connector.on_send = [](const connectors::OutgoingReply& reply,
                           std::stop_token) -> Result<connectors::SentReply> {
      EXPECT_EQ(reply.conversation, MakeReply().conversation);
      EXPECT_EQ(reply.idempotency_key, "key-1");
      EXPECT_EQ(reply.text, MakeReply().text);
      EXPECT_EQ(reply.in_reply_to.Reveal(), "message-1");
      EXPECT_EQ(reply.recipients.size(), 2u);
      if (reply.recipients.size() == 2) {
        EXPECT_EQ(reply.recipients[0].platform_id.Reveal(), "person-1");
        EXPECT_EQ(reply.recipients[0].handle.Reveal(), "ana.example");
        EXPECT_EQ(reply.recipients[0].display_name.Reveal(), "Ana");
        EXPECT_EQ(reply.recipients[1].platform_id.Reveal(), "person-2");
        EXPECT_TRUE(reply.recipients[1].handle.empty());
      }
      return connectors::SentReply{PlatformId("sent-1"), At(1'700'000'000'500)};
    };
    connector.on_find = [](const connectors::FindSentRequest& request)
        -> Result<std::vector<connectors::SentReply>> {
      EXPECT_EQ(request.conversation.Reveal(), "conversation-1");
      EXPECT_EQ(request.text, MakeReply().text);
      EXPECT_EQ(request.not_before, At(5'000));
      return std::vector<connectors::SentReply>{{PlatformId("sent-1"), At(6'000)},
                                                {PlatformId("sent-2"), std::nullopt}};
    };
    connector.on_check = []() -> Result<connectors::CheckReport> {
      return connectors::CheckReport{
          "did:plc:office", "office.example", {"read"}, {"direct messages"}};
    };
  }));
  ASSERT_TRUE(worker.link().Hello("fake", {}));
  const auto sent = worker.link().Send(MakeReply());
  ASSERT_TRUE(sent);
  EXPECT_EQ(sent->id.Reveal(), "sent-1");
  EXPECT_EQ(sent->sent_at, At(1'700'000'000'500));
  const auto found =
      worker.link().FindSent({PlatformId("conversation-1"), MakeReply().text, At(5'000)});
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 2u);
  EXPECT_EQ((*found)[0].sent_at, At(6'000));
  EXPECT_FALSE((*found)[1].sent_at);
  const auto report = worker.link().Check();
  ASSERT_TRUE(report);
  EXPECT_EQ(report->own_platform_id, "did:plc:office");
  EXPECT_EQ(report->own_handle, "office.example");
  EXPECT_EQ(report->permissions_held, std::vector<std::string>{"read"});
  EXPECT_EQ(report->permissions_missing, std::vector<std::string>{"direct messages"});
  EXPECT_EQ(worker.Close(), 0);
}

TEST(WorkerLink, TheConnectorsErrorIsReturnedAsItIsAndBreaksNothing) {
  int calls = 0;
  LinkedWorker worker(Make([&](FakeConnector& connector, const ConnectorContext&) {
    connector.on_fetch = [&](const connectors::FetchRequest&, std::stop_token) -> Result<Page> {
      if (++calls > 1) return Page{};
      return Fail(Error{.code = ErrorCode::kRateLimited,
                        .message = "the platform asked us to wait",
                        .field = "",
                        .platform_code = "RateLimitExceeded",
                        .retry_at = At(1'700'000'060'000),
                        .retry_after = std::chrono::milliseconds(1'500)});
    };
    connector.on_send = [](const connectors::OutgoingReply&,
                           std::stop_token) -> Result<connectors::SentReply> {
      throw std::runtime_error("from a library");
    };
  }));
  ASSERT_TRUE(worker.link().Hello("fake", {}));
  const auto page = worker.link().Fetch(MakeFetch());
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().code, ErrorCode::kRateLimited);
  EXPECT_EQ(page.error().message, "the platform asked us to wait");
  EXPECT_EQ(page.error().platform_code, "RateLimitExceeded");
  EXPECT_EQ(page.error().retry_at, At(1'700'000'060'000));
  EXPECT_EQ(page.error().retry_after, std::chrono::milliseconds(1'500));
  // Nobody knows how far a connector came that threw.
  EXPECT_EQ(worker.link().Send(MakeReply()).error().code, ErrorCode::kOutcomeUnknown);
  EXPECT_FALSE(worker.link().broken());
  EXPECT_TRUE(worker.link().Fetch(MakeFetch()));
}

TEST(WorkerLink, TheBudgetAtThePlatformComesWithEachAnswer) {
  FakeConnector* connector = nullptr;
  LinkedWorker worker(Make([&](FakeConnector& made, const ConnectorContext&) {
    connector = &made;
    made.on_fetch = [](const connectors::FetchRequest&, std::stop_token) -> Result<Page> {
      return Page{};
    };
    made.on_check = []() -> Result<connectors::CheckReport> {
      return Fail(ErrorCode::kRateLimited, "wait");
    };
  }));
  ASSERT_TRUE(worker.link().Hello("fake", {}));
  ASSERT_TRUE(worker.link().Fetch(MakeFetch()));
  EXPECT_FALSE(worker.link().budget()) << "it was told nothing";
  connector->told = {.limit = 300, .remaining = 299, .resets_at = At(1'700'000'060'000)};
  ASSERT_TRUE(worker.link().Fetch(MakeFetch()));
  ASSERT_TRUE(worker.link().budget());
  EXPECT_EQ(worker.link().budget()->limit, 300u);
  EXPECT_EQ(worker.link().budget()->remaining, 299u);
  EXPECT_EQ(worker.link().budget()->resets_at, At(1'700'000'060'000));
  // With a refusal too; and what cannot be changes nothing.
  connector->told = {.limit = 300, .remaining = 0};
  EXPECT_FALSE(worker.link().Check());
  EXPECT_EQ(worker.link().budget()->remaining, 0u);
  EXPECT_FALSE(worker.link().budget()->resets_at);
  for (const connectors::PlatformBudget& wrong :
       {connectors::PlatformBudget{.limit = 0, .remaining = 0},
        connectors::PlatformBudget{.limit = 300, .remaining = 301},
        connectors::PlatformBudget{.limit = ~0ull, .remaining = 1}}) {
    connector->told = wrong;
    ASSERT_TRUE(worker.link().Fetch(MakeFetch()));
    EXPECT_EQ(worker.link().budget()->limit, 300u);
    EXPECT_EQ(worker.link().budget()->remaining, 0u);
  }
}

TEST(WorkerLink, AConnectorThatCannotBeMadeIsATypedError) {
  LinkedWorker worker(
      [](std::string_view,
         const ConnectorContext&) -> Result<std::unique_ptr<connectors::Connector>> {
        return Fail(ErrorCode::kInvalidArgument, "the option is not a host", "origin");
      });
  const auto hello = worker.link().Hello("fake", {});
  ASSERT_FALSE(hello);
  EXPECT_EQ(hello.error().code, ErrorCode::kOptionUnusable);
  EXPECT_EQ(hello.error().field, "origin");
  EXPECT_EQ(worker.link().Fetch(MakeFetch()).error().code, ErrorCode::kOptionUnusable);
  EXPECT_EQ(worker.Close(), 0);
}

TEST(WorkerLink, AnItemTooLargeForAFrameFailsThePageAndNotTheLink) {
  LinkedWorker worker(Make([](FakeConnector& connector, const ConnectorContext&) {
    connector.on_fetch = [](const connectors::FetchRequest&, std::stop_token) -> Result<Page> {
      Page page;
      page.messages.push_back(MakeMessage(1, "fits"));
      page.messages.push_back(MakeMessage(2, std::string(kFrameBytesMax, 'a')));
      return page;
    };
  }));
  ASSERT_TRUE(worker.link().Hello("fake", {}));
  EXPECT_EQ(worker.link().Fetch(MakeFetch()).error().code, ErrorCode::kTooLarge);
  EXPECT_FALSE(worker.link().broken());
}

TEST(WorkerLink, InvalidUtf8InTextIsReplaced) {
  LinkedWorker worker(Make([](FakeConnector& connector, const ConnectorContext&) {
    connector.on_fetch = [](const connectors::FetchRequest&, std::stop_token) -> Result<Page> {
      Page page;
      page.messages.push_back(MakeMessage(1, "ab\xff\xfe"));
      return page;
    };
  }));
  ASSERT_TRUE(worker.link().Hello("fake", {}));
  const auto page = worker.link().Fetch(MakeFetch());
  ASSERT_TRUE(page);
  EXPECT_EQ(page->messages[0].text.Reveal(), "ab\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(WorkerLink, ARenewedCredentialIsStoredBeforeItIsUsed) {
  std::vector<std::string> order;  // written by one side at a time: the sink runs while Renew waits
  LinkedWorker worker(Make([&](FakeConnector& connector, const ConnectorContext& context) {
                        connector.on_fetch = [&, renew = context.renew](
                                                 const connectors::FetchRequest&,
                                                 std::stop_token) -> Result<Page> {
                          order.push_back("asked the platform");
                          MAYFLY_RETURN_IF_ERROR(renew(Credential("second")));
                          order.push_back("used");
                          return Page{};
                        };
                      }),
                      [&](const Credential& renewed) -> Status {
                        order.push_back("stored " + renewed.Reveal());
                        return {};
                      });
  ASSERT_TRUE(worker.link().Hello("fake", {}));
  ASSERT_TRUE(worker.link().Fetch(MakeFetch()));
  EXPECT_EQ(order, (std::vector<std::string>{"asked the platform", "stored second", "used"}));
}

TEST(WorkerLink, ACredentialThatCannotBeStoredBreaksTheLinkAndIsNeverUsed) {
  std::atomic<bool> used{false};
  LinkedWorker worker(
      Make([&](FakeConnector& connector, const ConnectorContext& context) {
        connector.on_fetch = [&, renew = context.renew](const connectors::FetchRequest&,
                                                        std::stop_token) -> Result<Page> {
          MAYFLY_RETURN_IF_ERROR(renew(Credential("second")));
          used = true;
          return Page{};
        };
      }),
      [](const Credential&) -> Status { return Fail(ErrorCode::kIo, "no room on the disk"); });
  ASSERT_TRUE(worker.link().Hello("fake", {}));
  EXPECT_EQ(worker.link().Fetch(MakeFetch()).error().code, ErrorCode::kPlatformUnavailable);
  EXPECT_TRUE(worker.link().broken());
  EXPECT_EQ(worker.Close(), 0);
  EXPECT_FALSE(used);
}

TEST(WorkerLink, TheEndOfTheCoreStopsTheRequestUnderWay) {
  std::promise<void> started;
  std::atomic<bool> stopped{false};
  LinkLimits limits;
  limits.request_deadline = std::chrono::milliseconds(testing::kPatienceMs);
  LinkedWorker worker(Make([&](FakeConnector& connector, const ConnectorContext&) {
                        connector.on_fetch = [&](const connectors::FetchRequest&,
                                                 std::stop_token stop) -> Result<Page> {
                          std::promise<void> asked;
                          std::stop_callback on_stop(stop, [&] { asked.set_value(); });
                          started.set_value();
                          const auto until = std::chrono::steady_clock::now() +
                                             std::chrono::milliseconds(testing::kPatienceMs);
                          stopped =
                              asked.get_future().wait_until(until) == std::future_status::ready;
                          return Fail(ErrorCode::kCancelled, "stopped");
                        };
                      }),
                      NoRenewal(), limits);
  ASSERT_TRUE(worker.link().Hello("fake", {}));
  std::jthread aborts([&] {
    started.get_future().wait();
    worker.link().Abort();
  });
  const auto page = worker.link().Fetch(MakeFetch());
  ASSERT_FALSE(page);
  EXPECT_EQ(page.error().code, ErrorCode::kPlatformUnavailable);
  EXPECT_TRUE(worker.link().broken());
  aborts.join();
  EXPECT_EQ(worker.Close(), 0);
  EXPECT_TRUE(stopped);
}

TEST(WorkerLink, AWorkerInAProcessOfItsOwnAnswersAndEndsWithTheLink) {
  Pipe to;
  Pipe from;
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    to.write.Reset();
    from.read.Reset();
    _exit(RunWorker(to.read.get(), from.write.get(), kEpoch,
                    Make([](FakeConnector& connector, const ConnectorContext&) {
                      connector.on_check = []() -> Result<connectors::CheckReport> {
                        return connectors::CheckReport{"did:plc:office", "", {}, {}};
                      };
                    })));
  }
  to.read.Reset();
  from.write.Reset();
  {
    WorkerLink link({to.write.Release(), from.read.Release(), kEpoch}, NoRenewal());
    ASSERT_TRUE(link.Hello("fake", {}));
    const auto report = link.Check();
    ASSERT_TRUE(report);
    EXPECT_EQ(report->own_platform_id, "did:plc:office");
  }
  EXPECT_EQ(testing::WaitForChild(pid), 0);
}

// What the platform says the time is travels with the next frame, older by what passed meanwhile.
TEST(WorkerLink, ThePlatformsTimeIsPassedOnOnce) {
  Pipe to;
  Pipe from;
  const TimePoint said = At(1'795'000'000'000);
  std::jthread worker([in = std::move(to.read), out = std::move(from.write), said] {
    RunWorker(in.get(), out.get(), kEpoch,
              Make([said](FakeConnector& connector, const ConnectorContext& context) {
                connector.on_check = [tell = context.platform_time, said,
                                      asked = 0]() mutable -> Result<connectors::CheckReport> {
                  if (asked++ == 0) tell(said);
                  return connectors::CheckReport{};
                };
              }));
  });
  std::vector<TimePoint> heard;
  WorkerLink link({to.write.Release(), from.read.Release(), kEpoch}, NoRenewal(), {},
                  [&](TimePoint time) { heard.push_back(time); });
  ASSERT_TRUE(link.Hello("fake", {}));
  ASSERT_TRUE(link.Check());
  ASSERT_TRUE(link.Check());
  ASSERT_EQ(heard.size(), 1u);
  EXPECT_GE(heard.front(), said);
  EXPECT_LT(heard.front(), said + std::chrono::minutes(10));
  link.Abort();
}

// ---- The worker's own wall: it, too, refuses what breaks the protocol.

int ExitCodeAfter(const std::vector<link::CoreFrame>& frames) {
  Pipe to;
  Pipe from;
  for (const link::CoreFrame& frame : frames) {
    EXPECT_TRUE(WriteFrame(to.write.get(), frame));
  }
  to.write.Reset();
  return RunWorker(to.read.get(), from.write.get(), kEpoch,
                   Make([](FakeConnector&, const ConnectorContext&) {}));
}

link::CoreFrame CoreFrameOf(std::uint64_t epoch, bool hello) {
  link::CoreFrame frame;
  frame.set_epoch(epoch);
  frame.set_request(1);
  if (hello) {
    frame.mutable_hello()->set_platform("fake");
  } else {
    frame.mutable_check();
  }
  return frame;
}

TEST(Worker, ServesHelloFirstAndOnce) {
  EXPECT_EQ(ExitCodeAfter({}), 0);
  EXPECT_EQ(ExitCodeAfter({CoreFrameOf(kEpoch, true), CoreFrameOf(kEpoch, false)}), 0);
  EXPECT_EQ(ExitCodeAfter({CoreFrameOf(kEpoch, false)}), 70);
  EXPECT_EQ(ExitCodeAfter({CoreFrameOf(kEpoch, true), CoreFrameOf(kEpoch, true)}), 70);
}

TEST(Worker, DropsFramesOfAnotherEpoch) {
  EXPECT_EQ(ExitCodeAfter({CoreFrameOf(kEpoch - 1, false), CoreFrameOf(kEpoch, true)}), 0);
}

TEST(Worker, EndsOnGarbage) {
  Pipe to;
  Pipe from;
  ASSERT_EQ(write(to.write.get(), "\xff\xff\xff\xff", 4), 4);
  EXPECT_EQ(RunWorker(to.read.get(), from.write.get(), kEpoch,
                      Make([](FakeConnector&, const ConnectorContext&) {})),
            70);
}

// ---- Workers that break the rules.

// The other end of a link, driven by the test.
class Peer {
 public:
  Peer(Fd in, Fd out) : in_(std::move(in)), out_(std::move(out)) {}
  // The number of the request that came.
  std::uint64_t Await() {
    link::CoreFrame frame;
    if (!ReadFrame(in_.get(), std::chrono::steady_clock::time_point::max(), &frame)) return 0;
    last_ = std::move(frame);
    return last_.request();
  }
  const link::CoreFrame& last() const { return last_; }
  // False when the core has closed the pipe.
  bool Say(std::uint64_t request, link::WorkerFrame frame, std::uint64_t epoch = kEpoch) {
    frame.set_epoch(epoch);
    frame.set_request(request);
    return WriteFrame(out_.get(), frame).has_value();
  }
  bool SayRaw(const std::string& bytes) {
    return write(out_.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  }
  void Close() {
    in_.Reset();
    out_.Reset();
  }
  // Until the core closes its end.
  void AwaitEnd() {
    while (Await() != 0) {
    }
  }

 private:
  Fd in_;
  Fd out_;
  link::CoreFrame last_;
};

class HostileWorker {
 public:
  explicit HostileWorker(std::function<void(Peer&)> script,
                         connectors::CredentialSink renew = NoRenewal(),
                         const LinkLimits& limits = {}) {
    Pipe to;
    Pipe from;
    link_ = std::make_unique<WorkerLink>(
        WorkerPipes{to.write.Release(), from.read.Release(), kEpoch}, std::move(renew), limits);
    thread_ = std::jthread([script = std::move(script), in = std::move(to.read),
                            out = std::move(from.write)]() mutable {
      Peer peer(std::move(in), std::move(out));
      script(peer);
    });
  }
  ~HostileWorker() { link_.reset(); }  // before the thread is joined, so that it sees the end
  WorkerLink& link() { return *link_; }

  void ExpectBrokenFetch() {
    const auto page = link_->Fetch(MakeFetch());
    ASSERT_FALSE(page);
    EXPECT_EQ(page.error().code, ErrorCode::kPlatformUnavailable);
    EXPECT_TRUE(link_->broken());
    // For good: nothing is written any more, and that nothing happened is certain.
    EXPECT_EQ(link_->Send(MakeReply()).error().code, ErrorCode::kPlatformUnavailable);
  }
  void ExpectUnknownSend() {
    const auto sent = link_->Send(MakeReply());
    ASSERT_FALSE(sent);
    EXPECT_EQ(sent.error().code, ErrorCode::kOutcomeUnknown);
    EXPECT_TRUE(link_->broken());
  }

 private:
  std::jthread thread_;
  std::unique_ptr<WorkerLink> link_;
};

link::WorkerFrame MessageFrame(int number) {
  link::WorkerFrame frame;
  *frame.mutable_message() = EncodeMessage(MakeMessage(number, "text"));
  return frame;
}

link::WorkerFrame EndFrame(std::string next = "next") {
  link::WorkerFrame frame;
  frame.mutable_page_end()->set_next(std::move(next));
  return frame;
}

TEST(HostileWorker, TooManyMessages) {
  HostileWorker worker([](Peer& peer) {
    const auto request = peer.Await();
    for (int i = 0; peer.Say(request, MessageFrame(i)); ++i) ASSERT_LT(i, 100'000);
  });
  worker.ExpectBrokenFetch();
}

TEST(HostileWorker, TooManyConversationsEditsOrWithdrawals) {
  link::WorkerFrame conversation;
  conversation.mutable_conversation()->set_id("c");
  conversation.mutable_conversation()->set_standing(1);
  link::WorkerFrame edit;
  edit.mutable_edit()->set_conversation("c");
  edit.mutable_edit()->set_id("m");
  link::WorkerFrame withdrawal;
  withdrawal.mutable_withdrawal()->set_conversation("c");
  withdrawal.mutable_withdrawal()->set_id("m");
  for (const link::WorkerFrame& frame : {conversation, edit, withdrawal}) {
    HostileWorker worker([&](Peer& peer) {
      const auto request = peer.Await();
      for (int i = 0; peer.Say(request, frame); ++i) ASSERT_LT(i, 100'000);
    });
    worker.ExpectBrokenFetch();
  }
}

TEST(HostileWorker, TooManyBytesInAPage) {
  HostileWorker worker([](Peer& peer) {
    const auto request = peer.Await();
    link::WorkerFrame frame;
    *frame.mutable_message() = EncodeMessage(MakeMessage(1, std::string(200'000, 'a')));
    for (int i = 0; peer.Say(request, frame); ++i) ASSERT_LT(i, 1'000);
  });
  worker.ExpectBrokenFetch();
}

TEST(HostileWorker, TooLargeACursor) {
  HostileWorker worker([](Peer& peer) {
    const auto request = peer.Await();
    peer.Say(request, EndFrame(std::string((16u << 10) + 1, 'c')));
  });
  worker.ExpectBrokenFetch();
}

TEST(HostileWorker, FramesOfAnotherEpochOrRequestAreDropped) {
  HostileWorker worker([](Peer& peer) {
    const auto request = peer.Await();
    peer.Say(request, MessageFrame(1), kEpoch - 1);
    peer.Say(request + 1, MessageFrame(2));
    peer.Say(0, MessageFrame(3));
    peer.Say(request, MessageFrame(4));
    peer.Say(request, EndFrame("stale"), kEpoch + 1);
    peer.Say(request, EndFrame());
  });
  const auto page = worker.link().Fetch(MakeFetch());
  ASSERT_TRUE(page);
  ASSERT_EQ(page->messages.size(), 1u);
  EXPECT_EQ(page->messages[0].id.Reveal(), "message-4");
  EXPECT_EQ(page->next.value, "next");
}

TEST(HostileWorker, StaleFramesWithoutEndBreakTheLink) {
  HostileWorker worker([](Peer& peer) {
    const auto request = peer.Await();
    for (int i = 0; peer.Say(request, MessageFrame(i), kEpoch - 1); ++i) ASSERT_LT(i, 100'000);
  });
  worker.ExpectBrokenFetch();
}

TEST(HostileWorker, NeverAnswering) {
  LinkLimits limits;
  limits.request_deadline = std::chrono::milliseconds(30);
  HostileWorker fetches([](Peer& peer) { peer.AwaitEnd(); }, NoRenewal(), limits);
  fetches.ExpectBrokenFetch();
  HostileWorker sends([](Peer& peer) { peer.AwaitEnd(); }, NoRenewal(), limits);
  sends.ExpectUnknownSend();
}

TEST(HostileWorker, NeverReading) {
  LinkLimits limits;
  limits.request_deadline = std::chrono::milliseconds(30);
  std::promise<void> done;
  HostileWorker worker([&](Peer&) { done.get_future().wait(); }, NoRenewal(), limits);
  connectors::OutgoingReply reply = MakeReply();
  reply.text = MessageBody(std::string(200'000, 'a'));
  // More than the pipe takes: the frame never arrives whole, so nothing was sent.
  EXPECT_EQ(worker.link().Send(reply).error().code, ErrorCode::kPlatformUnavailable);
  EXPECT_TRUE(worker.link().broken());
  done.set_value();
}

TEST(HostileWorker, EndingInTheMiddleOfAPage) {
  HostileWorker worker([](Peer& peer) {
    const auto request = peer.Await();
    peer.Say(request, MessageFrame(1));
    peer.Close();
  });
  worker.ExpectBrokenFetch();
}

TEST(HostileWorker, EndingInTheMiddleOfAFrame) {
  HostileWorker worker([](Peer& peer) {
    peer.Await();
    peer.SayRaw(
        std::string("\x00\x00\x10\x00"
                    "cut",
                    7));
    peer.Close();
  });
  worker.ExpectBrokenFetch();
}

TEST(HostileWorker, EndingInTheMiddleOfASend) {
  HostileWorker worker([](Peer& peer) {
    peer.Await();
    peer.Close();
  });
  worker.ExpectUnknownSend();
}

TEST(HostileWorker, GarbageInsteadOfAnAnswer) {
  HostileWorker fetches([](Peer& peer) {
    peer.Await();
    peer.SayRaw("HTTP/1.1 200 OK\r\n\r\n");
  });
  fetches.ExpectBrokenFetch();
  HostileWorker sends([](Peer& peer) {
    peer.Await();
    peer.SayRaw(std::string("\x00\x00\x00\x02\xff\xff", 6));
  });
  sends.ExpectUnknownSend();
}

TEST(HostileWorker, AnswersOfAnotherKind) {
  HostileWorker fetches([](Peer& peer) {
    link::WorkerFrame frame;
    frame.mutable_sent()->set_id("x");
    peer.Say(peer.Await(), frame);
  });
  fetches.ExpectBrokenFetch();
  HostileWorker sends([](Peer& peer) {
    const auto request = peer.Await();
    peer.Say(request, MessageFrame(1));
  });
  sends.ExpectUnknownSend();
  HostileWorker nothing([](Peer& peer) { peer.Say(peer.Await(), link::WorkerFrame()); });
  nothing.ExpectBrokenFetch();
}

TEST(HostileWorker, UnusableItems) {
  const auto breaks = [](const std::function<void(link::PageMessage*)>& spoil) {
    HostileWorker worker([&](Peer& peer) {
      const auto request = peer.Await();
      link::WorkerFrame frame = MessageFrame(1);
      spoil(frame.mutable_message());
      peer.Say(request, frame);
      peer.Say(request, EndFrame());
    });
    worker.ExpectBrokenFetch();
  };
  breaks([](link::PageMessage* message) { message->set_id("not utf-8 \xff"); });
  breaks([](link::PageMessage* message) { message->set_id(""); });
  breaks([](link::PageMessage* message) { message->set_conversation(std::string(1025, 'c')); });
  breaks([](link::PageMessage* message) { message->set_sender(""); });
  breaks([](link::PageMessage* message) { message->set_direction(0); });
  breaks([](link::PageMessage* message) { message->set_direction(3); });
  breaks([](link::PageMessage* message) { message->set_unreadable(4); });
  const auto edit_breaks = [](const std::string& conversation, const std::string& id) {
    HostileWorker worker([&](Peer& peer) {
      const auto request = peer.Await();
      link::WorkerFrame frame;
      frame.mutable_edit()->set_conversation(conversation);
      frame.mutable_edit()->set_id(id);
      peer.Say(request, frame);
      peer.Say(request, EndFrame());
    });
    worker.ExpectBrokenFetch();
  };
  edit_breaks("", "m");
  edit_breaks("c", "");
  edit_breaks("c", "not utf-8 \xff");
  edit_breaks(std::string(1025, 'c'), "m");
}

TEST(HostileWorker, AnEditedTimeOutsideTheCalendarIsNoTime) {
  HostileWorker worker([](Peer& peer) {
    const auto request = peer.Await();
    link::WorkerFrame frame;
    frame.mutable_edit()->set_conversation("c");
    frame.mutable_edit()->set_id("m");
    for (const std::int64_t ms : {std::int64_t{-1}, std::int64_t{253'402'300'800'000}}) {
      frame.mutable_edit()->set_edited_at_ms(ms);
      peer.Say(request, frame);
    }
    peer.Say(request, EndFrame());
  });
  const auto page = worker.link().Fetch(MakeFetch());
  ASSERT_TRUE(page);
  ASSERT_EQ(page->edits.size(), 2u);
  EXPECT_EQ(page->edits[0].edited_at, std::nullopt);
  EXPECT_EQ(page->edits[1].edited_at, std::nullopt);
}

TEST(HostileWorker, AnErrorThatIsNotAConnectorsIsAnUnknownOutcome) {
  for (const char* code : {"sealed", "corrupt", "no such word", ""}) {
    HostileWorker worker([&](Peer& peer) {
      link::WorkerFrame frame;
      frame.mutable_failure()->set_code(code);
      peer.Say(peer.Await(), frame);
    });
    worker.ExpectUnknownSend();
  }
}

TEST(HostileWorker, ACredentialThatWasNotAskedForIsNotStored) {
  // Sent while no request was under way, under the number of an earlier one, and for another epoch.
  HostileWorker worker([](Peer& peer) {
    link::WorkerFrame renewed;
    renewed.mutable_credential_renewed()->set_credential("planted");
    peer.Say(0, renewed);
    const auto first = peer.Await();
    peer.Say(first, EndFrame());
    peer.Say(first, renewed);
    const auto second = peer.Await();
    peer.Say(second, renewed, kEpoch - 1);
    peer.Say(second, EndFrame());
  });
  EXPECT_TRUE(worker.link().Fetch(MakeFetch()));
  EXPECT_TRUE(worker.link().Fetch(MakeFetch()));
}

TEST(HostileWorker, RenewingWithoutEnd) {
  std::atomic<int> stored{0};
  HostileWorker worker(
      [](Peer& peer) {
        const auto request = peer.Await();
        link::WorkerFrame renewed;
        renewed.mutable_credential_renewed()->set_credential("again");
        for (int i = 0; peer.Say(request, renewed) && peer.Await() != 0; ++i) ASSERT_LT(i, 1'000);
      },
      [&](const Credential&) -> Status {
        ++stored;
        return {};
      });
  worker.ExpectBrokenFetch();
  EXPECT_EQ(stored, 4);
}

TEST(HostileWorker, UnusableCredentials) {
  for (const std::size_t size : {std::size_t{0}, kCredentialBytesMax + 1}) {
    HostileWorker worker([&](Peer& peer) {
      const auto request = peer.Await();
      link::WorkerFrame renewed;
      renewed.mutable_credential_renewed()->set_credential(std::string(size, 'c'));
      peer.Say(request, renewed);
      peer.AwaitEnd();
    });
    worker.ExpectBrokenFetch();
  }
}

TEST(HostileWorker, FindingWithoutEnd) {
  HostileWorker worker([](Peer& peer) {
    const auto request = peer.Await();
    link::WorkerFrame item;
    item.mutable_sent()->set_id("x");
    for (int i = 0; peer.Say(request, item); ++i) ASSERT_LT(i, 100'000);
  });
  EXPECT_EQ(
      worker.link().FindSent({PlatformId("conversation-1"), MakeReply().text, At(0)}).error().code,
      ErrorCode::kPlatformUnavailable);
  EXPECT_TRUE(worker.link().broken());
}

TEST(HostileWorker, AnUnusableCheck) {
  HostileWorker worker([](Peer& peer) {
    link::WorkerFrame done;
    for (int i = 0; i < 101; ++i) done.mutable_check_done()->add_permissions_held("p");
    peer.Say(peer.Await(), done);
  });
  EXPECT_EQ(worker.link().Check().error().code, ErrorCode::kPlatformUnavailable);
}

TEST(WorkerLink, AnAbortedLinkAnswersAtOnce) {
  HostileWorker worker([](Peer& peer) { peer.AwaitEnd(); });
  worker.link().Abort();
  EXPECT_TRUE(worker.link().broken());
  EXPECT_EQ(worker.link().Fetch(MakeFetch()).error().code, ErrorCode::kPlatformUnavailable);
  EXPECT_EQ(worker.link().Send(MakeReply()).error().code, ErrorCode::kPlatformUnavailable);
}

TEST(HostileWorker, NamesATimeThatIsNone) {
  for (const std::int64_t ms : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::max()}) {
    HostileWorker worker([ms](Peer& peer) {
      link::WorkerFrame frame;
      frame.set_platform_time_ms(ms);
      frame.mutable_ready();
      peer.Say(peer.Await(), frame);
      peer.AwaitEnd();
    });
    EXPECT_FALSE(worker.link().Hello("fake", {}));
    EXPECT_TRUE(worker.link().broken());
  }
}

}  // namespace
}  // namespace mayfly::service
