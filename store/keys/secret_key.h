// 32 secret bytes in guarded, locked memory (sodium_malloc): unmapped around, wiped when freed.
#ifndef MAYFLY_STORE_KEYS_SECRET_KEY_H_
#define MAYFLY_STORE_KEYS_SECRET_KEY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mayfly::store {

using KeyBytes = std::span<const std::uint8_t, 32>;

// Move-only owner.
class SecretKey {
 public:
  static SecretKey Random();
  static SecretKey FromBytes(KeyBytes bytes);
  SecretKey() = default;  // empty; bytes() must not be called
  SecretKey(SecretKey&& other) noexcept;
  SecretKey& operator=(SecretKey&& other) noexcept;
  ~SecretKey();
  KeyBytes bytes() const;
  bool empty() const { return data_ == nullptr; }

 private:
  std::uint8_t* data_ = nullptr;
};

// Pieces of guarded memory that could not be locked since start: RLIMIT_MEMLOCK is too low, and
// their keys may reach swap. 0 is how it should be.
std::size_t UnlockedKeys();
namespace internal {
// Locks `data`, which sodium_malloc gave (it tries, and does not tell); counts a failure.
void LockOrCount(void* data, std::size_t size);
}  // namespace internal

// P32(k, label, x): BLAKE2b-256 keyed with k, personalised with the 16-byte label (shorter labels
// are zero-padded), over x. The one derivation of the project (RFC 7693; libsodium generichash).
std::array<std::uint8_t, 32> P32(KeyBytes key, const char* label,
                                 std::span<const std::uint8_t> input);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_SECRET_KEY_H_
