#include "service/metrics.h"

#include <algorithm>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace mayfly::service {
namespace {

double Seconds(std::chrono::milliseconds value) {
  return std::chrono::duration<double>(value).count();
}

class Page {
 public:
  void Gauge(const char* name, const char* help, double value) {
    prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add({}).Set(value);
  }
  void Counter(const char* name, const char* help, double value) {
    prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add({}).Increment(value);
  }
  prometheus::Family<prometheus::Gauge>& Labelled(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry_);
  }
  std::string Text() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

 private:
  prometheus::Registry registry_;
};

}  // namespace

std::string RenderMetrics(MetricsInput input) {
  Page page;
  const store::Store::ExpiryView dates = input.store.View(input.clock.certain);
  page.Gauge(
      "mayfly_dates_due_not_destroyed",
      "Dates whose expiry has passed and whose keys still exist. Anything but 0 is an alarm.",
      static_cast<double>(dates.due_not_destroyed.size()));
  if (dates.oldest_living) {
    page.Gauge("mayfly_next_expiry_seconds", "Until the oldest living date expires.",
               Seconds(StartOf(*dates.oldest_living) - input.now));
  }
  page.Counter("mayfly_dates_purged_total", "Dates ended since start.",
               static_cast<double>(input.expiry.dates_purged));
  page.Counter("mayfly_messages_purged_total", "Messages ended with their dates since start.",
               static_cast<double>(input.expiry.messages_purged));
  page.Counter("mayfly_purge_failures_total", "Passes that left something undone.",
               static_cast<double>(input.expiry.failures));
  page.Gauge("mayfly_purge_late_worst_seconds",
             "Worst time since start between a date's expiry and the end of its keys.",
             static_cast<double>(input.expiry.worst_late_ms) / 1000.0);
  page.Gauge("mayfly_clock_in_doubt",
             "1 while the machine's clock is not believed: what expired by it is hidden, and its "
             "keys wait.",
             input.clock.doubt == store::ClockDoubt::kNone ? 0 : 1);
  page.Gauge("mayfly_clock_contradicted",
             "1 while a platform contradicts a clock that is in doubt.",
             input.clock.blocked ? 1 : 0);
  page.Gauge("mayfly_clock_ahead_seconds",
             "The machine's clock beyond certain time; negative when it is behind.",
             Seconds(input.clock.wall - input.clock.certain));
  if (const auto unfinished = input.store.erasure().Unfinished()) {
    page.Gauge("mayfly_erasures_unfinished",
               "Messages, people and dates of which something is still to be destroyed.",
               static_cast<double>(*unfinished));
  }
  page.Gauge("mayfly_store_healthy", "1 while the store takes reads and writes.",
             input.store.Health() ? 1 : 0);
  const store::RoomView room = input.store.Room();
  page.Gauge("mayfly_disk_free_bytes", "What we may still write on the store's file system.",
             static_cast<double>(room.disk.available));
  page.Gauge("mayfly_disk_kept_free_bytes",
             "Of these, what is kept for reading, expiry and erasure.",
             static_cast<double>(room.stops_below));
  page.Gauge("mayfly_disk_ballast_bytes", "Kept occupied, to be given up on a full disk.",
             static_cast<double>(room.disk.ballast));
  page.Gauge("mayfly_collecting_stopped",
             "1 while there is too little room to collect and to take replies.",
             room.stopped ? 1 : 0);
  page.Counter("mayfly_damaged_records_total", "Records that did not open, since start.",
               static_cast<double>(input.store.damaged_records()));
  page.Counter("mayfly_http_connections_total", "Connections accepted.",
               static_cast<double>(input.http.connections));
  page.Counter("mayfly_http_requests_total", "Requests answered.",
               static_cast<double>(input.http.requests));
  page.Counter("mayfly_http_refused_total", "Requests refused as malformed or over a limit.",
               static_cast<double>(input.http.refused_malformed + input.http.refused_limits));

  page.Counter("mayfly_http_handshakes_refused_total", "TLS handshakes that failed.",
               static_cast<double>(input.http.refused_handshakes));
  page.Gauge("mayfly_http_connections_open", "Connections now.",
             static_cast<double>(input.http.open));
  if (input.tls) {
    // Without a usable pair it is as if it had expired: the same alarm.
    page.Gauge(
        "mayfly_tls_certificate_expires_seconds",
        "Until the certificate in use expires; 0 or less once it has, or when there is none.",
        input.tls->expires_at ? Seconds(*input.tls->expires_at - input.now) : 0);
    page.Counter("mayfly_tls_reloads_total", "New certificates taken since start.",
                 static_cast<double>(input.tls->reloads));
    page.Counter("mayfly_tls_reload_failures_total",
                 "New certificates that were not usable; the one in use stayed.",
                 static_cast<double>(input.tls->reload_failures));
  }

  // Scraping does not fail because one row is damaged: its gauges are left out, and the counter of
  // damaged records above says so.
  auto& state = page.Labelled("mayfly_account_state", "1 for the state that the account is in.");
  auto& covered = page.Labelled("mayfly_account_behind_seconds",
                                "Since the instant up to which everything was stored.");
  auto& holes = page.Labelled("mayfly_account_holes_open", "Stretches not known to be complete.");
  const auto accounts = input.store.accounts().List();
  if (accounts) {
    for (const Account& account : *accounts) {
      const prometheus::Labels label = {{"account", account.id.ToString()},
                                        {"platform", account.platform}};
      prometheus::Labels with_state = label;
      with_state.emplace("state", ToString(account.state));
      state.Add(with_state).Set(1);
      const auto coverage = input.store.collection().Coverage(account.id);
      if (!coverage) continue;
      if (coverage->covered_until) {
        covered.Add(label).Set(Seconds(input.now - *coverage->covered_until));
      }
      holes.Add(label).Set(static_cast<double>(
          std::count_if(coverage->holes.begin(), coverage->holes.end(),
                        [](const Hole& hole) { return !hole.filled_at.has_value(); })));
    }
  }
  return page.Text();
}

}  // namespace mayfly::service
