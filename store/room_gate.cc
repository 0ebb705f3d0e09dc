#include "store/room_gate.h"

#include <algorithm>

namespace mayfly::store {

RoomView RoomGate::Look() {
  RoomView view{.disk = engine_.Room()};
  if (kept_.percent == 0) return view;
  const std::uint64_t share = view.disk.capacity / 100 * static_cast<std::uint64_t>(kept_.percent);
  // On a small disk the share may be less than what the engine needs for its commits.
  view.stops_below =
      std::max(std::min(share, kept_.bytes_max), view.disk.needed + view.disk.needed / 4);
  view.resumes_at = view.stops_below + view.stops_below / 10;
  MutexLock lock(mutex_);
  stopped_ = view.disk.available < (stopped_ ? view.resumes_at : view.stops_below);
  view.stopped = stopped_;
  return view;
}

Status RoomGate::Admit() {
  if (!Look().stopped) return {};
  return Fail(ErrorCode::kDiskFull, "There is too little room on the disk.");
}

}  // namespace mayfly::store
