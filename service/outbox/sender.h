// Sends replies, at most once each (promise P6), and settles unknown ones by looking at the
// platform.
#ifndef MAYFLY_SERVICE_OUTBOX_SENDER_H_
#define MAYFLY_SERVICE_OUTBOX_SENDER_H_

#include "service/link/worker_link.h"
#include "store/model/clock.h"
#include "store/store.h"

namespace mayfly::service {

struct SenderOptions {
  std::uint32_t attempts_max = 10;  // of a reply that certainly never left
  // An unknown reply is looked for after these delays since it became unknown; when it has not been
  // found by the last look, it is failed: not-delivered.
  std::vector<std::chrono::milliseconds> looks = {
      std::chrono::seconds(2),  std::chrono::seconds(10),  std::chrono::seconds(30),
      std::chrono::seconds(60), std::chrono::seconds(120), std::chrono::seconds(300)};
  std::chrono::milliseconds platform_clock_allowance{60'000};
};

// For one account, called from that account's thread.
class Sender {
 public:
  Sender(store::Store& store, Clock& clock, AccountId account, const SenderOptions& options = {})
      : store_(store), clock_(clock), account_(account), options_(options) {}

  // Works through the account's replies that are due. `link` may be null: then nothing is sent.
  // Returns when to be called again at the latest, or nullopt when nothing is pending.
  std::optional<TimePoint> RunOnce(WorkerLink* link);

 private:
  void SendOne(const Reply& reply, WorkerLink& link);
  void SettleOne(const Reply& reply, WorkerLink& link);
  void Note(const Status& status, const ReplyId& id, const char* step);
  std::optional<TimePoint> DueAt(const Reply& reply) const;

  store::Store& store_;
  Clock& clock_;
  const AccountId account_;
  const SenderOptions options_;
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_OUTBOX_SENDER_H_
