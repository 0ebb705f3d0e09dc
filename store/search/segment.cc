#include "store/search/segment.h"

#include <algorithm>
#include <numeric>
#include <sodium.h>

#include "store/keys/seal.h"
#include "store/schema.h"
#include "store/search/tokenizer.h"

namespace mayfly::store::search {
namespace {

constexpr char kMetaPart = 'm';
constexpr char kBlockPart = 'd';
constexpr char kBucketPart = 'w';
constexpr std::size_t kBucketBytesWanted = 4'096;
const Bytes16 kNoMessage = {};

std::string PartPrefix(char part) { return schema::Key(schema::kPosting) + part; }
std::string MetaKey(std::uint64_t segment) { return PartPrefix(kMetaPart) + schema::U64(segment); }
std::string PartKey(char part, std::uint64_t segment, std::uint32_t number) {
  return PartPrefix(part) + schema::U64(segment) + schema::U32(number).substr(2);
}

std::uint32_t BucketIn(const Bytes16& blind, std::uint8_t bits) {
  const std::uint32_t first = static_cast<std::uint32_t>(blind[0]) << 8 | blind[1];
  return first >> (16 - bits);
}

// Sealing of one date's rows. Keeps no key: whoever destroys a slot need only wait for those who
// read a row just now.
class Sealer {
 public:
  // The keys must outlive it.
  Sealer(ExpiryDay day, const PostingKeys& keys)
      : family_(Family::Day(day).Name()), expires_at_(StartOf(day)), keys_(keys) {}

  Result<Row> SealRow(std::string key, std::string body) const {
    auto pair = keys_.PairFor(keys_.slot());
    if (!pair) {
      WipeString(body);
      return Fail(std::move(pair).error());
    }
    std::string sealed = Seal(*pair, ContextOf(key), {.slot = keys_.slot()}, body);
    sodium_memzero(pair->data(), pair->size());
    WipeString(body);
    return Row(std::move(key), std::move(sealed));
  }
  Result<std::string> Open(std::string_view key, std::string_view sealed) const {
    MAYFLY_ASSIGN_OR_RETURN(const SealedHeader header, PeekSealed(sealed));
    MAYFLY_ASSIGN_OR_RETURN(Pair pair, keys_.PairFor(header.slot));
    auto body = Unseal(pair, ContextOf(key), sealed);
    sodium_memzero(pair.data(), pair.size());
    return body;
  }

 private:
  SealContext ContextOf(std::string_view key) const {
    return {.organisation = schema::kOrganisation,
            .family = family_,
            .column = schema::kPosting,
            .engine_key = key,
            .expires_at = expires_at_};
  }
  const std::string family_;
  const TimePoint expires_at_;
  const PostingKeys& keys_;
};

// Living documents in the order of results, and the new number of each old one.
struct Order {
  std::vector<Document> documents;
  std::vector<std::uint32_t> number;  // by old number; meaningless for a removed one
};
Order NewestFirst(const WordTable& table) {
  const std::vector<Document>& all = table.documents();
  std::vector<std::uint32_t> sorted;
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    if (all[i].message != kNoMessage) sorted.push_back(i);
  }
  std::sort(sorted.begin(), sorted.end(), [&](std::uint32_t a, std::uint32_t b) {
    return schema::IsNewer({all[a].sent_at, all[a].message}, {all[b].sent_at, all[b].message});
  });
  Order order{.documents = {}, .number = std::vector<std::uint32_t>(all.size(), 0)};
  for (std::uint32_t i = 0; i < sorted.size(); ++i) {
    order.number[sorted[i]] = i;
    order.documents.push_back(all[sorted[i]]);
  }
  return order;
}

SegmentMeta MetaOf(const std::vector<Document>& documents, std::uint8_t bits,
                   const std::vector<std::string>& languages) {
  SegmentMeta meta{.documents = static_cast<std::uint32_t>(documents.size()),
                   .bucket_bits = bits,
                   .languages = languages,
                   .oldest = documents.back().sent_at,
                   .block_newest = {}};
  for (std::size_t i = 0; i < documents.size(); i += kBlockDocuments) {
    meta.block_newest.push_back(documents[i].sent_at);
  }
  return meta;
}

std::uint8_t BucketBits(const WordTable& table) {
  std::size_t bytes = 0;
  for (const auto& [term, documents] : table.terms()) bytes += term.size() + 4 + documents.size();
  std::uint8_t bits = 0;
  while (bits < kBucketBitsMax && (bytes >> bits) > kBucketBytesWanted) ++bits;
  return bits;
}

// Takes what is not wanted out of a bucket; how often it was there.
std::size_t Drop(Bucket& bucket, const std::set<std::uint32_t>& documents,
                 std::map<std::uint32_t, std::uint32_t>& dropped) {
  std::size_t count = 0;
  for (Postings& postings : bucket) {
    count += std::erase_if(postings.documents, [&](std::uint32_t document) {
      if (!documents.contains(document)) return false;
      ++dropped[document];
      return true;
    });
  }
  std::erase_if(bucket, [](const Postings& postings) { return postings.documents.empty(); });
  return count;
}

// One segment's share of RemoveMessages.
class Remover {
 public:
  Remover(SegmentReader& reader, const Sealer& sealer) : reader_(reader), sealer_(sealer) {}

  Status Run(const std::vector<Removal>& removals, RowChanges& changes) {
    MAYFLY_RETURN_IF_ERROR(FindDocuments(removals));
    if (documents_.empty()) return {};
    SegmentMeta meta = reader_.head().meta;
    meta.removed += static_cast<std::uint32_t>(documents_.size());
    if (meta.removed == meta.documents) {
      const auto keys = KeysOf(reader_.head());
      changes.remove.insert(changes.remove.end(), keys.begin(), keys.end());
      return {};
    }
    std::set<std::uint32_t> numbers;
    for (const auto& [number, terms] : documents_) numbers.insert(number);
    for (const std::uint32_t bucket : buckets_) {
      MAYFLY_RETURN_IF_ERROR(DropFrom(bucket, numbers, changes));
    }
    const bool all = std::all_of(documents_.begin(), documents_.end(), [&](const auto& document) {
      return dropped_[document.first] == document.second;
    });
    for (std::uint32_t bucket = 0; !all && bucket < reader_.buckets(); ++bucket) {
      if (!buckets_.contains(bucket)) {
        MAYFLY_RETURN_IF_ERROR(DropFrom(bucket, numbers, changes));
      }
    }
    const std::uint64_t segment = reader_.head().segment;
    for (auto& [number, block] : blocks_) {
      MAYFLY_ASSIGN_OR_RETURN(
          Row row, sealer_.SealRow(PartKey(kBlockPart, segment, number), EncodeBlock(block)));
      changes.put.push_back(std::move(row));
    }
    MAYFLY_ASSIGN_OR_RETURN(Row row, sealer_.SealRow(MetaKey(segment), Encode(meta)));
    changes.put.push_back(std::move(row));
    return {};
  }

 private:
  Status FindDocuments(const std::vector<Removal>& removals) {
    const SegmentMeta& meta = reader_.head().meta;
    MAYFLY_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Make(meta.languages));
    for (const Removal& removal : removals) {
      MAYFLY_ASSIGN_OR_RETURN(const bool here, FindDocument(removal));
      if (!here) continue;
      Status status;
      const auto choose = [&](std::string_view term) {
        auto bucket = reader_.BucketOf(term);
        if (bucket) {
          buckets_.insert(*bucket);
        } else {
          status = Fail(std::move(bucket).error());
        }
      };
      choose(AccountTerm(removal.account));
      choose(ConversationTerm(removal.conversation));
      tokenizer->Visit(removal.text.Reveal(),
                       [&](std::string_view, const std::vector<std::string_view>& terms) {
                         for (const std::string_view term : terms) choose(term);
                         return status.has_value();
                       });
      MAYFLY_RETURN_IF_ERROR(std::move(status));
    }
    return {};
  }

  Result<bool> FindDocument(const Removal& removal) {
    const auto& newest = reader_.head().meta.block_newest;
    for (std::uint32_t block = 0; block < newest.size(); ++block) {
      if (newest[block] < removal.sent_at) return false;
      if (block + 1 < newest.size() && newest[block + 1] > removal.sent_at) continue;
      auto found = blocks_.find(block);
      if (found == blocks_.end()) {
        MAYFLY_ASSIGN_OR_RETURN(auto documents, reader_.Block(block));
        found = blocks_.emplace(block, std::move(documents)).first;
      }
      for (std::uint32_t i = 0; i < found->second.size(); ++i) {
        Document& document = found->second[i];
        if (document.message != removal.message) continue;
        documents_.emplace(block * kBlockDocuments + i, document.terms);
        document.message = kNoMessage;
        document.terms = 0;
        return true;
      }
    }
    return false;
  }

  Status DropFrom(std::uint32_t number, const std::set<std::uint32_t>& documents,
                  RowChanges& changes) {
    MAYFLY_ASSIGN_OR_RETURN(Bucket bucket, reader_.ReadBucket(number));
    if (Drop(bucket, documents, dropped_) == 0) return {};
    std::string key = PartKey(kBucketPart, reader_.head().segment, number);
    if (bucket.empty()) {
      changes.remove.push_back(std::move(key));
    } else {
      MAYFLY_ASSIGN_OR_RETURN(Row row, sealer_.SealRow(std::move(key), EncodeBucket(bucket)));
      changes.put.push_back(std::move(row));
    }
    return {};
  }

  SegmentReader& reader_;
  const Sealer& sealer_;
  std::map<std::uint32_t, std::uint32_t> documents_;  // and how many terms each has
  std::map<std::uint32_t, std::uint32_t> dropped_;
  std::map<std::uint32_t, std::vector<Document>> blocks_;
  std::set<std::uint32_t> buckets_;
};

}  // namespace

Result<Bytes16> VaultPostingKeys::Blind(std::string_view term) const {
  return vault_.BlindUnder(day_, index_, schema::kBlindTerm, term);
}

std::string AccountTerm(AccountId account) { return "\x01" + schema::U32(account.value); }

std::string ConversationTerm(const ConversationId& conversation) {
  return std::string("\x02").append(schema::View(conversation.bytes));
}

Result<std::vector<Row>> WriteSegment(ExpiryDay day, std::uint64_t segment, const WordTable& table,
                                      const std::vector<std::string>& languages,
                                      const PostingKeys& keys) {
  std::vector<Row> rows;
  const Order order = NewestFirst(table);
  if (order.documents.empty()) return rows;
  if (order.documents.size() > kSegmentDocumentsMax) {
    return Fail(ErrorCode::kInternal, "a segment of postings has too many messages");
  }
  const Sealer sealer(day, keys);
  const std::uint8_t bits = BucketBits(table);
  std::vector<Bucket> buckets(std::size_t{1} << bits);
  for (const auto& [term, documents] : table.terms()) {
    MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, keys.Blind(term));
    Postings postings;
    postings.term = term;
    postings.documents.reserve(documents.size());
    for (const std::uint32_t document : documents) {
      postings.documents.push_back(order.number[document]);
    }
    std::sort(postings.documents.begin(), postings.documents.end());
    buckets[BucketIn(blind, bits)].push_back(std::move(postings));
  }
  const auto add = [&](std::string key, std::string body) -> Status {
    MAYFLY_ASSIGN_OR_RETURN(Row row, sealer.SealRow(std::move(key), std::move(body)));
    rows.push_back(std::move(row));
    return {};
  };
  MAYFLY_RETURN_IF_ERROR(add(MetaKey(segment), Encode(MetaOf(order.documents, bits, languages))));
  for (std::size_t i = 0; i < order.documents.size(); i += kBlockDocuments) {
    const auto begin = order.documents.begin() + static_cast<std::ptrdiff_t>(i);
    const auto end = begin + static_cast<std::ptrdiff_t>(std::min<std::size_t>(
                                 kBlockDocuments, order.documents.size() - i));
    MAYFLY_RETURN_IF_ERROR(
        add(PartKey(kBlockPart, segment, static_cast<std::uint32_t>(i / kBlockDocuments)),
            EncodeBlock({begin, end})));
  }
  for (std::uint32_t i = 0; i < buckets.size(); ++i) {
    if (buckets[i].empty()) continue;
    std::sort(buckets[i].begin(), buckets[i].end(),
              [](const Postings& a, const Postings& b) { return a.term < b.term; });
    MAYFLY_RETURN_IF_ERROR(add(PartKey(kBucketPart, segment, i), EncodeBucket(buckets[i])));
  }
  return rows;
}

Result<std::vector<SegmentHead>> ReadHeads(const Engine& engine, ExpiryDay day,
                                           const PostingKeys& keys, std::size_t* damaged) {
  const Sealer sealer(day, keys);
  std::vector<SegmentHead> heads;
  Status status;
  const std::string prefix = PartPrefix(kMetaPart);
  MAYFLY_RETURN_IF_ERROR(engine.Scan(
      Family::Day(day), {.prefix = prefix}, [&](std::string_view key, std::string_view sealed) {
        SegmentHead head{.segment = schema::ReadU64(key.substr(prefix.size())),
                         .row = std::string(sealed),
                         .meta = {}};
        const auto body = sealer.Open(key, sealed);
        auto meta = body ? DecodeMeta(*body) : Fail(body.error());
        if (meta) {
          head.meta = *std::move(meta);
          heads.push_back(std::move(head));
          return true;
        }
        if (damaged != nullptr) {
          ++*damaged;
          return true;
        }
        status = Fail(std::move(meta).error());
        return false;
      }));
  MAYFLY_RETURN_IF_ERROR(std::move(status));
  return heads;
}

SegmentReader::SegmentReader(const Engine& engine, const PostingKeys& keys, ExpiryDay day,
                             SegmentHead head)
    : engine_(engine), keys_(keys), day_(day), head_(std::move(head)) {}

Result<std::optional<std::string>> SegmentReader::Open(const std::string& key) const {
  MAYFLY_ASSIGN_OR_RETURN(const auto sealed, engine_.Get(Family::Day(day_), key));
  if (!sealed) return std::optional<std::string>();
  MAYFLY_ASSIGN_OR_RETURN(std::string body, Sealer(day_, keys_).Open(key, *sealed));
  return std::optional<std::string>(std::move(body));
}

Result<std::uint32_t> SegmentReader::BucketOf(std::string_view term) const {
  MAYFLY_ASSIGN_OR_RETURN(const Bytes16 blind, keys_.Blind(term));
  return BucketIn(blind, head_.meta.bucket_bits);
}

Status SegmentReader::Find(std::string_view term, std::vector<std::uint32_t>& documents) {
  MAYFLY_ASSIGN_OR_RETURN(const std::uint32_t bucket, BucketOf(term));
  MAYFLY_ASSIGN_OR_RETURN(auto body, Open(PartKey(kBucketPart, head_.segment, bucket)));
  if (!body) return {};  // an empty bucket has no row
  Status found = FindInBucket(*body, term, documents);
  WipeString(*body);
  return found;
}

Result<Bucket> SegmentReader::ReadBucket(std::uint32_t bucket) const {
  MAYFLY_ASSIGN_OR_RETURN(auto body, Open(PartKey(kBucketPart, head_.segment, bucket)));
  if (!body) return Bucket();
  auto decoded = DecodeBucket(*body);
  WipeString(*body);
  return decoded;
}

Result<std::vector<Document>> SegmentReader::Block(std::uint32_t block) const {
  MAYFLY_ASSIGN_OR_RETURN(const auto body, Open(PartKey(kBlockPart, head_.segment, block)));
  if (!body) return Fail(ErrorCode::kNotFound, "These postings were replaced.");
  MAYFLY_ASSIGN_OR_RETURN(auto documents, DecodeBlock(*body));
  const std::uint32_t first = block * kBlockDocuments;
  if (first >= head_.meta.documents ||
      documents.size() != std::min(kBlockDocuments, head_.meta.documents - first)) {
    return Fail(ErrorCode::kCorrupt, "a block of postings has another size than its head says");
  }
  return documents;
}

Result<Document> SegmentReader::Get(std::uint32_t document) {
  const std::uint32_t block = document / kBlockDocuments;
  if (block_number_ != block) {
    MAYFLY_ASSIGN_OR_RETURN(block_, Block(block));
    block_number_ = block;
  }
  const std::uint32_t at = document % kBlockDocuments;
  if (at >= block_.size()) {
    return Fail(ErrorCode::kCorrupt, "postings name a message that their segment does not have");
  }
  return block_[at];
}

Status ReadSegment(SegmentReader& reader, const std::set<Bytes16>& gone, WordTable& table) {
  constexpr std::uint32_t kGone = 0xffffffffu;
  std::vector<std::uint32_t> numbers;  // in the table, by number in the segment
  for (std::uint32_t block = 0; block < reader.head().meta.block_newest.size(); ++block) {
    MAYFLY_ASSIGN_OR_RETURN(const auto documents, reader.Block(block));
    for (const Document& document : documents) {
      const bool lives = document.message != kNoMessage && !gone.contains(document.message);
      numbers.push_back(lives ? table.AddDocument(document.message, document.sent_at) : kGone);
    }
  }
  for (std::uint32_t i = 0; i < reader.buckets(); ++i) {
    MAYFLY_ASSIGN_OR_RETURN(const Bucket bucket, reader.ReadBucket(i));
    for (const Postings& postings : bucket) {
      for (const std::uint32_t document : postings.documents) {
        if (document >= numbers.size()) {
          return Fail(ErrorCode::kCorrupt,
                      "postings name a message that their segment does not have");
        }
        if (numbers[document] != kGone) table.AddTerm(numbers[document], postings.term);
      }
    }
  }
  return {};
}

std::vector<std::string> KeysOf(const SegmentHead& head) {
  std::vector<std::string> keys = {MetaKey(head.segment)};
  for (std::uint32_t i = 0; i < head.meta.block_newest.size(); ++i) {
    keys.push_back(PartKey(kBlockPart, head.segment, i));
  }
  for (std::uint32_t i = 0; i < 1u << head.meta.bucket_bits; ++i) {
    keys.push_back(PartKey(kBucketPart, head.segment, i));
  }
  return keys;
}

Result<RowChanges> RemoveMessages(const Engine& engine, ExpiryDay day, const PostingKeys& keys,
                                  const std::vector<Removal>& removals) {
  RowChanges changes;
  const Sealer sealer(day, keys);
  MAYFLY_ASSIGN_OR_RETURN(auto heads, ReadHeads(engine, day, keys));
  for (SegmentHead& head : heads) {
    SegmentReader reader(engine, keys, day, std::move(head));
    MAYFLY_RETURN_IF_ERROR(Remover(reader, sealer).Run(removals, changes));
  }
  return changes;
}

}  // namespace mayfly::store::search
