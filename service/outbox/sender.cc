#include "service/outbox/sender.h"

#include <algorithm>
#include <utility>

#include "connectors/pacer.h"
#include "service/logging.h"

namespace mayfly::service {
namespace {

// What the platform meant, for a reply whose call certainly had no effect.
bool MayBeTriedAgain(ErrorCode code) {
  return code == ErrorCode::kRateLimited || code == ErrorCode::kPlatformUnavailable ||
         code == ErrorCode::kUnavailable;
}

}  // namespace

TimePoint Sender::DueAt(const Reply& reply) const {
  if (reply.state == ReplyState::kQueued) {
    return reply.not_before.value_or(reply.created_at);
  }
  if (reply.state == ReplyState::kUnknown) {
    const std::size_t next = std::min<std::size_t>(reply.looks, options_.looks.size() - 1);
    const TimePoint due = reply.state_since + options_.looks[next];
    const auto failed = failed_looks_.find(reply.id);
    return failed == failed_looks_.end() ? due : std::max(due, failed->second.next);
  }
  return reply.state_since;
}

std::optional<TimePoint> Sender::RunOnce(WorkerLink* link) {
  auto pending = store_.outbox().Pending(clock_.Now());
  if (!pending) {
    Log(LogLevel::kError, "outbox.unreadable", {{LogKey::kError, ToString(pending.error().code)}});
    return clock_.Now() + std::chrono::seconds(10);
  }
  std::optional<TimePoint> next;
  const auto call_again = [&](TimePoint at) { next = next ? std::min(*next, at) : at; };
  // What is not seen below is settled or gone, and forgotten with this.
  std::map<ReplyId, FailedLooks> failed_before = std::exchange(failed_looks_, {});
  for (const Reply& reply : *pending) {
    if (reply.account != account_) continue;
    if (reply.state == ReplyState::kSending) {
      // Only this thread sends, and it is not inside a call: its end could not be stored then.
      Note(
          store_.outbox().MarkUnknown(reply.id, ToString(ErrorCode::kOutcomeUnknown), clock_.Now()),
          reply.id, "outbox.unknown-not-stored");
      continue;
    }
    if (auto kept = failed_before.extract(reply.id)) failed_looks_.insert(std::move(kept));
    if (const TimePoint due = DueAt(reply); due > clock_.Now()) {
      call_again(due);
      continue;
    }
    const TimePoint soon = clock_.Now() + std::chrono::seconds(1);
    if (link == nullptr || link->broken()) {
      call_again(soon);
      continue;
    }
    if (reply.state == ReplyState::kQueued) {
      SendOne(reply, *link);
    } else {
      SettleOne(reply, *link);
    }
    call_again(std::max(soon, DueAt(reply)));
  }
  return next;
}

void Sender::SendOne(const Reply& reply, WorkerLink& link) {
  auto job = store_.outbox().StartSending(reply.id, clock_.Now());
  if (!job) {
    // Expired or settled in the meantime: nothing left.
    if (job.error().code != ErrorCode::kExpired &&
        job.error().code != ErrorCode::kPreconditionFailed) {
      Note(Fail(job.error()), reply.id, "outbox.not-started");
    }
    return;
  }
  const auto sent = link.Send({.conversation = job->conversation,
                               .idempotency_key = reply.id.ToString(),
                               .text = job->reply.text,
                               .in_reply_to = job->in_reply_to,
                               .recipients = job->recipients});
  const TimePoint now = clock_.Now();
  if (sent) {
    auto marked = store_.outbox().MarkSent(reply.id, sent->id, sent->sent_at, now);
    if (!marked) Note(Fail(marked.error()), reply.id, "outbox.sent-not-stored");
    return;
  }
  const Error& error = sent.error();
  Log(LogLevel::kWarning, "reply.not-sent",
      {{LogKey::kAccount, account_.ToString()}, {LogKey::kError, ToString(error.code)}});
  if (error.code == ErrorCode::kOutcomeUnknown || error.code == ErrorCode::kProtocol ||
      error.code == ErrorCode::kCancelled) {
    Note(store_.outbox().MarkUnknown(reply.id, ToString(error.code), now), reply.id,
         "outbox.unknown-not-stored");
    return;
  }
  if (MayBeTriedAgain(error.code) && job->reply.attempts < options_.attempts_max) {
    TimePoint not_before =
        now + std::chrono::seconds(1LL << std::min<std::uint32_t>(job->reply.attempts, 8));
    if (const auto hint = connectors::RetryHint(now, error)) {
      not_before = std::max(not_before, *hint);
    }
    Note(store_.outbox().Requeue(reply.id, not_before, now), reply.id, "outbox.requeue-not-stored");
    return;
  }
  Note(store_.outbox().MarkFailed(reply.id, ToString(error.code), error.platform_code, now),
       reply.id, "outbox.failure-not-stored");
}

void Sender::SettleOne(const Reply& reply, WorkerLink& link) {
  auto job = store_.outbox().JobOf(reply.id, clock_.Now());
  if (!job) {
    if (job.error().code != ErrorCode::kExpired) {
      Note(Fail(job.error()), reply.id, "outbox.unreadable");
    }
    return;
  }
  const bool last = reply.looks + 1 >= options_.looks.size();
  TimePoint since = reply.send_started_at.value_or(reply.created_at);
  // The verdict must not rest on our clock: the platform's may be hours slow. By its own times a
  // reply stands after what it answers, and what was stored before the send is told apart below.
  if (last && job->answered_at) since = std::min(since, *job->answered_at);
  auto found = link.FindSent({.conversation = job->conversation,
                              .text = job->reply.text,
                              .not_before = since - options_.platform_clock_allowance});
  const TimePoint now = clock_.Now();
  if (!found) {
    // Not a look: the platform did not show us anything.
    Log(LogLevel::kWarning, "reply.look-failed",
        {{LogKey::kAccount, account_.ToString()}, {LogKey::kError, ToString(found.error().code)}});
    PutOffLook(reply.id, found.error(), now);
    return;
  }
  failed_looks_.erase(reply.id);
  for (const connectors::SentReply& candidate : *found) {
    auto other = store_.outbox().IsSomethingElse(candidate.id, job->reply, now);
    if (!other) {
      Note(Fail(other.error()), reply.id, "outbox.unreadable");
      return;
    }
    if (*other) continue;  // the same words, said in another reply or before
    auto marked = store_.outbox().MarkSent(reply.id, candidate.id, candidate.sent_at, now);
    if (!marked) Note(Fail(marked.error()), reply.id, "outbox.sent-not-stored");
    return;
  }
  if (last) {
    Note(store_.outbox().MarkFailed(reply.id, "not-delivered", "", now), reply.id,
         "outbox.failure-not-stored");
    return;
  }
  Note(store_.outbox().CountLook(reply.id, now), reply.id, "outbox.look-not-stored");
}

void Sender::PutOffLook(const ReplyId& id, const Error& error, TimePoint now) {
  FailedLooks& failed = failed_looks_[id];
  std::chrono::milliseconds delay = options_.failed_look_delay_first;
  for (std::uint32_t i = 0; i < failed.in_row && delay < options_.failed_look_delay_max; ++i) {
    delay *= 2;
  }
  ++failed.in_row;
  delay = std::min(delay, options_.failed_look_delay_max);
  if (connectors::OnlyAPersonHelps(error.code)) {
    delay = std::max<std::chrono::milliseconds>(delay, connectors::kRepairInterval);
  }
  failed.next = now + delay;
  if (const auto hint = connectors::RetryHint(now, error)) {
    failed.next = std::max(failed.next, *hint);
  }
}

// The reply stays in the state that is on disk; a restart turns `sending` into `unknown`, so
// nothing is sent twice because of what could not be written here.
void Sender::Note(const Status& status, const ReplyId& id, const char* step) {
  if (status) return;
  Log(LogLevel::kError, step,
      {{LogKey::kReply, id.ToString()}, {LogKey::kError, ToString(status.error().code)}});
}

}  // namespace mayfly::service
