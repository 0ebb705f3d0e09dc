#include "store/keys/secret_key.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "store/keys/internal.h"

namespace mayfly::store {
namespace internal {

void EnsureSodium() {
  static const bool ready = [] {
    if (sodium_init() < 0) {
      std::fputs("libsodium could not start: no secure randomness on this machine\n", stderr);
      std::abort();
    }
    return true;
  }();
  static_cast<void>(ready);
}

}  // namespace internal

namespace {

std::atomic<std::size_t> unlocked_keys{0};

}  // namespace

std::size_t UnlockedKeys() { return unlocked_keys.load(std::memory_order_relaxed); }

void internal::LockOrCount(void* data, std::size_t size) {
  if (sodium_mlock(data, size) != 0) unlocked_keys.fetch_add(1, std::memory_order_relaxed);
}

namespace {

std::uint8_t* Allocate() {
  internal::EnsureSodium();
  auto* data = static_cast<std::uint8_t*>(sodium_malloc(32));
  if (data == nullptr) {
    std::fputs("out of memory for a key\n", stderr);
    std::abort();
  }
  internal::LockOrCount(data, 32);
  return data;
}

// A key is written once; a stray write through its pages then ends the program.
void Freeze(std::uint8_t* data) {
  if (sodium_mprotect_readonly(data) != 0) {
    std::fputs("the memory of a key cannot be protected\n", stderr);
    std::abort();
  }
}

}  // namespace

SecretKey SecretKey::Random() {
  SecretKey key;
  key.data_ = Allocate();
  randombytes_buf(key.data_, 32);
  Freeze(key.data_);
  return key;
}

SecretKey SecretKey::FromBytes(KeyBytes bytes) {
  SecretKey key;
  key.data_ = Allocate();
  std::copy(bytes.begin(), bytes.end(), key.data_);
  Freeze(key.data_);
  return key;
}

SecretKey::SecretKey(SecretKey&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}

SecretKey& SecretKey::operator=(SecretKey&& other) noexcept {
  if (this != &other) {
    sodium_free(data_);  // wipes; a null pointer is fine
    data_ = std::exchange(other.data_, nullptr);
  }
  return *this;
}

SecretKey::~SecretKey() { sodium_free(data_); }

KeyBytes SecretKey::bytes() const { return KeyBytes(data_, 32); }

std::array<std::uint8_t, 32> P32(KeyBytes key, const char* label,
                                 std::span<const std::uint8_t> input) {
  std::array<std::uint8_t, crypto_generichash_blake2b_PERSONALBYTES> personal = {};
  const std::size_t length = std::strlen(label);
  if (length > personal.size()) {
    // Cutting it could make two purposes one. Labels are constants of ours, so this is a defect.
    std::fputs("a key label is longer than 16 bytes\n", stderr);
    std::abort();
  }
  std::memcpy(personal.data(), label, length);
  std::array<std::uint8_t, 32> out;
  crypto_generichash_blake2b_salt_personal(out.data(), out.size(), input.data(), input.size(),
                                           key.data(), key.size(), nullptr, personal.data());
  return out;
}

}  // namespace mayfly::store
