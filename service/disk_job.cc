#include "service/disk_job.h"

#include <chrono>
#include <utility>

#include "service/logging.h"

namespace mayfly::service {
namespace {

constexpr std::chrono::seconds kPause{5};
// How many looks an error may last that says nothing of itself.
constexpr int kFailuresMax = 12;
constexpr std::uint64_t kMiB = 1u << 20;

}  // namespace

Status DiskJob::RunOnce() {
  Status mended = store_.Mend();
  TellOfRoom();
  if (mended) {
    if (std::exchange(failing_, false)) Log(LogLevel::kInfo, "store.writes-again");
    failures_ = 0;
    return mended;
  }
  const Error& error = mended.error();
  if (!std::exchange(failing_, true)) {
    Log(LogLevel::kError, "store.reads-only",
        {{LogKey::kError, ToString(error.code)},
         {LogKey::kReason, error.field.empty() ? "disk" : error.field}});
  }
  if (OnlyReopeningHelps(error) && reopen_ && !std::exchange(asked_, true)) {
    Log(LogLevel::kError, "store.reopening");
    reopen_();
  }
  return mended;
}

// Another start does not make room, and on a full disk it would be the next one's trouble.
bool DiskJob::OnlyReopeningHelps(const Error& error) {
  if (error.field == "disk-full") return false;
  // What is damaged stays so.
  if (error.code == ErrorCode::kCorrupt) return false;
  return error.field == "reopen" || ++failures_ >= kFailuresMax;
}

void DiskJob::TellOfRoom() {
  const store::RoomView room = store_.Room();
  if (std::exchange(stopped_, room.stopped) == room.stopped) return;
  Log(room.stopped ? LogLevel::kError : LogLevel::kInfo,
      room.stopped ? "disk.collecting-stopped" : "disk.collecting-again",
      {{LogKey::kFreeMiB, static_cast<std::int64_t>(room.disk.available / kMiB)}});
}

void DiskJob::Start() {
  thread_ = std::jthread([this](std::stop_token stop) { Run(stop); });
}

void DiskJob::Stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void DiskJob::Run(std::stop_token stop) {
  do {
    (void)RunOnce();  // logged; the next look tries again
  } while (clock_.SleepUntil(clock_.Now() + kPause, stop));
}

}  // namespace mayfly::service
