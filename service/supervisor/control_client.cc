#include "service/supervisor/control_client.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "control.pb.h"

namespace mayfly::service {
namespace {

constexpr std::size_t kPacketBytesMax = 4096;
// SCM_MAX_FD of the kernel: room for all that one packet can carry, so that all of it can be
// closed.
constexpr std::size_t kDescriptorsMax = 253;

// Descriptors that arrived; closed unless released.
class Received {
 public:
  Received() = default;
  ~Received() {
    for (const int fd : fds_) close(fd);
  }
  Received(const Received&) = delete;
  Received& operator=(const Received&) = delete;
  void Add(int fd) { fds_.push_back(fd); }
  const std::vector<int>& fds() const { return fds_; }
  void Release() { fds_.clear(); }

 private:
  std::vector<int> fds_;
};

// A pipe, opened for exactly this direction.
bool IsPipe(int fd, int access_mode) {
  struct stat status = {};
  if (fstat(fd, &status) != 0 || !S_ISFIFO(status.st_mode)) return false;
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_ACCMODE) == access_mode;
}

Status SendPacket(int fd, const control::ToSupervisor& message) {
  const std::string packet = message.SerializeAsString();
  for (;;) {
    const ssize_t sent = send(fd, packet.data(), packet.size(), MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(packet.size())) return {};
    if (sent < 0 && errno == EINTR) continue;
    return Fail(ErrorCode::kUnavailable, "the supervisor is gone");
  }
}

}  // namespace

ControlClient::ControlClient(int fd) : fd_(fd), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

ControlClient::~ControlClient() {
  close(fd_);
  if (wake_ >= 0) close(wake_);
}

void ControlClient::Wake() {
  // It can only fail when 2^64 calls were not heeded.
  static_cast<void>(eventfd_write(wake_, 1));
}

Status ControlClient::StartWorker(AccountId account, std::uint64_t epoch) {
  control::ToSupervisor message;
  message.mutable_start()->set_account(account.value);
  message.mutable_start()->set_epoch(epoch);
  return SendPacket(fd_, message);
}

Status ControlClient::StopWorker(AccountId account, std::uint64_t epoch) {
  control::ToSupervisor message;
  message.mutable_stop()->set_account(account.value);
  message.mutable_stop()->set_epoch(epoch);
  return SendPacket(fd_, message);
}

Status ControlClient::SayReady() {
  control::ToSupervisor message;
  message.mutable_ready();
  return SendPacket(fd_, message);
}

Status ControlClient::AskKernelClock() {
  control::ToSupervisor message;
  message.mutable_ask_kernel_clock();
  return SendPacket(fd_, message);
}

void ControlClient::Stop() { shutdown(fd_, SHUT_RDWR); }

Result<ControlClient::Event> ControlClient::Next(int other) {
  // What the supervisor says comes first.
  std::array<pollfd, 3> wait = {pollfd{fd_, POLLIN, 0}, pollfd{wake_, POLLIN, 0},
                                pollfd{other, POLLIN, 0}};
  while (poll(wait.data(), wait.size(), -1) < 0) {
    if (errno != EINTR) return Fail(ErrorCode::kIo, "the control descriptor cannot be watched");
  }
  if (wait[0].revents == 0) {
    eventfd_t times = 0;
    if (wait[1].revents != 0 && eventfd_read(wake_, &times) == 0) return Event(Woken{});
    return Event(OtherReadable{});
  }
  std::array<char, kPacketBytesMax> packet;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kDescriptorsMax * sizeof(int))> ancillary;
  iovec part = {packet.data(), packet.size()};
  msghdr header = {};
  ssize_t size = 0;
  do {
    header = {};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = ancillary.data();
    header.msg_controllen = ancillary.size();
    size = recvmsg(fd_, &header, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) {
    if (errno == ECONNRESET || errno == EPIPE) return Event(SupervisorGone{});
    return Fail(ErrorCode::kIo, "the control descriptor cannot be read");
  }

  // First of all, hold what arrived: from here every way out closes it.
  Received received;
  bool foreign = false;
  for (cmsghdr* part_of = CMSG_FIRSTHDR(&header); part_of != nullptr;
       part_of = CMSG_NXTHDR(&header, part_of)) {
    if (part_of->cmsg_level != SOL_SOCKET || part_of->cmsg_type != SCM_RIGHTS) {
      foreign = true;
      continue;
    }
    const std::size_t count = (part_of->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part_of) + i * sizeof(int), sizeof fd);
      received.Add(fd);
    }
  }
  if (foreign || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return Fail(ErrorCode::kProtocol, "a control message does not have its form");
  }
  if (size == 0) {
    if (!received.fds().empty()) {
      return Fail(ErrorCode::kProtocol, "a control message does not have its form");
    }
    return Event(SupervisorGone{});
  }

  control::ToCore message;
  if (!message.ParseFromArray(packet.data(), static_cast<int>(size))) {
    return Fail(ErrorCode::kProtocol, "a control message does not have its form");
  }
  if (!message.has_started() && !received.fds().empty()) {
    return Fail(ErrorCode::kProtocol, "descriptors came with a message that carries none");
  }
  switch (message.body_case()) {
    case control::ToCore::kStarted: {
      if (received.fds().size() != 2 || !IsPipe(received.fds()[0], O_WRONLY) ||
          !IsPipe(received.fds()[1], O_RDONLY)) {
        return Fail(ErrorCode::kProtocol, "something other than the two pipes of a worker came");
      }
      WorkerStarted started;
      started.account = AccountId{message.started().account()};
      started.pipes.to_worker = received.fds()[0];
      started.pipes.from_worker = received.fds()[1];
      started.pipes.epoch = message.started().epoch();
      received.Release();
      return Event(std::move(started));
    }
    case control::ToCore::kEnded: {
      WorkerEnded ended;
      ended.account = AccountId{message.ended().account()};
      ended.epoch = message.ended().epoch();
      ended.exit_code = message.ended().exit_code();
      ended.signal = message.ended().signal();
      return Event(ended);
    }
    case control::ToCore::kDrain:
      return Event(DrainAsked{});
    case control::ToCore::kReload:
      return Event(ReloadAsked{});
    case control::ToCore::kKernelClock:
      return Event(KernelClock{message.kernel_clock().synchronised()});
    default:
      return Fail(ErrorCode::kProtocol, "a control message says nothing that is known");
  }
}

}  // namespace mayfly::service
