#include "store/search/search.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "store/conversations.h"
#include "store/core.h"
#include "store/search/core_keys.h"

namespace mayfly::store::search {
namespace {

constexpr std::size_t kPositionBytes = 8 + 16;
constexpr int kTriesMax = 3;

using Numbers = std::vector<std::uint32_t>;

// Sent time (newest first), then the message's key.
std::string PositionOf(const schema::ThreadPosition& position) {
  return schema::NewestFirst(position.sent_at).append(schema::View(position.dkey));
}
Result<std::optional<schema::ThreadPosition>> ParsePosition(const std::string& after) {
  if (after.empty()) return std::optional<schema::ThreadPosition>();
  const auto bytes = FromHex(after);
  if (!bytes || bytes->size() != kPositionBytes) {
    return Fail(ErrorCode::kCursorInvalid, "This is not a position of this list.");
  }
  // The same bytes as the end of a message's key.
  const std::string key = schema::Key(schema::kMessage, Bytes16{}) + *bytes;
  return schema::ParseMessageKey(key);
}

void Intersect(Numbers& numbers, const Numbers& others) {
  Numbers both;
  std::set_intersection(numbers.begin(), numbers.end(), others.begin(), others.end(),
                        std::back_inserter(both));
  numbers = std::move(both);
}

void SortUnique(Numbers& numbers) {
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
}

// Gone, or replaced while it was read.
bool HasMoved(ErrorCode code) {
  return code == ErrorCode::kNotFound || code == ErrorCode::kCorrupt;
}

}  // namespace

// One pass over the dates. When postings were replaced meanwhile, `moved` is set and what was found
// is thrown away.
class Search::Run {
 public:
  Run(Core& core, const Query& query, const Filter& filter,
      std::optional<schema::ThreadPosition> after, std::size_t limit, TimePoint now,
      std::shared_ptr<const Tokenizer> tokenizer, bool last_try)
      : core_(core),
        query_(query),
        filter_(filter),
        after_(after),
        limit_(limit),
        now_(now),
        last_try_(last_try),
        young_matcher_(query, std::move(tokenizer)) {
    if (filter.account) fixed_.push_back({AccountTerm(*filter.account)});
    if (filter.conversation) fixed_.push_back({ConversationTerm(*filter.conversation)});
  }

  Result<Page> Do() {
    // Memory first: what is written out meanwhile is then met twice, not never.
    const std::vector<ExpiryDay> days = core_.VisibleDays(now_);
    for (const ExpiryDay day : days) AddYoung(day);
    for (const ExpiryDay day : days) {
      auto added = AddSegments(day);
      if (!added) MAYFLY_RETURN_IF_ERROR(Judge(day, std::move(added).error()));
      if (moved_) return Page();
    }
    std::make_heap(sources_.begin(), sources_.end(), Later);
    MAYFLY_RETURN_IF_ERROR(Merge());
    return std::move(page_);
  }

  bool moved() const { return moved_; }

 private:
  struct Candidate {
    schema::ThreadPosition at;
    ExpiryDay day{};
  };
  // Candidates of one segment, or of one date's memory, newest first.
  struct Source {
    ExpiryDay day{};
    schema::ThreadPosition next;  // or not older than it, while it is not opened
    bool opened = false;
    std::vector<schema::ThreadPosition> young;  // those of memory
    std::unique_ptr<PostingKeys> keys;
    std::unique_ptr<SegmentReader> reader;
    Numbers numbers;
    std::size_t index = 0;
  };
  using SourcePtr = std::shared_ptr<Source>;
  static bool Later(const SourcePtr& a, const SourcePtr& b) {
    return schema::IsNewer(b->next, a->next);
  }

  void Reaches(TimePoint oldest) {
    if (!page_.reaches_back_to || oldest < *page_.reaches_back_to) page_.reaches_back_to = oldest;
  }

  bool IsWanted(const schema::ThreadPosition& at) const {
    if (at.dkey == Bytes16{}) return false;
    if (after_ && !schema::IsNewer(*after_, at)) return false;
    if (filter_.sent_from && at.sent_at < *filter_.sent_from) return false;
    return !filter_.sent_before || at.sent_at < *filter_.sent_before;
  }

  // Documents that have one of the terms of each list. `find` adds those of one term.
  template <class Find>
  Result<Numbers> AllOf(const Matcher& matcher, const Find& find) const {
    std::optional<Numbers> all;
    for (const auto* lists : {&fixed_, &matcher.terms()}) {
      for (const std::vector<std::string>& terms : *lists) {
        Numbers any;
        for (const std::string& term : terms) MAYFLY_RETURN_IF_ERROR(find(term, any));
        if (terms.size() > 1) SortUnique(any);
        if (all) {
          Intersect(*all, any);
        } else {
          all = std::move(any);
        }
        if (all->empty()) return Numbers();
      }
    }
    return all ? *std::move(all) : Numbers();
  }

  void AddYoung(ExpiryDay day) {
    auto source = std::make_shared<Source>();
    source->day = day;
    source->opened = true;
    (void)core_.young_words().Use(day, [&](const WordTable& words) {
      for (const Document& document : words.documents()) {
        if (document.message != Bytes16{}) Reaches(document.sent_at);
      }
      const auto numbers = AllOf(young_matcher_, [&](const std::string& term, Numbers& any) {
        if (const auto* found = words.Find(term))
          any.insert(any.end(), found->begin(), found->end());
        return Status();
      });
      for (const std::uint32_t number : *numbers) {
        const Document& document = words.documents()[number];
        const schema::ThreadPosition at{document.sent_at, document.message};
        if (IsWanted(at)) source->young.push_back(at);
      }
    });
    if (source->young.empty()) return;
    std::sort(source->young.begin(), source->young.end(), schema::IsNewer);
    source->next = source->young.front();
    sources_.push_back(std::move(source));
  }

  // No slot is destroyed and no index replaced while this reads, nor in Open and Advance; what
  // happens in between is noticed.
  Status AddSegments(ExpiryDay day) {
    const ReaderPairs view(core_);
    MAYFLY_ASSIGN_OR_RETURN(const VaultPostingKeys keys, KeysOfPostings(core_, day));
    std::size_t damaged = 0;
    MAYFLY_ASSIGN_OR_RETURN(auto heads, ReadHeads(core_.engine(), day, keys, &damaged));
    for (; damaged > 0; --damaged) core_.CountDamage();
    for (SegmentHead& head : heads) {
      const SegmentMeta& meta = head.meta;
      Reaches(meta.oldest);
      const bool too_new = after_ && meta.oldest > after_->sent_at;
      const bool too_early = filter_.sent_from && meta.block_newest.front() < *filter_.sent_from;
      const bool too_late = filter_.sent_before && meta.oldest >= *filter_.sent_before;
      if (too_new || too_early || too_late) continue;
      auto source = std::make_shared<Source>();
      source->day = day;
      source->next = {meta.block_newest.front(), Bytes16{}};
      source->keys = std::make_unique<VaultPostingKeys>(keys);
      source->reader =
          std::make_unique<SegmentReader>(core_.engine(), *source->keys, day, std::move(head));
      sources_.push_back(std::move(source));
    }
    return {};
  }

  const Matcher& MatcherFor(const std::vector<std::string>& languages) {
    if (languages == young_matcher_.tokenizer().languages()) return young_matcher_;
    auto& matcher = matchers_[languages];
    if (matcher == nullptr) {
      auto tokenizer = Tokenizer::Make(languages);
      // Written by a Debian that had more stemmers: words are then found as they stand.
      if (!tokenizer) tokenizer = Tokenizer::Make({});
      matcher = std::make_unique<Matcher>(query_, *std::move(tokenizer));
    }
    return *matcher;
  }

  // Before these blocks everything is too new.
  std::uint32_t FirstDocument(const SegmentMeta& meta) const {
    const auto& newest = meta.block_newest;
    std::uint32_t block = 0;
    while (block + 1 < newest.size() &&
           ((after_ && newest[block + 1] > after_->sent_at) ||
            (filter_.sent_before && newest[block + 1] >= *filter_.sent_before))) {
      ++block;
    }
    return block * kBlockDocuments;
  }

  Status Open(Source& source) {
    const ReaderPairs view(core_);
    source.opened = true;
    const SegmentMeta& meta = source.reader->head().meta;
    MAYFLY_ASSIGN_OR_RETURN(source.numbers, AllOf(MatcherFor(meta.languages),
                                                  [&](const std::string& term, Numbers& any) {
                                                    return source.reader->Find(term, any);
                                                  }));
    source.index = static_cast<std::size_t>(
        std::lower_bound(source.numbers.begin(), source.numbers.end(), FirstDocument(meta)) -
        source.numbers.begin());
    return {};
  }

  // Moves to the next candidate that is wanted. False when there is none.
  Result<bool> Advance(Source& source) {
    if (source.reader == nullptr) {
      if (source.index >= source.young.size()) return false;
      source.next = source.young[source.index++];
      return true;
    }
    const ReaderPairs view(core_);
    while (source.index < source.numbers.size()) {
      MAYFLY_ASSIGN_OR_RETURN(const Document document,
                              source.reader->Get(source.numbers[source.index++]));
      if (filter_.sent_from && document.sent_at < *filter_.sent_from) return false;
      source.next = {document.sent_at, document.message};
      if (IsWanted(source.next)) return true;
    }
    return false;
  }

  // What a source's failure means: replaced meanwhile, ended, damaged.
  Status Judge(ExpiryDay day, Error error) {
    if (error.code == ErrorCode::kExpired) {
      // Either its date has just ended, or its postings have other keys now.
      if (core_.IsUsable(day, now_)) moved_ = moved_ || !last_try_;
      return {};
    }
    if (!HasMoved(error.code)) return Fail(std::move(error));
    if (last_try_) {
      core_.CountDamage();
    } else {
      moved_ = true;
    }
    return {};
  }

  Status Merge() {
    // Every source of memory waits with its first candidate taken.
    for (const SourcePtr& source : sources_) {
      if (source->reader == nullptr) source->index = 1;
    }
    while (!sources_.empty() && !moved_) {
      std::pop_heap(sources_.begin(), sources_.end(), Later);
      const SourcePtr source = sources_.back();
      sources_.pop_back();
      const bool fresh = !source->opened;
      if (fresh) {
        if (auto opened = Open(*source); !opened) {
          MAYFLY_RETURN_IF_ERROR(Judge(source->day, std::move(opened).error()));
          continue;
        }
      } else {
        MAYFLY_ASSIGN_OR_RETURN(const bool enough, Take({source->next, source->day}));
        if (enough) return {};
      }
      auto more = Advance(*source);
      if (!more) {
        MAYFLY_RETURN_IF_ERROR(Judge(source->day, std::move(more).error()));
        continue;
      }
      if (!*more) continue;
      sources_.push_back(source);
      std::push_heap(sources_.begin(), sources_.end(), Later);
    }
    return {};
  }

  // True when the page is full, or enough was opened.
  Result<bool> Take(const Candidate& candidate) {
    const MessageId id{candidate.day, candidate.at.dkey};
    if (!seen_.insert(id).second) return false;
    if (opened_++ == kOpenedMax) {
      page_.next = last_;
      return true;
    }
    MAYFLY_ASSIGN_OR_RETURN(const bool found, IsFound(id));
    if (found) {
      if (page_.items.size() == limit_) {
        page_.next = last_item_;
        return true;
      }
      auto message = Conversations(core_).GetMessage(*look_, id, now_);
      if (!message) {
        const ErrorCode code = message.error().code;
        const bool hidden = code == ErrorCode::kExpired || code == ErrorCode::kRestricted;
        if (hidden || HasMoved(code)) return false;
        return Fail(std::move(message).error());
      }
      page_.items.push_back(*std::move(message));
      last_item_ = ToHex(PositionOf(candidate.at));
    }
    last_ = ToHex(PositionOf(candidate.at));
    return false;
  }

  // Whether the message, as it is now, is looked for.
  Result<bool> IsFound(const MessageId& id) const {
    ReaderPairs pairs(core_);
    const auto stored = core_.FindMessage(id, now_, pairs);
    if (stored) return Says(*stored);
    const ErrorCode code = stored.error().code;
    if (code == ErrorCode::kExpired || HasMoved(code)) return false;
    return Fail(stored.error());
  }

  bool Says(const StoredMessage& stored) const {
    if (stored.record.withdrawn || stored.record.unreadable != UnreadableReason::kNone) {
      return false;
    }
    if (filter_.account && stored.header.account != *filter_.account) return false;
    if (filter_.conversation && stored.record.conversation != *filter_.conversation) return false;
    return young_matcher_.Matches(stored.record.text);
  }

 public:
  void set_look(const Look& look) { look_ = &look; }

 private:
  Core& core_;
  const Query& query_;
  const Filter& filter_;
  const std::optional<schema::ThreadPosition> after_;
  const std::size_t limit_;
  const TimePoint now_;
  const bool last_try_;
  const Look* look_ = nullptr;
  Matcher young_matcher_;
  std::map<std::vector<std::string>, std::unique_ptr<Matcher>> matchers_;
  std::vector<std::vector<std::string>> fixed_;
  std::vector<SourcePtr> sources_;
  std::set<MessageId> seen_;
  std::size_t opened_ = 0;
  std::string last_;       // position of the last candidate
  std::string last_item_;  // and of the last item
  Page page_;
  bool moved_ = false;
};

Result<Search::Page> Search::Find(const Look& look, const Query& query, const Filter& filter,
                                  const std::string& after, std::size_t limit,
                                  TimePoint now) const {
  MAYFLY_ASSIGN_OR_RETURN(const auto position, ParsePosition(after));
  const std::size_t wanted = std::max<std::size_t>(limit, 1);
  Page page;
  for (int i = 1; i <= kTriesMax; ++i) {
    const bool last_try = i == kTriesMax;
    std::unique_lock<std::mutex> still(index_.work_mutex(), std::defer_lock);
    if (last_try) {
      // Nothing is written out any more while this one looks.
      still.lock();
      MAYFLY_RETURN_IF_ERROR(index_.CatchUpLocked(now));
    } else {
      MAYFLY_RETURN_IF_ERROR(index_.CatchUp(now));
    }
    const std::uint64_t moves = core_.young_words().moves();
    Run run(core_, query, filter, position, wanted, now, index_.tokenizer(), last_try);
    run.set_look(look);
    MAYFLY_ASSIGN_OR_RETURN(page, run.Do());
    if (last_try || (!run.moved() && core_.young_words().moves() == moves)) break;
  }
  std::set<ConversationId> shown;
  for (const Message& message : page.items) shown.insert(message.conversation);
  MAYFLY_RETURN_IF_ERROR(AuditLog(core_).RecordLooksAt(look.actor(), shown, now));
  return page;
}

}  // namespace mayfly::store::search
