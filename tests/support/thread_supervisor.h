// A supervisor for tests of the core's side: takes the core's packets over a real control socket
// and runs each worker, the real worker loop, on a thread. It hands pipes over without the socket.
#ifndef MAYFLY_TESTS_SUPPORT_THREAD_SUPERVISOR_H_
#define MAYFLY_TESTS_SUPPORT_THREAD_SUPERVISOR_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <sys/socket.h>
#include <thread>
#include <utility>
#include <vector>

#include "control.pb.h"
#include "service/ingest/worker_pool.h"
#include "service/supervisor/control_client.h"
#include "service/worker/worker.h"
#include "tests/support/processes.h"

namespace mayfly::testing {

class ThreadSupervisor {
 public:
  explicit ThreadSupervisor(service::ConnectorMaker make) : make_(std::move(make)) {
    std::array<int, 2> ends{};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
    socket_ = Fd(ends[0]);
    client_ = std::make_unique<service::ControlClient>(ends[1]);
  }
  // The pool must have ended its links: each worker lives as long as its pipes.
  ~ThreadSupervisor() { Stop(); }

  service::ControlClient& client() { return *client_; }
  // Workers asked for, whether they live or not.
  std::uint64_t started() const { return started_; }

  // From here on requests are answered, to `pool`.
  void Serve(service::WorkerPool& pool) {
    thread_ = std::jthread([this, &pool] {
      std::array<char, 4096> packet;
      for (;;) {
        const ssize_t size = recv(socket_.get(), packet.data(), packet.size(), 0);
        if (size <= 0) return;
        control::ToSupervisor message;
        if (!message.ParseFromArray(packet.data(), static_cast<int>(size))) std::abort();
        // A worker that is to stop does so by itself: its link has been cut.
        if (message.has_start()) Start(pool, message.start());
      }
    });
  }
  void Stop() {
    client_->Stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Start(service::WorkerPool& pool, const control::StartWorker& asked) {
    Pipe to;
    Pipe from;
    const std::uint64_t epoch = asked.epoch();
    service::ControlClient::WorkerStarted started{
        .account = AccountId{asked.account()},
        .pipes = {to.write.Release(), from.read.Release(), epoch}};
    workers_.emplace_back(
        [this, epoch, in = std::move(to.read), out = std::move(from.write)]() mutable {
          service::RunWorker(in.get(), out.get(), epoch, make_);
          in.Reset();
          out.Reset();
        });
    ++started_;
    pool.OnStarted(std::move(started));
  }

  const service::ConnectorMaker make_;
  Fd socket_;
  std::unique_ptr<service::ControlClient> client_;
  std::atomic<std::uint64_t> started_{0};
  std::vector<std::jthread> workers_;  // the serving thread's, then the destructor's
  std::jthread thread_;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_THREAD_SUPERVISOR_H_
