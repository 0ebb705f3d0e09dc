#include "service/open_store.h"

#include <sys/stat.h>
#include <utility>

#include "service/read_passphrase.h"
#include "store/engine/rocksdb/rocksdb_engine.h"
#include "store/keys/master_key.h"

namespace mayfly::service {
namespace {

namespace fs = std::filesystem;

Status RequirePrivate(const fs::path& dir) {
  struct stat info {};
  if (::stat(dir.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument,
                dir.string() + ": is not a directory; make it with `mayfly init`");
  }
  if ((info.st_mode & 077) != 0) {
    return Fail(
        ErrorCode::kInvalidArgument,
        dir.string() + ": may be read or changed by others; remedy: chmod 700 " + dir.string());
  }
  return {};
}

Status MakePrivate(const fs::path& dir, bool may_exist) {
  std::error_code error;
  fs::create_directories(dir.parent_path(), error);
  if (!fs::create_directory(dir, error)) {
    if (error) return Fail(ErrorCode::kIo, dir.string() + ": cannot be made");
    if (!may_exist && !fs::is_empty(dir, error)) {
      return Fail(ErrorCode::kInvalidArgument,
                  dir.string() + ": exists and is not empty; init overwrites nothing");
    }
  }
  if (::chmod(dir.c_str(), 0700) != 0) {
    return Fail(ErrorCode::kIo, dir.string() + ": its mode cannot be set to 0700");
  }
  return {};
}

// With the first master key that is the right one. What is left of a change of passphrase is then
// settled: the record of the key that opens is the one that stays.
Result<std::unique_ptr<store::KeyVault>> OpenVault(
    const Config& config, MasterKeys masters,
    std::function<void(store::RotationStep)> rotation_fail_point) {
  Error refused{.code = ErrorCode::kSealed, .message = "there is no master key"};
  for (MasterKey& master : masters) {
    auto vault = store::OpenKeyVault({.dir = config.keys_dir(),
                                      .any_file_system = config.any_file_system,
                                      .rotation_fail_point = rotation_fail_point},
                                     std::move(master.key));
    if (vault) {
      if (config.key_source == KeySource::kPassphrase) {
        MAYFLY_RETURN_IF_ERROR(master.next ? store::AdoptNextPassphrase(config.keys_dir())
                                           : store::DropNextPassphrase(config.keys_dir()));
      }
      return vault;
    }
    refused = std::move(vault).error();
    if (refused.code != ErrorCode::kSealed) break;
  }
  // The passphrase is known to one of the records, and the keys are under the other.
  if (config.key_source == KeySource::kPassphrase && refused.code == ErrorCode::kSealed) {
    refused.message =
        "a change of the passphrase was interrupted, and the other one opens the keys";
  }
  // Where nothing can be destroyed, nothing is started: for the operator it is a wrong set-up.
  if (refused.code == ErrorCode::kUnavailable) refused.code = ErrorCode::kInvalidArgument;
  return Fail(std::move(refused));
}

}  // namespace

Result<MasterKeys> AskForMasterKeys(const Config& config) {
  auto masters = LoadMasterKeys(config);
  if (masters || masters.error().field != "passphrase") return masters;
  MAYFLY_ASSIGN_OR_RETURN(const store::Passphrase passphrase, ReadPassphrase(-1, "Passphrase: "));
  return MasterKeysOf(config, passphrase);
}

Result<OpenedStore> OpenStore(const Config& config, MasterKeys masters, bool create,
                              std::function<void(store::RotationStep)> rotation_fail_point,
                              store::RoomSource room) {
  for (const fs::path& dir : {config.data_dir, config.store_dir(), config.keys_dir()}) {
    MAYFLY_RETURN_IF_ERROR(RequirePrivate(dir));
  }
  // The key comes first: a wrong one must leave everything else untouched.
  MAYFLY_ASSIGN_OR_RETURN(std::unique_ptr<store::KeyVault> vault,
                          OpenVault(config, std::move(masters), std::move(rotation_fail_point)));
  OpenedStore opened{.store = nullptr, .standing = StandingOf(config, vault->FileSystem())};
  MAYFLY_ASSIGN_OR_RETURN(std::unique_ptr<store::Engine> engine,
                          store::OpenRocksDbEngine({.dir = config.store_dir(),
                                                    .ballast_bytes = config.ballast_mib << 20,
                                                    .create_if_missing = create,
                                                    .room = std::move(room)}));
  // Under the store's lock. What a restore that was cut off has left keeps bytes of dates that end.
  std::error_code error;
  fs::remove_all(IncomingDir(config), error);
  if (error) return Fail(ErrorCode::kIo, IncomingDir(config).string() + ": cannot be removed");
  MAYFLY_ASSIGN_OR_RETURN(opened.store,
                          store::Store::Open(std::move(engine), std::move(vault),
                                             {.zone = config.zone,
                                              .p2_grade = opened.standing.grade,
                                              .search_languages = config.search_languages,
                                              .room = config.room,
                                              .ledger = config.keys_dir() / "forward",
                                              .checkpoint_dir = config.data_dir / "checkpoint"}));
  return opened;
}

fs::path IncomingDir(const Config& config) { return config.data_dir / "store.incoming"; }

Result<std::unique_ptr<store::Engine>> OpenEngineReadOnly(const fs::path& dir) {
  return store::OpenRocksDbEngine({.dir = dir, .create_if_missing = false, .read_only = true});
}

Result<KeysToLookAt> OpenKeysReadOnly(const Config& config) {
  MAYFLY_ASSIGN_OR_RETURN(MasterKeys masters, AskForMasterKeys(config));
  Error refused{.code = ErrorCode::kSealed, .message = "there is no master key"};
  for (MasterKey& master : masters) {
    store::SecretKey kept = store::SecretKey::FromBytes(master.key.bytes());
    auto vault =
        store::OpenKeyVault({.dir = config.keys_dir(), .read_only = true}, std::move(master.key));
    if (vault) return KeysToLookAt{.vault = *std::move(vault), .master = std::move(kept)};
    refused = std::move(vault).error();
    if (refused.code != ErrorCode::kSealed) break;
  }
  return Fail(std::move(refused));
}

Result<std::set<std::string>> FilesOfStore(const fs::path& dir) { return store::RocksDbFiles(dir); }

Result<std::shared_ptr<void>> LockStore(const fs::path& dir) { return store::LockRocksDb(dir); }

std::string EngineVersion() { return "rocksdb " + store::RocksDbVersion(); }

Status CreateStore(const Config& config, const fs::path& master_key_file,
                   const store::Passphrase& passphrase) {
  MAYFLY_RETURN_IF_ERROR(MakePrivate(config.data_dir, /*may_exist=*/false));
  MAYFLY_RETURN_IF_ERROR(MakePrivate(config.store_dir(), false));
  MAYFLY_RETURN_IF_ERROR(MakePrivate(config.keys_dir(), false));
  MAYFLY_RETURN_IF_ERROR(MakePrivate(config.run_dir, /*may_exist=*/true));
  MasterKeys masters;
  if (config.key_source == KeySource::kPassphrase) {
    MAYFLY_ASSIGN_OR_RETURN(
        store::SecretKey master,
        store::SetPassphrase(config.keys_dir(), store::PassphraseRecord::kCurrent, passphrase, {}));
    masters.push_back({.key = std::move(master)});
  } else {
    MAYFLY_RETURN_IF_ERROR(store::CreateMasterKey(master_key_file));
    MAYFLY_ASSIGN_OR_RETURN(store::SecretKey master, store::LoadMasterKey(master_key_file));
    masters.push_back({.key = std::move(master)});
  }
  MAYFLY_RETURN_IF_ERROR(store::CreateKeyVault(
      {.dir = config.keys_dir(), .any_file_system = config.any_file_system}, masters[0].key));
  MAYFLY_ASSIGN_OR_RETURN(const OpenedStore opened,
                          OpenStore(config, std::move(masters), /*create=*/true));
  return opened.store->Health();
}

}  // namespace mayfly::service
