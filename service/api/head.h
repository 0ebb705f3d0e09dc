// The head of a request, from bytes to values, with every rule of T1 that concerns it. Beast
// parses; what Beast leaves to us is decided here. Pure functions: no socket, no clock.
//
// Refused: control characters and bytes above 0x7e anywhere in the head (a tab inside a field value
// is allowed), bare CR or LF, folded lines, a target that is neither in origin form nor an absolute
// http or https one whose host is that of the Host field, percent-encoding
// that is malformed or hides NUL, a control character, a slash, a dot segment or invalid UTF-8,
// repeated query names, anything but exactly one Host under HTTP/1.1, a Transfer-Encoding other
// than `chunked`, a length given twice or in two ways, repeated fields that have one value.
#ifndef MAYFLY_SERVICE_API_HEAD_H_
#define MAYFLY_SERVICE_API_HEAD_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <tl/expected.hpp>

#include "service/api/http.h"

namespace mayfly::service::api {

struct HeadLimits {
  std::size_t head_bytes_max = 16u << 10;
  std::size_t fields_max = 100;
  std::size_t target_bytes_max = 8u << 10;
};

// A refusal before routing: its status, problem word and title.
struct HeadError {
  int status = 400;
  std::string_view word = "malformed-request";
  std::string_view title = "The request is not well-formed HTTP.";
};

// Finds the end of a head while its bytes arrive, and refuses at the first byte that breaks a rule,
// so that nobody has to wait for a deadline to learn it.
class HeadScanner {
 public:
  explicit HeadScanner(const HeadLimits& limits) : limits_(limits) {}
  // `received` holds everything since the head began, earlier bytes included. The size of the whole
  // head once its blank line was seen, nothing while more is needed.
  tl::expected<std::optional<std::size_t>, HeadError> Scan(std::string_view received);

 private:
  HeadLimits limits_;
  std::size_t scanned_ = 0;
  std::size_t line_start_ = 0;
  std::size_t lines_ = 0;  // complete ones, the request line included
};

struct Head {
  Request request;  // method, path, query, headers
  bool keep_alive = true;
  bool http10 = false;
  bool chunked = false;
  std::uint64_t content_length = 0;
  bool expect_continue = false;
  bool has_body() const { return chunked || content_length > 0; }
};

// `head` is what HeadScanner found, blank line included.
tl::expected<Head, HeadError> ParseHead(std::string_view head, const HeadLimits& limits);

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_HEAD_H_
