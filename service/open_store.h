// Opens the store of a configuration: directories checked, keys, engine, repositories.
#ifndef MAYFLY_SERVICE_OPEN_STORE_H_
#define MAYFLY_SERVICE_OPEN_STORE_H_

#include "service/config.h"
#include "store/keys/master_key.h"
#include "store/store.h"

namespace mayfly::service {

// Refuses (kInvalidArgument, naming directory and remedy) directories that others may read. kSealed
// for a wrong master key, before anything is opened for writing. kIo when another process holds it.
Result<std::unique_ptr<store::Store>> OpenStore(const Config& config, store::SecretKey master,
                                                bool create);

// Directories for `mayfly init`: data, store, keys, run, all 0700; fresh root key. Refuses existing
// ones.
Status CreateStore(const Config& config);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_OPEN_STORE_H_
