#include "store/audit_log.h"

#include <algorithm>
#include <chrono>
#include <sodium.h>

#include "store/core.h"

namespace mayfly::store {

Status AuditLog::Append(Batch& batch, AuditEntry entry) {
  return core_.AppendAudit(batch, std::move(entry));
}

Status AuditLog::Record(const Actor& actor, const char* action, std::string object, TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, action, std::move(object), "ok"));
  return transaction.Commit();
}

Result<Look> AuditLog::RecordLook(const Actor& actor, const char* action, std::string object,
                                  TimePoint now) {
  if (core_.LookIsCovered(actor.id, object, now)) return Look(actor);
  MAYFLY_RETURN_IF_ERROR(Record(actor, action, object, now));
  core_.NoteLook(actor.id, object, now);
  return Look(actor);
}

Result<Look> AuditLog::LookAtInbox(const Actor& actor, TimePoint now) {
  return RecordLook(actor, "inbox.look", "inbox", now);
}

Result<Look> AuditLog::LookAtConversation(const Actor& actor, ConversationId conversation,
                                          TimePoint now) {
  return RecordLook(actor, "conversation.look", conversation.ToString(), now);
}

Result<Look> AuditLog::LookAtSearch(const Actor& actor, TimePoint now) {
  return RecordLook(actor, "search.look", "search", now);
}

Status AuditLog::RecordLooksAt(const Actor& actor, const std::set<ConversationId>& conversations,
                               TimePoint now) {
  std::vector<std::string> objects;
  for (const ConversationId& conversation : conversations) {
    std::string object = conversation.ToString();
    if (!core_.LookIsCovered(actor.id, object, now)) objects.push_back(std::move(object));
  }
  if (objects.empty()) return {};
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  for (const std::string& object : objects) {
    MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "conversation.look", object, "ok"));
  }
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  for (const std::string& object : objects) core_.NoteLook(actor.id, object, now);
  return {};
}

Result<std::vector<AuditEntry>> AuditLog::Read(std::uint64_t after_sequence,
                                               std::size_t limit) const {
  std::vector<AuditEntry> entries;
  const std::string after = schema::AuditKey(after_sequence);
  const std::vector<AuditMonth> months = core_.vault().Months();
  for (const Family& family : core_.engine().Families(Family::Kind::kAudit)) {
    if (entries.size() >= limit) break;
    if (std::find(months.begin(), months.end(), family.number) == months.end()) continue;
    std::vector<std::pair<std::string, std::string>> rows;
    auto scanned = core_.engine().Scan(family,
                                       {.prefix = schema::Key(schema::kAuditEntry),
                                        .after = after,
                                        .limit = limit - entries.size()},
                                       [&](std::string_view key, std::string_view value) {
                                         rows.emplace_back(key, value);
                                         return true;
                                       });
    if (!scanned) {
      if (scanned.error().code == ErrorCode::kExpired) continue;  // its month ended meanwhile
      return Fail(std::move(scanned).error());
    }
    if (rows.empty()) continue;
    auto pair = core_.vault().PairForMonth(family.number);
    if (!pair) {
      if (pair.error().code != ErrorCode::kCorrupt) return Fail(std::move(pair).error());
      core_.CountDamage();  // the other months stay readable
      continue;
    }
    const std::string family_name = family.Name();
    for (const auto& [key, sealed] : rows) {
      const auto body = core_.Checked(Unseal(*pair,
                                             {.organisation = schema::kOrganisation,
                                              .family = family_name,
                                              .column = schema::kAuditEntry,
                                              .engine_key = key,
                                              .expires_at = TimePoint()},
                                             sealed));
      if (!body) continue;  // counted; its sequence is missing from the answer, which shows it
      auto entry = core_.Checked(codec::DecodeAudit(
          *body, schema::ReadU64(std::string_view(key).substr(schema::kHeadBytes))));
      if (entry) entries.push_back(*std::move(entry));
    }
    sodium_memzero(pair->data(), pair->size());
  }
  return entries;
}

Status AuditLog::ExpireMonths(TimePoint now) { return core_.ExpireAuditMonths(now); }

}  // namespace mayfly::store
