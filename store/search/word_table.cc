#include "store/search/word_table.h"

#include <algorithm>

namespace mayfly::store::search {
namespace {

// A document in both containers, and a term in the map with its first list.
constexpr std::size_t kDocumentBytes = 112;
constexpr std::size_t kTermOverheadBytes = 96;

}  // namespace

std::uint32_t WordTable::AddDocument(const Bytes16& message, TimePoint sent_at) {
  const auto number = static_cast<std::uint32_t>(documents_.size());
  documents_.push_back({.message = message, .terms = 0, .sent_at = sent_at});
  numbers_.emplace(message, number);
  bytes_ += kDocumentBytes;
  return number;
}

void WordTable::AddTerm(std::uint32_t document, std::string_view term) {
  if (term.empty() || term.size() > kTermBytesMax) return;
  auto found = terms_.find(term);
  if (found == terms_.end()) {
    found = terms_.try_emplace(SecretString(term)).first;
    bytes_ += kTermOverheadBytes + term.size();
  }
  auto& documents = found->second;
  if (!documents.empty() && documents.back() == document) return;
  documents.push_back(document);
  bytes_ += sizeof document;
  ++documents_[document].terms;
}

void WordTable::Append(const WordTable& other) {
  std::vector<std::uint32_t> numbers;
  for (const Document& document : other.documents_) {
    const bool lives = document.message != Bytes16{};
    numbers.push_back(lives ? AddDocument(document.message, document.sent_at) : 0);
  }
  for (const auto& [term, documents] : other.terms_) {
    for (const std::uint32_t document : documents) AddTerm(numbers[document], term);
  }
}

bool WordTable::Remove(const Bytes16& message) {
  const auto found = numbers_.find(message);
  if (found == numbers_.end()) return false;
  const std::uint32_t number = found->second;
  numbers_.erase(found);
  documents_[number].message = {};
  documents_[number].terms = 0;
  for (auto term = terms_.begin(); term != terms_.end();) {
    auto& documents = term->second;
    const auto at = std::lower_bound(documents.begin(), documents.end(), number);
    if (at != documents.end() && *at == number) documents.erase(at);
    term = documents.empty() ? terms_.erase(term) : std::next(term);
  }
  return true;
}

const std::vector<std::uint32_t>* WordTable::Find(std::string_view term) const {
  const auto found = terms_.find(term);
  return found == terms_.end() ? nullptr : &found->second;
}

}  // namespace mayfly::store::search
