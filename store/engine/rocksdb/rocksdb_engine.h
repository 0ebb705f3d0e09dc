// The default engine: RocksDB, one column family per Family. The only folder that includes
// <rocksdb/...>.
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

// On disk: RocksDB's files without any LOG, and `reserve`, a file of write_buffer_bytes + 4 MiB
// that is given up on a full disk, so that a store can still be opened and a family still be
// dropped. Commits are refused with kIo, having done nothing, while less than write_buffer_bytes +
// 8 MiB are free; Health says so too. They are taken again when there is room. A log that could not
// be written all the same (kOutcomeUnknown) needs the store to be opened anew: until then commits
// answer kIo. `sys` is always there and can be neither closed nor dropped.
//
// kIo when it cannot be opened or another process holds it (the message says which), kCorrupt when
// RocksDB says so.
Result<std::unique_ptr<Engine>> OpenRocksDbEngine(const RocksDbOptions& options);

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ENGINE_ROCKSDB_ROCKSDB_ENGINE_H_
