#include "service/ingest/coverage.h"

#include <algorithm>

namespace mayfly::service {
namespace {

bool HasOpenHole(const Coverage& coverage) {
  return !coverage.holes.empty() && !coverage.holes.back().until.has_value();
}

void MakeRoom(Coverage& coverage) {
  while (coverage.holes.size() > kHolesMax) {
    auto filled = std::find_if(coverage.holes.begin(), coverage.holes.end(),
                               [](const Hole& hole) { return hole.filled_at.has_value(); });
    coverage.holes.erase(filled != coverage.holes.end() ? filled : coverage.holes.begin());
  }
}

void OpenHole(Coverage& coverage, TimePoint from, const std::string& reason) {
  if (HasOpenHole(coverage)) return;
  coverage.holes.push_back({.from = from, .until = {}, .reason = reason, .fillable = true});
  MakeRoom(coverage);
}

// Whatever made the stretch doubtful, now it is certain that part of it cannot be had.
void AddGap(Coverage& coverage, TimePoint asked_at, TimePoint horizon) {
  if (HasOpenHole(coverage)) {
    coverage.holes.back().fillable = false;
    coverage.holes.back().reason = "not-served";
    return;
  }
  coverage.holes.push_back({.from = coverage.covered_until.value_or(horizon),
                            .until = asked_at,
                            .reason = "not-served",
                            .fillable = false});
  MakeRoom(coverage);
}

}  // namespace

Coverage AfterPage(Coverage coverage, const connectors::Page& page, TimePoint asked_at,
                   TimePoint horizon) {
  // What nobody could read any more is no hole.
  std::erase_if(coverage.holes,
                [&](const Hole& hole) { return hole.until.has_value() && *hole.until < horizon; });
  coverage.past_horizon += page.skipped_past_horizon;
  if (page.position_lost) {
    coverage.history_complete = false;
    OpenHole(coverage, coverage.covered_until.value_or(asked_at), "position-lost");
  }
  if (page.gap) AddGap(coverage, asked_at, horizon);
  if (page.history_complete) {
    coverage.history_complete = true;
    if (!coverage.covered_from || *coverage.covered_from > horizon) coverage.covered_from = horizon;
  }
  // Only with the history read again may a lost position count as made good.
  if (page.caught_up && coverage.history_complete) {
    if (!coverage.covered_from) coverage.covered_from = asked_at;
    if (!coverage.covered_until || *coverage.covered_until < asked_at) {
      coverage.covered_until = asked_at;
    }
    for (Hole& hole : coverage.holes) {
      if (!hole.until) hole.until = asked_at;
      if (hole.fillable && !hole.filled_at) hole.filled_at = asked_at;
    }
  }
  return coverage;
}

Coverage AfterFailure(Coverage coverage, const std::string& reason, TimePoint now,
                      std::chrono::milliseconds interval) {
  if (coverage.covered_until && now - *coverage.covered_until > 2 * interval) {
    OpenHole(coverage, *coverage.covered_until, reason);
  }
  return coverage;
}

Coverage AfterStart(Coverage coverage, TimePoint now, std::chrono::milliseconds interval) {
  return AfterFailure(std::move(coverage), "service-down", now, interval);
}

}  // namespace mayfly::service
