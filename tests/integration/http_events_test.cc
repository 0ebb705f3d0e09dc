// Answers that go on: server-sent events, their bound, heartbeat and end.
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "service/api/events.h"
#include "service/api/server.h"
#include "tests/support/api_raw_client.h"

namespace mayfly::service::api {
namespace {

using mayfly::testing::Eventually;
using mayfly::testing::RawClient;
using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(EventStream, LinesOfDataCannotBecomeFields) {
  EXPECT_EQ(RenderEvent({.id = "7", .name = "changed", .data = "{}"}),
            "id: 7\nevent: changed\ndata: {}\n\n");
  EXPECT_EQ(RenderEvent({.data = "a\nid: 1\r\nevent: b\rretry: 1"}),
            "data: a\ndata: id: 1\ndata: event: b\ndata: retry: 1\n\n");
  EXPECT_EQ(RenderEvent({}), "data: \n\n");
}

TEST(EventStream, OneEventTooManyEndsItAndWhatWasQueuedIsStillGiven) {
  EventStream stream(2);
  EXPECT_TRUE(stream.Push({.data = "1"}));
  EXPECT_TRUE(stream.Push({.data = "2"}));
  EXPECT_FALSE(stream.Push({.data = "3"}));
  const EventStream::Pulled all = stream.Pull();
  EXPECT_EQ(all.text, "data: 1\n\ndata: 2\n\n");
  EXPECT_TRUE(all.ended);
  EXPECT_FALSE(stream.Push({.data = "4"}));
}

TEST(EventStream, AnIdOrNameWithALineEndEndsIt) {
  for (const Event& event : {Event{.id = "1\ndata: x"}, Event{.name = "a\rb"}}) {
    EventStream stream;
    EXPECT_FALSE(stream.Push(event));
    EXPECT_EQ(stream.Pull().text, "");
  }
}

TEST(EventStream, WakesOnceAfterAPullThatGaveNothing) {
  EventStream stream;
  int woken = 0;
  stream.OnReady([&] { ++woken; });
  EXPECT_TRUE(stream.Push({}));
  EXPECT_EQ(woken, 0);  // nobody waits
  (void)stream.Pull();
  (void)stream.Pull();
  EXPECT_TRUE(stream.Push({}));
  EXPECT_TRUE(stream.Push({}));
  EXPECT_EQ(woken, 1);
  (void)stream.Pull();
  (void)stream.Pull();
  stream.End();
  EXPECT_EQ(woken, 2);
  stream.OnReady(nullptr);
  stream.End();
  EXPECT_EQ(woken, 2);
}

class HttpEventsTest : public ::testing::Test {
 protected:
  HttpEventsTest() {
    Route route;
    route.method = "GET";
    route.pattern = "/v1/events";
    route.access = Access::kPublic;
    route.handler = [this](const Request&, const Actor&) {
      Response response;
      response.events = std::make_shared<EventStream>();
      const std::lock_guard lock(mutex_);
      streams_.push_back(response.events);
      return response;
    };
    router_.Add({route});
  }
  ~HttpEventsTest() override { server_.reset(); }

  void Start() {
    const mayfly::testing::ListeningSocket socket = mayfly::testing::ListenOnLoopback();
    port_ = socket.port;
    server_ = std::make_unique<Server>(
        router_, [](const Request&) -> Result<Actor> { return Fail(ErrorCode::kNotFound, ""); },
        limits_);
    ASSERT_TRUE(server_->Start({{.fd = socket.fd}}));
    server_->SetReady(true);
  }
  // The stream that was opened last; waits for it.
  std::shared_ptr<EventStream> Newest() {
    EXPECT_TRUE(Eventually([&] {
      const std::lock_guard lock(mutex_);
      return !streams_.empty();
    }));
    const std::lock_guard lock(mutex_);
    return streams_.back();
  }

  static std::string Ask(const std::string& method = "GET", const std::string& version = "1.1") {
    return method + " /v1/events HTTP/" + version + "\r\nHost: a\r\n\r\n";
  }

  Router router_;
  ServerLimits limits_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::vector<std::shared_ptr<EventStream>> streams_;
  std::unique_ptr<Server> server_;
};

TEST_F(HttpEventsTest, ComeOneByOneAndEndWhenTheProducerEndsThem) {
  Start();
  RawClient client(port_);
  client.Send(Ask());
  const auto head = client.ReadUntil("\r\n\r\n");
  ASSERT_TRUE(head);
  EXPECT_THAT(*head, HasSubstr("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(*head, HasSubstr("Content-Type: text/event-stream\r\n"));
  EXPECT_THAT(*head, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(*head, HasSubstr("Cache-Control: no-store\r\n"));
  EXPECT_THAT(*head, Not(HasSubstr("Content-Length")));
  const auto stream = Newest();
  EXPECT_TRUE(stream->Push({.id = "1", .data = "one"}));
  EXPECT_EQ(client.ReadUntil("\n\n\r\n"), "11\r\nid: 1\ndata: one\n\n\r\n");
  EXPECT_TRUE(stream->Push({.data = "two"}));
  EXPECT_EQ(client.ReadUntil("\n\n\r\n"), "b\r\ndata: two\n\n\r\n");
  stream->End();
  client.HalfClose();
  EXPECT_EQ(client.ReadToEnd(), "0\r\n\r\n");
  EXPECT_TRUE(Eventually([&] { return server_->counters().open == 0; }));
}

TEST_F(HttpEventsTest, ASilentStreamBeats) {
  limits_.event_heartbeat = milliseconds(100);
  Start();
  RawClient client(port_);
  client.Send(Ask());
  ASSERT_TRUE(client.ReadUntil("\r\n\r\n"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.ReadUntil("\n\n\r\n"), "3\r\n:\n\n\r\n");
  EXPECT_TRUE(Newest()->Push({.data = "x"}));
  EXPECT_TRUE(client.ReadUntil("data: x\n\n\r\n"));
}

TEST_F(HttpEventsTest, AClientThatLeftIsToldToTheProducer) {
  limits_.event_heartbeat = milliseconds(100);
  Start();
  RawClient client(port_);
  client.Send(Ask());
  ASSERT_TRUE(client.ReadUntil("\r\n\r\n"));
  client.Close();
  EXPECT_TRUE(Eventually([&] { return server_->counters().open == 0; }));
  EXPECT_FALSE(Newest()->Push({}));
}

TEST_F(HttpEventsTest, AReaderThatStallsIsCutAndNothingGrows) {
  limits_.write_deadline = milliseconds(300);
  Start();
  RawClient client(port_);
  client.Send(Ask());
  const auto stream = Newest();
  const Event big{.data = std::string(64u << 10, 'x')};
  EXPECT_TRUE(Eventually([&] { return !stream->Push(big); }));  // full, or cut
  EXPECT_TRUE(Eventually([&] { return server_->counters().open == 0; }));
}

TEST_F(HttpEventsTest, ADrainEndsThemInOrder) {
  Start();
  RawClient client(port_);
  client.Send(Ask());
  ASSERT_TRUE(client.ReadUntil("\r\n\r\n"));
  EXPECT_TRUE(Newest()->Push({.data = "last"}));
  ASSERT_TRUE(client.ReadUntil("data: last\n\n\r\n"));
  std::jthread drain([&] { server_->Drain(std::chrono::seconds(30)); });
  EXPECT_EQ(client.ReadUntil("0\r\n\r\n"), "0\r\n\r\n");
  client.HalfClose();
  EXPECT_EQ(client.ReadToEnd(), "");
  drain.join();
  EXPECT_FALSE(Newest()->Push({}));
}

TEST_F(HttpEventsTest, OldClientsGetThemWithoutChunks) {
  Start();
  RawClient client(port_);
  client.Send(Ask("GET", "1.0"));
  const auto head = client.ReadUntil("\r\n\r\n");
  ASSERT_TRUE(head);
  EXPECT_THAT(*head, Not(HasSubstr("chunked")));
  Newest()->Push({.data = "x"});
  Newest()->End();
  client.HalfClose();
  EXPECT_EQ(client.ReadToEnd(), "data: x\n\n");
}

TEST_F(HttpEventsTest, HeadIsTheHeadAlone) {
  Start();
  RawClient client(port_);
  client.Send(Ask("HEAD"));
  ASSERT_TRUE(client.ReadUntil("\r\n\r\n"));
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_FALSE(Newest()->Push({}));
}

}  // namespace
}  // namespace mayfly::service::api
