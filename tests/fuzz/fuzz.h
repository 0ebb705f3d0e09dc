// What every fuzzer shares. A fuzzer is one source file with one LLVMFuzzerTestOneInput. Preset
// `fuzz` links it with libFuzzer; every other preset links it with replay_main.cc, which runs the
// corpus once, so that what was ever found stays found.
//
// "Does not crash" is not enough: each input is checked against what the parser promises.
#ifndef MAYFLY_TESTS_FUZZ_FUZZ_H_
#define MAYFLY_TESTS_FUZZ_FUZZ_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace mayfly::fuzz {

// Ends the process, which is what libFuzzer takes for a finding.
inline void Check(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "Does not hold: %s\n", promise);
  std::abort();
}

inline std::string_view Text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace mayfly::fuzz

#endif  // MAYFLY_TESTS_FUZZ_FUZZ_H_
