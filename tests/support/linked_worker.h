// The core's end of a link with the real worker loop at its other end, on a thread of the test.
#ifndef MAYFLY_TESTS_SUPPORT_LINKED_WORKER_H_
#define MAYFLY_TESTS_SUPPORT_LINKED_WORKER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "service/link/worker_link.h"
#include "service/worker/worker.h"
#include "tests/support/fake_connector.h"
#include "tests/support/processes.h"

namespace mayfly::testing {

inline constexpr std::uint64_t kEpoch = 41;

inline connectors::CredentialSink NoRenewal() {
  return [](const Credential&) -> Status {
    ADD_FAILURE() << "a credential came that nobody asked for";
    return {};
  };
}

class LinkedWorker {
 public:
  explicit LinkedWorker(service::ConnectorMaker make,
                        connectors::CredentialSink renew = NoRenewal(),
                        const service::LinkLimits& limits = {}) {
    Pipe to;
    Pipe from;
    link_ = std::make_unique<service::WorkerLink>(
        service::WorkerPipes{to.write.Release(), from.read.Release(), kEpoch}, std::move(renew),
        limits);
    thread_ = std::jthread([this, in = std::move(to.read), out = std::move(from.write),
                            make = std::move(make)]() mutable {
      exit_code_ =
          service::RunWorker(in.get(), out.get(), kEpoch, make,
                             service::WorkerSandboxState{.landlock = true, .landlock_abi = 6});
      in.Reset();
      out.Reset();
    });
  }
  // Ends the link, then the worker, and says how it ended.
  int Close() {
    link_.reset();
    if (thread_.joinable()) thread_.join();
    return exit_code_;
  }
  ~LinkedWorker() { Close(); }
  service::WorkerLink& link() { return *link_; }

 private:
  std::unique_ptr<service::WorkerLink> link_;
  std::jthread thread_;
  std::atomic<int> exit_code_{-1};
};

// A maker that hands out one connector, prepared by the test.
inline service::ConnectorMaker Make(
    const std::function<void(FakeConnector&, const connectors::ConnectorContext&)>& prepare) {
  return [prepare](std::string_view, const connectors::ConnectorContext& context)
             -> Result<std::unique_ptr<connectors::Connector>> {
    auto connector = std::make_unique<FakeConnector>();
    prepare(*connector, context);
    return Result<std::unique_ptr<connectors::Connector>>(std::move(connector));
  };
}

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_LINKED_WORKER_H_
