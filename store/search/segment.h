// Segments on disk: rows `t` of a day family, sealed under a slot of their own
// (schema::PostingsInput), which is destroyed and replaced whenever a message loses its words, and
// with the date's index.
//
//   t 'm' segment[8]             meta          (layouts: posting_codec.h)
//   t 'd' segment[8] block[2]    block of documents
//   t 'w' segment[8] bucket[2]   bucket of terms: those whose blind value begins with these bits
//
// Buckets instead of a row for each word: a row costs about 100 bytes whatever stands in it, and
// its length would tell whoever steals the disk how frequent each word is
// (docs/decisions/0020-search.md).
#ifndef MAYFLY_STORE_SEARCH_SEGMENT_H_
#define MAYFLY_STORE_SEARCH_SEGMENT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/engine/engine.h"
#include "store/keys/key_vault.h"
#include "store/model/ids.h"
#include "store/model/result.h"
#include "store/model/sensitive.h"
#include "store/search/posting_codec.h"
#include "store/search/word_table.h"

namespace mayfly::store::search {

// What a date's postings need of its keys.
class PostingKeys {
 public:
  virtual ~PostingKeys() = default;
  // Keyed hash of a term under the date's index (schema::kBlindTerm).
  virtual Result<Bytes16> Blind(std::string_view term) const = 0;
  // Seals the rows that are written now. Each row says which one sealed it, so rows of an earlier
  // slot, which a job is moving, are read beside them.
  virtual Slot slot() const = 0;
  // kExpired when the date or the slot is destroyed. The caller wipes it.
  virtual Result<Pair> PairFor(Slot slot) const = 0;
};

// The vault's. `slot` is only needed for writing.
class VaultPostingKeys final : public PostingKeys {
 public:
  VaultPostingKeys(const KeyVault& vault, ExpiryDay day, Slot index, Slot slot = {})
      : vault_(vault), day_(day), index_(index), slot_(slot) {}
  Result<Bytes16> Blind(std::string_view term) const override;
  Slot slot() const override { return slot_; }
  Result<Pair> PairFor(Slot slot) const override { return vault_.PairFor(day_, slot); }

 private:
  const KeyVault& vault_;
  const ExpiryDay day_;
  const Slot index_;
  const Slot slot_;
};

using Row = std::pair<std::string, std::string>;  // key, sealed value

// Terms under which messages are found by what they are instead of what they say. No word begins
// with these bytes.
std::string AccountTerm(AccountId account);
std::string ConversationTerm(const ConversationId& conversation);

// The rows of one segment with everything that lives in `table`; none when nothing does.
Result<std::vector<Row>> WriteSegment(ExpiryDay day, std::uint64_t segment, const WordTable& table,
                                      const std::vector<std::string>& languages,
                                      const PostingKeys& keys);

// The segments of a date, ascending. A segment's number is never used again.
struct SegmentHead {
  std::uint64_t segment = 0;
  std::string row;  // sealed, as it was read: unchanged means that the segment is
  SegmentMeta meta;
};
// kCorrupt when one does not open; `damaged`, if given, counts and skips it instead.
Result<std::vector<SegmentHead>> ReadHeads(const Engine& engine, ExpiryDay day,
                                           const PostingKeys& keys, std::size_t* damaged = nullptr);

// Reads one segment. Every call may fail with kNotFound when the segment was replaced since its
// head was read.
class SegmentReader {
 public:
  // Engine and keys must outlive it.
  SegmentReader(const Engine& engine, const PostingKeys& keys, ExpiryDay day, SegmentHead head);
  SegmentReader(const SegmentReader&) = delete;
  SegmentReader& operator=(const SegmentReader&) = delete;

  const SegmentHead& head() const { return head_; }
  // Adds the documents that have the term.
  Status Find(std::string_view term, std::vector<std::uint32_t>& documents);
  // Keeps the last block that it read.
  Result<Document> Get(std::uint32_t document);
  Result<std::vector<Document>> Block(std::uint32_t block) const;
  Result<Bucket> ReadBucket(std::uint32_t bucket) const;
  Result<std::uint32_t> BucketOf(std::string_view term) const;
  std::uint32_t buckets() const { return 1u << head_.meta.bucket_bits; }

 private:
  Result<std::optional<std::string>> Open(const std::string& key) const;

  const Engine& engine_;
  const PostingKeys& keys_;
  const ExpiryDay day_;
  const SegmentHead head_;
  std::optional<std::uint32_t> block_number_;
  std::vector<Document> block_;
};

// Adds the living documents of a segment and their terms to `table`, but for those in `gone`.
Status ReadSegment(SegmentReader& reader, const std::set<Bytes16>& gone, WordTable& table);
// All keys of rows of a segment that may exist.
std::vector<std::string> KeysOf(const SegmentHead& head);

// A message that loses its words: it was withdrawn, edited or erased. What it said chooses the
// buckets; a word that they do not know is looked for in all.
struct Removal {
  Bytes16 message = {};
  TimePoint sent_at;
  AccountId account;
  ConversationId conversation;
  MessageBody text;  // as it was when it was indexed
};
// What to put and remove so that no segment of the date knows the words of these messages any more.
// All removals of a date of one commit at once: the rows are read as they are stored. Old copies of
// these rows open until their slot is destroyed (Transaction::RenewSlot).
struct RowChanges {
  std::vector<Row> put;
  std::vector<std::string> remove;
};
Result<RowChanges> RemoveMessages(const Engine& engine, ExpiryDay day, const PostingKeys& keys,
                                  const std::vector<Removal>& removals);

}  // namespace mayfly::store::search

#endif  // MAYFLY_STORE_SEARCH_SEGMENT_H_
