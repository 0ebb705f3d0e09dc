#include "service/link/frames.h"

#include <string>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "link.pb.h"
#include "service/link/convert.h"
#include "tests/support/processes.h"

namespace mayfly::service {
namespace {

using std::chrono::steady_clock;
using testing::Pipe;

constexpr auto kForEver = steady_clock::time_point::max();

void WriteRaw(const testing::Fd& fd, const std::string& bytes) {
  ASSERT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

std::string WithLength(const std::string& body) {
  std::string frame;
  for (int shift = 24; shift >= 0; shift -= 8) {
    frame.push_back(static_cast<char>(body.size() >> shift & 0xff));
  }
  return frame + body;
}

ErrorCode ReadErrorOf(const std::string& bytes) {
  Pipe pipe;
  WriteRaw(pipe.write, bytes);
  pipe.write.Reset();
  link::WorkerFrame frame;
  const Status read = ReadFrame(pipe.read.get(), kForEver, &frame);
  return read ? ErrorCode::kInternal : read.error().code;
}

// A message nested `depth` deep in a field of a known message type, as wire bytes.
std::string Nested(int field, int depth) {
  std::string body;
  for (int i = 0; i < depth; ++i) {
    std::string outer(1, static_cast<char>(field << 3 | 3));  // group start: nests without length
    outer += body;
    outer.push_back(static_cast<char>(field << 3 | 4));
    body = outer;
  }
  return body;
}

TEST(Frames, TravelInOrder) {
  Pipe pipe;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    link::CoreFrame frame;
    frame.set_epoch(7);
    frame.set_request(i);
    frame.mutable_check();
    ASSERT_TRUE(WriteFrame(pipe.write.get(), frame));
  }
  pipe.write.Reset();
  for (std::uint64_t i = 1; i <= 3; ++i) {
    link::CoreFrame frame;
    ASSERT_TRUE(ReadFrame(pipe.read.get(), kForEver, &frame));
    EXPECT_EQ(frame.epoch(), 7u);
    EXPECT_EQ(frame.request(), i);
    EXPECT_TRUE(frame.has_check());
  }
  link::CoreFrame frame;
  EXPECT_EQ(ReadFrame(pipe.read.get(), kForEver, &frame).error().code, ErrorCode::kUnavailable);
}

TEST(Frames, OneAsLargeAsTheLimitPassesAPipeThatIsSmaller) {
  Pipe pipe;
  link::WorkerFrame sent;
  sent.mutable_message()->set_text(std::string(kFrameBytesMax - 16, 'a'));
  ASSERT_LE(sent.ByteSizeLong(), kFrameBytesMax);
  std::jthread writer([&] { EXPECT_TRUE(WriteFrame(pipe.write.get(), sent)); });
  link::WorkerFrame received;
  ASSERT_TRUE(ReadFrame(pipe.read.get(), kForEver, &received));
  EXPECT_EQ(received.message().text().size(), kFrameBytesMax - 16);
}

TEST(Frames, TooLargeAMessageWritesNothing) {
  Pipe pipe;
  link::WorkerFrame frame;
  frame.mutable_message()->set_text(std::string(kFrameBytesMax + 1, 'a'));
  EXPECT_EQ(WriteFrame(pipe.write.get(), frame).error().code, ErrorCode::kTooLarge);
  EXPECT_FALSE(testing::WaitReadable(pipe.read.get(), 0));
}

TEST(Frames, AHugeLengthIsRefusedBeforeItsBody) {
  EXPECT_EQ(ReadErrorOf("\xff\xff\xff\xff"), ErrorCode::kTooLarge);
  EXPECT_EQ(ReadErrorOf(std::string("\x00\x04\x00\x01", 4)), ErrorCode::kTooLarge);
}

TEST(Frames, AnEndInsideAFrameIsNotACleanEnd) {
  EXPECT_EQ(ReadErrorOf(""), ErrorCode::kUnavailable);
  EXPECT_EQ(ReadErrorOf(std::string("\x00\x00", 2)), ErrorCode::kIo);
  EXPECT_EQ(ReadErrorOf(std::string("\x00\x00\x00\x05", 4)), ErrorCode::kIo);
  EXPECT_EQ(ReadErrorOf(std::string("\x00\x00\x00\x05"
                                    "ab",
                                    6)),
            ErrorCode::kIo);
}

TEST(Frames, GarbageIsAProtocolError) {
  EXPECT_EQ(ReadErrorOf(WithLength(std::string(64, '\xff'))), ErrorCode::kProtocol);
  EXPECT_EQ(ReadErrorOf(WithLength("GET / HTTP/1.1\r\n\r\n")), ErrorCode::kProtocol);
  // A field that promises more bytes than the frame has.
  EXPECT_EQ(ReadErrorOf(WithLength("\x2a\x7f"
                                   "abc")),
            ErrorCode::kProtocol);
}

TEST(Frames, DepthIsLimited) {
  Pipe pipe;
  WriteRaw(pipe.write, WithLength(Nested(15, kFrameRecursionMax)));
  link::WorkerFrame frame;
  EXPECT_TRUE(ReadFrame(pipe.read.get(), kForEver, &frame));
  EXPECT_EQ(ReadErrorOf(WithLength(Nested(15, kFrameRecursionMax + 2))), ErrorCode::kProtocol);
  EXPECT_EQ(ReadErrorOf(WithLength(Nested(15, 20'000))), ErrorCode::kProtocol);
}

TEST(Frames, ReadingEndsAtItsDeadline) {
  Pipe pipe;
  link::WorkerFrame frame;
  EXPECT_EQ(ReadFrame(pipe.read.get(), steady_clock::now(), &frame).error().code,
            ErrorCode::kCancelled);
  // Also in the middle of a frame.
  WriteRaw(pipe.write, std::string("\x00\x00\x00\x05"
                                   "ab",
                                   6));
  EXPECT_EQ(ReadFrame(pipe.read.get(), steady_clock::now() + std::chrono::milliseconds(20), &frame)
                .error()
                .code,
            ErrorCode::kCancelled);
}

TEST(Frames, WritingToAReaderThatSleepsEndsAtItsDeadline) {
  Pipe pipe;
  link::WorkerFrame frame;
  frame.mutable_message()->set_text(std::string(200'000, 'a'));
  EXPECT_EQ(
      WriteFrame(pipe.write.get(), frame, steady_clock::now() + std::chrono::milliseconds(20), -1)
          .error()
          .code,
      ErrorCode::kCancelled);
}

TEST(Frames, WaitingIsGivenUpOnRequest) {
  Pipe pipe;
  const testing::Fd cancel(eventfd(0, EFD_CLOEXEC));
  std::jthread other([&] {
    const std::uint64_t one = 1;
    EXPECT_EQ(write(cancel.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
  });
  link::WorkerFrame frame;
  EXPECT_EQ(ReadFrame(pipe.read.get(), kForEver, cancel.get(), &frame).error().code,
            ErrorCode::kCancelled);
}

TEST(Frames, WritingToNobodyIsAnErrorAndNoSignal) {
  IgnoreBrokenPipes();
  Pipe pipe;
  pipe.read.Reset();
  link::CoreFrame frame;
  frame.mutable_check();
  EXPECT_EQ(WriteFrame(pipe.write.get(), frame).error().code, ErrorCode::kIo);
}

TEST(Convert, InvalidUtf8IsReplacedAndTheRestKept) {
  EXPECT_EQ(ReplaceInvalidUtf8("caf\xc3\xa9 \xf0\x9f\x90\x9e"), "caf\xc3\xa9 \xf0\x9f\x90\x9e");
  EXPECT_EQ(ReplaceInvalidUtf8("a\xff"
                               "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(ReplaceInvalidUtf8("\xc0\xaf"), "\xEF\xBF\xBD\xEF\xBF\xBD");  // overlong
  EXPECT_EQ(ReplaceInvalidUtf8("\xed\xa0\x80"),                           // surrogate
            "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(ReplaceInvalidUtf8("\xf0\x9f\x90"), "\xEF\xBF\xBD");     // cut short
  EXPECT_EQ(ReplaceInvalidUtf8("\xf4\x90\x80\x80").size(), 4u * 3);  // past U+10FFFF
}

TEST(Convert, ErrorsCarryNoFreeTextIntoTheCore) {
  link::Failure failure;
  failure.set_code(ToString(ErrorCode::kPlatformRejected));
  failure.set_message("said \n{\"level\":\"x\"}");
  failure.set_field("a b");
  failure.set_platform_code("Invalid Request");
  failure.set_retry_at_ms(-1);
  failure.set_retry_after_ms(-5);
  auto error = DecodeFailure(failure);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->message, "the connector gave no usable reason");
  EXPECT_EQ(error->field, "");
  EXPECT_EQ(error->platform_code, "");
  EXPECT_FALSE(error->retry_at);
  EXPECT_FALSE(error->retry_after);

  failure.set_message(std::string(201, 'a'));
  EXPECT_EQ(DecodeFailure(failure)->message, "the connector gave no usable reason");
  failure.set_message("the app password lacks the direct message permission");
  failure.set_platform_code("InvalidToken");
  error = DecodeFailure(failure);
  EXPECT_EQ(error->message, "the app password lacks the direct message permission");
  EXPECT_EQ(error->platform_code, "InvalidToken");

  failure.set_code("sealed");  // not a connector's to report
  EXPECT_FALSE(DecodeFailure(failure));
  failure.set_code("");
  EXPECT_FALSE(DecodeFailure(failure));
}

TEST(Convert, OwnNamesAndPermissionsAreChecked) {
  // The lite runtime lets invalid UTF-8 in string fields pass.
  link::CheckDone done;
  done.set_own_handle("office.example");
  done.add_permissions_held("read");
  link::CheckDone good = done;
  EXPECT_TRUE(DecodeCheckDone(&good));
  link::CheckDone bad = done;
  bad.set_own_handle("\xc3\x28");
  EXPECT_EQ(DecodeCheckDone(&bad).error().code, ErrorCode::kProtocol);
  bad = done;
  bad.set_own_platform_id(std::string(513, 'a'));
  EXPECT_EQ(DecodeCheckDone(&bad).error().code, ErrorCode::kProtocol);
  bad = done;
  bad.add_permissions_missing("two\nlines");
  EXPECT_EQ(DecodeCheckDone(&bad).error().code, ErrorCode::kProtocol);
}

TEST(Convert, AReplyCarriesNoMoreThanAConversationHas) {
  connectors::OutgoingReply reply;
  reply.conversation = PlatformId("c");
  for (int i = 0; i < 60; ++i) {
    reply.recipients.push_back({.platform_id = PlatformId("p" + std::to_string(i))});
  }
  link::Send send = EncodeSend(reply);
  EXPECT_EQ(static_cast<std::size_t>(send.recipients_size()), kParticipantsMax);
  link::Send good = send;
  const auto decoded = DecodeSend(&good);
  ASSERT_TRUE(decoded);
  EXPECT_TRUE(decoded->in_reply_to.empty());
  EXPECT_EQ(decoded->recipients.size(), kParticipantsMax);

  link::Send many = send;
  many.add_recipients()->set_platform_id("one more");
  EXPECT_EQ(DecodeSend(&many).error().code, ErrorCode::kProtocol);
  link::Send nobody = send;
  nobody.mutable_recipients(0)->clear_platform_id();
  EXPECT_EQ(DecodeSend(&nobody).error().code, ErrorCode::kProtocol);
  for (const std::string& id : {std::string("\xff"), std::string(1025, 'm')}) {
    link::Send answers = send;
    answers.set_in_reply_to(id);
    EXPECT_EQ(DecodeSend(&answers).error().code, ErrorCode::kProtocol);
  }
}

TEST(Convert, AReplyIsWipedFromItsFrame) {
  link::CoreFrame frame;
  connectors::OutgoingReply reply;
  reply.conversation = PlatformId("c");
  reply.text = MessageBody("text");
  reply.in_reply_to = PlatformId("m");
  reply.recipients = {{PlatformId("p"), ContactHandle("h"), ContactHandle("n")}};
  *frame.mutable_send() = EncodeSend(reply);
  WipeRequest(&frame);
  EXPECT_TRUE(frame.send().text().empty());
  EXPECT_TRUE(frame.send().in_reply_to().empty());
  ASSERT_EQ(frame.send().recipients_size(), 1);
  EXPECT_TRUE(frame.send().recipients(0).platform_id().empty());
  EXPECT_TRUE(frame.send().recipients(0).handle().empty());
  EXPECT_TRUE(frame.send().recipients(0).display_name().empty());
}

TEST(Convert, ATimeThatNoCalendarHoldsIsNoTime) {
  for (const std::int64_t ms : {std::int64_t{-1}, INT64_MIN, INT64_MAX}) {
    link::PageMessage frame;
    frame.set_conversation("c");
    frame.set_id("m");
    frame.set_sender("s");
    frame.set_direction(1);
    frame.set_sent_at_ms(ms);
    const auto message = DecodeMessage(&frame);
    ASSERT_TRUE(message);
    EXPECT_FALSE(message->sent_at);
  }
}

}  // namespace
}  // namespace mayfly::service
