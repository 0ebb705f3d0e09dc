#include "store/inspect.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <random>
#include <sodium.h>
#include <string>
#include <utility>

#include "store/keys/seal.h"
#include "store/model/ids.h"
#include "store/model/sensitive.h"
#include "store/schema.h"

namespace mayfly::store {
namespace {

const std::map<char, const char*>& SealedOfSys() {
  static const std::map<char, const char*> purposes = {
      {schema::kAccount, schema::kPurposeAccount},
      {schema::kCredential, schema::kPurposeCredential},
      {schema::kCursor, schema::kPurposeCursor},
      {schema::kCoverage, schema::kPurposeCoverage},
      {schema::kToken, schema::kPurposeToken}};
  return purposes;
}

class Inspector {
 public:
  Inspector(const Engine& engine, KeyVault& vault, const InspectOptions& options)
      : engine_(engine), vault_(vault), options_(options) {}

  Result<FamilyReport> OfSys() {
    FamilyReport report{.family = Family::Sys(), .standing = Standing::kLiving};
    MAYFLY_RETURN_IF_ERROR(
        engine_.Scan(report.family, {}, [&](std::string_view key, std::string_view value) {
          ++report.rows.rows;
          const auto purpose = SealedOfSys().find(schema::KindOf(key));
          if (purpose != SealedOfSys().end()) {
            Pair pair = vault_.PurposeKey(purpose->second);
            Count(Opens(pair, report.family, TimePoint(), key, value), &report.rows);
            sodium_memzero(pair.data(), pair.size());
          }
          return true;
        }));
    return report;
  }

  Result<FamilyReport> OfDay(Family family) {
    FamilyReport report{.family = family};
    const ExpiryDay day = family.day();
    const auto usable = vault_.BlindId(day, schema::kBlindMessage, {});
    if (!usable && usable.error().code == ErrorCode::kExpired) return report;
    report.standing = !usable                        ? Standing::kUnopenable
                      : StartOf(day) <= options_.now ? Standing::kDue
                                                     : Standing::kLiving;
    if (!usable) return report;
    const auto look = [&](std::string_view key, std::string_view value) {
      ++report.rows.rows;
      if (!schema::IsPlain(schema::KindOf(key))) LookAt(day, key, value, &report.rows);
      return true;
    };
    MAYFLY_RETURN_IF_ERROR(options_.sample ? Draw(family, look) : engine_.Scan(family, {}, look));
    NoteNothingOpens(&report);
    return report;
  }

  Result<FamilyReport> OfMonth(Family family) {
    FamilyReport report{.family = family};
    const std::vector<AuditMonth> months = vault_.Months();
    // Asking for the key of a month that has none would make one.
    if (std::find(months.begin(), months.end(), family.number) == months.end()) return report;
    report.standing = Standing::kLiving;
    auto pair = vault_.PairForMonth(family.number);
    if (!pair) {
      report.standing =
          pair.error().code == ErrorCode::kExpired ? Standing::kEnded : Standing::kUnopenable;
      return report;
    }
    const Status scanned =
        engine_.Scan(family, {}, [&](std::string_view key, std::string_view value) {
          ++report.rows.rows;
          Count(Opens(*pair, family, TimePoint(), key, value), &report.rows);
          return true;
        });
    sodium_memzero(pair->data(), pair->size());
    MAYFLY_RETURN_IF_ERROR(scanned);
    NoteNothingOpens(&report);
    return report;
  }

 private:
  static void NoteNothingOpens(FamilyReport* report) {
    if (report->rows.damaged > 0 && report->rows.opened == 0) {
      report->standing = Standing::kUnopenable;
    }
  }
  static void Count(bool opened, RowCounts* rows) { ++(opened ? rows->opened : rows->damaged); }

  static bool Opens(const Pair& pair, Family family, TimePoint expires_at, std::string_view key,
                    std::string_view value) {
    const std::string name = family.Name();
    auto body = Unseal(pair,
                       {.organisation = schema::kOrganisation,
                        .family = name,
                        .column = schema::KindOf(key),
                        .engine_key = key,
                        .expires_at = expires_at},
                       value);
    if (body) WipeString(*body);
    return body.has_value();
  }

  void LookAt(ExpiryDay day, std::string_view key, std::string_view value, RowCounts* rows) const {
    const auto header = PeekSealed(value);
    if (!header) return Count(false, rows);
    auto pair = vault_.PairFor(day, header->slot);
    if (!pair) {
      ++(pair.error().code == ErrorCode::kExpired ? rows->erased : rows->damaged);
      return;
    }
    Count(Opens(*pair, Family::Day(day), StartOf(day), key, value), rows);
    sodium_memzero(pair->data(), pair->size());
  }

  // The message behind a random place; at the end, the first one.
  Status Draw(Family family, const Engine::Visitor& look) {
    const std::string prefix = schema::Key(schema::kMessage);
    for (std::size_t i = 0; i < *options_.sample; ++i) {
      std::string after = prefix;
      for (int byte = 0; byte < 16; ++byte) after.push_back(static_cast<char>(random_()));
      bool found = false;
      const auto note = [&](std::string_view key, std::string_view value) {
        found = true;
        return look(key, value);
      };
      MAYFLY_RETURN_IF_ERROR(
          engine_.Scan(family, {.prefix = prefix, .after = after, .limit = 1}, note));
      if (found) continue;
      MAYFLY_RETURN_IF_ERROR(engine_.Scan(family, {.prefix = prefix, .limit = 1}, note));
      if (!found) break;
    }
    return {};
  }

  const Engine& engine_;
  KeyVault& vault_;
  const InspectOptions options_;
  std::random_device random_;
};

}  // namespace

const char* ToString(Standing standing) {
  switch (standing) {
    case Standing::kLiving:
      return "living";
    case Standing::kEnded:
      return "ended";
    case Standing::kDue:
      return "due";
    case Standing::kUnopenable:
      return "unopenable";
  }
  return "unopenable";
}

std::string KeysPrintOf(const KeyVault& vault) {
  Pair key = vault.PurposeKey(schema::kPurposeKeysPrint);
  Bytes16 print = {};
  crypto_generichash(print.data(), print.size(), nullptr, 0, key.data(), key.size());
  sodium_memzero(key.data(), key.size());
  return ToHex(schema::View(print));
}

Result<std::vector<FamilyReport>> Inspect(const Engine& engine, KeyVault& vault,
                                          const InspectOptions& options) {
  Inspector inspector(engine, vault, options);
  std::vector<FamilyReport> reports;
  MAYFLY_ASSIGN_OR_RETURN(FamilyReport sys, inspector.OfSys());
  reports.push_back(sys);
  for (const Family family : engine.Families(Family::Kind::kDay)) {
    MAYFLY_ASSIGN_OR_RETURN(FamilyReport report, inspector.OfDay(family));
    reports.push_back(report);
  }
  for (const Family family : engine.Families(Family::Kind::kAudit)) {
    MAYFLY_ASSIGN_OR_RETURN(FamilyReport report, inspector.OfMonth(family));
    reports.push_back(report);
  }
  return reports;
}

}  // namespace mayfly::store
