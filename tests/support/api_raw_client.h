// A client that sends exactly the bytes it is given, and a listening socket on a port that the
// kernel chooses. Every wait is bounded, so that a defect fails a test instead of hanging it.
#ifndef MAYFLY_TESTS_SUPPORT_API_RAW_CLIENT_H_
#define MAYFLY_TESTS_SUPPORT_API_RAW_CLIENT_H_

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

namespace mayfly::testing {

// Looks until `predicate` holds. The bound is patience, not an expectation; the pause between two
// looks leaves the processor to whom the test waits for.
template <class Predicate>
bool Eventually(Predicate predicate) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!predicate()) {
    if (std::chrono::steady_clock::now() > until) return false;
    ::poll(nullptr, 0, 5);
  }
  return true;
}

struct ListeningSocket {
  int fd = -1;
  std::uint16_t port = 0;
};

inline ListeningSocket ListenOnLoopback() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(fd, 1024) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("cannot listen on loopback");
  }
  return {fd, ntohs(address.sin_port)};
}

inline int ListenOnUnix(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd, 64) != 0) {
    throw std::runtime_error("cannot listen on a Unix socket");
  }
  return fd;
}

struct RawResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // lower-case names; the last of a repeated one
  std::string body;
  std::string Header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
};

class RawClient {
 public:
  static constexpr std::chrono::seconds kPatience{30};

  // A socket that is not connected yet.
  RawClient() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  explicit RawClient(std::uint16_t port) : RawClient() { ConnectTo(port); }
  void ConnectTo(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    Connect(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  explicit RawClient(const std::string& unix_path) {
    fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, unix_path.c_str(), sizeof address.sun_path - 1);
    Connect(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  RawClient(RawClient&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), received_(std::move(other.received_)) {}
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  virtual ~RawClient() { Close(); }

  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // What the server no longer takes is dropped: it may have answered and closed.
  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = SendSome(bytes);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // Whether the connection took it; false once the server has reset it.
  bool TrySend(std::string_view bytes) {
    return SendSome(bytes) == static_cast<ssize_t>(bytes.size());
  }
  virtual void HalfClose() { ::shutdown(fd_, SHUT_WR); }
  int fd() const { return fd_; }

  // The next answer; nothing when the connection ends first.
  std::optional<RawResponse> Read(bool to_head_request = false) {
    std::size_t end = 0;
    while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
      if (!Fill()) return std::nullopt;
    }
    RawResponse response = ParseHead(received_.substr(0, end + 2));
    received_.erase(0, end + 4);
    if (to_head_request || response.status == 100 || response.status == 204 ||
        response.status == 304) {
      return response;
    }
    if (response.Header("transfer-encoding") == "chunked") return ReadChunks(std::move(response));
    const std::size_t length =
        std::strtoull(response.Header("content-length").c_str(), nullptr, 10);
    while (received_.size() < length) {
      if (!Fill()) return std::nullopt;
    }
    response.body = received_.substr(0, length);
    received_.erase(0, length);
    return response;
  }

  // The next answer that is not "100 (Continue)".
  std::optional<RawResponse> ReadFinal(bool to_head_request = false) {
    auto answer = Read(to_head_request);
    while (answer && answer->status == 100) answer = Read(to_head_request);
    return answer;
  }

  // Reads until `text` has come; everything up to its end. Nothing when the connection ends first.
  std::optional<std::string> ReadUntil(const std::string& text) {
    std::size_t at = 0;
    while ((at = received_.find(text)) == std::string::npos) {
      if (!Fill()) return std::nullopt;
    }
    std::string read = received_.substr(0, at + text.size());
    received_.erase(0, read.size());
    return read;
  }

  // Reads until the server ends the connection; whatever came, as bytes. Throws when it does not
  // end.
  std::string ReadToEnd() {
    while (Fill()) {
    }
    return std::exchange(received_, {});
  }

  // Sends one request and reads its answer.
  std::optional<RawResponse> Ask(std::string_view request) {
    Send(request);
    return Read(request.substr(0, 5) == "HEAD ");
  }

 protected:
  virtual ssize_t SendSome(std::string_view bytes) {
    return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  virtual ssize_t ReceiveSome(char* bytes, std::size_t size) { return ::recv(fd_, bytes, size, 0); }
  // Whether there is something to read that the kernel does not know of.
  virtual bool HasPending() { return false; }

 private:
  void Connect(const sockaddr* address, socklen_t size) {
    if (fd_ < 0 || ::connect(fd_, address, size) != 0) {
      throw std::runtime_error(std::string("cannot connect: ") + std::strerror(errno));
    }
  }

  // Without trailers.
  std::optional<RawResponse> ReadChunks(RawResponse response) {
    for (;;) {
      std::size_t line = 0;
      while ((line = received_.find("\r\n")) == std::string::npos) {
        if (!Fill()) return std::nullopt;
      }
      const std::size_t size = std::strtoull(received_.c_str(), nullptr, 16);
      while (received_.size() < line + 2 + size + 2) {
        if (!Fill()) return std::nullopt;
      }
      response.body += received_.substr(line + 2, size);
      received_.erase(0, line + 2 + size + 2);
      if (size == 0) return response;
    }
  }

  // False at the end of the connection.
  bool Fill() {
    pollfd wait{fd_, POLLIN, 0};
    const auto patience = std::chrono::milliseconds(kPatience).count();
    if (!HasPending() && ::poll(&wait, 1, static_cast<int>(patience)) <= 0) {
      throw std::runtime_error("the server neither answered nor closed");
    }
    char bytes[16384];
    const ssize_t got = ReceiveSome(bytes, sizeof bytes);
    if (got <= 0) return false;
    received_.append(bytes, static_cast<std::size_t>(got));
    return true;
  }

  static RawResponse ParseHead(const std::string& head) {
    RawResponse response;
    if (head.size() > 12) response.status = std::atoi(head.c_str() + 9);
    std::size_t line = head.find("\r\n") + 2;
    while (line < head.size()) {
      const std::size_t end = head.find("\r\n", line);
      const std::size_t colon = head.find(':', line);
      std::string name = head.substr(line, colon - line);
      std::transform(name.begin(), name.end(), name.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      });
      response.headers[name] = head.substr(colon + 2, end - colon - 2);
      line = end + 2;
    }
    return response;
  }

  int fd_ = -1;
  std::string received_;
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_API_RAW_CLIENT_H_
