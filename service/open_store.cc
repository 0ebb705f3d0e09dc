#include "service/open_store.h"

#include <sys/stat.h>

#include "store/engine/rocksdb/rocksdb_engine.h"

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

}  // namespace

Result<std::unique_ptr<store::Store>> OpenStore(const Config& config, store::SecretKey master,
                                                bool create) {
  for (const fs::path& dir : {config.data_dir, config.store_dir(), config.keys_dir()}) {
    MAYFLY_RETURN_IF_ERROR(RequirePrivate(dir));
  }
  // The key comes first: a wrong one must leave everything else untouched.
  MAYFLY_ASSIGN_OR_RETURN(std::unique_ptr<store::KeyVault> vault,
                          store::OpenKeyVault({.dir = config.keys_dir()}, std::move(master)));
  MAYFLY_ASSIGN_OR_RETURN(
      std::unique_ptr<store::Engine> engine,
      store::OpenRocksDbEngine({.dir = config.store_dir(), .create_if_missing = create}));
  // Under the store's lock. What a restore that was cut off has left keeps bytes of dates that end.
  std::error_code error;
  fs::remove_all(IncomingDir(config), error);
  if (error) return Fail(ErrorCode::kIo, IncomingDir(config).string() + ": cannot be removed");
  return store::Store::Open(std::move(engine), std::move(vault),
                            {.zone = config.zone,
                             .ledger = config.keys_dir() / "forward",
                             .checkpoint_dir = config.data_dir / "checkpoint"});
}

fs::path IncomingDir(const Config& config) { return config.data_dir / "store.incoming"; }

Result<std::unique_ptr<store::Engine>> OpenEngineReadOnly(const fs::path& dir) {
  return store::OpenRocksDbEngine({.dir = dir, .create_if_missing = false, .read_only = true});
}

Result<std::unique_ptr<store::KeyVault>> OpenKeysReadOnly(const Config& config) {
  MAYFLY_ASSIGN_OR_RETURN(store::SecretKey master, store::LoadMasterKey(config.master_key));
  return store::OpenKeyVault({.dir = config.keys_dir(), .read_only = true}, std::move(master));
}

Result<std::set<std::string>> FilesOfStore(const fs::path& dir) { return store::RocksDbFiles(dir); }

Result<std::shared_ptr<void>> LockStore(const fs::path& dir) { return store::LockRocksDb(dir); }

std::string EngineVersion() { return "rocksdb " + store::RocksDbVersion(); }

Status CreateStore(const Config& config) {
  MAYFLY_RETURN_IF_ERROR(MakePrivate(config.data_dir, /*may_exist=*/false));
  MAYFLY_RETURN_IF_ERROR(MakePrivate(config.store_dir(), false));
  MAYFLY_RETURN_IF_ERROR(MakePrivate(config.keys_dir(), false));
  MAYFLY_RETURN_IF_ERROR(MakePrivate(config.run_dir, /*may_exist=*/true));
  MAYFLY_RETURN_IF_ERROR(store::CreateMasterKey(config.master_key));
  MAYFLY_ASSIGN_OR_RETURN(store::SecretKey master, store::LoadMasterKey(config.master_key));
  MAYFLY_RETURN_IF_ERROR(store::CreateKeyVault({.dir = config.keys_dir()}, master));
  MAYFLY_ASSIGN_OR_RETURN(const std::unique_ptr<store::Store> store,
                          OpenStore(config, std::move(master), /*create=*/true));
  return store->Health();
}

}  // namespace mayfly::service
