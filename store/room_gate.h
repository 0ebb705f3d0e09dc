// Whether there is room for more of what people write. Collecting and replying stop while there is
// still enough for what must always go on: reading (every look is recorded), expiry and erasure.
#ifndef MAYFLY_STORE_ROOM_GATE_H_
#define MAYFLY_STORE_ROOM_GATE_H_

#include <cstdint>

#include "store/engine/engine.h"
#include "store/model/mutex.h"
#include "store/model/result.h"

namespace mayfly::store {

// What of the store's file system stays free of messages and replies.
struct RoomKept {
  int percent = 0;                        // 0: nothing is kept
  std::uint64_t bytes_max = 10ull << 30;  // no more than this, however large the disk
};

struct RoomView {
  DiskRoom disk;
  std::uint64_t stops_below = 0;  // available bytes
  std::uint64_t resumes_at = 0;   // a tenth above that, so that it does not come and go
  bool stopped = false;
};

// Thread-safe.
class RoomGate {
 public:
  // `engine` outlives it.
  RoomGate(const Engine& engine, RoomKept kept) : engine_(engine), kept_(kept) {}

  RoomView Look();
  // kDiskFull while it is stopped.
  Status Admit();

 private:
  const Engine& engine_;
  const RoomKept kept_;
  Mutex mutex_;
  bool stopped_ MAYFLY_GUARDED_BY(mutex_) = false;
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ROOM_GATE_H_
