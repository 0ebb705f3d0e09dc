#include "service/demo/demo_clock.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <fcntl.h>
#include <mutex>
#include <new>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mayfly::service {
namespace {

constexpr std::uint64_t kMagic = 0x6d66'6c79'636c'6b31;
// How long a sleeper goes without looking at the shared file.
constexpr std::chrono::milliseconds kLookAgain{20};

// CLOCK_MONOTONIC is the same in every process of the machine.
std::int64_t MonotonicNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

}  // namespace

// A sequence lock: writers make `version` odd while they write.
struct DemoClock::Shared {
  std::atomic<std::uint64_t> magic;
  std::atomic<std::uint64_t> version;
  std::atomic<std::int64_t> base_monotonic_ns;
  std::atomic<std::int64_t> base_ms;
  std::atomic<double> rate;
  std::atomic<int> fail_after_step;
  std::atomic<std::int64_t> made_ms;
  std::atomic<std::int64_t> skew_ms;
  std::atomic<std::uint64_t> room_plus_one;  // 0: nobody said
};

Status DemoClock::Create(const std::filesystem::path& file, TimePoint start, double rate) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Fail(ErrorCode::kIo, file.string() + ": cannot be made");
  const bool sized = ::ftruncate(fd, sizeof(Shared)) == 0;
  ::close(fd);
  if (!sized) return Fail(ErrorCode::kIo, file.string() + ": cannot be sized");
  MAYFLY_ASSIGN_OR_RETURN(const std::unique_ptr<DemoClock> clock, Open(file));
  clock->shared_->made_ms = start.time_since_epoch().count();
  clock->Set(start, rate);
  return {};
}

Result<std::unique_ptr<DemoClock>> DemoClock::Open(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return Fail(ErrorCode::kInvalidArgument, file.string() + ": is no clock file");
  struct stat info {};
  void* mapped = MAP_FAILED;
  if (::fstat(fd, &info) == 0 && info.st_size == sizeof(Shared)) {
    mapped = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  ::close(fd);
  if (mapped == MAP_FAILED) {
    return Fail(ErrorCode::kInvalidArgument, file.string() + ": is no clock file");
  }
  return std::unique_ptr<DemoClock>(new DemoClock(static_cast<Shared*>(mapped)));
}

DemoClock::~DemoClock() { ::munmap(shared_, sizeof(Shared)); }

void DemoClock::Set(TimePoint now, double rate) {
  shared_->version.fetch_add(1);
  shared_->base_monotonic_ns = MonotonicNs();
  shared_->base_ms = now.time_since_epoch().count();
  shared_->rate = rate;
  shared_->magic = kMagic;
  shared_->version.fetch_add(1);
}

double DemoClock::rate() const { return shared_->rate; }

void DemoClock::SetFailPoint(int step) { shared_->fail_after_step = step; }

bool DemoClock::TakeFailPoint(int step) {
  int expected = step;
  return step != 0 && shared_->fail_after_step.compare_exchange_strong(expected, 0);
}

void DemoClock::SetRoom(std::optional<std::uint64_t> available) {
  shared_->room_plus_one = available ? *available + 1 : 0;
}

std::optional<std::uint64_t> DemoClock::room() const {
  const std::uint64_t room_plus_one = shared_->room_plus_one;
  if (room_plus_one == 0) return std::nullopt;
  return room_plus_one - 1;
}

void DemoClock::SetSkew(std::chrono::milliseconds skew) { shared_->skew_ms = skew.count(); }

std::chrono::milliseconds DemoClock::SinceMade() const {
  return Unskewed().time_since_epoch() - std::chrono::milliseconds(shared_->made_ms);
}

TimePoint DemoClock::Now() const {
  return Unskewed() + std::chrono::milliseconds(shared_->skew_ms);
}

TimePoint DemoClock::Unskewed() const {
  while (true) {
    const std::uint64_t before = shared_->version;
    const std::int64_t base_ns = shared_->base_monotonic_ns;
    const std::int64_t base_ms = shared_->base_ms;
    const double rate = shared_->rate;
    if ((before & 1) == 0 && before == shared_->version) {
      const double passed_ms = static_cast<double>(MonotonicNs() - base_ns) / 1e6 * rate;
      return TimePoint(std::chrono::milliseconds(base_ms + static_cast<std::int64_t>(passed_ms)));
    }
  }
}

bool DemoClock::SleepUntil(TimePoint until, std::stop_token stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    const auto left = until - Now();
    if (left <= left.zero()) return true;
    const double real_ms = static_cast<double>(left.count()) / std::max(rate(), 1e-3);
    const auto wait = std::chrono::microseconds(
        static_cast<std::int64_t>(std::min(real_ms, 1.0 * kLookAgain.count()) * 1000) + 50);
    never.wait_for(lock, stop, wait, [] { return false; });
  }
  return false;
}

bool DemoBootTimer::WaitFor(std::chrono::milliseconds wait, std::stop_token stop) {
  // By the moved clock, so that a jump of it ends the wait; looked at again and again, because a
  // skew moves it, too.
  const double real_ms = static_cast<double>(wait.count()) / std::max(clock_->rate(), 1e-3);
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop,
                 std::chrono::microseconds(static_cast<std::int64_t>(
                     std::clamp(real_ms, 0.05, 1.0 * kLookAgain.count()) * 1000)),
                 [] { return false; });
  return !stop.stop_requested();
}

}  // namespace mayfly::service
