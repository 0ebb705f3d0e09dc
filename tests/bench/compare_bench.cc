// The same messages in Mayfly's store and in what one would pick instead: how fast they are
// written, what it takes to end one date out of 92, and whether the bodies of that date are still
// on the disk afterwards. Their files are searched; and with --disk also the raw disk, where what
// was unlinked lies on.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <unistd.h>
#include <vector>

#include "tests/bench/measure.h"
#include "tests/bench/rival.h"
#include "tests/bench/rows.h"

namespace mayfly::bench {
namespace {

using std::chrono::days;

struct Found {
  Needles::Found bodies, sealed;
  std::size_t raw_bodies = 0, raw_sealed = 0;  // on the raw disk, when it is searched
};

struct Options {
  RivalOptions rivals;
  fs::path disk;  // on which TMPDIR lies; empty: only files are searched
};

struct Done {
  std::string name, said;
  double ms = 0, written_kb = 0;
  Found found;
};

struct Outcome {
  std::string name, configuration;
  double ingest = 0;         // messages/s
  double bytes_written = 0;  // a message
  std::size_t looked_for = 0, sealed_looked_for = 0;
  Found before;
  std::vector<Done> steps;  // the first ends the date
};

// Stands at the beginning of a body, so that it can be looked for.
std::string Marker(std::size_t number) {
  char text[Needles::kBytes + 1];
  std::snprintf(text, sizeof(text), "<#%012zu#>", number);
  return text;
}

// Writes a traffic, a page at a time, none of which holds two dates. Those of the date that ends at
// kEnd are added to `needles`. `number`: of the first of them; no two messages have the same.
void Write(Rival& rival, const Traffic& traffic, std::size_t number,
           const std::vector<std::string>& bodies, Needles* needles) {
  const ExpiryDay ending = std::chrono::floor<days>(kEnd);
  for (std::size_t at = 0; at < traffic.count;) {
    std::vector<Letter> page = PageOf(traffic, at, bodies);
    const ExpiryDay day = DayOf(page.front());
    const auto next = std::find_if(page.begin(), page.end(),
                                   [&](const Letter& letter) { return DayOf(letter) != day; });
    page.erase(next, page.end());
    for (std::size_t i = 0; i < page.size(); ++i) {
      const std::string marker = Marker(number + at + i);
      page[i].text.replace(0, marker.size(), marker);
      if (day == ending) needles->Add(marker);
    }
    rival.Write(page);
    at += page.size();
  }
}

// `number`: of the first message. What one leaves on a disk must not count for the next.
Outcome Measure(Rival& rival, std::size_t number, const Options& options,
                const std::vector<std::string>& bodies) {
  const std::size_t count = options.rivals.messages;
  std::cerr << "== " << rival.Name() << "\n";
  Outcome outcome{.name = rival.Name(), .configuration = rival.Configuration()};
  Needles needles;
  const std::uint64_t written = rival.Written();
  const auto begin = Steady::now();
  Write(rival,
        {.name = "m",
         .count = count,
         .span = kDates,
         .parallel = std::max<std::size_t>(1, count / 29 / 20),
         .until = kEnd},
        number, bodies, &needles);
  outcome.ingest = static_cast<double>(count) / SecondsSince(begin);
  rival.Settle();
  outcome.bytes_written =
      static_cast<double>(rival.Written() - written) / static_cast<double>(count);

  const Needles sealed = rival.SealedBodies();
  outcome.looked_for = needles.size();
  outcome.sealed_looked_for = sealed.size();
  const auto look = [&] {
    Found found{.bodies = needles.FoundBelow(rival.Files()),
                .sealed = sealed.FoundBelow(rival.Files())};
    if (options.disk.empty()) return found;
    ::sync();
    found.raw_bodies = needles.FoundIn(options.disk);
    found.raw_sealed = sealed.FoundIn(options.disk);
    return found;
  };
  outcome.before = look();
  // Or finding nothing later would say nothing.
  if (sealed.size() == 0 ? outcome.before.bodies.count < needles.size() * 9 / 10
                         : outcome.before.sealed.count < sealed.size() * 9 / 10) {
    Die("the search does not find what is there");
  }

  const Traffic next_day = {.name = "n",
                            .count = std::max<std::size_t>(1, count / 92),
                            .span = days(1),
                            .until = kEnd + days(1)};
  const auto write_next_day = [&] {
    Write(rival, next_day, number + count, bodies, &needles);
    return std::string();
  };
  std::vector<Step> steps = {rival.EndDate(), {"the next day's messages", write_next_day}};
  for (Step& step : rival.CleanUps()) steps.push_back(std::move(step));
  for (const Step& step : steps) {
    Done done{.name = step.name};
    const std::uint64_t written_before = rival.Written();
    const auto step_begin = Steady::now();
    done.said = step.run();
    done.ms = SecondsSince(step_begin) * 1000;
    done.written_kb = static_cast<double>(rival.Written() - written_before) / 1000;
    done.found = look();
    outcome.steps.push_back(done);
  }
  return outcome;
}

bool FoundNothing(const Done& done) {
  return done.found.bodies.count + done.found.sealed.count == 0;
}

void PrintFound(const Outcome& outcome, const Found& found, bool raw) {
  std::printf("expired bodies still found on disk: %zu of %zu", found.bodies.count,
              outcome.looked_for);
  if (outcome.sealed_looked_for != 0) {
    std::printf("; sealed: %zu of %zu", found.sealed.count, outcome.sealed_looked_for);
  }
  if (found.bodies.count != 0) std::printf(", in");
  for (const std::string& where : found.bodies.where) std::printf(" %s", where.c_str());
  if (raw) std::printf("; on the raw disk: %zu", found.raw_bodies);
  if (raw && outcome.sealed_looked_for != 0) std::printf(", sealed: %zu", found.raw_sealed);
  std::printf("\n");
}

void Print(const Outcome& outcome, bool raw) {
  std::printf("\n%s: %s\n", outcome.name.c_str(), outcome.configuration.c_str());
  std::printf("  %-44s %28s", "before the date ends", "");
  PrintFound(outcome, outcome.before, raw);
  for (const Done& done : outcome.steps) {
    std::printf("  %-44s %10.1f ms %9.0f kB   ", done.name.c_str(), done.ms, done.written_kb);
    PrintFound(outcome, done.found, raw);
    if (!done.said.empty()) std::printf("    (%s)\n", done.said.c_str());
  }
  const auto gone = std::find_if(outcome.steps.begin(), outcome.steps.end(), FoundNothing);
  if (gone == outcome.steps.end()) {
    std::printf("  it was found to the end\n");
    return;
  }
  double ms = 0;
  for (auto done = outcome.steps.begin(); done <= gone; ++done) ms += done->ms;
  std::printf("  nothing of it is found after: %s (%.1f ms of work and waiting)\n",
              gone->name.c_str(), ms);
}

void AddRows(const Outcome& outcome, const Outcome& ours, bool raw, Rows& rows) {
  const bool is_ours = &outcome == &ours;
  rows.Add("synced ingest, " + outcome.name, "messages/s", outcome.ingest, "Mayfly", ours.ingest,
           "none", true);
  rows.Add("written meanwhile, " + outcome.name, "bytes/msg", outcome.bytes_written, "Mayfly",
           ours.bytes_written, "none", true);
  const Done& job = ours.steps.front();
  const auto add = [&](const Done& done) {
    const std::string what = outcome.name + ": " + done.name;
    rows.Add(what, "ms", done.ms, "Mayfly's expiry job", job.ms, "none", true);
    rows.Add(what, "kB written", done.written_kb, "Mayfly's expiry job", job.written_kb, "none",
             true);
    rows.Add(what, "found", static_cast<double>(done.found.bodies.count), "bodies of that date",
             static_cast<double>(outcome.looked_for), is_ours ? "0" : "none",
             !is_ours || done.found.bodies.count == 0);
    if (raw) {
      rows.Add(what, "raw disk", static_cast<double>(done.found.raw_bodies), "bodies of that date",
               static_cast<double>(outcome.looked_for), is_ours ? "0" : "none",
               !is_ours || done.found.raw_bodies == 0);
    }
    if (outcome.sealed_looked_for == 0) return;
    rows.Add(what, "sealed", static_cast<double>(done.found.sealed.count), "bodies of that date",
             static_cast<double>(outcome.sealed_looked_for), "0", done.found.sealed.count == 0);
  };
  add(outcome.steps.front());
  // What it takes until nothing is found, or else the strongest that there is.
  const auto gone = std::find_if(outcome.steps.begin(), outcome.steps.end(), FoundNothing);
  if (gone != outcome.steps.begin())
    add(gone == outcome.steps.end() ? outcome.steps.back() : *gone);
}

Rows Run(const Options& options) {
  const std::vector<std::string> bodies = MakeBodies();
  std::vector<std::function<std::unique_ptr<Rival>()>> makers = {
      MakeMayfly, [&] { return MakeRocksDbTtl(options.rivals); },
      [&] { return MakeRocksDbFilter(options.rivals); }};
#ifdef MAYFLY_BENCH_REDIS
  makers.emplace_back([&] { return MakeRedis(options.rivals); });
#else
  std::cout << "SKIPPED: Redis, because its client was not there when this was built "
               "(libhiredis-dev)\n";
#endif
#ifdef MAYFLY_BENCH_POSTGRES
  makers.emplace_back(MakePostgres);
#else
  std::cout << "SKIPPED: PostgreSQL, because its client was not there when this was built "
               "(libpq-dev)\n";
#endif
  std::vector<Outcome> outcomes;
  for (const auto& make : makers) {
    const auto rival = make();
    if (rival == nullptr) continue;
    outcomes.push_back(Measure(*rival, outcomes.size() * 10'000'000'000, options, bodies));
  }
  Rows rows;
  std::cout << Named(options.rivals.messages) << " messages of 300 bytes over 92 dates"
            << std::endl;
  for (const Outcome& outcome : outcomes) {
    Print(outcome, !options.disk.empty());
    AddRows(outcome, outcomes.front(), !options.disk.empty(), rows);
  }
  std::printf("\n");
  return rows;
}

}  // namespace
}  // namespace mayfly::bench

int main(int argc, char** argv) {
  using namespace mayfly;
  std::string json_file;
  bench::Options options{.rivals = {.messages = 200'000, .idle = std::chrono::seconds(15)}};
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--json" && i + 1 < argc) {
      json_file = argv[++i];
    } else if (word == "--messages" && i + 1 < argc) {
      options.rivals.messages = std::max<std::size_t>(1'000, std::strtoul(argv[++i], nullptr, 10));
    } else if (word == "--idle" && i + 1 < argc) {
      options.rivals.idle = std::chrono::seconds(std::strtoul(argv[++i], nullptr, 10));
    } else if (word == "--disk" && i + 1 < argc) {
      options.disk = argv[++i];
    } else {
      std::cerr
          << "usage: compare_bench [--json FILE] [--messages N] [--idle SECONDS] [--disk DEVICE]\n";
      return 2;
    }
  }
  const bench::Rows rows = bench::Run(options);
  rows.Print();
  if (!json_file.empty() && !rows.WriteJson(json_file)) {
    std::cerr << "compare_bench: " << json_file << " cannot be written\n";
    return 1;
  }
  return 0;
}
