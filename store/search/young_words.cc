#include "store/search/young_words.h"

#include <utility>

namespace mayfly::store::search {

void YoungWords::NoteWaiting(ExpiryDay day) {
  const MutexLock lock(mutex_);
  if (!hidden_.contains(day)) waiting_.insert(day);
}

void YoungWords::BeginAnew(ExpiryDay day) {
  const MutexLock lock(mutex_);
  if (hidden_.contains(day)) return;
  days_.erase(day);
  ++epochs_[day];
  waiting_.insert(day);
  changes_.fetch_add(1);
  moves_.fetch_add(1);
}

void YoungWords::Hide(ExpiryDay day) {
  const MutexLock lock(mutex_);
  hidden_.insert(day);
  waiting_.erase(day);
  epochs_.erase(day);
  days_.erase(day);
}

std::set<ExpiryDay> YoungWords::TakeWaiting() {
  const MutexLock lock(mutex_);
  return std::exchange(waiting_, {});
}

std::uint64_t YoungWords::ReadThrough(ExpiryDay day) const {
  const MutexLock lock(mutex_);
  const auto found = days_.find(day);
  return found == days_.end() ? 0 : found->second.read_through;
}

void YoungWords::SetReadThrough(ExpiryDay day, std::uint64_t sequence, std::uint64_t epoch) {
  const MutexLock lock(mutex_);
  const auto found = epochs_.find(day);
  if ((found == epochs_.end() ? 0 : found->second) != epoch) return;
  if (!hidden_.contains(day)) days_[day].read_through = sequence;
}

std::uint64_t YoungWords::Epoch(ExpiryDay day) const {
  const MutexLock lock(mutex_);
  const auto found = epochs_.find(day);
  return found == epochs_.end() ? 0 : found->second;
}

std::uint64_t YoungWords::CleanAt(ExpiryDay day) const {
  const MutexLock lock(mutex_);
  const auto found = days_.find(day);
  return found == days_.end() ? 0 : found->second.clean_at;
}

void YoungWords::SetCleanAt(ExpiryDay day, std::uint64_t changes) {
  const MutexLock lock(mutex_);
  if (!hidden_.contains(day)) days_[day].clean_at = changes;
}

void YoungWords::Add(ExpiryDay day, const Bytes16& message, TimePoint sent_at,
                     const std::vector<std::string>& terms) {
  const MutexLock lock(mutex_);
  if (hidden_.contains(day)) return;
  WordTable& words = days_[day].words;
  words.Remove(message);
  const std::uint32_t document = words.AddDocument(message, sent_at);
  for (const std::string& term : terms) words.AddTerm(document, term);
}

void YoungWords::Remove(ExpiryDay day, const Bytes16& message) {
  const MutexLock lock(mutex_);
  const auto found = days_.find(day);
  if (found != days_.end()) found->second.words.Remove(message);
}

std::vector<YoungWords::Size> YoungWords::Sizes() const {
  const MutexLock lock(mutex_);
  std::vector<Size> sizes;
  for (const auto& [day, entry] : days_) {
    // Removed ones count: their places are taken until the date is written out.
    sizes.push_back({day, entry.words.documents().size(), entry.words.bytes()});
  }
  return sizes;
}

bool YoungWords::Use(ExpiryDay day, const std::function<void(const WordTable&)>& use) const {
  const MutexLock lock(mutex_);
  const auto found = days_.find(day);
  if (found == days_.end()) return false;
  use(found->second.words);
  return true;
}

void YoungWords::Written(ExpiryDay day) {
  const MutexLock lock(mutex_);
  const auto found = days_.find(day);
  if (found != days_.end()) found->second.words = WordTable();
  moves_.fetch_add(1);
}

}  // namespace mayfly::store::search
