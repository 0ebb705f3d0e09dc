// The only user of cpprestsdk's client, and so the only code that opens a connection to a platform.
//
// What every request gets, once, here: an exact origin, resolved once, public addresses only,
// TLS 1.2 or newer verified against the system's CAs; no redirects followed; a step timeout and a
// total deadline of our own; a cap on body bytes while they arrive; no CR, LF or NUL in header
// values; no body, header or URL in any log or error. cpprestsdk can be aborted by one malformed
// answer, which is why it lives in a worker process with a memory limit.
#ifndef MAYFLY_CONNECTORS_HTTP_CLIENT_H_
#define MAYFLY_CONNECTORS_HTTP_CLIENT_H_

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "connectors/connector.h"

namespace mayfly::connectors {

struct HttpRequest {
  std::string method = "GET";
  std::string path;  // begins with '/'; percent-encoded where it has to be
  std::vector<std::pair<std::string, std::string>> query;   // encoded by the client
  std::vector<std::pair<std::string, Credential>> headers;  // values may be secrets
  std::string body;
  std::string content_type;  // with a body
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // lower-case names
  std::string body;
};

struct HttpLimits {
  std::chrono::milliseconds step_timeout{10'000};
  std::chrono::milliseconds total_deadline{30'000};
  std::size_t body_bytes_max = 4u << 20;
};

class HttpClient {
 public:
  // `origin` is https://host[:port], or http://127.0.0.1:port with insecure_loopback. Resolves
  // lazily. kInvalidArgument (field "origin") when the policy forbids it. `platform_time` hears of
  // the Date of each answer over TLS that has one; over plain HTTP anybody could have written it.
  static Result<std::unique_ptr<HttpClient>> Create(const std::string& origin,
                                                    const EgressPolicy& egress,
                                                    const HttpLimits& limits = {},
                                                    PlatformTimeSink platform_time = {});
  ~HttpClient();

  // Any status from 200 on is a response, redirects too. Errors: kInvalidArgument for a request
  // that this client does not send; kHostForbidden when the host leads to no permitted address;
  // kPlatformUnavailable when it certainly did not reach the
  // platform (resolve, connect, TLS); kOutcomeUnknown when it may have (timeout, connection lost
  // after writing began). kTooLarge, kProtocol and kCancelled leave open whether it had its effect.
  //
  // One request at a time; other callers wait. GET and HEAD reuse a connection and may be repeated
  // on a fresh one by the library. All others are written at most once, on a connection of their
  // own.
  Result<HttpResponse> Send(const HttpRequest& request, std::stop_token stop);

 private:
  struct Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Starts cpprestsdk's pool, which the first client does otherwise. It gets one thread whatever is
// asked for: with more, closing a connection races with reading from it (see http_client.cc). No
// thread is blocked by a request under way, so that one is enough for a worker.
void InitialiseHttpThreads(int threads = 1);

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_HTTP_CLIENT_H_
