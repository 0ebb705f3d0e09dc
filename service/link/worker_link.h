// The core's end of one worker: a Connector over two pipes.
#ifndef MAYFLY_SERVICE_LINK_WORKER_LINK_H_
#define MAYFLY_SERVICE_LINK_WORKER_LINK_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "connectors/connector.h"
#include "store/model/actor.h"
#include "store/model/ids.h"
#include "store/model/mutex.h"

namespace mayfly::service {

// What a worker may hand over in one page; more ends the worker as hostile.
struct LinkLimits {
  std::size_t messages_max = 2'000;
  std::size_t conversations_max = 2'000;
  std::size_t edits_max = 2'000;
  std::size_t page_bytes_max = 8u << 20;
  std::size_t cursor_bytes_max = 16u << 10;
  std::size_t found_max = 100;   // items of one FindSent
  std::size_t renewals_max = 4;  // renewed credentials in one request
  std::size_t stale_frames_max =
      1'000;  // frames of another epoch or request, dropped, in one request
  std::chrono::milliseconds request_deadline{90'000};
};

struct WorkerPipes {
  int to_worker = -1;    // owned
  int from_worker = -1;  // owned
  std::uint64_t epoch = 0;
};

// Thread-safe: calls wait for each other, one is under way at a time. Any error that breaks the
// frame stream (kProtocol, kTooLarge, kIo, deadline) closes the link for good: `broken()` turns
// true and the caller asks the supervisor to replace the worker. A broken stream during Send is
// kOutcomeUnknown, once the request was handed over whole; in all other calls it is
// kPlatformUnavailable. An Error that the connector itself reported is returned as it is and breaks
// nothing.
class WorkerLink {
 public:
  // `renew` is called on the thread of the call under way and must have synced when it returns.
  // When it fails the link breaks: the worker never uses a credential that is not kept.
  // `platform_time`, if any, is told what the platform says the time is, on that thread too.
  WorkerLink(WorkerPipes pipes, connectors::CredentialSink renew, const LinkLimits& limits = {},
             std::function<void(TimePoint)> platform_time = {});
  ~WorkerLink();  // closes the pipes; the worker then ends

  struct Sandbox {
    bool landlock = false;
    std::uint32_t landlock_abi = 0;
  };
  Result<Sandbox> Hello(const std::string& platform, const connectors::ConnectorContext& context);
  Result<connectors::Page> Fetch(const connectors::FetchRequest& request);
  Result<connectors::SentReply> Send(const connectors::OutgoingReply& reply);
  Result<std::vector<connectors::SentReply>> FindSent(const connectors::FindSentRequest& request);
  Result<connectors::CheckReport> Check();
  // What the platform last said of the account's budget there, with any answer on this link. Any
  // thread; waits for nobody.
  std::optional<connectors::PlatformBudget> budget() const;
  bool broken() const;
  // From any thread: makes the call under way fail soon and all later ones at once.
  void Abort();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_LINK_WORKER_LINK_H_
