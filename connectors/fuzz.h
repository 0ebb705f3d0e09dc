// What a platform folder gives to the fuzzer of connectors: connectors/<p>/fuzz.cc defines
//
//   namespace mayfly::connectors::<p> {
//   const char* Fuzz(std::string_view answer);
//   }
//
// It gives `answer`, bytes that a stranger chose, to every parser of the folder, and checks what
// they promise about whatever they take. Returns nullptr when all of it holds, otherwise the
// promise that does not. Built for tests only.
#ifndef MAYFLY_CONNECTORS_FUZZ_H_
#define MAYFLY_CONNECTORS_FUZZ_H_

#include <algorithm>
#include <string_view>

#include "store/model/result.h"

namespace mayfly::connectors {

// An error of a parser: kProtocol, and a sentence of ours with at most a JSON pointer in it. The
// bound and the alphabet are what a platform's own words would break first.
inline bool IsPlainRefusal(const Error& error) {
  return error.code == ErrorCode::kProtocol && !error.message.empty() &&
         error.message.size() <= 200 &&
         std::all_of(error.message.begin(), error.message.end(),
                     [](char c) { return c >= 0x20 && c <= 0x7e; });
}

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_FUZZ_H_
