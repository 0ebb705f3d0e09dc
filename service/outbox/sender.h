// Sends replies, at most once each (promise P6), and settles unknown ones by looking at the
// platform.
#ifndef MAYFLY_SERVICE_OUTBOX_SENDER_H_
#define MAYFLY_SERVICE_OUTBOX_SENDER_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "service/link/worker_link.h"
#include "store/model/clock.h"
#include "store/store.h"

namespace mayfly::service {

struct SenderOptions {
  std::uint32_t attempts_max = 10;  // of a reply that certainly never left
  // An unknown reply is looked for after these delays since it became unknown; when it has not been
  // found by the last look, it is failed: not-delivered. A look that the platform does not answer
  // is none of these; it is repeated after a delay that doubles, or later when the platform asks
  // for more patience (at most a day), or only a person can help (connectors::kRepairInterval).
  std::vector<std::chrono::milliseconds> looks = {
      std::chrono::seconds(2),  std::chrono::seconds(10),  std::chrono::seconds(30),
      std::chrono::seconds(60), std::chrono::seconds(120), std::chrono::seconds(300)};
  std::chrono::milliseconds failed_look_delay_first{2'000};
  std::chrono::milliseconds failed_look_delay_max{600'000};
  std::chrono::milliseconds platform_clock_allowance{60'000};
};

// For one account, called from that account's thread. In memory it keeps only when to look again
// for unknown replies whose last look failed; a new Sender, after a restart or with a new
// credential, looks at once.
class Sender {
 public:
  Sender(store::Store& store, Clock& clock, AccountId account, const SenderOptions& options = {})
      : store_(store), clock_(clock), account_(account), options_(options) {}

  // Works through the account's replies that are due. `link` may be null: then nothing is sent.
  // Returns when to be called again at the latest, or nullopt when nothing is pending.
  std::optional<TimePoint> RunOnce(WorkerLink* link);

 private:
  struct FailedLooks {
    std::uint32_t in_row = 0;
    TimePoint next;
  };

  void SendOne(const Reply& reply, WorkerLink& link);
  void SettleOne(const Reply& reply, WorkerLink& link);
  void Note(const Status& status, const ReplyId& id, const char* step);
  void PutOffLook(const ReplyId& id, const Error& error, TimePoint now);
  TimePoint DueAt(const Reply& reply) const;

  store::Store& store_;
  Clock& clock_;
  const AccountId account_;
  const SenderOptions options_;
  std::map<ReplyId, FailedLooks> failed_looks_;  // of replies that are still unknown, no others
};

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_OUTBOX_SENDER_H_
