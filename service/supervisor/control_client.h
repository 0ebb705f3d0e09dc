// The core's end of the control descriptor: asks the supervisor for workers.
//
// It is also the only door through which a descriptor can come into the sandboxed core. The filter
// cannot see the address inside sendmsg, so a socket that would heed one must never get in: only
// pipes pass, whatever the message says.
#ifndef MAYFLY_SERVICE_SUPERVISOR_CONTROL_CLIENT_H_
#define MAYFLY_SERVICE_SUPERVISOR_CONTROL_CLIENT_H_

#include <cstdint>
#include <variant>

#include "service/link/worker_link.h"
#include "store/model/ids.h"
#include "store/model/result.h"

namespace mayfly::service {

// One thread reads (Next); any thread writes.
class ControlClient {
 public:
  explicit ControlClient(int fd);  // takes ownership
  ~ControlClient();
  ControlClient(const ControlClient&) = delete;
  ControlClient& operator=(const ControlClient&) = delete;

  Status StartWorker(AccountId account, std::uint64_t epoch);
  Status StopWorker(AccountId account, std::uint64_t epoch);  // kills it
  Status SayReady();
  Status AskKernelClock();  // answered by a KernelClock

  struct WorkerStarted {
    AccountId account;
    WorkerPipes pipes;
  };
  struct WorkerEnded {
    AccountId account;
    std::uint64_t epoch = 0;
    int exit_code = 0;
    int signal = 0;
  };
  struct DrainAsked {};
  struct ReloadAsked {};
  struct KernelClock {
    bool synchronised = false;
  };
  struct SupervisorGone {};
  struct Woken {};          // by Wake
  struct OtherReadable {};  // the descriptor that was given to Next
  using Event = std::variant<WorkerStarted, WorkerEnded, DrainAsked, ReloadAsked, KernelClock,
                             SupervisorGone, Woken, OtherReadable>;
  // Blocks; also until `other`, if it is 0 or more, can be read or has ended. kProtocol for a
  // message or descriptor that breaks the rules in control.proto: everything received is closed and
  // the core must end.
  Result<Event> Next(int other = -1);
  // From any thread: the reader's next or present Next returns Woken, once.
  void Wake();
  // From any thread: Next returns SupervisorGone, now and from then on.
  void Stop();

 private:
  int fd_;
  int wake_;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_SUPERVISOR_CONTROL_CLIENT_H_
