#include "service/api/events.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace mayfly::service::api {
namespace {

bool IsPlain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

}  // namespace

std::string RenderEvent(const Event& event) {
  std::string text;
  if (!event.id.empty()) text += "id: " + event.id + "\n";
  if (!event.name.empty()) text += "event: " + event.name + "\n";
  if (event.silent) return text + "\n";
  // CR ends a line here as LF does, so neither may pass.
  std::string_view rest = event.data;
  while (true) {
    const std::size_t end = rest.find_first_of("\r\n");
    text.append("data: ").append(rest.substr(0, end)).append("\n");
    if (end == std::string_view::npos) break;
    const bool pair = rest.substr(end, 2) == "\r\n";
    rest.remove_prefix(end + (pair ? 2 : 1));
  }
  text += "\n";
  return text;
}

bool EventStream::Push(const Event& event) {
  const std::lock_guard lock(mutex_);
  if (ended_) return false;
  if (queued_events_ == events_max_ || !IsPlain(event.id) || !IsPlain(event.name)) {
    EndLocked();
    return false;
  }
  queued_ += RenderEvent(event);
  ++queued_events_;
  WakeLocked();
  return true;
}

void EventStream::End() {
  const std::lock_guard lock(mutex_);
  EndLocked();
}

void EventStream::EndLocked() {
  if (ended_) return;
  ended_ = true;
  WakeLocked();
}

void EventStream::WakeLocked() {
  if (waiting_ && wake_) wake_();
  waiting_ = false;
}

void EventStream::Wake() {
  const std::lock_guard lock(mutex_);
  news_ = true;
  WakeLocked();
}

EventStream::Pulled EventStream::Pull() {
  std::unique_lock lock(mutex_);
  waiting_ = false;
  // Again when there was news meanwhile, so that none is slept through.
  for (news_ = true; refill_ && news_ && queued_.empty() && !ended_;) {
    news_ = false;
    lock.unlock();
    refill_(*this);
    lock.lock();
  }
  Pulled pulled{.text = std::exchange(queued_, {}), .ended = ended_};
  queued_events_ = 0;
  waiting_ = pulled.text.empty() && !ended_;
  return pulled;
}

void EventStream::OnReady(std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wake_ = std::move(wake);
}

}  // namespace mayfly::service::api
