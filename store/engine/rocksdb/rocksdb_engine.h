// The default engine: RocksDB, one column family per Family. The only folder that includes <rocksdb/...>.
#ifndef MAYFLY_STORE_ENGINE_ROCKSDB_ROCKSDB_ENGINE_H_
#define MAYFLY_STORE_ENGINE_ROCKSDB_ROCKSDB_ENGINE_H_

#include "store/engine/engine.h"

namespace mayfly::store {

struct RocksDbOptions {
  std::filesystem::path dir;  // store/
  std::size_t block_cache_bytes = 32u << 20;
  std::size_t write_buffer_bytes = 32u << 20;
  bool create_if_missing = true;
};

// kIo when it cannot be opened or another process holds it (the message says which), kCorrupt when
// RocksDB says so.
Result<std::unique_ptr<Engine>> OpenRocksDbEngine(const RocksDbOptions& options);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ENGINE_ROCKSDB_ROCKSDB_ENGINE_H_
