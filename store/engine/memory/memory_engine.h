// A small engine in memory, for fast tests. Runs through the same conformance suite.
#ifndef MAYFLY_STORE_ENGINE_MEMORY_MEMORY_ENGINE_H_
#define MAYFLY_STORE_ENGINE_MEMORY_MEMORY_ENGINE_H_

#include "store/engine/engine.h"

namespace mayfly::store {

std::unique_ptr<Engine> MakeMemoryEngine();

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_ENGINE_MEMORY_MEMORY_ENGINE_H_
