#include "service/link/frames.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string>
#include <unistd.h>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message_lite.h>

#include "store/model/sensitive.h"

namespace mayfly::service {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::size_t kLengthBytes = 4;

// Frames carry texts and credentials: their buffers are wiped however the function is left.
class WipedBuffer {
 public:
  explicit WipedBuffer(std::size_t size) : bytes_(size, '\0') {}
  ~WipedBuffer() { WipeString(bytes_); }
  WipedBuffer(const WipedBuffer&) = delete;
  WipedBuffer& operator=(const WipedBuffer&) = delete;
  char* data() { return bytes_.data(); }
  std::size_t size() const { return bytes_.size(); }

 private:
  std::string bytes_;
};

int PollTimeout(SteadyTime deadline) {
  if (deadline == SteadyTime::max()) return -1;
  const auto now = std::chrono::steady_clock::now();
  if (deadline <= now) return 0;
  // Rounded up: a wait of a fraction of a millisecond must not become a busy loop.
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now).count();
  return static_cast<int>(std::min<decltype(left)>(left, INT_MAX));
}

// Waits until `fd` shows `events`, an error or a hang-up.
Status WaitFor(int fd, short events, SteadyTime deadline, int cancel_fd) {
  for (;;) {
    pollfd fds[2] = {{fd, events, 0}, {cancel_fd, POLLIN, 0}};
    const int ready = poll(fds, cancel_fd >= 0 ? 2 : 1, PollTimeout(deadline));
    if (ready < 0) {
      if (errno == EINTR) continue;
      return Fail(ErrorCode::kIo, "waiting for the link failed");
    }
    if (cancel_fd >= 0 && fds[1].revents != 0) {
      return Fail(ErrorCode::kCancelled, "the wait for the link was given up");
    }
    if ((fds[0].revents & POLLNVAL) != 0) {
      return Fail(ErrorCode::kIo, "the link is not an open descriptor");
    }
    if (fds[0].revents != 0) return {};
    if (ready == 0 && deadline <= std::chrono::steady_clock::now()) {
      return Fail(ErrorCode::kCancelled, "the deadline for the link passed");
    }
  }
}

Status WriteAll(int fd, const char* bytes, std::size_t size, SteadyTime deadline, int cancel_fd) {
  std::size_t done = 0;
  while (done < size) {
    MAYFLY_RETURN_IF_ERROR(WaitFor(fd, POLLOUT, deadline, cancel_fd));
    // A pipe that polls writable takes PIPE_BUF bytes without blocking, whatever its flags.
    const ssize_t n = write(fd, bytes + done, std::min<std::size_t>(size - done, PIPE_BUF));
    if (n < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return Fail(ErrorCode::kIo, "the other end of the link is gone");
    }
    done += static_cast<std::size_t>(n);
  }
  return {};
}

// Returns how many bytes came before the end of the file: `size`, or fewer.
Result<std::size_t> ReadAll(int fd, char* bytes, std::size_t size, SteadyTime deadline,
                            int cancel_fd) {
  std::size_t done = 0;
  while (done < size) {
    MAYFLY_RETURN_IF_ERROR(WaitFor(fd, POLLIN, deadline, cancel_fd));
    const ssize_t n = read(fd, bytes + done, size - done);
    if (n < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return Fail(ErrorCode::kIo, "reading the link failed");
    }
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

}  // namespace

Status WriteFrame(int fd, const google::protobuf::MessageLite& message, SteadyTime deadline,
                  int cancel_fd) {
  const std::size_t size = message.ByteSizeLong();
  if (size > kFrameBytesMax) {
    return Fail(ErrorCode::kTooLarge, "a frame is larger than the link allows");
  }
  WipedBuffer buffer(kLengthBytes + size);
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    buffer.data()[i] = static_cast<char>((size >> (8 * (kLengthBytes - 1 - i))) & 0xff);
  }
  if (!message.SerializeToArray(buffer.data() + kLengthBytes, static_cast<int>(size))) {
    return Fail(ErrorCode::kInternal, "a frame cannot be written");
  }
  return WriteAll(fd, buffer.data(), buffer.size(), deadline, cancel_fd);
}

Status ReadFrame(int fd, SteadyTime deadline, int cancel_fd,
                 google::protobuf::MessageLite* message) {
  unsigned char head[kLengthBytes];
  MAYFLY_ASSIGN_OR_RETURN(const std::size_t head_bytes, ReadAll(fd, reinterpret_cast<char*>(head),
                                                                kLengthBytes, deadline, cancel_fd));
  if (head_bytes == 0) return Fail(ErrorCode::kUnavailable, "the link has ended");
  if (head_bytes < kLengthBytes) return Fail(ErrorCode::kIo, "the link ended inside a frame");
  std::size_t size = 0;
  for (const unsigned char byte : head) size = size << 8 | byte;
  if (size > kFrameBytesMax) {
    return Fail(ErrorCode::kTooLarge, "a frame is larger than the link allows");
  }

  WipedBuffer buffer(size);
  MAYFLY_ASSIGN_OR_RETURN(const std::size_t body_bytes,
                          ReadAll(fd, buffer.data(), size, deadline, cancel_fd));
  if (body_bytes < size) return Fail(ErrorCode::kIo, "the link ended inside a frame");

  google::protobuf::io::CodedInputStream stream(
      reinterpret_cast<const std::uint8_t*>(buffer.data()), static_cast<int>(size));
  stream.SetRecursionLimit(kFrameRecursionMax);
  message->Clear();
  if (!message->ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage()) {
    message->Clear();
    return Fail(ErrorCode::kProtocol, "a frame does not follow the link's schema");
  }
  return {};
}

Status WriteFrame(int fd, const google::protobuf::MessageLite& message) {
  return WriteFrame(fd, message, SteadyTime::max(), -1);
}

Status ReadFrame(int fd, SteadyTime deadline, google::protobuf::MessageLite* message) {
  return ReadFrame(fd, deadline, -1, message);
}

void IgnoreBrokenPipes() { std::signal(SIGPIPE, SIG_IGN); }

}  // namespace mayfly::service
