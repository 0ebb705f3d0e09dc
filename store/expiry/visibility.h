// Promise P1: the one predicate that every read passes through.
#ifndef MAYFLY_STORE_EXPIRY_VISIBILITY_H_
#define MAYFLY_STORE_EXPIRY_VISIBILITY_H_

#include "store/model/time.h"

namespace mayfly::store {

// Readable until its expiry and not one millisecond after. Says nothing about whether bytes remain.
constexpr bool IsVisible(TimePoint expires_at, TimePoint now) { return now < expires_at; }

}  // namespace mayfly::store

#endif  // MAYFLY_STORE_EXPIRY_VISIBILITY_H_
