// The loopback HTTP server under every simulator. Tests and mayfly-demo only.
#ifndef MAYFLY_CONNECTORS_SIMULATOR_SERVER_H_
#define MAYFLY_CONNECTORS_SIMULATOR_SERVER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/model/result.h"

namespace mayfly::connectors {

struct SimulatorRequest {
  std::string method;
  std::string path;                                        // percent-decoded, without the query
  std::vector<std::pair<std::string, std::string>> query;  // decoded, repeats kept
  std::map<std::string, std::string> headers;              // lower-case names
  std::string body;
  std::optional<std::string> Query(const std::string& name) const;
  std::string Header(const std::string& name) const;  // empty when absent
};

struct SimulatorResponse {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string content_type = "application/json";
  // Odd behaviour of a platform or a network, for tests.
  bool drop_connection = false;          // the request had its effect; the answer never comes
  std::optional<std::string> raw_bytes;  // write these bytes instead of a response, then close
  // Then go on writing what this returns, until it returns "" or the peer leaves; one piece at a
  // time.
  std::function<std::string()> raw_stream;
  std::chrono::milliseconds raw_interval{0};  // pause before each piece, for a drip
  bool hold_open = false;  // after the raw bytes and stream, say nothing until the peer leaves
};

// Called from one thread; never concurrently. An exception becomes an answer of 500.
using SimulatorHandler = std::function<SimulatorResponse(const SimulatorRequest&)>;

class SimulatorServer {
 public:
  // Listens on 127.0.0.1; port 0 lets the kernel choose.
  static Result<std::unique_ptr<SimulatorServer>> Start(SimulatorHandler handler,
                                                        std::uint16_t port = 0);
  ~SimulatorServer();  // stops and joins
  std::uint16_t port() const;
  std::string origin() const;         // http://127.0.0.1:port
  std::uint64_t connections() const;  // accepted since the start

 private:
  struct Impl;
  explicit SimulatorServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_SIMULATOR_SERVER_H_
