#include "service/link/worker_link.h"

#include <atomic>
#include <fcntl.h>
#include <optional>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

#include "link.pb.h"
#include "service/link/convert.h"
#include "service/link/frames.h"

namespace mayfly::service {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

void CloseIfOpen(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

}  // namespace

struct WorkerLink::Impl {
  Impl(WorkerPipes pipes, connectors::CredentialSink renew, const LinkLimits& limits,
       std::function<void(TimePoint)> platform_time)
      : pipes_(pipes),
        renew_(std::move(renew)),
        limits_(limits),
        platform_time_(std::move(platform_time)) {
    IgnoreBrokenPipes();
    abort_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (abort_fd_ < 0) Break();
  }

  ~Impl() {
    ClosePipes();
    CloseIfOpen(&abort_fd_);
  }

  // One call from request to answer. `take` is given each answer that is meant for this call and
  // says whether the call is complete; its errors break the link. Returns nothing, or the Error
  // that the connector reported, or the one for a broken link.
  template <class Take>
  Status Call(link::CoreFrame request, bool is_send, const Take& take) MAYFLY_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (broken()) {
      ClosePipes();  // after an Abort between two calls
      WipeRequest(&request);
      return Fail(ErrorCode::kPlatformUnavailable, "the worker of this account is not there");
    }
    const SteadyTime deadline = std::chrono::steady_clock::now() + limits_.request_deadline;
    const std::uint64_t number = ++request_;
    request.set_epoch(pipes_.epoch);
    request.set_request(number);
    const Status written = WriteFrame(pipes_.to_worker, request, deadline, abort_fd_);
    WipeRequest(&request);
    if (!written) {
      if (written.error().code == ErrorCode::kTooLarge) return Fail(written.error());
      // A frame that did not arrive whole is never acted upon: for Send, too, nothing happened.
      Break();
      return Fail(ErrorCode::kPlatformUnavailable, "the worker did not take the request");
    }

    std::optional<Error> reported;
    const Status answered = Await(number, deadline, take, &reported);
    if (!answered) {
      Break();
      return Fail(is_send ? ErrorCode::kOutcomeUnknown : ErrorCode::kPlatformUnavailable,
                  answered.error().message);
    }
    if (reported) return Fail(*std::move(reported));
    return {};
  }

  // Reads until the call is complete. An error means that the stream cannot be trusted any more.
  template <class Take>
  Status Await(std::uint64_t number, SteadyTime deadline, const Take& take,
               std::optional<Error>* reported) MAYFLY_REQUIRES(mutex_) {
    std::size_t stale = 0;
    std::size_t renewals = 0;
    for (;;) {
      link::WorkerFrame frame;
      if (Status read = ReadFrame(pipes_.from_worker, deadline, abort_fd_, &frame); !read) {
        return Fail(ErrorCode::kProtocol, Describe(read.error().code));
      }
      if (frame.epoch() != pipes_.epoch || frame.request() != number) {
        if (++stale > limits_.stale_frames_max) {
          return Fail(ErrorCode::kProtocol, "the worker sent too much that nobody asked for");
        }
        continue;
      }
      if (frame.has_platform_time_ms()) {
        const auto said = DecodePlatformTime(frame.platform_time_ms());
        if (!said) return Fail(ErrorCode::kProtocol, "the worker named a time that is none");
        if (platform_time_) platform_time_(*said);
      }
      if (frame.has_budget()) NoteBudget(DecodeBudget(frame.budget()));
      if (frame.has_credential_renewed()) {
        if (++renewals > limits_.renewals_max) {
          return Fail(ErrorCode::kProtocol, "the worker renewed its credential too often");
        }
        MAYFLY_RETURN_IF_ERROR(Renew(number, deadline, frame.mutable_credential_renewed()));
        continue;
      }
      if (frame.has_failure()) {
        *reported = DecodeFailure(frame.failure());
        if (!*reported) {
          return Fail(ErrorCode::kProtocol, "the worker reported an error that is not its own");
        }
        return {};
      }
      MAYFLY_ASSIGN_OR_RETURN(const bool complete, take(&frame));
      if (complete) return {};
    }
  }

  Status Renew(std::uint64_t number, SteadyTime deadline, link::CredentialRenewed* renewed)
      MAYFLY_REQUIRES(mutex_) {
    std::string* bytes = renewed->mutable_credential();
    if (bytes->empty() || bytes->size() > kCredentialBytesMax || !renew_) {
      WipeString(*bytes);
      return Fail(ErrorCode::kProtocol, "the worker sent an unusable credential");
    }
    const Credential credential(std::move(*bytes));
    if (const Status stored = renew_(credential); !stored) {
      return Fail(ErrorCode::kIo, "a renewed credential could not be stored");
    }
    link::CoreFrame answer;
    answer.set_epoch(pipes_.epoch);
    answer.set_request(number);
    answer.mutable_credential_stored();
    return WriteFrame(pipes_.to_worker, answer, deadline, abort_fd_);
  }

  static const char* Describe(ErrorCode code) {
    switch (code) {
      case ErrorCode::kUnavailable:
        return "the worker ended before it answered";
      case ErrorCode::kCancelled:
        return "the worker did not answer in time";
      case ErrorCode::kTooLarge:
        return "the worker sent a frame that is too large";
      case ErrorCode::kProtocol:
        return "the worker sent a frame that breaks the schema";
      default:
        return "the link to the worker failed";
    }
  }

  // The worker sees the end of its pipe and ends; what it still writes reaches nobody.
  void Break() {
    broken_.store(true);
    ClosePipes();
  }

  void ClosePipes() {
    CloseIfOpen(&pipes_.to_worker);
    CloseIfOpen(&pipes_.from_worker);
  }

  void Abort() {
    broken_.store(true);
    const std::uint64_t one = 1;
    // The counter of an eventfd cannot be full after two aborts, so there is nothing to retry.
    if (abort_fd_ >= 0 && write(abort_fd_, &one, sizeof one) < 0) return;
  }

  bool broken() const { return broken_.load(); }

  void NoteBudget(std::optional<connectors::PlatformBudget> budget) {
    const MutexLock lock(budget_mutex_);
    if (budget) budget_ = budget;
  }
  std::optional<connectors::PlatformBudget> budget() const {
    const MutexLock lock(budget_mutex_);
    return budget_;
  }

  Mutex mutex_;  // held for a whole call
  WorkerPipes pipes_;
  const connectors::CredentialSink renew_;
  const LinkLimits limits_;
  const std::function<void(TimePoint)> platform_time_;
  int abort_fd_ = -1;
  std::uint64_t request_ MAYFLY_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> broken_{false};
  mutable Mutex budget_mutex_;  // not held while anything is waited for
  std::optional<connectors::PlatformBudget> budget_ MAYFLY_GUARDED_BY(budget_mutex_);
};

WorkerLink::WorkerLink(WorkerPipes pipes, connectors::CredentialSink renew,
                       const LinkLimits& limits, std::function<void(TimePoint)> platform_time)
    : impl_(std::make_unique<Impl>(pipes, std::move(renew), limits, std::move(platform_time))) {}

WorkerLink::~WorkerLink() = default;

Result<WorkerLink::Sandbox> WorkerLink::Hello(const std::string& platform,
                                              const connectors::ConnectorContext& context) {
  link::CoreFrame request;
  *request.mutable_hello() = EncodeHello(platform, context);
  Sandbox sandbox;
  MAYFLY_RETURN_IF_ERROR(
      impl_->Call(std::move(request), false, [&](link::WorkerFrame* frame) -> Result<bool> {
        if (!frame->has_ready()) {
          return Fail(ErrorCode::kProtocol, "the worker answered something else");
        }
        sandbox.landlock = frame->ready().landlock();
        sandbox.landlock_abi = frame->ready().landlock_abi();
        return true;
      }));
  return sandbox;
}

Result<connectors::Page> WorkerLink::Fetch(const connectors::FetchRequest& fetch) {
  const LinkLimits& limits = impl_->limits_;
  link::CoreFrame request;
  *request.mutable_fetch() = EncodeFetch(fetch);
  connectors::Page page;
  std::size_t page_bytes = 0;
  const auto take = [&](link::WorkerFrame* frame) -> Result<bool> {
    page_bytes += frame->ByteSizeLong();
    if (page_bytes > limits.page_bytes_max) {
      return Fail(ErrorCode::kTooLarge, "the worker sent a page that is too large");
    }
    switch (frame->body_case()) {
      case link::WorkerFrame::kConversation: {
        if (page.conversations.size() >= limits.conversations_max) break;
        MAYFLY_ASSIGN_OR_RETURN(auto item, DecodeConversation(frame->mutable_conversation()));
        page.conversations.push_back(std::move(item));
        return false;
      }
      case link::WorkerFrame::kMessage: {
        if (page.messages.size() >= limits.messages_max) break;
        MAYFLY_ASSIGN_OR_RETURN(auto item, DecodeMessage(frame->mutable_message()));
        page.messages.push_back(std::move(item));
        return false;
      }
      case link::WorkerFrame::kEdit: {
        if (page.edits.size() >= limits.edits_max) break;
        MAYFLY_ASSIGN_OR_RETURN(auto item, DecodeEdit(frame->mutable_edit()));
        page.edits.push_back(std::move(item));
        return false;
      }
      case link::WorkerFrame::kWithdrawal: {
        if (page.withdrawals.size() >= limits.messages_max) break;
        MAYFLY_ASSIGN_OR_RETURN(auto item, DecodeWithdrawal(frame->mutable_withdrawal()));
        page.withdrawals.push_back(std::move(item));
        return false;
      }
      case link::WorkerFrame::kPageEnd:
        if (frame->page_end().next().size() > limits.cursor_bytes_max) {
          return Fail(ErrorCode::kTooLarge, "the worker sent a cursor that is too large");
        }
        DecodePageEnd(frame->mutable_page_end(), &page);
        return true;
      default:
        return Fail(ErrorCode::kProtocol, "the worker answered something else");
    }
    return Fail(ErrorCode::kTooLarge, "the worker sent more in a page than is allowed");
  };
  MAYFLY_RETURN_IF_ERROR(impl_->Call(std::move(request), false, take));
  return page;
}

Result<connectors::SentReply> WorkerLink::Send(const connectors::OutgoingReply& reply) {
  link::CoreFrame request;
  *request.mutable_send() = EncodeSend(reply);
  connectors::SentReply sent;
  const auto take = [&](link::WorkerFrame* frame) -> Result<bool> {
    if (!frame->has_sent()) {
      return Fail(ErrorCode::kProtocol, "the worker answered something else");
    }
    MAYFLY_ASSIGN_OR_RETURN(sent, DecodeSentItem(frame->mutable_sent()));
    return true;
  };
  MAYFLY_RETURN_IF_ERROR(impl_->Call(std::move(request), true, take));
  return sent;
}

Result<std::vector<connectors::SentReply>> WorkerLink::FindSent(
    const connectors::FindSentRequest& find) {
  link::CoreFrame request;
  *request.mutable_find_sent() = EncodeFindSent(find);
  std::vector<connectors::SentReply> found;
  const auto take = [&](link::WorkerFrame* frame) -> Result<bool> {
    if (frame->has_find_sent_end()) return true;
    if (!frame->has_sent()) {
      return Fail(ErrorCode::kProtocol, "the worker answered something else");
    }
    if (found.size() >= impl_->limits_.found_max) {
      return Fail(ErrorCode::kTooLarge, "the worker found more than is allowed");
    }
    MAYFLY_ASSIGN_OR_RETURN(auto item, DecodeSentItem(frame->mutable_sent()));
    found.push_back(std::move(item));
    return false;
  };
  MAYFLY_RETURN_IF_ERROR(impl_->Call(std::move(request), false, take));
  return found;
}

Result<connectors::CheckReport> WorkerLink::Check() {
  link::CoreFrame request;
  request.mutable_check();
  connectors::CheckReport report;
  const auto take = [&](link::WorkerFrame* frame) -> Result<bool> {
    if (!frame->has_check_done()) {
      return Fail(ErrorCode::kProtocol, "the worker answered something else");
    }
    MAYFLY_ASSIGN_OR_RETURN(report, DecodeCheckDone(frame->mutable_check_done()));
    return true;
  };
  MAYFLY_RETURN_IF_ERROR(impl_->Call(std::move(request), false, take));
  return report;
}

std::optional<connectors::PlatformBudget> WorkerLink::budget() const { return impl_->budget(); }

bool WorkerLink::broken() const { return impl_->broken(); }

void WorkerLink::Abort() { impl_->Abort(); }

}  // namespace mayfly::service
