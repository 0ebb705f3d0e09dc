// A tiny API for tests of the listener: enough to see bodies, scopes, failures and slow handlers.
#ifndef MAYFLY_TESTS_SUPPORT_SMALL_API_H_
#define MAYFLY_TESTS_SUPPORT_SMALL_API_H_

#include <atomic>
#include <cstddef>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "service/api/dispatch.h"
#include "service/api/router.h"
#include "store/model/ids.h"

namespace mayfly::testing {

// `pieces` of one letter each, then an error or the end.
class Pieces final : public service::api::BodySource {
 public:
  Pieces(std::size_t pieces, std::size_t bytes, bool ends)
      : left_(pieces), bytes_(bytes), ends_(ends) {}
  Result<std::string> Next() override {
    if (left_ == 0 && ends_) return std::string();
    if (left_ == 0) return Fail(ErrorCode::kNotFound, "destroyed meanwhile");
    --left_;
    return std::string(bytes_, 'p');
  }

 private:
  std::size_t left_;
  const std::size_t bytes_;
  const bool ends_;
};

class SmallApi {
 public:
  static constexpr std::size_t kBigBytes = 32u << 20;
  static constexpr std::size_t kPieceBytes = 64u << 10;

  SmallApi() {
    using namespace service::api;
    const Handler echo = [](const Request& request, const Actor&) {
      return Response::Json(200, request.body);
    };
    Route post = Public("POST", "/v1/echo", echo);
    post.body_bytes_max = 1024;
    Route guarded = Public("POST", "/v1/guarded", echo);
    guarded.access = Access::kScope;
    guarded.scope = Scope::kInboxReply;
    guarded.body_bytes_max = 1024;
    Route slow = Public("GET", "/v1/slow", [this](const Request&, const Actor&) {
      ++slow_entered_;
      slow_entered_.notify_all();
      released_.wait();
      return Response::Json(200, "{\"slow\":true}");
    });
    slow.slow = true;
    Route whoami = Public("GET", "/v1/whoami", [](const Request&, const Actor& actor) {
      return Response::Json(200, actor.id);
    });
    whoami.access = Access::kScope;
    router_.Add(
        {Public(
             "GET", "/v1/ping",
             [](const Request&, const Actor&) { return Response::Json(200, "{\"pong\":true}"); }),
         post, guarded, slow, whoami,
         Public("GET", "/v1/items/{item}",
                [](const Request& request, const Actor&) {
                  return Response::Json(200, request.captures.at("item"));
                }),
         Public("DELETE", "/v1/items/{item}",
                [](const Request&, const Actor&) { return WithStatus(204); }),
         // Of a body of ten pieces, as many as it says.
         Public("GET", "/v1/pieces/{pieces}",
                [](const Request& request, const Actor&) {
                  Response response;
                  response.content_type = "application/octet-stream";
                  response.source_bytes = 10 * kPieceBytes;
                  response.source = std::make_shared<Pieces>(
                      std::stoul(request.captures.at("pieces")), kPieceBytes, false);
                  return response;
                }),
         // Of one that does not say how many there are.
         Public("GET", "/v1/unsized/{end}",
                [](const Request& request, const Actor&) {
                  Response response;
                  response.content_type = "application/octet-stream";
                  response.source = std::make_shared<Pieces>(10, kPieceBytes,
                                                             request.captures.at("end") == "whole");
                  return response;
                }),
         Public("GET", "/v1/unchanged",
                [](const Request&, const Actor&) { return WithStatus(304).With("ETag", "\"1\""); }),
         Public("GET", "/v1/client",
                [](const Request& request, const Actor&) {
                  return Response::Json(200, ToHex(request.client));
                }),
         Public("GET", "/v1/throws",
                [](const Request&, const Actor&) -> Response {
                  throw std::runtime_error("planted marker");
                }),
         Public("GET", "/v1/splits",
                [](const Request&, const Actor&) {
                  return Response::Json(200, "{}").With("X-A", "a\r\nSet-Cookie: b");
                }),
         Public("GET", "/v1/big", [](const Request&, const Actor&) {
           return Response::Json(200, std::string(kBigBytes, 'b'));
         })});
  }
  SmallApi(const SmallApi&) = delete;
  SmallApi& operator=(const SmallApi&) = delete;

  static Result<Actor> Authenticate(const service::api::Request& request) {
    if (request.admin_socket) {
      return Actor{.id = "cli:" + std::to_string(request.peer_uid),
                   .scopes = service::api::kAnyToken};
    }
    const std::string* token = request.Header("authorization");
    if (token != nullptr && *token == "Bearer good") {
      return Actor{.id = "tok", .scopes = service::api::kAnyToken};
    }
    return Fail(ErrorCode::kNotFound, "");
  }

  const service::api::Router& router() const { return router_; }
  // Until a slow handler runs.
  void AwaitSlow() const { slow_entered_.wait(0); }
  void ReleaseSlow() { release_.set_value(); }

 private:
  static service::api::Response WithStatus(int status) {
    service::api::Response response;
    response.status = status;
    return response;
  }
  static service::api::Route Public(const char* method, const char* pattern,
                                    service::api::Handler handler) {
    service::api::Route route;
    route.method = method;
    route.pattern = pattern;
    route.access = service::api::Access::kPublic;
    route.handler = std::move(handler);
    return route;
  }

  service::api::Router router_;
  std::atomic<int> slow_entered_{0};
  std::promise<void> release_;
  std::shared_future<void> released_{release_.get_future()};
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_SMALL_API_H_
