// From a connector's page to one commit in the store.
#ifndef MAYFLY_SERVICE_INGEST_INGESTOR_H_
#define MAYFLY_SERVICE_INGEST_INGESTOR_H_

#include "connectors/connector.h"
#include "store/collection.h"

namespace mayfly::service {

// Stores `page` together with its cursor and the coverage that follows from it. `asked_at` is when
// the platform was asked. The page contributes values only: account and times of arrival are ours.
Result<store::CollectOutcome> Ingest(store::Collection& collection, AccountId account,
                                     connectors::Page page, TimePoint asked_at, TimePoint horizon,
                                     TimePoint now);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_INGEST_INGESTOR_H_
