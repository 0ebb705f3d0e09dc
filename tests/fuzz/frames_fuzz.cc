// The link: a stream of frames as a broken or hostile process may write it. What is taken is
// within the rules of convert.h, left nothing readable in the frame, and travels unchanged from
// there on. The first byte says who speaks: even, a worker; odd, the core.
#include <chrono>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "link.pb.h"
#include "service/link/convert.h"
#include "service/link/frames.h"
#include "store/model/json.h"
#include "tests/fuzz/fuzz.h"

namespace mayfly::fuzz {
namespace {

using namespace service;

// A file in memory in the place of a pipe: never waits, and ends.
class Stream {
 public:
  Stream() : fd_(memfd_create("frames", MFD_CLOEXEC)) {
    Check(fd_ >= 0, "the fuzzer has a file in memory");
  }
  ~Stream() { close(fd_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  int fd() const { return fd_; }
  void Put(std::string_view bytes) {
    Check(write(fd_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()),
          "the fuzzer can write its input");
  }
  void Rewind() { Check(lseek(fd_, 0, SEEK_SET) == 0, "the fuzzer can read its input"); }

 private:
  int fd_;
};

std::string Bytes(const google::protobuf::MessageLite& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream output(&bytes);
    google::protobuf::io::CodedOutputStream coded(&output);
    coded.SetSerializationDeterministic(true);  // the options of Hello are a map
    Check(message.SerializeToCodedStream(&coded), "what was read can be written");
  }
  return bytes;
}

template <class Frame>
void CheckTravels(const Frame& frame) {
  Stream stream;
  Check(WriteFrame(stream.fd(), frame).has_value(), "a frame that was read can be sent on");
  stream.Rewind();
  Frame arrived;
  Check(ReadFrame(stream.fd(), std::chrono::steady_clock::time_point::max(), &arrived).has_value(),
        "a frame that was sent arrives");
  Check(Bytes(arrived) == Bytes(frame), "a frame arrives as it was sent");
}

void CheckId(const PlatformId& id) {
  Check(!id.empty() && id.size() <= kPlatformIdBytesMax, "ids have 1 to 1,024 bytes");
  Check(json::IsValidUtf8(id.Reveal()), "ids are valid UTF-8");
}

void CheckTime(const std::optional<TimePoint>& at) {
  if (!at) return;
  const auto ms = at->time_since_epoch().count();
  Check(ms >= 0 && ms <= 253'402'300'799'999, "claimed times lie in the years 1970 to 9999");
}

// Decoding what was decoded and encoded again gives the same: nothing is lost in a second pass.
// `encode` and `decode` as in convert.h; gives back what `frame` decodes to.
template <class Frame, class Decode, class Encode>
auto CheckSettled(Frame* frame, Decode decode, Encode encode) {
  auto decoded = decode(frame);
  if (!decoded) {
    Check(decoded.error().code == ErrorCode::kProtocol, "a refused frame breaks the protocol");
    return decoded;
  }
  const Frame once = encode(*decoded);
  Frame travelling = once;
  const auto again = decode(&travelling);
  Check(again.has_value() && Bytes(encode(*again)) == Bytes(once), "a second pass changes nothing");
  return decoded;
}

void CheckAnswer(link::PageConversation* frame) {
  const auto decoded = CheckSettled(frame, DecodeConversation, EncodeConversation);
  if (!decoded) return;
  CheckId(decoded->id);
  Check(decoded->participants.size() <= kParticipantsMax, "no more participants are taken");
  for (const Contact& contact : decoded->participants) {
    CheckId(contact.platform_id);
    Check(json::IsValidUtf8(contact.handle.Reveal()) &&
              json::IsValidUtf8(contact.display_name.Reveal()),
          "names are valid UTF-8");
  }
  for (const link::Participant& left : frame->participants()) {
    Check(left.handle().empty() && left.display_name().empty(), "no name stays in the frame");
  }
}

void CheckAnswer(link::PageMessage* frame) {
  const auto decoded = CheckSettled(frame, DecodeMessage, EncodeMessage);
  if (!decoded) return;
  CheckId(decoded->conversation);
  CheckId(decoded->id);
  if (!decoded->sender.empty()) CheckId(decoded->sender);
  CheckTime(decoded->sent_at);
  Check(json::IsValidUtf8(decoded->text.Reveal()), "texts are valid UTF-8");
  Check(frame->text().empty(), "no text stays in the frame");
}

void CheckAnswer(link::PageEdit* frame) {
  const auto decoded = CheckSettled(frame, DecodeEdit, EncodeEdit);
  if (!decoded) return;
  CheckId(decoded->conversation);
  CheckId(decoded->id);
  CheckTime(decoded->edited_at);
  Check(json::IsValidUtf8(decoded->text.Reveal()), "texts are valid UTF-8");
  Check(frame->text().empty(), "no text stays in the frame");
}

void CheckAnswer(link::PageWithdrawal* frame) {
  const auto decoded = CheckSettled(frame, DecodeWithdrawal, EncodeWithdrawal);
  if (!decoded) return;
  CheckId(decoded->conversation);
  CheckId(decoded->id);
}

void CheckAnswer(link::SentItem* frame) {
  const auto decoded = CheckSettled(frame, DecodeSentItem, EncodeSentItem);
  if (!decoded) return;
  CheckId(decoded->id);
  CheckTime(decoded->sent_at);
}

void CheckAnswer(link::CheckDone* frame) {
  const auto decoded = CheckSettled(frame, DecodeCheckDone, EncodeCheckDone);
  if (!decoded) return;
  Check(json::IsValidUtf8(decoded->own_platform_id) && json::IsValidUtf8(decoded->own_handle),
        "our own names are valid UTF-8");
}

void CheckFailure(const link::Failure& failure) {
  const std::optional<Error> error = DecodeFailure(failure);
  if (!error) return;
  for (const std::string* words : {&error->message, &error->field, &error->platform_code}) {
    Check(words->size() <= 200, "words of an error are short");
    for (const char c : *words) Check(c >= 0x20 && c <= 0x7e, "words of an error are printable");
  }
  CheckTime(error->retry_at);
  if (error->retry_after) Check(error->retry_after->count() >= 0, "nobody waits backwards");
  const std::optional<Error> again = DecodeFailure(EncodeFailure(*error));
  Check(again && Bytes(EncodeFailure(*again)) == Bytes(EncodeFailure(*error)),
        "a second pass changes nothing");
}

void CheckFrame(link::WorkerFrame* frame) {
  switch (frame->body_case()) {
    case link::WorkerFrame::kConversation:
      return CheckAnswer(frame->mutable_conversation());
    case link::WorkerFrame::kMessage:
      return CheckAnswer(frame->mutable_message());
    case link::WorkerFrame::kEdit:
      return CheckAnswer(frame->mutable_edit());
    case link::WorkerFrame::kWithdrawal:
      return CheckAnswer(frame->mutable_withdrawal());
    case link::WorkerFrame::kSent:
      return CheckAnswer(frame->mutable_sent());
    case link::WorkerFrame::kCheckDone:
      return CheckAnswer(frame->mutable_check_done());
    case link::WorkerFrame::kFailure:
      return CheckFailure(frame->failure());
    case link::WorkerFrame::kPageEnd: {
      connectors::Page page;
      DecodePageEnd(frame->mutable_page_end(), &page);
      Check(frame->page_end().next().empty(), "no position stays in the frame");
      return;
    }
    default:
      return;
  }
}

void CheckFrame(link::CoreFrame* frame) {
  switch (frame->body_case()) {
    case link::CoreFrame::kHello: {
      link::Hello* hello = frame->mutable_hello();
      const std::string platform = hello->platform();
      const connectors::ConnectorContext context = DecodeHello(hello);
      Check(hello->credential().empty(), "no credential stays in the frame");
      link::Hello again = EncodeHello(platform, context);
      Check(Bytes(EncodeHello(platform, DecodeHello(&again))) ==
                Bytes(EncodeHello(platform, context)),
            "a second pass changes nothing");
      break;
    }
    case link::CoreFrame::kFetch: {
      const connectors::FetchRequest request = DecodeFetch(frame->mutable_fetch());
      CheckTime(request.horizon);
      break;
    }
    case link::CoreFrame::kSend: {
      const auto reply = CheckSettled(frame->mutable_send(), DecodeSend, EncodeSend);
      if (!reply) break;
      CheckId(reply->conversation);
      if (!reply->in_reply_to.empty()) CheckId(reply->in_reply_to);
      for (const Contact& recipient : reply->recipients) CheckId(recipient.platform_id);
      Check(frame->send().text().empty(), "no text stays in the frame");
      break;
    }
    case link::CoreFrame::kFindSent: {
      const auto request = CheckSettled(frame->mutable_find_sent(), DecodeFindSent, EncodeFindSent);
      if (!request) break;
      CheckId(request->conversation);
      CheckTime(request->not_before);
      break;
    }
    default:
      break;
  }
  WipeRequest(frame);
  Check(frame->send().text().empty() && frame->find_sent().text().empty() &&
            frame->hello().credential().empty(),
        "a wiped request holds no secret");
}

template <class Frame>
void CheckStream(Stream& stream) {
  while (true) {
    Frame frame;
    const Status read =
        ReadFrame(stream.fd(), std::chrono::steady_clock::time_point::max(), &frame);
    if (!read) {
      const ErrorCode code = read.error().code;
      Check(code == ErrorCode::kUnavailable || code == ErrorCode::kIo ||
                code == ErrorCode::kTooLarge || code == ErrorCode::kProtocol,
            "a stream ends in one of four ways");
      Check(Bytes(frame).empty(), "nothing is taken from a frame that was refused");
      if (code != ErrorCode::kProtocol) return;
      continue;  // the bytes of that frame were used up; the next one must be readable
    }
    CheckTravels(frame);
    CheckFrame(&frame);
  }
}

}  // namespace
}  // namespace mayfly::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  if (size == 0) return 0;
  fuzz::Stream stream;
  stream.Put(fuzz::Text(data + 1, size - 1));
  stream.Rewind();
  if ((data[0] & 1) == 0) {
    fuzz::CheckStream<link::WorkerFrame>(stream);
  } else {
    fuzz::CheckStream<link::CoreFrame>(stream);
  }
  return 0;
}
