// Metrics in Prometheus text. Computed when asked for, from the parts that know. No ids of messages
// or people; accounts appear by their own id.
#ifndef MAYFLY_SERVICE_METRICS_H_
#define MAYFLY_SERVICE_METRICS_H_

#include <optional>
#include <string>

#include "service/api/server.h"
#include "service/expiry/expiry_job.h"
#include "store/store.h"

namespace mayfly::service {

struct MetricsInput {
  store::Store& store;
  const ExpiryJob::View expiry;
  const api::ServerCounters http;
  const std::optional<api::TlsCertificates::View> tls;  // absent without [http.tls]
  const store::ClockView clock;
  TimePoint now;
};

std::string RenderMetrics(MetricsInput input);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_METRICS_H_
