#include "store/rights/register.h"

#include <utility>

namespace mayfly::store {

std::optional<RestrictionRegister::Entry> RestrictionRegister::Find(const Bytes16& person) const {
  MutexLock lock(mutex_);
  const auto found = by_person_.find(person);
  if (found == by_person_.end()) return std::nullopt;
  return found->second;
}

std::optional<RestrictionRegister::Entry> RestrictionRegister::Find(const RestrictionId& id) const {
  MutexLock lock(mutex_);
  for (const auto& [person, entry] : by_person_) {
    if (entry.id == id) return entry;
  }
  return std::nullopt;
}

std::vector<RestrictionRegister::Entry> RestrictionRegister::All() const {
  MutexLock lock(mutex_);
  std::vector<Entry> all;
  for (const auto& [person, entry] : by_person_) all.push_back(entry);
  return all;
}

void RestrictionRegister::Load(std::vector<Entry> entries) {
  std::map<Bytes16, Entry> by_person;
  for (Entry& entry : entries) {
    const auto found = by_person.find(entry.record.person);
    if (found != by_person.end() && entry.day <= found->second.day) continue;
    const Bytes16 person = entry.record.person;
    by_person.insert_or_assign(person, std::move(entry));
  }
  MutexLock lock(mutex_);
  by_person_ = std::move(by_person);
  count_ = by_person_.size();
}

void RestrictionRegister::Put(Entry entry) {
  MutexLock lock(mutex_);
  const Bytes16 person = entry.record.person;
  by_person_.insert_or_assign(person, std::move(entry));
  count_ = by_person_.size();
}

void RestrictionRegister::Remove(const RestrictionId& id) {
  MutexLock lock(mutex_);
  std::erase_if(by_person_, [&](const auto& entry) { return entry.second.id == id; });
  count_ = by_person_.size();
}

void RestrictionRegister::EndDate(ExpiryDay day) {
  MutexLock lock(mutex_);
  std::erase_if(by_person_, [&](const auto& entry) { return entry.second.day == day; });
  count_ = by_person_.size();
}

}  // namespace mayfly::store
