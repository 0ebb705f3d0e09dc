#include "service/api/problem.h"

#include <set>

#include <gtest/gtest.h>

namespace mayfly::service::api {
namespace {

Request Asked() {
  Request request;
  request.id = "00112233445566778899aabbccddeeff";
  return request;
}

json::Value Body(const Response& response) {
  auto parsed = json::Parse(response.body);
  EXPECT_TRUE(parsed.has_value()) << response.body;
  return parsed ? *std::move(parsed) : json::Value();
}

std::string HeaderOf(const Response& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

struct Row {
  ErrorCode code;
  int status;
  const char* word;
};

// Every ErrorCode; a new one without a row fails EveryCodeHasItsStatusAndWord.
constexpr Row kRows[] = {
    {ErrorCode::kInvalidArgument, 400, "validation"},
    {ErrorCode::kNotFound, 404, "not-found"},
    {ErrorCode::kExpired, 410, "expired"},
    {ErrorCode::kPreconditionFailed, 412, "precondition-failed"},
    {ErrorCode::kConversationMoved, 409, "conversation-moved"},
    {ErrorCode::kIdempotencyConflict, 422, "idempotency-conflict"},
    {ErrorCode::kIdempotencyInProgress, 409, "idempotency-in-progress"},
    {ErrorCode::kReplyWindowClosed, 409, "reply-window-closed"},
    {ErrorCode::kRestricted, 451, "restricted"},
    {ErrorCode::kAddsRecipient, 422, "adds-recipient"},
    {ErrorCode::kCredentialDead, 409, "credential-dead"},
    {ErrorCode::kMissingPrivilege, 409, "missing-privilege"},
    {ErrorCode::kOptionUnusable, 422, "option-unusable"},
    {ErrorCode::kHostForbidden, 422, "host-forbidden"},
    {ErrorCode::kRateLimited, 429, "platform-throttled"},
    {ErrorCode::kPlatformRejected, 422, "platform-rejected"},
    {ErrorCode::kPlatformUnavailable, 503, "platform-unavailable"},
    {ErrorCode::kOutcomeUnknown, 503, "unavailable"},
    {ErrorCode::kProtocol, 502, "platform-unavailable"},
    {ErrorCode::kTooLarge, 413, "too-large"},
    {ErrorCode::kCeilingExceeded, 422, "ceiling-exceeded"},
    {ErrorCode::kCursorInvalid, 400, "cursor-invalid"},
    {ErrorCode::kSealed, 503, "sealed"},
    {ErrorCode::kCorrupt, 500, "internal"},
    {ErrorCode::kDiskFull, 507, "disk-full"},
    {ErrorCode::kIo, 503, "unavailable"},
    {ErrorCode::kUnavailable, 503, "unavailable"},
    {ErrorCode::kCancelled, 503, "unavailable"},
    {ErrorCode::kInternal, 500, "internal"},
};

TEST(Problem, EveryCodeHasItsStatusAndWord) {
  std::set<ErrorCode> seen;
  for (const Row& row : kRows) {
    const Response response = Problem(Asked(), Error{.code = row.code, .message = "m"});
    EXPECT_EQ(response.status, row.status) << ToString(row.code);
    EXPECT_EQ(response.content_type, "application/problem+json");
    const json::Value body = Body(response);
    EXPECT_EQ(*body.Find("type")->AsString(), std::string("/problems/") + row.word);
    EXPECT_EQ(*body.Find("status")->AsInt(), row.status);
    EXPECT_EQ(*body.Find("instance")->AsString(), Asked().id);
    EXPECT_FALSE(body.Find("title")->AsString()->empty());
    seen.insert(row.code);
  }
  // The enumeration is dense and ends with kInternal.
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(ErrorCode::kInternal) + 1);
}

TEST(Problem, SaysWhyOnlyForInputAndNotForOurInsides) {
  for (const Row& row : kRows) {
    const Response response =
        Problem(Asked(), Error{.code = row.code, .message = "/var/lib/mayfly/keys/root"});
    if (row.status >= 500) {
      EXPECT_EQ(response.body.find("mayfly/keys"), std::string::npos) << ToString(row.code);
    }
  }
  const Response told =
      Problem(Asked(), Error{.code = ErrorCode::kInvalidArgument, .message = "is too long"});
  EXPECT_EQ(*Body(told).Find("detail")->AsString(), "is too long");
}

TEST(Problem, NamesTheFieldByItsKind) {
  const auto first = [](const std::string& field) {
    const Response response = Problem(Asked(), 400, "validation", "t", field);
    const json::Value body = Body(response);
    return body.Find("errors")->AsArray()->at(0);
  };
  EXPECT_EQ(*first("/label").Find("pointer")->AsString(), "/label");
  EXPECT_EQ(*first("?limit").Find("parameter")->AsString(), "limit");
  EXPECT_EQ(*first("If-Match").Find("name")->AsString(), "If-Match");
  EXPECT_EQ(Body(Problem(Asked(), 400, "validation", "t")).Find("errors"), nullptr);
}

TEST(Problem, SaysWhenToComeBack) {
  EXPECT_EQ(HeaderOf(Problem(Asked(), Error{.code = ErrorCode::kUnavailable}), "Retry-After"), "5");
  EXPECT_EQ(HeaderOf(Problem(Asked(), Error{.code = ErrorCode::kRateLimited,
                                            .retry_after = std::chrono::milliseconds(1001)}),
                     "Retry-After"),
            "2");
  const Response later = Problem(Asked(), Error{.code = ErrorCode::kRateLimited,
                                                .retry_at = TimePoint(std::chrono::hours(1))});
  EXPECT_EQ(*Body(later).Find("retry_at")->AsString(), "1970-01-01T01:00:00.000Z");
}

TEST(Problem, StatesTheCeilingAndThePlatformsWord) {
  EXPECT_EQ(*Body(Problem(Asked(), Error{.code = ErrorCode::kCeilingExceeded}))
                 .Find("maximum")
                 ->AsString(),
            "P3M");
  EXPECT_EQ(*Body(Problem(Asked(), Error{.code = ErrorCode::kPlatformRejected,
                                         .platform_code = "BlockedActor"}))
                 .Find("platform_code")
                 ->AsString(),
            "BlockedActor");
}

TEST(Problem, TakesFurtherMembers) {
  const Response response =
      Problem(Asked(), Error{.code = ErrorCode::kConversationMoved}, [](json::Writer& writer) {
        writer.Key("newer_message_ids").StartArray().String("msg_1").EndArray();
      });
  EXPECT_EQ(Body(response).Find("newer_message_ids")->AsArray()->size(), 1u);
}

}  // namespace
}  // namespace mayfly::service::api
