// The streams of events that are open: who has one, waking them when there is news, and ending
// those of a token that is revoked. Knows neither what they tell nor the socket behind them.
#ifndef MAYFLY_SERVICE_API_EVENT_STREAMS_H_
#define MAYFLY_SERVICE_API_EVENT_STREAMS_H_

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "service/api/events.h"
#include "store/model/result.h"

namespace mayfly::service::api {

// Each stream holds a connection for as long as its reader likes, so that they are counted apart.
struct EventStreamLimits {
  std::size_t streams_max = 256;          // 503
  std::size_t streams_per_token_max = 4;  // 429
};

// Thread-safe. Must outlive the streams that it opened.
class EventStreams {
 public:
  explicit EventStreams(const EventStreamLimits& limits) : limits_(limits) {}

  // A stream of this token (its id), counted until nobody holds it any more. kUnavailable when
  // there are too many, kRateLimited when the token has too many.
  Result<std::shared_ptr<EventStream>> Open(const std::string& token, EventStream::Refill refill);
  // There is news for all of them. Returns soon: called under the store's commit lock.
  void Wake();
  // Ends the streams of a token.
  void End(const std::string& token);
  std::size_t open() const;

 private:
  struct Seat;
  struct Entry {
    std::string token;
    std::weak_ptr<EventStream> stream;
  };
  void Leave(const Seat* seat);

  const EventStreamLimits limits_;
  mutable std::mutex mutex_;
  std::map<const Seat*, Entry> open_;
};

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_EVENT_STREAMS_H_
