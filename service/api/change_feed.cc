#include "service/api/change_feed.h"

#include <algorithm>
#include <charconv>

#include "service/api/dispatch.h"

namespace mayfly::service::api {

ChangeFeed::ChangeFeed(const Clock& clock, std::size_t capacity)
    : clock_(clock), capacity_(std::max<std::size_t>(capacity, 1)), epoch_(NewRequestId()) {}

void ChangeFeed::OnCommitted(const std::vector<store::ChangeNotice>& changes) {
  const TimePoint now = clock_.Now();
  {
    const std::lock_guard lock(mutex_);
    for (const store::ChangeNotice& change : changes) {
      entries_.push_back({.sequence = ++last_, .at = now, .change = change});
    }
    while (entries_.size() > capacity_) entries_.pop_front();
  }
  if (news_) news_();
}

void ChangeFeed::OnDoubt() {
  {
    const std::lock_guard lock(mutex_);
    epoch_ = NewRequestId();
    entries_.clear();  // no position reaches them any more
  }
  if (news_) news_();
}

ChangeFeed::Page ChangeFeed::Read(std::string_view after, std::size_t limit) const {
  const std::lock_guard lock(mutex_);
  Page page;
  page.epoch = epoch_;
  if (after.empty()) {
    page.next = PositionOf(epoch_, last_);
    return page;
  }
  const auto sequence = SequenceOf(after);
  const std::uint64_t oldest = last_ - entries_.size();  // the position before the oldest entry
  if (!sequence || *sequence < oldest || *sequence > last_) {
    page.reset = true;
    page.next = PositionOf(epoch_, last_);
    return page;
  }
  auto from = entries_.begin() + static_cast<std::ptrdiff_t>(*sequence - oldest);
  const auto count = std::min<std::size_t>(limit, last_ - *sequence);
  page.entries.assign(from, from + static_cast<std::ptrdiff_t>(count));
  page.next = PositionOf(epoch_, *sequence + count);
  page.has_more = *sequence + count < last_;
  return page;
}

std::string ChangeFeed::PositionAfter(const Page& page, const Entry& entry) {
  return PositionOf(page.epoch, entry.sequence);
}

std::string ChangeFeed::PositionOf(const std::string& epoch, std::uint64_t sequence) {
  return epoch + "." + std::to_string(sequence);
}

std::optional<std::uint64_t> ChangeFeed::SequenceOf(std::string_view position) const {
  if (!position.starts_with(epoch_ + ".")) return std::nullopt;
  position.remove_prefix(epoch_.size() + 1);
  std::uint64_t sequence = 0;
  const char* const end = position.data() + position.size();
  const auto [rest, error] = std::from_chars(position.data(), end, sequence);
  if (error != std::errc() || rest != end) return std::nullopt;
  return sequence;
}

}  // namespace mayfly::service::api
