// The default engine: RocksDB, one column family per Family. The only folder that includes
// <rocksdb/...>.
#ifndef MAYFLY_STORE_ENGINE_ROCKSDB_ROCKSDB_ENGINE_H_
#define MAYFLY_STORE_ENGINE_ROCKSDB_ROCKSDB_ENGINE_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "store/engine/engine.h"

namespace mayfly::store {

struct RocksDbOptions {
  std::filesystem::path dir;  // store/
  std::size_t block_cache_bytes = 32u << 20;
  std::size_t write_buffer_bytes = 32u << 20;
  std::uint64_t ballast_bytes = 0;
  bool create_if_missing = true;
  // Looks at a store, a checkpoint or a backup without changing a byte of it and without its lock.
  // What would write fails. Files that a running service takes away meanwhile give kIo.
  bool read_only = false;
  RoomSource room = {};  // empty: what the file system says
};

// On disk: RocksDB's files without any LOG, and `reserve`, a file of zeros that is given up on a
// full disk in two parts and made again when there is room. The first, ballast_bytes, goes when a
// commit, a flush or an erasure finds less than write_buffer_bytes + 8 MiB free, so that whatever
// destroys can go on; whoever must not use it up looks at Room() before. The second,
// write_buffer_bytes + 4 MiB, is for opening a store and dropping a family alone. Commits are
// refused with kIo, having done nothing, while there is less than that free and the ballast is
// gone; Health says so too. They are taken again when there is room.
//
// A log that could not be written all the same (kOutcomeUnknown), and what RocksDB calls fatal,
// need the store to be opened anew: until then commits answer kIo, and reads go on. What it calls
// corrupt does not get better by that. `sys` is always there and can be neither closed nor dropped.
//
// kIo when it cannot be opened or another process holds it (the message says which), kCorrupt when
// RocksDB says so, or when a record in the middle of its log is damaged; a torn end of the log is
// what a crash leaves, and is cut off.
Result<std::unique_ptr<Engine>> OpenRocksDbEngine(const RocksDbOptions& options);

// Names of the files in `dir` that the store consists of. Changes nothing. For a store that nobody
// writes to.
Result<std::set<std::string>> RocksDbFiles(const std::filesystem::path& dir);

// The store's lock, held until the value is gone. kIo when a process holds it.
Result<std::shared_ptr<void>> LockRocksDb(const std::filesystem::path& dir);

std::string RocksDbVersion();  // 7.8.3

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ENGINE_ROCKSDB_ROCKSDB_ENGINE_H_
