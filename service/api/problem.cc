#include "service/api/problem.h"

#include <algorithm>
#include <string>

namespace mayfly::service::api {
namespace {

struct Kind {
  int status;
  const char* word;
  const char* title;
  bool tells;  // whether Error::message may be shown: it explains an input or a state, not our
               // insides
};

// The one place where an ErrorCode becomes HTTP.
Kind KindOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return {400, "validation", "The request breaks a rule.", true};
    case ErrorCode::kNotFound:
      return {404, "not-found", "There is no such thing here.", false};
    case ErrorCode::kExpired:
      return {410, "expired", "Its time has passed; it is gone for good.", false};
    case ErrorCode::kPreconditionFailed:
      return {412, "precondition-failed", "It was changed in the meantime.", false};
    case ErrorCode::kConversationMoved:
      return {409, "conversation-moved", "The conversation has moved on.", false};
    case ErrorCode::kIdempotencyConflict:
      return {422, "idempotency-conflict", "This key was used with another body.", false};
    case ErrorCode::kIdempotencyInProgress:
      return {409, "idempotency-in-progress", "The same request is still running.", false};
    case ErrorCode::kReplyWindowClosed:
      return {409, "reply-window-closed", "The platform's time for a reply has passed.", false};
    case ErrorCode::kRestricted:
      return {451, "restricted",
              "Its person had it restricted; only a privacy officer may read it.", false};
    case ErrorCode::kAddsRecipient:
      return {422, "adds-recipient", "The text would reach a further person.", false};
    case ErrorCode::kCredentialDead:
      return {409, "credential-dead", "The platform no longer accepts the account's credential.",
              false};
    case ErrorCode::kMissingPrivilege:
      return {409, "missing-privilege", "The account's credential lacks a permission.", true};
    case ErrorCode::kOptionUnusable:
      return {422, "option-unusable", "An option of the account cannot be used here.", true};
    case ErrorCode::kHostForbidden:
      return {422, "host-forbidden", "The account's host leads to where nothing may connect to.",
              false};
    case ErrorCode::kRateLimited:
      return {429, "platform-throttled", "The platform asks us to wait.", false};
    case ErrorCode::kPlatformRejected:
      return {422, "platform-rejected", "The platform does not take it.", false};
    case ErrorCode::kPlatformUnavailable:
      return {503, "platform-unavailable", "The platform cannot be reached now.", false};
    case ErrorCode::kProtocol:
      return {502, "platform-unavailable", "The platform's answer breaks its contract.", false};
    case ErrorCode::kTooLarge:
      return {413, "too-large", "The request is too large.", false};
    case ErrorCode::kCeilingExceeded:
      return {422, "ceiling-exceeded", "No message lives longer than three calendar months.", true};
    case ErrorCode::kCursorInvalid:
      return {400, "cursor-invalid", "This cursor does not belong to this list.", false};
    case ErrorCode::kSealed:
      return {503, "sealed", "The service is sealed: it has no usable master key.", false};
    case ErrorCode::kDiskFull:
      return {507, "disk-full", "There is too little room on the disk to take more.", false};
    case ErrorCode::kOutcomeUnknown:
    case ErrorCode::kIo:
    case ErrorCode::kUnavailable:
    case ErrorCode::kCancelled:
      return {503, "unavailable", "Not now; please try again.", false};
    case ErrorCode::kCorrupt:
    case ErrorCode::kInternal:
      break;
  }
  return {500, "internal", "Something went wrong here.", false};
}

// Seconds, rounded up, at least 1.
std::string Seconds(std::chrono::milliseconds wait) {
  return std::to_string(std::max<std::int64_t>(1, (wait.count() + 999) / 1000));
}

void WriteField(json::Writer& writer, std::string_view field) {
  writer.Key("errors").StartArray().StartObject();
  if (field.front() == '/') {
    writer.Field("pointer", field);
  } else if (field.front() == '?') {
    writer.Field("parameter", field.substr(1));
  } else {
    writer.Field("name", field);
  }
  writer.EndObject().EndArray();
}

Response Build(const Request& request, int status, std::string_view word, std::string_view title,
               std::string_view detail, std::string_view field,
               const std::function<void(json::Writer&)>& extra) {
  Response response;
  response.status = status;
  response.content_type = "application/problem+json";
  {
    json::Writer writer(&response.body);
    writer.StartObject();
    writer.Field("type", "/problems/" + std::string(word));
    writer.Field("title", title);
    writer.IntField("status", status);
    if (!detail.empty()) writer.Field("detail", detail);
    writer.Field("instance", request.id);
    if (!field.empty()) WriteField(writer, field);
    if (extra) extra(writer);
    writer.EndObject();
  }
  return response;
}

}  // namespace

Response Problem(const Request& request, const Error& error,
                 const std::function<void(json::Writer&)>& extra) {
  const Kind kind = KindOf(error.code);
  const auto members = [&](json::Writer& writer) {
    if (error.code == ErrorCode::kCeilingExceeded) writer.Field("maximum", "P3M");
    if (!error.platform_code.empty()) writer.Field("platform_code", error.platform_code);
    if (error.retry_at) writer.Field("retry_at", FormatRfc3339(*error.retry_at));
    if (extra) extra(writer);
  };
  Response response = Build(request, kind.status, kind.word, kind.title,
                            kind.tells ? std::string_view(error.message) : std::string_view(),
                            error.field, members);
  if (error.retry_after) {
    response.With("Retry-After", Seconds(*error.retry_after));
  } else if (kind.status == 429) {
    response.With("Retry-After", "60");  // the platform does not say
  } else if (kind.status == 503) {
    response.With("Retry-After", "5");
  } else if (error.code == ErrorCode::kIdempotencyInProgress) {
    response.With("Retry-After", "1");
  }
  return response;
}

Response Problem(const Request& request, int status, std::string_view word, std::string_view title,
                 std::string_view field, const std::function<void(json::Writer&)>& extra) {
  return Build(request, status, word, title, {}, field, extra);
}

}  // namespace mayfly::service::api
