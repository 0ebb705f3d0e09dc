// Small helpers of this folder: start of libsodium, big-endian bytes, wiping.
#ifndef MAYFLY_STORE_KEYS_INTERNAL_H_
#define MAYFLY_STORE_KEYS_INTERNAL_H_

#include <cstddef>
#include <cstdint>
#include <sodium.h>

namespace mayfly::store::internal {

// Starts libsodium once. Without it the program cannot keep any promise, so failure aborts.
void EnsureSodium();

inline void Put16(std::uint8_t* out, std::uint16_t value) {
  out[0] = static_cast<std::uint8_t>(value >> 8);
  out[1] = static_cast<std::uint8_t>(value);
}
inline void Put32(std::uint8_t* out, std::uint32_t value) {
  Put16(out, static_cast<std::uint16_t>(value >> 16));
  Put16(out + 2, static_cast<std::uint16_t>(value));
}
inline void Put64(std::uint8_t* out, std::uint64_t value) {
  Put32(out, static_cast<std::uint32_t>(value >> 32));
  Put32(out + 4, static_cast<std::uint32_t>(value));
}
inline std::uint16_t Get16(const std::uint8_t* in) {
  return static_cast<std::uint16_t>((in[0] << 8) | in[1]);
}
inline std::uint32_t Get32(const std::uint8_t* in) {
  return (static_cast<std::uint32_t>(Get16(in)) << 16) | Get16(in + 2);
}

// Overwrites secret bytes when the scope ends, on every way out.
class WipeAtEnd {
 public:
  WipeAtEnd(void* data, std::size_t size) : data_(data), size_(size) {}
  WipeAtEnd(const WipeAtEnd&) = delete;
  WipeAtEnd& operator=(const WipeAtEnd&) = delete;
  ~WipeAtEnd() { sodium_memzero(data_, size_); }

 private:
  void* data_;
  std::size_t size_;
};

}  // namespace mayfly::store::internal

#endif  // MAYFLY_STORE_KEYS_INTERNAL_H_
