// A connection's bytes, cut into pieces as a network may cut them: the pieces must not matter, and
// a request that is taken can be read in one way only. The first byte decides how to cut.
#include <algorithm>
#include <optional>
#include <string>

#include "service/api/chunked.h"
#include "service/api/head.h"
#include "store/model/json.h"
#include "tests/fuzz/fuzz.h"

namespace mayfly::fuzz {
namespace {

using namespace service::api;

// Sizes of pieces, drawn from one byte.
class Cutter {
 public:
  explicit Cutter(std::uint8_t seed) : state_(seed * 2u + 1u) {}
  std::size_t Next() {
    state_ = state_ * 1664525u + 1013904223u;
    return 1 + (state_ >> 24) % 40;
  }

 private:
  std::uint32_t state_;
};

bool SameError(const HeadError& a, const HeadError& b) {
  return a.status == b.status && a.word == b.word && a.title == b.title;
}

// The size of the head; nothing when it is refused or not complete.
std::optional<std::size_t> CheckScan(std::string_view received, const HeadLimits& limits,
                                     Cutter cutter) {
  HeadScanner whole(limits);
  const auto at_once = whole.Scan(received);
  HeadScanner pieces(limits);
  std::size_t arrived = 0;
  while (true) {
    arrived = std::min(received.size(), arrived + cutter.Next());
    const auto so_far = pieces.Scan(received.substr(0, arrived));
    if (!so_far) {
      Check(!at_once && SameError(at_once.error(), so_far.error()), "pieces change no refusal");
      break;
    }
    if (*so_far) {
      Check(at_once && *at_once == *so_far, "pieces change no end of a head");
      break;
    }
    if (arrived == received.size()) {
      Check(at_once && !*at_once, "pieces make no head complete");
      break;
    }
  }
  if (!at_once || !*at_once) return std::nullopt;
  return **at_once;
}

bool IsHeadByte(char c) { return (c >= 0x20 && c <= 0x7e) || c == '\t' || c == '\r' || c == '\n'; }

// How many lines of the head begin with this name and a colon, letters in either case. Its own
// reading of the bytes, to be compared with what was parsed.
std::size_t CountFields(std::string_view head, std::string_view name) {
  std::size_t count = 0;
  for (std::size_t at = head.find('\n'); at != std::string_view::npos;
       at = head.find('\n', at + 1)) {
    const std::string_view line = head.substr(at + 1);
    if (line.size() <= name.size() || line[name.size()] != ':') continue;
    const bool same =
        std::equal(name.begin(), name.end(), line.begin(), [](char expected, char found) {
          return expected == (found >= 'A' && found <= 'Z' ? found - 'A' + 'a' : found);
        });
    count += same ? 1 : 0;
  }
  return count;
}

void CheckHead(std::string_view text, const Head& head, const HeadLimits& limits) {
  const Request& request = head.request;
  Check(!request.path.empty(), "a request has a path");
  for (const std::string& segment : request.path) {
    Check(segment != "." && segment != "..", "no segment steps aside or up");
    Check(segment.find('/') == std::string::npos, "no segment hides a slash");
    Check(json::IsValidUtf8(segment), "segments are valid UTF-8");
    Check(std::all_of(segment.begin(), segment.end(),
                      [](unsigned char c) { return c >= 0x20 && c != 0x7f; }),
          "no segment hides a control character");
  }
  for (std::size_t i = 0; i < request.query.size(); ++i) {
    Check(request.Query(request.query[i].first) == &request.query[i].second,
          "no query name is repeated");
    Check(json::IsValidUtf8(request.query[i].second), "query values are valid UTF-8");
  }
  Check(request.headers.size() <= limits.fields_max, "no more fields are taken");
  for (const auto& [name, value] : request.headers) {
    Check(!name.empty() &&
              std::none_of(name.begin(), name.end(),
                           [](char c) { return (c >= 'A' && c <= 'Z') || c == ' ' || c == ':'; }),
          "names of fields are lower-case words");
    Check(value.find('\r') == std::string::npos && value.find('\n') == std::string::npos,
          "no field holds a line break");
  }
  const std::size_t hosts = CountFields(text, "host");
  const std::size_t lengths = CountFields(text, "content-length");
  const std::size_t codings = CountFields(text, "transfer-encoding");
  Check(hosts == 1 || (hosts == 0 && head.http10), "there is one Host");
  Check(lengths + codings <= 1, "the length of a body is given once and in one way");
  Check(head.chunked == (codings == 1), "chunked is what the head says");
  Check(lengths == 1 || head.content_length == 0, "a length is what the head says");
  Check(CountFields(text, "authorization") <= 1, "there is one Authorization at most");
}

void CheckChunked(std::string_view stream, Cutter cutter) {
  constexpr std::size_t kBodyBytesMax = 1000;
  using Verdict = ChunkedDecoder::Verdict;
  ChunkedDecoder whole(kBodyBytesMax);
  std::string_view rest = stream;
  std::string body;
  const Verdict at_once = whole.Feed(rest, body);

  ChunkedDecoder pieces(kBodyBytesMax);
  std::string body_of_pieces;
  Verdict so_far = Verdict::kMore;
  std::size_t used = 0;
  while (so_far == Verdict::kMore && used < stream.size()) {
    std::string_view piece = stream.substr(used, cutter.Next());
    const std::size_t size = piece.size();
    so_far = pieces.Feed(piece, body_of_pieces);
    Check(so_far != Verdict::kMore || piece.empty(), "who wants more has used everything");
    used += size - piece.size();
  }
  Check(so_far == at_once, "pieces change no verdict on a body");
  Check(body == body_of_pieces, "pieces change no body");
  Check(used == stream.size() - rest.size(), "pieces change no end of a body");
  Check(body.size() <= kBodyBytesMax, "a body keeps within its limit");
  if (at_once != Verdict::kDone) return;
  Check(stream.substr(0, used).ends_with("\n\r\n") || stream.substr(0, used).ends_with("0\r\n\r\n"),
        "a body ends with a blank line");
}

}  // namespace
}  // namespace mayfly::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mayfly;
  using namespace mayfly::service::api;
  if (size == 0) return 0;
  const fuzz::Cutter cutter(data[0]);
  const std::string_view received = fuzz::Text(data + 1, size - 1);
  // Small limits, so that small inputs reach them.
  const HeadLimits limits = {.head_bytes_max = 600, .fields_max = 12, .target_bytes_max = 200};
  fuzz::CheckChunked(received, cutter);
  const std::optional<std::size_t> end = fuzz::CheckScan(received, limits, cutter);
  if (!end) return 0;
  const std::string_view text = received.substr(0, *end);
  fuzz::Check(text.size() <= limits.head_bytes_max, "a head keeps within its limit");
  fuzz::Check(text.find("\r\n\r\n") == text.size() - 4, "a head ends with its first blank line");
  fuzz::Check(std::all_of(text.begin(), text.end(), fuzz::IsHeadByte), "a head is printable");
  const auto head = ParseHead(text, limits);
  if (!head) {
    const int status = head.error().status;
    fuzz::Check(status >= 400 && status <= 505 && !head.error().word.empty(),
                "a refusal has its status and its word");
    return 0;
  }
  fuzz::CheckHead(text, *head, limits);
  if (head->chunked) fuzz::CheckChunked(received.substr(*end), cutter);
  return 0;
}
