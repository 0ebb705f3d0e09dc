// How the coverage record moves with each poll. Pure functions; the store keeps the record.
//
// A hole is a stretch of which we cannot say that everything served was stored. It opens when
// polling fails for longer than two intervals, when nobody polled, or when the platform lost our
// position; it is filled when the platform has since served everything up to now without a gap. One
// that the platform itself leaves, because it shows only its newest, stays for as long as a message
// lives.
#ifndef MAYFLY_SERVICE_INGEST_COVERAGE_H_
#define MAYFLY_SERVICE_INGEST_COVERAGE_H_

#include <chrono>

#include "connectors/connector.h"
#include "store/model/coverage.h"

namespace mayfly::service {

inline constexpr std::size_t kHolesMax = 200;  // the oldest filled ones make room

// After a page that was asked for at `asked_at` with history wanted back to `horizon`.
Coverage AfterPage(Coverage coverage, const connectors::Page& page, TimePoint asked_at,
                   TimePoint horizon);

// After a failed poll. Opens a hole once nothing has been covered for two `interval`s.
Coverage AfterFailure(Coverage coverage, const std::string& reason, TimePoint now,
                      std::chrono::milliseconds interval);

// When collecting begins again after the service was down.
Coverage AfterStart(Coverage coverage, TimePoint now, std::chrono::milliseconds interval);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_INGEST_COVERAGE_H_
