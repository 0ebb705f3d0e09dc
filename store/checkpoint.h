// The one place where a checkpoint of the store lies while it is copied. Made of hard links, it
// costs no room at first, but keeps the bytes of whatever the store drops meanwhile. So it never
// outlives the end of a date, six hours, or the process.
#ifndef MAYFLY_STORE_CHECKPOINT_H_
#define MAYFLY_STORE_CHECKPOINT_H_

#include <filesystem>
#include <optional>

#include "store/engine/engine.h"
#include "store/model/mutex.h"
#include "store/model/result.h"
#include "store/model/time.h"

namespace mayfly::store {

// Thread-safe. kIo when files cannot be removed: then something is left, and the call is to be
// repeated.
class CheckpointPlace {
 public:
  explicit CheckpointPlace(std::filesystem::path dir) : dir_(std::move(dir)) {}
  // Drops the one that is there. kUnavailable without a directory.
  Result<std::filesystem::path> Take(const Engine& engine, TimePoint now);
  Status Drop();  // idempotent
  Status DropIfOld(TimePoint now);

 private:
  Status DropLocked() MAYFLY_REQUIRES(mutex_);

  const std::filesystem::path dir_;
  Mutex mutex_;
  std::optional<TimePoint> taken_at_ MAYFLY_GUARDED_BY(mutex_);
};

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_CHECKPOINT_H_
