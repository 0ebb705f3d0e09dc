#include "service/api/chunked.h"

#include <algorithm>

namespace mayfly::service::api {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

ChunkedDecoder::Verdict ChunkedDecoder::Feed(std::string_view& input, std::string& body) {
  while (!input.empty()) {
    if (state_ == State::kData) {
      const auto take = static_cast<std::size_t>(
          std::min<std::uint64_t>(remaining_, static_cast<std::uint64_t>(input.size())));
      body.append(input.substr(0, take));
      input.remove_prefix(take);
      remaining_ -= take;
      if (remaining_ == 0) state_ = State::kDataCr;
      continue;
    }
    const char c = input.front();
    input.remove_prefix(1);
    switch (state_) {
      case State::kSize: {
        const int digit = HexDigit(c);
        if (digit >= 0) {
          // Fifteen digits cannot overflow; leading zeros count, so a size line is bounded too.
          if (++digits_ > 15) return Verdict::kTooLarge;
          remaining_ = remaining_ * 16 + static_cast<std::uint64_t>(digit);
          if (remaining_ > body_bytes_max_ - body.size()) return Verdict::kTooLarge;
        } else if (c == '\r' && digits_ > 0) {
          state_ = State::kSizeLf;
        } else {
          return Verdict::kMalformed;
        }
        break;
      }
      case State::kSizeLf:
        if (c != '\n') return Verdict::kMalformed;
        state_ = remaining_ == 0 ? State::kTrailer : State::kData;
        digits_ = 0;
        break;
      case State::kDataCr:
        if (c != '\r') return Verdict::kMalformed;
        state_ = State::kDataLf;
        break;
      case State::kDataLf:
        if (c != '\n') return Verdict::kMalformed;
        state_ = State::kSize;
        break;
      case State::kTrailer: {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\r') {
          state_ = State::kTrailerLf;
        } else if ((byte < 0x20 && c != '\t') || byte > 0x7e) {
          return Verdict::kMalformed;
        } else if (++trailer_bytes_ > kTrailerBytesMax) {
          return Verdict::kTooLarge;
        } else {
          ++trailer_line_;
        }
        break;
      }
      case State::kTrailerLf:
        if (c != '\n') return Verdict::kMalformed;
        if (trailer_line_ == 0) return Verdict::kDone;
        trailer_line_ = 0;
        state_ = State::kTrailer;
        break;
      case State::kData:
        break;  // handled above
    }
  }
  return Verdict::kMore;
}

}  // namespace mayfly::service::api
