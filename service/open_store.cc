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
  return store::Store::Open(std::move(engine), std::move(vault),
                            {.zone = config.zone, .search_languages = config.search_languages});
}

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
