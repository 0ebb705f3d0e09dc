// The only user of cpprestsdk's client, and so the only code that opens a connection to a platform.
//
// What every request gets, once, here: an exact origin, resolved once, public addresses only, TLS 1.2
// or newer verified against the system's CAs; no redirects followed; a step timeout and a total
// deadline of our own; a cap on body bytes while they arrive; no CR, LF or NUL in header values; no
// body, header or URL in any log or error. cpprestsdk can be aborted by one malformed answer, which
// is why it lives in a worker process with a memory limit.
#ifndef MAYFLY_CONNECTORS_HTTP_CLIENT_H_
#define MAYFLY_CONNECTORS_HTTP_CLIENT_H_

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "connectors/connector.h"

namespace mayfly::connectors {

struct HttpRequest {
  std::string method = "GET";
  std::string path;                                        // begins with '/'
  std::vector<std::pair<std::string, std::string>> query;  // encoded by the client
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
  // lazily. kInvalidArgument (field "origin") when the policy forbids it.
  static Result<std::unique_ptr<HttpClient>> Create(const std::string& origin,
                                                    const EgressPolicy& egress,
                                                    const HttpLimits& limits = {});
  ~HttpClient();

  // Any status is a response, redirects too. Errors: kPlatformUnavailable when the request certainly
  // did not reach the platform (resolve, connect, TLS); kOutcomeUnknown when it may have (timeout,
  // connection lost after writing began); kTooLarge; kProtocol; kCancelled (may have reached it).
  Result<HttpResponse> Send(const HttpRequest& request, std::stop_token stop);

 private:
  struct Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Limits cpprestsdk's shared thread pool. Call once in main, before the first client.
void InitialiseHttpThreads(int threads);

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_HTTP_CLIENT_H_
