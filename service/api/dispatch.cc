#include "service/api/dispatch.h"

#include <algorithm>
#include <array>
#include <exception>
#include <sodium.h>
#include <string_view>
#include <utility>

#include "service/api/problem.h"
#include "store/model/ids.h"

namespace mayfly::service::api {
namespace {

std::string Joined(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) {
    if (!joined.empty()) joined += ", ";
    joined += word;
  }
  return joined;
}

// A name may be repeated to its sender only when it cannot be anything but a name.
bool IsPlainWord(std::string_view text) {
  return !text.empty() && text.size() <= 40 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

bool IsToken(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool IsFieldValue(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte < 0x7f;
  });
}

std::string LowerCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

bool IsJson(const std::string* content_type) {
  if (content_type == nullptr) return false;
  std::string type = content_type->substr(0, content_type->find(';'));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  return LowerCase(std::move(type)) == "application/json";
}

bool Permits(const Route& route, const Actor& actor) {
  if (route.any_scope != 0) return (actor.scopes & route.any_scope) != 0;
  return actor.Has(route.scope);
}

Response Refused(const Request& request, int status, std::string_view word, std::string_view title,
                 std::string_view field = {}) {
  return Problem(request, status, word, title, field);
}

// The budget of a token in the form of draft-ietf-httpapi-ratelimit-headers (structured fields).
void TellRate(const RateLimiter::Verdict& rate, Response& response) {
  const std::string name = std::string("\"") + ToString(rate.budget) + "\"";
  response.With("RateLimit-Policy", name + ";q=" + std::to_string(rate.quota) +
                                        ";w=" + std::to_string(RateLimiter::kWindow.count()));
  response.With("RateLimit", name + ";r=" + std::to_string(rate.remaining) +
                                 ";t=" + std::to_string(rate.wait.count()));
}

// What the head decides once the route is known; nothing when the request may go on.
std::optional<Response> CheckAccess(const Route& route, const Authenticator& authenticate,
                                    const Request& request, Admission& admission, bool ready) {
  Actor& actor = admission.actor;
  actor.request_id = request.id;
  if (route.access == Access::kPublic) return std::nullopt;
  if (!ready && !route.while_sealed) {
    return Problem(request, Error{.code = ErrorCode::kUnavailable});
  }
  Result<Actor> known = authenticate(request);
  if (!known && known.error().code == ErrorCode::kNotFound) {
    return Refused(request, 401, "unauthorised", "A valid token is needed.")
        .With("WWW-Authenticate", "Bearer");
  }
  if (!known) return Problem(request, known.error());
  actor = *std::move(known);
  actor.request_id = request.id;
  RateLimiter* limiter = admission.router->rate_limiter();
  if (limiter != nullptr && !request.admin_socket) {
    admission.rate = limiter->Take(actor.id, route.budget);
    if (!admission.rate->admitted) {
      return Refused(request, 429, "rate-limited", "Too many requests with this token.")
          .With("Retry-After", std::to_string(admission.rate->wait.count()));
    }
  }
  if (route.access == Access::kScope && !Permits(route, actor)) {
    return Refused(request, 403, "forbidden-scope", "The token's role does not cover this.");
  }
  return std::nullopt;
}

std::optional<Response> CheckInput(const Route& route, const Request& request, const BodyPlan& body,
                                   std::size_t bytes_max) {
  for (const auto& [name, value] : request.query) {
    if (std::find(route.query.begin(), route.query.end(), name) == route.query.end()) {
      return Refused(request, 400, "validation", "A query parameter is not known here.",
                     IsPlainWord(name) ? "?" + name : std::string());
    }
  }
  for (const std::string& name : route.required_headers) {
    if (request.Header(LowerCase(name)) != nullptr) continue;
    return Refused(request, 428, "precondition-required", "A header field is needed.", name);
  }
  if (!body.present) return std::nullopt;
  if (route.body_bytes_max == 0) {
    return Refused(request, 400, "validation", "No body is taken here.");
  }
  if (!IsJson(request.Header("content-type"))) {
    return Refused(request, 415, "unsupported-media-type", "The body must be application/json.",
                   "Content-Type");
  }
  if (body.length && *body.length > bytes_max) {
    return Refused(request, 413, "too-large", "The body is too large.");
  }
  return std::nullopt;
}

// The checks of Admit, in their order.
Admission Check(const Router& router, const Authenticator& authenticate, Request& request,
                const BodyPlan& body, bool ready) {
  Admission admission;
  admission.router = &router;
  Router::Match match = router.Find(request.method, request.path);
  // An admin path is no secret, but it is nobody else's business either.
  const bool admin_path = !request.path.empty() && request.path.front() == "admin";
  if (match.allowed_methods.empty() || (admin_path && !request.admin_socket)) {
    admission.refusal = Refused(request, 404, "not-found", "There is no such path.");
    return admission;
  }
  if (match.route == nullptr) {
    admission.refusal = Refused(request, 405, "method-not-allowed", "The path has other methods.")
                            .With("Allow", Joined(match.allowed_methods));
    return admission;
  }
  const Route& route = *match.route;
  if (route.access == Access::kAdminSocket && !request.admin_socket) {
    admission.refusal = Refused(request, 404, "not-found", "There is no such path.");
    return admission;
  }
  request.captures = std::move(match.captures);
  admission.route = &route;
  admission.body_bytes_max = std::min(route.body_bytes_max, body.bytes_max);
  admission.refusal = CheckAccess(route, authenticate, request, admission, ready);
  if (!admission.refusal) {
    admission.refusal = CheckInput(route, request, body, admission.body_bytes_max);
  }
  return admission;
}

// The handler's answer, or what becomes of its failure.
Response Run(const Admission& admission, const Request& request) {
  const auto failed = [&] { return Problem(request, Error{.code = ErrorCode::kInternal}); };
  if (request.body.size() > admission.body_bytes_max) {
    return Refused(request, 413, "too-large", "The body is too large.");
  }
  try {
    Response response = admission.route->handler(request, admission.actor);
    const bool clean =
        IsFieldValue(response.content_type) &&
        std::all_of(response.headers.begin(), response.headers.end(), [](const auto& header) {
          return IsToken(header.first) && IsFieldValue(header.second);
        });
    return clean ? std::move(response) : failed();
  } catch (const std::exception&) {
    return failed();  // the text of an exception may quote its input
  } catch (...) {
    return failed();
  }
}

}  // namespace

Admission Admit(const Router& router, const Authenticator& authenticate, Request& request,
                const BodyPlan& body, bool ready) {
  Admission admission = Check(router, authenticate, request, body, ready);
  if (admission.refusal && admission.rate) TellRate(*admission.rate, *admission.refusal);
  return admission;
}

Response Handle(const Admission& admission, const Request& request) {
  Response response = Run(admission, request);
  if (!admission.rate) return response;
  RateLimiter::Verdict rate = *admission.rate;
  if (response.status == 304) {
    // Whoever asks whether anything is new, and it is not, is not kept from asking again.
    rate = admission.router->rate_limiter()->GiveBack(admission.actor.id, rate.budget);
  }
  TellRate(rate, response);
  return response;
}

Response Dispatch(const Router& router, const Authenticator& authenticate, Request request,
                  bool ready) {
  BodyPlan body;
  body.present = !request.body.empty();
  body.length = request.body.size();
  Admission admission = Admit(router, authenticate, request, body, ready);
  if (admission.refusal) return *std::move(admission.refusal);
  return Handle(admission, request);
}

std::string NewRequestId() {
  std::array<char, 16> bytes;
  randombytes_buf(bytes.data(), bytes.size());
  return ToHex(std::string_view(bytes.data(), bytes.size()));
}

}  // namespace mayfly::service::api
