// Opens the store of a configuration: directories checked, keys, engine, repositories.
#ifndef MAYFLY_SERVICE_OPEN_STORE_H_
#define MAYFLY_SERVICE_OPEN_STORE_H_

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "service/config.h"
#include "service/master_key_source.h"
#include "store/keys/key_vault.h"
#include "store/keys/master_key.h"
#include "store/store.h"

namespace mayfly::service {

struct OpenedStore {
  std::unique_ptr<store::Store> store;
  P2Standing standing;
};
// What the source gives; for a passphrase, somebody at the terminal.
Result<MasterKeys> AskForMasterKeys(const Config& config);
// Refuses (kInvalidArgument, naming directory and remedy) directories that others may read and file
// systems on which overwriting does not destroy. kSealed when no master key is the right one,
// before anything is opened for writing, and when the keys were rolled back (store.h). kIo when
// another process holds it. Ends a replacement of the master key that was interrupted.
Result<OpenedStore> OpenStore(const Config& config, MasterKeys masters, bool create,
                              std::function<void(store::RotationStep)> rotation_fail_point = {},
                              store::RoomSource room = {});

// Where `mayfly restore` puts a store before it is exchanged with the present one, and where that
// one lies until it is removed. Whoever opens the store removes what was left there.
std::filesystem::path IncomingDir(const Config& config);

// For looking at a store, a checkpoint or a backup, and at the keys, beside a running service.
// Nothing is changed.
Result<std::unique_ptr<store::Engine>> OpenEngineReadOnly(const std::filesystem::path& dir);
struct KeysToLookAt {
  std::unique_ptr<store::KeyVault> vault;
  store::SecretKey master;
};
// Asks for the passphrase where the master key is made from one.
Result<KeysToLookAt> OpenKeysReadOnly(const Config& config);
// Names of the files that make up the store in `dir`; nobody may be writing to it.
Result<std::set<std::string>> FilesOfStore(const std::filesystem::path& dir);
// Held until the value is gone; kIo when a process holds it.
Result<std::shared_ptr<void>> LockStore(const std::filesystem::path& dir);
std::string EngineVersion();

// Directories for `mayfly init`: data, store, keys, run, all 0700; fresh root key, under a fresh
// master key in `master_key_file` or made from `passphrase`, by the configuration's source. Refuses
// existing ones.
Status CreateStore(const Config& config, const std::filesystem::path& master_key_file,
                   const store::Passphrase& passphrase);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_OPEN_STORE_H_
