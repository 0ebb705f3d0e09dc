#include "service/api/head.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>

#include "store/model/json.h"

namespace mayfly::service::api {
namespace {

namespace http = boost::beast::http;

constexpr std::size_t kRequestLineExtra = 32;  // method, two spaces, version
constexpr std::size_t kQueryPairsMax = 32;
constexpr std::size_t kPathSegmentsMax = 32;

// Fields with exactly one value; a second one is an attempt to be read in two ways.
constexpr std::array<std::string_view, 10> kSingleFields = {
    "authorization", "content-length",  "content-type",      "expect",           "host", "if-match",
    "if-none-match", "idempotency-key", "transfer-encoding", "x-forwarded-proto"};

constexpr HeadError kMalformed{};
constexpr HeadError kTargetTooLong{414, "too-large", "The request target is too long."};
constexpr HeadError kHeadTooLarge{431, "too-large", "The request head is too large."};
constexpr HeadError kTooManyFields{431, "too-large", "The request has too many header fields."};
constexpr HeadError kBadTarget{400, "malformed-request", "The request target is not acceptable."};
constexpr HeadError kBadHost{400, "malformed-request", "Exactly one Host field is needed."};
constexpr HeadError kBadLength{400, "malformed-request", "The length of the body is not clear."};
constexpr HeadError kRepeated{400, "malformed-request", "A header field is repeated."};
constexpr HeadError kCoding{501, "not-implemented", "Only the transfer coding chunked is known."};
constexpr HeadError kVersion{505, "http-version", "Only HTTP/1.1 and HTTP/1.0 are spoken here."};
constexpr HeadError kExpect{417, "expectation-failed", "This expectation cannot be met."};

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

std::string_view Trim(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Decodes once. Nothing for malformed escapes, control characters (NUL included) and invalid UTF-8.
std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = HexDigit(text[i + 1]);
      const int low = HexDigit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) return std::nullopt;
    decoded.push_back(c);
  }
  if (!json::IsValidUtf8(decoded)) return std::nullopt;
  return decoded;
}

std::optional<std::vector<std::string>> SplitPath(std::string_view path) {
  std::vector<std::string> segments;
  path.remove_prefix(1);  // the leading slash
  while (true) {
    const std::size_t slash = path.find('/');
    const auto segment = PercentDecode(path.substr(0, slash), /*plus_is_space=*/false);
    if (!segment || segment->find('/') != std::string::npos) return std::nullopt;
    if (*segment == "." || *segment == "..") return std::nullopt;
    segments.push_back(*segment);
    if (segments.size() > kPathSegmentsMax) return std::nullopt;
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

std::optional<std::vector<std::pair<std::string, std::string>>> SplitQuery(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    auto name = PercentDecode(pair.substr(0, equals), /*plus_is_space=*/true);
    auto value = PercentDecode(
        equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1), true);
    if (!name || name->empty() || !value) return std::nullopt;
    const bool repeated = std::any_of(pairs.begin(), pairs.end(),
                                      [&](const auto& earlier) { return earlier.first == *name; });
    if (repeated || pairs.size() == kQueryPairsMax) return std::nullopt;
    pairs.emplace_back(*std::move(name), *std::move(value));
  }
  return pairs;
}

bool IsHostText(std::string_view host) {
  return !host.empty() && host.size() <= 255 && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
  });
}

// Path and query of "http://host/path?query"; nothing when `target` is not of that form. Servers
// must take it (RFC 9112, 3.2.2); `host` is then what the Host field has to say, too.
std::optional<std::string_view> OriginOfAbsolute(std::string_view target, std::string_view* host) {
  const std::size_t colon = target.find("://");
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string scheme = Lower(target.substr(0, colon));
  if (scheme != "http" && scheme != "https") return std::nullopt;
  target.remove_prefix(colon + 3);
  const std::size_t slash = target.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  *host = target.substr(0, slash);
  return target.substr(slash);
}

// HTTP/<digit>.<digit>: well-formed, so the answer is about the version and not about the syntax.
bool IsVersionText(std::string_view text) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return text.size() == 8 && text.substr(0, 5) == "HTTP/" && digit(text[5]) && text[6] == '.' &&
         digit(text[7]);
}

std::optional<std::uint64_t> ParseLength(std::string_view text) {
  if (text.empty() || text.size() > 18) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

// Whether the comma-separated list holds the token, letters in either case.
bool HasToken(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (Lower(Trim(list.substr(0, comma))) == token) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace

tl::expected<std::optional<std::size_t>, HeadError> HeadScanner::Scan(std::string_view received) {
  for (; scanned_ < received.size(); ++scanned_) {
    const std::size_t at = scanned_;
    const auto byte = static_cast<unsigned char>(received[at]);
    if (at >= limits_.head_bytes_max) return tl::unexpected(kHeadTooLarge);
    const bool after_cr = at > 0 && received[at - 1] == '\r';
    if (after_cr != (byte == '\n')) return tl::unexpected(kMalformed);
    if (byte == '\n') {
      const bool blank = at - line_start_ == 1;
      if (blank && lines_ == 0) return tl::unexpected(kMalformed);
      if (blank) {
        ++scanned_;
        return at + 1;
      }
      ++lines_;
      line_start_ = at + 1;
      if (lines_ > limits_.fields_max + 1) return tl::unexpected(kTooManyFields);
      continue;
    }
    if (byte == '\r') continue;
    if (lines_ == 0) {
      if (byte < 0x20 || byte > 0x7e) return tl::unexpected(kMalformed);
      if (at > limits_.target_bytes_max + kRequestLineExtra) return tl::unexpected(kTargetTooLong);
      continue;
    }
    // A line that begins with white space is a folded one.
    if (at == line_start_ && (byte == ' ' || byte == '\t')) return tl::unexpected(kMalformed);
    if ((byte < 0x20 && byte != '\t') || byte > 0x7e) return tl::unexpected(kMalformed);
  }
  return std::optional<std::size_t>();
}

tl::expected<Head, HeadError> ParseHead(std::string_view text, const HeadLimits& limits) {
  // The version is judged before Beast sees the line: Beast has one error for a wrong version and
  // for something that is no version at all.
  const std::string_view line = text.substr(0, text.find("\r\n"));
  const std::size_t last_space = line.rfind(' ');
  if (last_space == std::string_view::npos) return tl::unexpected(kMalformed);
  const std::string_view version = line.substr(last_space + 1);
  if (!IsVersionText(version)) return tl::unexpected(kMalformed);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return tl::unexpected(kVersion);

  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(limits.head_bytes_max + 1));
  // Not boost::none, against which 1.74 compares as "smaller than any length".
  parser.body_limit(std::numeric_limits<std::uint64_t>::max());
  boost::system::error_code error;
  parser.put(boost::asio::buffer(text.data(), text.size()), error);
  if (error || !parser.is_header_done()) return tl::unexpected(kMalformed);
  const auto& message = parser.get();

  Head head;
  Request& request = head.request;
  head.http10 = message.version() == 10;
  request.method = std::string(message.method_string());
  if (request.method.size() > 16) return tl::unexpected(kMalformed);

  std::string target(message.target());
  if (target.size() > limits.target_bytes_max) return tl::unexpected(kTargetTooLong);
  std::optional<std::string> host_of_target;
  if (std::string_view host; const auto origin = OriginOfAbsolute(target, &host)) {
    host_of_target = host;
    target = std::string(*origin);
  }
  if (target.empty() || target.front() != '/' || target.find('#') != std::string::npos) {
    return tl::unexpected(kBadTarget);
  }
  const std::size_t question = target.find('?');
  auto path = SplitPath(std::string_view(target).substr(0, question));
  auto query = question == std::string::npos
                   ? SplitQuery({})
                   : SplitQuery(std::string_view(target).substr(question + 1));
  if (!path || !query) return tl::unexpected(kBadTarget);
  request.path = *std::move(path);
  request.query = *std::move(query);

  for (const auto& field : message) {
    const std::string name = Lower(std::string(field.name_string()));
    const std::string value(Trim(std::string_view(field.value().data(), field.value().size())));
    const auto [existing, inserted] = request.headers.emplace(name, value);
    if (inserted) continue;
    if (name == "host") return tl::unexpected(kBadHost);
    if (name == "content-length" || name == "transfer-encoding") return tl::unexpected(kBadLength);
    if (std::find(kSingleFields.begin(), kSingleFields.end(), name) != kSingleFields.end()) {
      return tl::unexpected(kRepeated);
    }
    existing->second += ", " + value;
  }

  const std::string* host = request.Header("host");
  if (host == nullptr ? !head.http10 : !IsHostText(*host)) return tl::unexpected(kBadHost);
  // Two names for one request are an attempt to be routed in two ways.
  if (host_of_target && (host == nullptr || Lower(*host) != Lower(*host_of_target))) {
    return tl::unexpected(kBadHost);
  }

  const std::string* coding = request.Header("transfer-encoding");
  const std::string* length = request.Header("content-length");
  if (coding != nullptr && (length != nullptr || head.http10)) return tl::unexpected(kBadLength);
  if (coding != nullptr) {
    if (Lower(*coding) != "chunked") return tl::unexpected(kCoding);
    head.chunked = true;
  }
  if (length != nullptr) {
    const auto value = ParseLength(*length);
    if (!value) return tl::unexpected(kBadLength);
    head.content_length = *value;
  }

  const std::string* connection = request.Header("connection");
  const bool says_close = connection != nullptr && HasToken(*connection, "close");
  const bool says_keep = connection != nullptr && HasToken(*connection, "keep-alive");
  head.keep_alive = !says_close && (!head.http10 || says_keep);

  if (const std::string* expect = request.Header("expect"); expect != nullptr && !head.http10) {
    if (Lower(*expect) != "100-continue") return tl::unexpected(kExpect);
    head.expect_continue = true;
  }
  return head;
}

}  // namespace mayfly::service::api
