#include "service/api/handlers/health_handlers.h"

#include <string>
#include <string_view>
#include <utility>

#include "connectors/registry.h"
#include "service/api/handlers/handler_support.h"
#include "service/api/signed_receipt.h"

namespace mayfly::service::api {

extern const unsigned char kOpenApi[];  // openapi.json, built in
extern const std::size_t kOpenApiBytes;

namespace {

// How long others may keep what is the same for everybody and changes only with the program. All
// else is no-store.
constexpr const char* kPublicCaching = "public, max-age=300";

HealthView HealthOf(const ApiContext& context) {
  return context.health ? context.health() : HealthView{};
}

// Alive: also while sealed, because a restart would not help. 200 in both cases; the word tells.
Response Healthz(const ApiContext& context) {
  const HealthView health = HealthOf(context);
  return Document(200, [&](json::Writer& writer) {
    writer.StartObject();
    writer.Field("status", health.sealed ? "sealed" : "ok");
    if (health.sealed) writer.Field("reason", health.sealed_reason);
    writer.EndObject();
  });
}

Response Readyz(const ApiContext& context) {
  const HealthView health = HealthOf(context);
  const bool ready = health.ready && !health.sealed;
  Response response = Document(ready ? 200 : 503, [&](json::Writer& writer) {
    writer.StartObject();
    writer.Field("status", ready ? "ready" : "not-ready");
    writer.Key("reasons").StartArray();
    if (health.sealed) writer.String("sealed");
    for (const std::string& reason : health.reasons) writer.String(reason);
    writer.EndArray();
    writer.EndObject();
  });
  if (!ready) response.With("Retry-After", "5");
  return response;
}

// What promise P2 is worth here.
const char* GradeSentence(const std::string& grade) {
  if (grade == "A") {
    return "The master key sits in a hardware token and is replaced at each destruction: no copy "
           "of "
           "this machine opens what has expired.";
  }
  if (grade == "B") {
    return "The master key is kept apart from this machine: copies of its disk open nothing "
           "without "
           "it.";
  }
  if (grade == "none") {
    return "Keys are overwritten where that does not destroy them: copies of this machine, or its "
           "disk alone, may stay readable.";
  }
  return "Everything lies on one disk: whole-machine copies that were taken before a message "
         "expired "
         "stay readable to whoever has them.";
}

Response About(const ApiContext& context) {
  return Document(200, [&](json::Writer& writer) {
    writer.StartObject();
    writer.Field("service", "Mayfly, the social inbox that forgets");
    writer.Field("version", context.version);
    writer.Field("organisation", context.about.organisation);
    writer.Field("purposes", context.about.purposes);
    writer.Key("periods").StartObject();
    writer.Field("ceiling", RetentionPeriod().ToString());
    writer.Field("zone", context.zone_name);
    writer.Field(
        "rule",
        "Every message is destroyed at most three calendar months after it was sent. Nothing "
        "can lengthen that.");
    writer.EndObject();
    writer.Field("recipients", context.about.recipients);
    writer.Field("data_location", context.about.data_location);
    writer.Field("contact", context.about.contact);
    writer.Key("platforms").StartArray();
    for (const connectors::ConnectorInfo* info : connectors::AllConnectors()) {
      writer.StartObject();
      writer.Field("name", info->name);
      writer.Field("display_name", info->display_name);
      writer.Field("data_location", info->data_location);
      writer.EndObject();
    }
    writer.EndArray();
    writer.Key("destruction").StartObject();
    writer.Field("p2_grade", context.p2_grade);
    writer.Field("meaning", GradeSentence(context.p2_grade));
    writer.Field("reason", context.p2_reason);
    writer.Field("file_system", context.file_system);
    writer.Field("overwriting_holds", context.overwriting_holds);
    writer.EndObject();
    StringOrNull(writer, "receipt_key",
                 context.store != nullptr ? ShownReceiptKey(*context.store) : std::string());
    writer.Key("sandbox");
    Render(writer, context.sandbox);
    writer.Field("insecure_loopback", context.egress.insecure_loopback);
    writer.EndObject();
  });
}

struct ProblemPage {
  std::string_view word;
  std::string_view text;
};

// One page for each `type` that a problem document can have.
constexpr ProblemPage kProblemPages[] = {
    {"validation",
     "The request breaks a rule of the API. errors[] names the member, parameter or header field. "
     "Correct it and send the request again."},
    {"unauthorised",
     "There is no token, or none that is valid: unknown, ended, revoked or misspelt. The answer is "
     "the "
     "same in every case. Send one in the Authorization field: Bearer mfy_..."},
    {"forbidden-scope",
     "The token is valid and its role does not cover this operation. Administrators, for example, "
     "never read messages."},
    {"not-found", "There is no such thing here, or not any more."},
    {"method-not-allowed", "The path exists with other methods; the Allow field lists them."},
    {"expired",
     "Its time has passed and it has been destroyed. The id itself says so: whether it ever "
     "existed "
     "is not known any more. Nobody can bring it back."},
    {"precondition-required",
     "The request needs a header field that protects against acting on old knowledge: If-Match for "
     "changes, Idempotency-Key for replies."},
    {"precondition-failed",
     "The record was changed after you read it. Read it again, then repeat the change with its new "
     "ETag."},
    {"conversation-moved",
     "A newer message has arrived, or a colleague's reply is on its way. newer_message_ids lists "
     "what "
     "you have not seen. Read it, then send again with the newest id; the same key stays good."},
    {"idempotency-conflict",
     "This Idempotency-Key was used with another body. A new reply needs a new key."},
    {"idempotency-in-progress", "The same request is still running. Wait as Retry-After says."},
    {"reply-window-closed", "The platform takes replies only for some time, and it has passed."},
    {"restricted",
     "Somebody asked that what is held of them is restricted. Until a privacy officer lifts that, "
     "nobody else reads it, nothing is sent to them, and it ends when it would have ended anyway."},
    {"adds-recipient",
     "The text would reach somebody who is not shown as recipient of the conversation."},
    {"credential-dead",
     "The platform no longer accepts the account's credential, or the account was disconnected. An "
     "administrator has to renew it; nothing is sent until then."},
    {"missing-privilege", "The account's credential lacks a permission on the platform."},
    {"option-unusable",
     "What errors names can never work on this installation, and detail says what would. A server "
     "is given as https://, a name and at most a port. One inside your own network has to be "
     "listed under [egress] allow in the configuration; the service is restarted then."},
    {"host-forbidden",
     "The name of the account's server resolves to addresses that are not public, and nothing here "
     "may connect to them. Correct the name (connect the account anew), the DNS, or list the "
     "server under [egress] allow in the configuration and restart the service."},
    {"platform-throttled", "The platform asks us to wait; retry_at says until when."},
    {"platform-rejected", "The platform understood the request and refuses it."},
    {"platform-unavailable",
     "The platform cannot be reached now, or its answer makes no sense. Nothing was done there."},
    {"ceiling-exceeded",
     "The period is longer than three calendar months. That ceiling is compiled into the program; "
     "settings can only shorten it."},
    {"cursor-invalid",
     "The cursor was not given out for this list with these filters. Begin again without one."},
    {"too-large", "The request, a part of it or its body is larger than the service takes."},
    {"range-not-satisfiable",
     "The range begins behind the end. Content-Range says how many bytes there are."},
    {"rate-limited", "Too many requests. Wait as Retry-After says."},
    {"sealed",
     "The service has no usable master key. It touches nothing until the key is back; meanwhile "
     "nobody can read a message."},
    {"disk-full",
     "There is too little room on the disk of the service, and what is left is kept for reading, "
     "expiry and erasure. Nothing was taken; the same Idempotency-Key stays good. An operator has "
     "to make room; it then goes on by itself."},
    {"unavailable", "Not now: the service is starting, stopping or repairs itself. Try again."},
    {"internal", "Something went wrong here. instance is the request id to look for in the log."},
    {"malformed-request", "The request is not well-formed HTTP, or could be read in two ways."},
    {"unsupported-media-type", "Bodies are JSON, with Content-Type: application/json."},
    {"expectation-failed", "The only expectation that can be met is 100-continue."},
    {"request-timeout", "The request did not arrive in time."},
    {"not-implemented", "The transfer coding is not known here; only chunked is."},
    {"http-version", "HTTP/1.1 and HTTP/1.0 are spoken here."},
};

Response OpenApi() {
  Response response;
  response.body.assign(reinterpret_cast<const char*>(kOpenApi), kOpenApiBytes);
  return response.With("Cache-Control", kPublicCaching);
}

Response ProblemText(const Request& request) {
  for (const ProblemPage& page : kProblemPages) {
    if (page.word != request.captures.at("word")) continue;
    Response response;
    response.content_type = "text/plain; charset=utf-8";
    response.body.append(page.word).append("\n\n").append(page.text).append("\n");
    return response.With("Cache-Control", kPublicCaching);
  }
  return Problem(request, Error{.code = ErrorCode::kNotFound});
}

Route Public(const char* pattern, Handler handler) {
  Route route;
  route.method = "GET";
  route.pattern = pattern;
  route.access = Access::kPublic;
  route.handler = std::move(handler);
  return route;
}

}  // namespace

std::vector<Route> HealthRoutes(ApiContext& context) {
  // Health is of this instant: nobody asks whether it is still the same.
  const auto document = [&context](auto answer) {
    return [&context, answer](const Request& request, const Actor&) {
      return Fresh(context, request, answer(request));
    };
  };
  return {Public("/healthz", [&context](const Request&, const Actor&) { return Healthz(context); }),
          Public("/readyz", [&context](const Request&, const Actor&) { return Readyz(context); }),
          Public("/v1/about", document([&context](const Request&) { return About(context); })),
          Public("/v1/openapi.json", document([](const Request&) { return OpenApi(); })),
          Public("/problems/{word}", document(ProblemText))};
}

}  // namespace mayfly::service::api
