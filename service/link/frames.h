// Length-delimited Protocol Buffers over a pipe.
#ifndef MAYFLY_SERVICE_LINK_FRAMES_H_
#define MAYFLY_SERVICE_LINK_FRAMES_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "store/model/result.h"

namespace google::protobuf {
class MessageLite;
}

namespace mayfly::service {

inline constexpr std::size_t kFrameBytesMax = 256u << 10;
inline constexpr int kFrameRecursionMax = 8;

// A 4-byte big-endian length, then the message. Blocks until written. kIo when the other end is gone,
// kTooLarge before anything is written.
Status WriteFrame(int fd, const google::protobuf::MessageLite& message);

// Reads one frame. kUnavailable at a clean end of file, kIo in the middle of one, kTooLarge and kProtocol
// for a frame that breaks the limits, kCancelled when `deadline` (steady clock) passes first.
Status ReadFrame(int fd, std::chrono::steady_clock::time_point deadline,
                 google::protobuf::MessageLite* message);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_LINK_FRAMES_H_
