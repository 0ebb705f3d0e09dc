#include "service/worker/worker.h"

#include <cerrno>
#include <chrono>
#include <exception>
#include <optional>
#include <poll.h>
#include <stop_token>
#include <string>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "link.pb.h"
#include "service/link/convert.h"
#include "service/link/frames.h"

namespace mayfly::service {
namespace {

constexpr int kExitClean = 0;
constexpr int kExitProtocol = 70;  // EX_SOFTWARE
constexpr auto kForEver = std::chrono::steady_clock::time_point::max();

// Asks `stop` to stop when the other end of `fd` is closed. Reads nothing.
class EndWatch {
 public:
  EndWatch(int fd, std::stop_source stop) : done_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (done_fd_ < 0) return;
    thread_ = std::jthread([fd, done = done_fd_, stop = std::move(stop)]() mutable {
      for (;;) {
        // No events asked for: data that waits does not wake, a hang-up does.
        pollfd fds[2] = {{fd, 0, 0}, {done, POLLIN, 0}};
        const int ready = poll(fds, 2, -1);
        if (ready < 0 && errno == EINTR) continue;
        if (ready < 0 || fds[1].revents != 0) return;
        if (fds[0].revents != 0) {
          stop.request_stop();
          return;
        }
      }
    });
  }
  ~EndWatch() {
    if (done_fd_ < 0) return;
    const std::uint64_t one = 1;
    if (write(done_fd_, &one, sizeof one) != sizeof one) std::terminate();  // cannot happen: empty
    thread_.join();
    close(done_fd_);
  }
  EndWatch(const EndWatch&) = delete;
  EndWatch& operator=(const EndWatch&) = delete;
  bool running() const { return done_fd_ >= 0; }

 private:
  int done_fd_;
  std::jthread thread_;
};

class Worker {
 public:
  Worker(int from_core, int to_core, std::uint64_t epoch, const ConnectorMaker& make,
         const WorkerSandboxState& sandbox)
      : from_core_(from_core), to_core_(to_core), epoch_(epoch), make_(make), sandbox_(sandbox) {}

  int Run() {
    IgnoreBrokenPipes();
    EndWatch watch(from_core_, stop_);
    if (!watch.running()) return kExitProtocol;
    while (!exit_code_) {
      link::CoreFrame frame;
      if (const Status read = ReadFrame(from_core_, kForEver, &frame); !read) {
        Leave(read.error());
        break;
      }
      if (frame.epoch() != epoch_) continue;  // meant for another incarnation
      request_ = frame.request();
      Serve(&frame);
    }
    connector_.reset();
    return exit_code_.value_or(kExitClean);
  }

 private:
  // The end of the core is a clean end of ours, wherever it is noticed.
  void Leave(const Error& error) {
    const bool broke_rules =
        error.code == ErrorCode::kProtocol || error.code == ErrorCode::kTooLarge;
    if (!exit_code_) exit_code_ = broke_rules ? kExitProtocol : kExitClean;
  }
  void LeaveAsBroken() { exit_code_ = kExitProtocol; }

  void Serve(link::CoreFrame* frame) {
    if (frame->has_hello() == greeted_) {  // not first, or twice
      LeaveAsBroken();
      return;
    }
    if (!greeted_) {
      Greet(frame->mutable_hello());
      return;
    }
    if (!connector_) {
      Answer(*refusal_);
      return;
    }
    switch (frame->body_case()) {
      case link::CoreFrame::kFetch:
        return Fetch(frame->mutable_fetch());
      case link::CoreFrame::kSend:
        return Send(frame->mutable_send());
      case link::CoreFrame::kFindSent:
        return FindSent(frame->mutable_find_sent());
      case link::CoreFrame::kCheck:
        return Check();
      default:
        LeaveAsBroken();
    }
  }

  void Greet(link::Hello* hello) {
    greeted_ = true;
    connectors::ConnectorContext context = DecodeHello(hello);
    context.renew = [this](const Credential& renewed) { return Renew(renewed); };
    context.platform_time = [this](TimePoint said) {
      platform_time_ = PlatformTime{said, std::chrono::steady_clock::now()};
    };
    auto made = Guarded<std::unique_ptr<connectors::Connector>>(
        ErrorCode::kInternal, [&] { return make_(hello->platform(), context); });
    if (!made) {
      refusal_ = std::move(made).error();
      // Of the account, not of a request: it will be no better the next time.
      if (refusal_->code == ErrorCode::kInvalidArgument)
        refusal_->code = ErrorCode::kOptionUnusable;
      Answer(*refusal_);
      return;
    }
    connector_ = *std::move(made);
    link::WorkerFrame answer;
    answer.mutable_ready()->set_landlock(sandbox_.landlock);
    answer.mutable_ready()->set_landlock_abi(sandbox_.landlock_abi);
    Answer(&answer);
  }

  void Fetch(link::Fetch* fetch) {
    const connectors::FetchRequest request = DecodeFetch(fetch);
    const auto page = Guarded<connectors::Page>(
        ErrorCode::kInternal, [&] { return connector_->Fetch(request, stop_.get_token()); });
    if (!page) return Answer(page.error());
    // One frame each. Should one not fit, Failure follows and the core drops what came before it.
    for (const auto& conversation : page->conversations) {
      link::WorkerFrame frame;
      *frame.mutable_conversation() = EncodeConversation(conversation);
      if (!Answer(&frame)) return;
    }
    for (const auto& message : page->messages) {
      link::WorkerFrame frame;
      *frame.mutable_message() = EncodeMessage(message);
      if (!Answer(&frame)) return;
    }
    for (const auto& edit : page->edits) {
      link::WorkerFrame frame;
      *frame.mutable_edit() = EncodeEdit(edit);
      if (!Answer(&frame)) return;
    }
    for (const auto& withdrawal : page->withdrawals) {
      link::WorkerFrame frame;
      *frame.mutable_withdrawal() = EncodeWithdrawal(withdrawal);
      if (!Answer(&frame)) return;
    }
    link::WorkerFrame end;
    *end.mutable_page_end() = EncodePageEnd(*page);
    Answer(&end);
  }

  void Send(link::Send* send) {
    const auto reply = DecodeSend(send);
    if (!reply) return LeaveAsBroken();
    // Where the connector throws, nobody knows how far it came.
    const auto sent = Guarded<connectors::SentReply>(
        ErrorCode::kOutcomeUnknown, [&] { return connector_->Send(*reply, stop_.get_token()); });
    if (!sent) return Answer(sent.error());
    if (sent->id.empty() || sent->id.size() > kPlatformIdBytesMax) {
      return Answer(Error{.code = ErrorCode::kOutcomeUnknown,
                          .message = "the platform gave the sent message no usable id"});
    }
    link::WorkerFrame answer;
    *answer.mutable_sent() = EncodeSentItem(*sent);
    Answer(&answer);
  }

  void FindSent(link::FindSent* find) {
    const auto request = DecodeFindSent(find);
    if (!request) return LeaveAsBroken();
    const auto found = Guarded<std::vector<connectors::SentReply>>(
        ErrorCode::kInternal, [&] { return connector_->FindSent(*request, stop_.get_token()); });
    if (!found) return Answer(found.error());
    for (const connectors::SentReply& sent : *found) {
      link::WorkerFrame frame;
      *frame.mutable_sent() = EncodeSentItem(sent);
      if (!Answer(&frame)) return;
    }
    link::WorkerFrame end;
    end.mutable_find_sent_end();
    Answer(&end);
  }

  void Check() {
    const auto report = Guarded<connectors::CheckReport>(
        ErrorCode::kInternal, [&] { return connector_->Check(stop_.get_token()); });
    if (!report) return Answer(report.error());
    link::WorkerFrame answer;
    *answer.mutable_check_done() = EncodeCheckDone(*report);
    Answer(&answer);
  }

  // The connector's sink: hands the credential to the core and waits until it is stored there.
  Status Renew(const Credential& renewed) {
    if (exit_code_) return Fail(ErrorCode::kUnavailable, "the link has ended");
    link::WorkerFrame frame;
    frame.mutable_credential_renewed()->set_credential(renewed.Reveal());
    const bool written = Answer(&frame);
    WipeString(*frame.mutable_credential_renewed()->mutable_credential());
    if (!written) return Fail(ErrorCode::kIo, "a renewed credential could not be handed over");
    for (;;) {
      link::CoreFrame answer;
      // No deadline of its own: the core has one for the whole request and then closes the pipe.
      if (const Status read = ReadFrame(from_core_, kForEver, &answer); !read) {
        Leave(read.error());
        return Fail(ErrorCode::kIo, "a renewed credential was not stored");
      }
      if (answer.epoch() != epoch_) continue;
      if (answer.request() != request_ || !answer.has_credential_stored()) {
        LeaveAsBroken();
        return Fail(ErrorCode::kProtocol, "the core answered something else");
      }
      return {};
    }
  }

  // Runs a connector's code; no exception of a library passes.
  template <class T, class Body>
  static Result<T> Guarded(ErrorCode thrown, const Body& body) {
    try {
      return body();
    } catch (...) {
      return Fail(thrown, "the connector failed unexpectedly");
    }
  }

  void Answer(const Error& error) {
    link::WorkerFrame frame;
    *frame.mutable_failure() = EncodeFailure(error);
    Answer(&frame);
  }

  static bool EndsAnswer(const link::WorkerFrame& frame) {
    return frame.has_page_end() || frame.has_sent() || frame.has_find_sent_end() ||
           frame.has_check_done() || frame.has_failure();
  }

  // False when nothing more may be written for this request.
  bool Answer(link::WorkerFrame* frame) {
    if (exit_code_) return false;
    frame->set_epoch(epoch_);
    frame->set_request(request_);
    if (platform_time_) {
      const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(
          std::chrono::steady_clock::now() - platform_time_->heard_at);
      frame->set_platform_time_ms((platform_time_->said + age).time_since_epoch().count());
      platform_time_.reset();
    }
    if (EndsAnswer(*frame) && connector_ != nullptr) {
      if (const auto budget = connector_->budget()) {
        *frame->mutable_budget() = EncodeBudget(*budget);
      }
    }
    const Status written = WriteFrame(to_core_, *frame);
    if (written) return true;
    if (written.error().code == ErrorCode::kTooLarge && !frame->has_failure()) {
      Answer(written.error());
      return false;
    }
    exit_code_ = written.error().code == ErrorCode::kTooLarge ? kExitProtocol : kExitClean;
    return false;
  }

  struct PlatformTime {
    TimePoint said;
    std::chrono::steady_clock::time_point heard_at;
  };

  const int from_core_;
  const int to_core_;
  const std::uint64_t epoch_;
  const ConnectorMaker& make_;
  const WorkerSandboxState sandbox_;
  std::stop_source stop_;
  bool greeted_ = false;
  std::uint64_t request_ = 0;
  std::unique_ptr<connectors::Connector> connector_;
  std::optional<PlatformTime> platform_time_;  // not passed on yet
  std::optional<Error> refusal_;
  std::optional<int> exit_code_;
};

}  // namespace

int RunWorker(int from_core, int to_core, std::uint64_t epoch, const ConnectorMaker& make,
              const WorkerSandboxState& sandbox) {
  return Worker(from_core, to_core, epoch, make, sandbox).Run();
}

}  // namespace mayfly::service
