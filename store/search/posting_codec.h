// The bodies of postings rows (`t`) <-> bytes. As in store/codec.h: the first byte is the version,
// numbers are varints, and what decodes is the one encoding of its value; anything else is
// kCorrupt.
//
// A segment is the postings of some messages of one date, written at once. Inside a segment a
// message is a number, newest first by sent time, so that a list of numbers is a list in the order
// of results and its differences are small.
//
//   meta    version, documents, removed, bucket bits, languages, oldest sent time, newest sent time
//           of each block
//   block   version, count, newest sent time; for each of at most 128 documents in their order: its
//           message key (16 bytes, zero once removed), its number of terms, and how much earlier it
//           was sent than the one before
//   bucket  version, count; for each term, ascending: what it shares with the one before, its other
//           bytes, and the documents
//
// The words stand inside of what is sealed, and nowhere else.
#ifndef MAYFLY_STORE_SEARCH_POSTING_CODEC_H_
#define MAYFLY_STORE_SEARCH_POSTING_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "store/model/ids.h"
#include "store/model/result.h"
#include "store/model/time.h"
#include "store/search/secret_memory.h"

namespace mayfly::store::search {

inline constexpr std::uint32_t kSegmentDocumentsMax = 1u << 17;
inline constexpr std::uint32_t kBlockDocuments = 128;
inline constexpr std::uint8_t kBucketBitsMax = 12;
inline constexpr std::size_t kTermBytesMax = 255;

struct SegmentMeta {
  std::uint32_t documents = 0;
  std::uint32_t removed = 0;
  std::uint8_t bucket_bits = 0;  // so many bits of a term's blind value choose its bucket
  std::vector<std::string> languages;
  TimePoint oldest;
  std::vector<TimePoint> block_newest;
};
std::string Encode(const SegmentMeta& meta);
Result<SegmentMeta> DecodeMeta(std::string_view bytes);

struct Document {
  Bytes16 message = {};     // the `d` key; zero once removed
  std::uint32_t terms = 0;  // in how many lists it stands
  TimePoint sent_at;
};
std::string EncodeBlock(const std::vector<Document>& documents);
Result<std::vector<Document>> DecodeBlock(std::string_view bytes);

struct Postings {
  SecretString term;
  std::vector<std::uint32_t> documents;  // ascending, at least one
};
using Bucket = SecretVector<Postings>;  // by term, ascending
std::string EncodeBucket(const Bucket& bucket);
Result<Bucket> DecodeBucket(std::string_view bytes);
// Adds the documents of `term`, none when it is not there. Reads no further than it must.
Status FindInBucket(std::string_view bytes, std::string_view term,
                    std::vector<std::uint32_t>& documents);

}  // namespace mayfly::store::search

#endif  // MAYFLY_STORE_SEARCH_POSTING_CODEC_H_
