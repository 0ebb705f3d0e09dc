// Server-sent events (HTML standard, 9.2): an answer that goes on until somebody ends it.
//
// A queue with a bound between whoever has events and the one connection that reads them. It is
// filled from outside, or by a function of its own when the connection asks: then a slow reader is
// behind, and nothing waits for it in memory. When it is full the stream ends, and never grows.
// Knows no socket.
#ifndef MAYFLY_SERVICE_API_EVENTS_H_
#define MAYFLY_SERVICE_API_EVENTS_H_

#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

namespace mayfly::service::api {

struct Event {
  std::string id = {};    // printable ASCII; empty: none
  std::string name = {};  // likewise
  std::string data = {};  // UTF-8; may have several lines
  bool silent = false;    // no event: only the place from which a client goes on
};

// Thread-safe.
class EventStream {
 public:
  // Pushes what there is at the moment, at most the bound, or ends the stream. Called by Pull, on
  // its thread, whenever nothing is queued.
  using Refill = std::function<void(EventStream&)>;

  explicit EventStream(std::size_t events_max = 256) : events_max_(events_max) {}
  explicit EventStream(Refill refill) : events_max_(256), refill_(std::move(refill)) {}

  // False when the stream has ended, whoever ended it: the producer drops it then. One event more
  // than the bound ends it, and so does an id or a name that could be read as something else.
  bool Push(const Event& event);
  // After what is queued.
  void End();
  // There may be something to refill with.
  void Wake();

  // For the connection.
  struct Pulled {
    std::string text;  // all that was queued, in the form of the wire
    bool ended = false;
  };
  Pulled Pull();
  // `wake` is called, on the thread of Push, Wake or End, when there is something to pull after a
  // Pull that gave nothing. It must not call back. Not called any more once this has returned with
  // an empty one.
  void OnReady(std::function<void()> wake);

 private:
  void EndLocked();
  void WakeLocked();

  const std::size_t events_max_;
  const Refill refill_;
  std::mutex mutex_;  // guards what follows
  std::string queued_;
  std::size_t queued_events_ = 0;
  bool ended_ = false;
  bool waiting_ = false;  // the last Pull gave nothing
  bool news_ = false;     // Wake was called since the last refill began
  std::function<void()> wake_;
};

// One event as lines, with its empty line.
std::string RenderEvent(const Event& event);
// What keeps a silent stream from looking dead.
inline constexpr const char* kHeartbeat = ":\n\n";

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_EVENTS_H_
