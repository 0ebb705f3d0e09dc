#include "store/search/posting_codec.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "store/codec.h"
#include "store/search/tokenizer.h"

namespace mayfly::store::search {
namespace {

constexpr std::uint8_t kBucketVersion = 1;

void PutVarint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

// Sent times of a segment never grow; `before` is the one in front.
void PutEarlier(codec::Encoder& encoder, TimePoint before, TimePoint at) {
  encoder.Varint(static_cast<std::uint64_t>((before - at).count()));
}
TimePoint TakeEarlier(codec::Decoder& decoder, TimePoint before) {
  const std::uint64_t difference = decoder.Varint();
  // Times are bounded by Decoder::Time, so this cannot overflow.
  constexpr std::uint64_t kDifferenceMax = 2'000'000'000'000'000;
  if (difference > kDifferenceMax) {
    decoder.Spoil();
    return before;
  }
  return before - std::chrono::milliseconds(difference);
}

tl::unexpected<Error> CorruptBucket() {
  return Fail(ErrorCode::kCorrupt, "a bucket of postings does not decode");
}

// Goes through a bucket once. `term()` is valid until the next call of Next.
class BucketReader {
 public:
  explicit BucketReader(std::string_view bytes) : rest_(bytes) {
    if (rest_.empty() || static_cast<std::uint8_t>(rest_.front()) != kBucketVersion) {
      ok_ = false;
      return;
    }
    rest_.remove_prefix(1);
    left_ = Number();
  }
  ~BucketReader() { WipeTerm(); }
  BucketReader(const BucketReader&) = delete;
  BucketReader& operator=(const BucketReader&) = delete;

  std::uint64_t left() const { return left_; }
  std::string_view term() const { return {term_, size_}; }
  // Whole, and read to its end.
  bool Finished() const { return ok_ && left_ == 0 && rest_.empty(); }

  // The next term; false at the end or at a fault.
  bool Next() {
    if (!ok_ || left_ == 0) return false;
    --left_;
    const std::uint64_t shared = Number();
    const std::uint64_t added = Number();
    if (!ok_ || shared > size_ || added == 0 || shared + added > kTermBytesMax ||
        added > rest_.size()) {
      return Fault();
    }
    // The longest common beginning, and ascending: the first other byte is greater.
    if (shared < size_ &&
        static_cast<std::uint8_t>(rest_[0]) <= static_cast<std::uint8_t>(term_[shared])) {
      return Fault();
    }
    std::copy_n(rest_.begin(), added, term_ + shared);
    size_ = static_cast<std::size_t>(shared + added);
    rest_.remove_prefix(static_cast<std::size_t>(added));
    return true;
  }

  // The documents of the term that Next found. Null: they are checked and passed over.
  bool Documents(std::vector<std::uint32_t>* out) {
    const std::uint64_t count = Number();
    if (!ok_ || count == 0 || count > rest_.size()) return Fault();
    if (out != nullptr) out->reserve(out->size() + static_cast<std::size_t>(count));
    std::uint64_t document = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t step = Number();
      if (!ok_ || step > kSegmentDocumentsMax || (i > 0 && step == 0)) return Fault();
      document += step;
      if (document >= kSegmentDocumentsMax) return Fault();
      if (out != nullptr) out->push_back(static_cast<std::uint32_t>(document));
    }
    return true;
  }

 private:
  bool Fault() {
    ok_ = false;
    return false;
  }
  void WipeTerm() { sodium_memzero(term_, sizeof term_); }
  std::uint64_t Number() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      if (rest_.empty()) break;
      const auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      if (shift > 0 && byte == 0) break;  // a longer form of a shorter number
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    ok_ = false;
    return 0;
  }

  std::string_view rest_;
  bool ok_ = true;
  std::uint64_t left_ = 0;
  char term_[kTermBytesMax] = {};
  std::size_t size_ = 0;
};

}  // namespace

std::string Encode(const SegmentMeta& meta) {
  codec::Encoder encoder(64 + 8 * meta.block_newest.size());
  encoder.Varint(meta.documents).Varint(meta.removed).Byte(meta.bucket_bits);
  encoder.Varint(meta.languages.size());
  for (const std::string& language : meta.languages) encoder.String(language);
  encoder.Time(meta.oldest);
  for (std::size_t i = 0; i < meta.block_newest.size(); ++i) {
    if (i == 0) {
      encoder.Time(meta.block_newest[0]);
    } else {
      PutEarlier(encoder, meta.block_newest[i - 1], meta.block_newest[i]);
    }
  }
  return std::move(encoder).Take();
}

Result<SegmentMeta> DecodeMeta(std::string_view bytes) {
  codec::Decoder decoder(bytes, "head of postings");
  SegmentMeta meta;
  meta.documents = decoder.Varint32();
  meta.removed = decoder.Varint32();
  meta.bucket_bits = decoder.Enum(0, kBucketBitsMax);
  for (std::size_t i = decoder.Count(kLanguagesMax); i > 0; --i) {
    meta.languages.push_back(decoder.String());
  }
  meta.oldest = decoder.Time();
  if (meta.documents == 0 || meta.documents > kSegmentDocumentsMax ||
      meta.removed > meta.documents) {
    decoder.Spoil();
  }
  const std::uint32_t blocks =
      decoder.ok() ? (meta.documents + kBlockDocuments - 1) / kBlockDocuments : 0;
  for (std::uint32_t i = 0; i < blocks && decoder.ok(); ++i) {
    meta.block_newest.push_back(i == 0 ? decoder.Time()
                                       : TakeEarlier(decoder, meta.block_newest.back()));
  }
  if (decoder.ok() && meta.oldest > meta.block_newest.back()) decoder.Spoil();
  MAYFLY_RETURN_IF_ERROR(decoder.Finish());
  return meta;
}

std::string EncodeBlock(const std::vector<Document>& documents) {
  codec::Encoder encoder(16 + 24 * documents.size());
  encoder.Varint(documents.size());
  for (std::size_t i = 0; i < documents.size(); ++i) {
    if (i == 0) {
      encoder.Time(documents[0].sent_at);
    } else {
      PutEarlier(encoder, documents[i - 1].sent_at, documents[i].sent_at);
    }
    encoder.Fixed(documents[i].message).Varint(documents[i].terms);
  }
  return std::move(encoder).Take();
}

Result<std::vector<Document>> DecodeBlock(std::string_view bytes) {
  codec::Decoder decoder(bytes, "block of postings");
  const std::size_t count = decoder.Count(kBlockDocuments);
  if (count == 0) decoder.Spoil();
  std::vector<Document> documents;
  for (std::size_t i = 0; i < count && decoder.ok(); ++i) {
    Document document;
    document.sent_at = i == 0 ? decoder.Time() : TakeEarlier(decoder, documents.back().sent_at);
    document.message = decoder.Fixed();
    document.terms = decoder.Varint32();
    documents.push_back(document);
  }
  MAYFLY_RETURN_IF_ERROR(decoder.Finish());
  return documents;
}

std::string EncodeBucket(const Bucket& bucket) {
  std::size_t size_hint = 16;
  for (const Postings& postings : bucket) {
    size_hint += postings.term.size() + 8 + 3 * postings.documents.size();
  }
  std::string out;
  out.reserve(size_hint);  // so that no words are left behind in the heap
  out.push_back(static_cast<char>(kBucketVersion));
  PutVarint(out, bucket.size());
  std::string_view before;
  for (const Postings& postings : bucket) {
    const std::string_view term(postings.term);
    const auto shared = static_cast<std::size_t>(
        std::mismatch(before.begin(), before.end(), term.begin(), term.end()).first -
        before.begin());
    PutVarint(out, shared);
    PutVarint(out, term.size() - shared);
    out.append(term.substr(shared));
    PutVarint(out, postings.documents.size());
    std::uint32_t last = 0;
    for (const std::uint32_t document : postings.documents) {
      PutVarint(out, document - last);
      last = document;
    }
    before = term;
  }
  return out;
}

Result<Bucket> DecodeBucket(std::string_view bytes) {
  BucketReader reader(bytes);
  Bucket bucket;
  while (reader.Next()) {
    Postings postings;
    postings.term.assign(reader.term());
    if (!reader.Documents(&postings.documents)) break;
    bucket.push_back(std::move(postings));
  }
  if (!reader.Finished()) return CorruptBucket();
  return bucket;
}

Status FindInBucket(std::string_view bytes, std::string_view term,
                    std::vector<std::uint32_t>& documents) {
  BucketReader reader(bytes);
  while (reader.Next()) {
    if (reader.term() > term) return {};
    const bool wanted = reader.term() == term;
    if (!reader.Documents(wanted ? &documents : nullptr)) return CorruptBucket();
    if (wanted) return {};
  }
  if (!reader.Finished()) return CorruptBucket();
  return {};
}

}  // namespace mayfly::store::search
