// HTTP as values. Handlers see these and nothing of Beast.
#ifndef MAYFLY_SERVICE_API_HTTP_H_
#define MAYFLY_SERVICE_API_HTTP_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "service/api/events.h"
#include "store/model/actor.h"
#include "store/model/result.h"

namespace mayfly::service::api {

// A request that passed the limits. Path is split at '/' and percent-decoded once; NUL, invalid
// UTF-8, encoded slashes and dot segments were refused before. Query pairs are decoded; a repeated
// name was refused. Header names are lower-case.
struct Request {
  std::string method;
  std::vector<std::string> path;  // "/v1/accounts/acc_1" -> {"v1", "accounts", "acc_1"}
  std::vector<std::pair<std::string, std::string>> query;
  std::map<std::string, std::string> headers;
  std::string body;
  std::string id;              // request id, in every answer and audit entry
  bool admin_socket = false;   // came over the Unix admin socket, peer already checked
  std::uint32_t peer_uid = 0;  // of the admin socket
  std::string client;          // whom to count it to: equal for all requests of one address, behind
                               // a trusted proxy as well. Bytes, for no log and no answer
  std::map<std::string, std::string> captures;  // of the route's {names}

  const std::string* Header(std::string_view name) const;
  const std::string* Query(std::string_view name) const;
};

// A body that is made while it is sent, so that it is never in memory as a whole.
class BodySource {
 public:
  virtual ~BodySource() = default;
  // The next bytes, at least one; none at the end, where the length was not said. Called one after
  // the other, each when the client has taken what was before, on an I/O thread. After an error the
  // connection is cut off, so that nobody takes what arrived for the whole.
  virtual Result<std::string> Next() = 0;
};

struct Response {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;  // a control character in a value: 500
  std::string body;
  std::string content_type = "application/json";
  // Set: text/event-stream takes the place of the body, and the connection ends with it. The server
  // sends what is pushed, a heartbeat when nothing is, and ends it at a drain or when the client
  // does not take it within the write deadline.
  std::shared_ptr<EventStream> events = nullptr;
  // Set: `source_bytes` of it take the place of the body, or all of it, in chunks, when that is not
  // known.
  std::shared_ptr<BodySource> source = nullptr;
  std::optional<std::uint64_t> source_bytes = std::nullopt;

  static Response Json(int status, std::string body);
  Response& With(std::string name, std::string value);
  const std::string* Header(std::string_view name) const;  // as With spelt it
};

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_HTTP_H_
