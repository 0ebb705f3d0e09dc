#include "service/api/event_streams.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace mayfly::service::api {

// Held by the stream, so that it is counted exactly as long as it exists.
struct EventStreams::Seat {
  explicit Seat(EventStreams& streams) : owner(streams) {}
  ~Seat() { owner.Leave(this); }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;
  EventStreams& owner;
};

Result<std::shared_ptr<EventStream>> EventStreams::Open(const std::string& token,
                                                        EventStream::Refill refill) {
  const auto seat = std::make_shared<Seat>(*this);
  auto stream = std::make_shared<EventStream>(
      [seat, refill = std::move(refill)](EventStream& asking) { refill(asking); });
  // A refusal leaves with the lock released: the seat that ends with it takes the lock.
  const Status admitted = [&]() -> Status {
    const std::lock_guard lock(mutex_);
    if (open_.size() >= limits_.streams_max)
      return Fail(ErrorCode::kUnavailable, "too many streams of events");
    const auto own =
        static_cast<std::size_t>(std::count_if(open_.begin(), open_.end(), [&](const auto& entry) {
          return entry.second.token == token;
        }));
    if (own >= limits_.streams_per_token_max)
      return Fail(ErrorCode::kRateLimited, "too many streams of this token");
    open_.emplace(seat.get(), Entry{token, stream});
    return {};
  }();
  if (!admitted) return Fail(admitted.error());
  return stream;
}

void EventStreams::Wake() {
  // Woken, and perhaps ended, outside the lock: the last holder of a stream gives up its seat.
  std::vector<std::shared_ptr<EventStream>> streams;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [seat, entry] : open_) streams.push_back(entry.stream.lock());
  }
  for (const auto& stream : streams) {
    if (stream != nullptr) stream->Wake();
  }
}

void EventStreams::End(const std::string& token) {
  std::vector<std::shared_ptr<EventStream>> streams;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [seat, entry] : open_) {
      if (entry.token == token) streams.push_back(entry.stream.lock());
    }
  }
  for (const auto& stream : streams) {
    if (stream != nullptr) stream->End();
  }
}

std::size_t EventStreams::open() const {
  const std::lock_guard lock(mutex_);
  return open_.size();
}

void EventStreams::Leave(const Seat* seat) {
  const std::lock_guard lock(mutex_);
  open_.erase(seat);
}

}  // namespace mayfly::service::api
