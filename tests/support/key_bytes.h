// Fixed keys for golden bytes, and raw access to files. The golden values themselves come from
// tests/reference/key_format.py, a second statement of the formats.
#ifndef MAYFLY_TESTS_SUPPORT_KEY_BYTES_H_
#define MAYFLY_TESTS_SUPPORT_KEY_BYTES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "store/keys/secret_key.h"

namespace mayfly::testing {

template <std::size_t N>
std::array<std::uint8_t, N> Count(std::uint8_t start) {
  std::array<std::uint8_t, N> bytes;
  for (std::size_t i = 0; i < N; ++i) bytes[i] = static_cast<std::uint8_t>(start + i);
  return bytes;
}

inline store::SecretKey FixedKey(std::uint8_t start) {
  const auto bytes = Count<32>(start);
  return store::SecretKey::FromBytes(store::KeyBytes(bytes));
}

template <class Bytes>
std::string AsString(const Bytes& bytes) {
  return std::string(bytes.begin(), bytes.end());
}

inline std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

inline void WriteFile(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
}

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_KEY_BYTES_H_
