// The chunked transfer coding (RFC 9112, 7.1), decoded strictly.
//
// Ours and not Beast's: the parser of 1.74 asserts on a last chunk that arrives byte by byte
// (basic_parser.ipp, `n >= 5`), so a client could end a build with assertions, and it mixes trailer
// fields into the header. Here extensions are refused, trailers are bounded and dropped.
#ifndef MAYFLY_SERVICE_API_CHUNKED_H_
#define MAYFLY_SERVICE_API_CHUNKED_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mayfly::service::api {

class ChunkedDecoder {
 public:
  enum class Verdict { kMore, kDone, kMalformed, kTooLarge };

  explicit ChunkedDecoder(std::size_t body_bytes_max) : body_bytes_max_(body_bytes_max) {}

  // Takes bytes from the front of `input`, advances it past what was used, appends to `body`. After
  // kDone the rest of `input` belongs to the next request.
  Verdict Feed(std::string_view& input, std::string& body);

 private:
  enum class State { kSize, kSizeLf, kData, kDataCr, kDataLf, kTrailer, kTrailerLf };

  static constexpr std::size_t kTrailerBytesMax = 4096;

  std::size_t body_bytes_max_;
  State state_ = State::kSize;
  std::size_t digits_ = 0;
  std::uint64_t remaining_ = 0;    // of the current chunk; while in kSize, its size so far
  std::size_t trailer_bytes_ = 0;  // in all
  std::size_t trailer_line_ = 0;   // of the current line
};

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_CHUNKED_H_
