// Length-delimited Protocol Buffers over a pipe.
//
// Both processes ignore SIGPIPE (IgnoreBrokenPipes), so that the end of the other one is an error
// here and not a signal.
#ifndef MAYFLY_SERVICE_LINK_FRAMES_H_
#define MAYFLY_SERVICE_LINK_FRAMES_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "store/model/result.h"

namespace google::protobuf {
class MessageLite;
}

namespace mayfly::service {

inline constexpr std::size_t kFrameBytesMax = 256u << 10;
inline constexpr int kFrameRecursionMax = 8;

// A 4-byte big-endian length, then the message. Blocks until written. kIo when the other end is
// gone, kTooLarge before anything is written.
Status WriteFrame(int fd, const google::protobuf::MessageLite& message);

// Reads one frame. kUnavailable at a clean end of file, kIo in the middle of one, kTooLarge and
// kProtocol for a frame that breaks the limits, kCancelled when `deadline` (steady clock) passes
// first. time_point::max() waits for ever.
Status ReadFrame(int fd, std::chrono::steady_clock::time_point deadline,
                 google::protobuf::MessageLite* message);

// The same two, also given up with kCancelled as soon as `cancel_fd` (an eventfd or a pipe) becomes
// readable. A frame that was given up part way leaves the stream unusable.
Status WriteFrame(int fd, const google::protobuf::MessageLite& message,
                  std::chrono::steady_clock::time_point deadline, int cancel_fd);
Status ReadFrame(int fd, std::chrono::steady_clock::time_point deadline, int cancel_fd,
                 google::protobuf::MessageLite* message);

// Once per process is enough; more often does no harm.
void IgnoreBrokenPipes();

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_LINK_FRAMES_H_
