#include "store/checkpoint.h"

#include <chrono>
#include <system_error>

namespace mayfly::store {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::hours kKept{6};

}  // namespace

Result<fs::path> CheckpointPlace::Take(const Engine& engine, TimePoint now) {
  if (dir_.empty()) return Fail(ErrorCode::kUnavailable, "There is no place for a checkpoint.");
  const MutexLock lock(mutex_);
  MAYFLY_RETURN_IF_ERROR(DropLocked());
  auto made = engine.Checkpoint(dir_);
  if (!made) {
    MAYFLY_RETURN_IF_ERROR(DropLocked());
    return Fail(std::move(made).error());
  }
  taken_at_ = now;
  return dir_;
}

Status CheckpointPlace::Drop() {
  const MutexLock lock(mutex_);
  return DropLocked();
}

Status CheckpointPlace::DropIfOld(TimePoint now) {
  const MutexLock lock(mutex_);
  if (!taken_at_ || (now >= *taken_at_ && now < *taken_at_ + kKept)) return {};
  return DropLocked();
}

Status CheckpointPlace::DropLocked() {
  if (dir_.empty()) return {};
  // RocksDB makes its copy under this name first.
  for (const fs::path& dir : {dir_, fs::path(dir_.string() + ".tmp")}) {
    std::error_code error;
    fs::remove_all(dir, error);
    if (error) return Fail(ErrorCode::kIo, dir.string() + ": cannot be removed");
  }
  taken_at_.reset();
  return {};
}

}  // namespace mayfly::store
