// The bytes that must stand nowhere but where they belong: what `mayfly verify` looks for.
#ifndef MAYFLY_STORE_KEYS_KEY_TRACES_H_
#define MAYFLY_STORE_KEYS_KEY_TRACES_H_

#include <filesystem>
#include <string>
#include <vector>

#include "store/keys/secret_key.h"
#include "store/model/result.h"
#include "store/model/sensitive.h"

namespace mayfly::store {

// Wiped when it goes.
struct KeyTrace {
  std::string owner;  // the key file's name, `master`, or `any`
  std::string bytes;
  bool in_clear = false;  // a key itself, which may stand in no file; else a part of a key file,
                          // which may stand in keys/
  KeyTrace() = default;
  KeyTrace(KeyTrace&&) = default;
  KeyTrace& operator=(KeyTrace&&) = default;
  ~KeyTrace() { WipeString(bytes); }
};

// Of every key file in `dir` that opens: the keys in its header, and its header's sealed part; of
// the master key; and the mark with which every key file begins. The keys of single persons are too
// many to look for; a file that held them would be found by that mark. Changes nothing.
Result<std::vector<KeyTrace>> KeyTraces(const std::filesystem::path& dir, const SecretKey& master);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_KEY_TRACES_H_
