#include "service/admin_client.h"

#include <chrono>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace mayfly::service {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

constexpr std::chrono::seconds kDeadline{120};

http::verb VerbOf(const std::string& method) { return http::string_to_verb(method); }

}  // namespace

Result<LocalResponse> CallUnixSocket(const std::filesystem::path& socket, const std::string& method,
                                     const std::string& target,
                                     const std::map<std::string, std::string>& headers,
                                     const std::string& body) {
  using Stream = beast::basic_stream<asio::local::stream_protocol>;
  try {
    asio::io_context context;
    Stream stream(context);
    beast::error_code error;
    stream.socket().connect(asio::local::stream_protocol::endpoint(socket.string()), error);
    if (error) {
      return Fail(ErrorCode::kUnavailable, "no service answers at " + socket.string());
    }
    http::request<http::string_body> request(VerbOf(method), target, 11);
    request.set(http::field::host, "localhost");
    request.set(http::field::connection, "close");
    for (const auto& [name, value] : headers) request.set(name, value);
    if (!body.empty()) {
      request.set(http::field::content_type, "application/json");
      request.body() = body;
    }
    request.prepare_payload();

    http::response_parser<http::string_body> parser;
    parser.body_limit(64u << 20);
    beast::flat_buffer buffer;
    Status outcome = Fail(ErrorCode::kIo, "the service did not answer in time");
    stream.expires_after(kDeadline);
    http::async_write(stream, request, [&](beast::error_code failed, std::size_t) {
      if (failed) {
        outcome = Fail(ErrorCode::kIo, "the service did not take the request");
        return;
      }
      http::async_read(stream, buffer, parser, [&](beast::error_code bad, std::size_t) {
        if (bad) {
          outcome = Fail(ErrorCode::kIo, "the service's answer was cut short");
        } else {
          outcome = Status();
        }
      });
    });
    context.run();
    MAYFLY_RETURN_IF_ERROR(std::move(outcome));
    LocalResponse response{.status = static_cast<int>(parser.get().result_int()),
                           .body = parser.get().body()};
    for (const auto& field : parser.get()) {
      const auto name = field.name_string(), value = field.value();
      std::string lower(name.data(), name.size());
      for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      response.headers.emplace(std::move(lower), std::string(value.data(), value.size()));
    }
    return response;
  } catch (const std::exception&) {
    return Fail(ErrorCode::kIo, "the exchange with " + socket.string() + " failed");
  }
}

}  // namespace mayfly::service
