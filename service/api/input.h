// What handlers read from requests: bodies, ids, preconditions, pages. Every refusal is an Error
// whose `field` says where ("/label", "?limit", "If-Match") and whose text quotes nothing of the
// input.
#ifndef MAYFLY_SERVICE_API_INPUT_H_
#define MAYFLY_SERVICE_API_INPUT_H_

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "service/api/context.h"
#include "service/api/http.h"
#include "store/model/json.h"
#include "store/model/result.h"

namespace mayfly::service::api {

// The body as a JSON object that has no members but these. The pointer names an unknown member only
// when that is a plain word.
Result<json::Value> ParseObject(const Request& request,
                                std::initializer_list<std::string_view> allowed);

// A string of 1 to `bytes_max` bytes without control characters.
Status CheckLine(const std::string& value, std::size_t bytes_max, const std::string& pointer);

// An id captured from the path. Malformed is kNotFound: such a thing cannot exist.
template <class Id>
Result<Id> PathId(const Request& request, const std::string& capture) {
  const auto id = Id::Parse(request.captures.at(capture));
  if (!id) return Fail(ErrorCode::kNotFound, "no such id");
  return *id;
}

// If-Match for a strong ETag that begins with a revision. `*` is an absent revision. Our own ETags
// are "<n>-<print>", and "<n>" is taken too; another well-formed one can match nothing:
// kPreconditionFailed. Malformed: kInvalidArgument.
struct IfMatch {
  bool given = false;
  std::optional<std::uint64_t> revision;
};
Result<IfMatch> ParseIfMatch(const Request& request);
// Whether If-None-Match holds this ETag or `*`.
bool MatchesNone(const Request& request, const std::string& etag);

// A number without sign and without zeros before it.
std::optional<std::uint64_t> ParseNumber(std::string_view text);

// What a GET asks for of something that has `size` bytes and the strong ETag `etag`: Range and
// If-Range, RFC 9110 sections 13.1.5 and 14. One range of bytes is understood; a field that is
// malformed, of another unit, of several ranges, or bound to another tag asks for everything.
struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t bytes = 0;
};
struct WantedRange {
  bool satisfiable = true;         // false: 416
  std::optional<ByteRange> range;  // absent: everything
};
WantedRange ParseRange(const Request& request, std::uint64_t size, std::string_view etag);

// ?limit: 1..200, 50 without.
Result<std::size_t> PageLimit(const Request& request);
// ?name=true|false.
Result<std::optional<bool>> QueryBool(const Request& request, const std::string& name);

// Page cursors: a position of the store, signed together with the list and the filter that it
// belongs to, so that it opens nothing else. `list` names both.
std::string SignCursor(const ApiContext& context, std::string_view list, std::string_view position);
// The position in a cursor. kCursorInvalid for anything that was not signed here for this list.
Result<std::string> OpenCursor(const ApiContext& context, std::string_view list,
                               const std::string& text);
// That of ?cursor, or of the parameter that stands in for it; empty without one.
Result<std::string> CursorPosition(const ApiContext& context, const Request& request,
                                   std::string_view list, std::string_view parameter = "cursor");

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_INPUT_H_
