// The master key: it wraps other keys and does nothing else. It lives in a place of its own, never
// in the data directory, the environment or an argument.
#ifndef MAYFLY_STORE_KEYS_MASTER_KEY_H_
#define MAYFLY_STORE_KEYS_MASTER_KEY_H_

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "store/keys/secret_key.h"
#include "store/model/result.h"

namespace mayfly::store {

// Reads the master key file: one line, "mayfly-master-1 " + 64 hex digits + checksum. Refuses
// (kSealed, with the path and the remedy) a file that is missing, damaged, or readable or writable
// by group or others, or whose directory is writable by them.
Result<SecretKey> LoadMasterKey(const std::filesystem::path& file);

// The line of such a file, with or without its line feed; nullopt when it is not one.
std::optional<SecretKey> ParseMasterKey(std::string_view line);
// Without line feed. The caller wipes it (WipeString).
std::string RenderMasterKey(const SecretKey& key);

// Where the next master key lies while the one in `file` is being replaced: `file`.next.
std::filesystem::path NextMasterKeyFile(const std::filesystem::path& file);
// The end of a replacement: the old key is overwritten where it lies, and the next one takes its
// name. Idempotent; at each moment one of the two files is whole. kInvalidArgument when there is
// neither; kIo when it failed: both may still be there, and calling it again goes on.
Status AdoptNextMasterKey(const std::filesystem::path& file);

// Creates it with mode 0400 from fresh random bytes and syncs file and directory. kInvalidArgument
// if the file exists: an existing key is never overwritten.
Status CreateMasterKey(const std::filesystem::path& file);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_KEYS_MASTER_KEY_H_
