// Values that people must not meet in a log: they cannot be formatted, streamed or printed.
#ifndef MAYFLY_STORE_MODEL_SENSITIVE_H_
#define MAYFLY_STORE_MODEL_SENSITIVE_H_

#include <compare>
#include <cstddef>
#include <ostream>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace mayfly {

// Overwrites the string's bytes in a way that the compiler may not drop, then empties it.
void WipeString(std::string& value) noexcept;

// Owns text that must not leave by accident. Wipes itself when it dies or is moved from.
template <class Tag>
class Sensitive {
 public:
  Sensitive() = default;
  // A short string is copied, not stolen, by the move: its bytes stay behind in the argument.
  explicit Sensitive(std::string value) : value_(std::move(value)) { WipeString(value); }
  Sensitive(const Sensitive&) = default;
  Sensitive(Sensitive&& other) noexcept : value_(std::move(other.value_)) {
    WipeString(other.value_);
  }
  Sensitive& operator=(const Sensitive& other) {
    if (this != &other) {
      WipeString(value_);
      value_ = other.value_;
    }
    return *this;
  }
  Sensitive& operator=(Sensitive&& other) noexcept {
    if (this != &other) {
      WipeString(value_);
      value_ = std::move(other.value_);
      WipeString(other.value_);
    }
    return *this;
  }
  ~Sensitive() { WipeString(value_); }

  // The one word to search for in review.
  const std::string& Reveal() const { return value_; }
  std::size_t size() const { return value_.size(); }
  bool empty() const { return value_.empty(); }

  friend bool operator==(const Sensitive& a, const Sensitive& b) { return a.value_ == b.value_; }
  friend auto operator<=>(const Sensitive& a, const Sensitive& b) { return a.value_ <=> b.value_; }
  friend std::ostream& operator<<(std::ostream&, const Sensitive&) = delete;
  // Without this a failing EXPECT_EQ would print the bytes.
  friend void PrintTo(const Sensitive& s, std::ostream* os) {
    *os << "<" << s.size() << " bytes withheld>";
  }

 private:
  std::string value_;
};

using MessageBody = Sensitive<struct MessageBodyTag>;
using ContactHandle = Sensitive<struct ContactHandleTag>;  // handle or display name of a person
using PlatformId = Sensitive<struct PlatformIdTag>;    // a platform's id of a person, message or
                                                       // conversation; always a string
using Credential = Sensitive<struct CredentialTag>;    // a connector's secret, its own encoding
using AccessToken = Sensitive<struct AccessTokenTag>;  // a bearer token of our REST API

}  // namespace mayfly

template <class Tag, class Char>
struct fmt::formatter<mayfly::Sensitive<Tag>, Char> {
  template <class Context>
  constexpr auto parse(Context& context) {
    static_assert(sizeof(Tag*) == 0, "A Sensitive value cannot be formatted or logged.");
    return context.begin();
  }
  template <class Context>
  auto format(const mayfly::Sensitive<Tag>&, Context& context) const {
    return context.out();
  }
};

#endif  // MAYFLY_STORE_MODEL_SENSITIVE_H_
