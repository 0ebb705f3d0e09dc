// Opens the store of a configuration: directories checked, keys, engine, repositories.
#ifndef MAYFLY_SERVICE_OPEN_STORE_H_
#define MAYFLY_SERVICE_OPEN_STORE_H_

#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "service/config.h"
#include "store/keys/master_key.h"
#include "store/store.h"

namespace mayfly::service {

// Refuses (kInvalidArgument, naming directory and remedy) directories that others may read. kSealed
// for a wrong master key, before anything is opened for writing. kIo when another process holds it.
Result<std::unique_ptr<store::Store>> OpenStore(const Config& config, store::SecretKey master,
                                                bool create);

// Where `mayfly restore` puts a store before it is exchanged with the present one, and where that
// one lies until it is removed. Whoever opens the store removes what was left there.
std::filesystem::path IncomingDir(const Config& config);

// For looking at a store, a checkpoint or a backup, and at the keys, beside a running service.
// Nothing is changed.
Result<std::unique_ptr<store::Engine>> OpenEngineReadOnly(const std::filesystem::path& dir);
Result<std::unique_ptr<store::KeyVault>> OpenKeysReadOnly(const Config& config);
// Names of the files that make up the store in `dir`; nobody may be writing to it.
Result<std::set<std::string>> FilesOfStore(const std::filesystem::path& dir);
// Held until the value is gone; kIo when a process holds it.
Result<std::shared_ptr<void>> LockStore(const std::filesystem::path& dir);
std::string EngineVersion();

// Directories for `mayfly init`: data, store, keys, run, all 0700; fresh root key. Refuses existing
// ones.
Status CreateStore(const Config& config);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_OPEN_STORE_H_
