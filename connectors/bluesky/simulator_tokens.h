// Identifiers and session tokens of the simulated platform, in the shapes that clients look into.
#ifndef MAYFLY_CONNECTORS_BLUESKY_SIMULATOR_TOKENS_H_
#define MAYFLY_CONNECTORS_BLUESKY_SIMULATOR_TOKENS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "store/model/time.h"

namespace mayfly::connectors {

// Sortable revisions and ids of 13 characters, as the platform makes them: microseconds since 1970
// in base 32, never twice the same and never falling, whatever the clock does.
class TidMaker {
 public:
  std::string Next(TimePoint now);

 private:
  std::uint64_t last_ = 0;
};
bool IsTid(std::string_view text);

// A made-up but well-formed DID; the same name gives the same DID.
std::string DidFor(const std::string& name);

struct TokenClaims {
  std::string scope;
  std::string did;
  std::string id;               // jti; refresh tokens only
  std::int64_t generation = 0;  // see BlueskySimulator::ExpireSessions
  TimePoint issued_at;
  TimePoint expires_at;
};

// Signs and reads JSON web tokens (HS256) under a random key of its own.
class TokenMaker {
 public:
  TokenMaker();
  std::string Make(const TokenClaims& claims) const;
  // Nothing when the token is malformed or signed by somebody else. Does not judge expiry.
  std::optional<TokenClaims> Read(const std::string& token) const;

 private:
  std::string Signature(const std::string& signed_part) const;
  std::array<unsigned char, 32> key_;
};

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_BLUESKY_SIMULATOR_TOKENS_H_
