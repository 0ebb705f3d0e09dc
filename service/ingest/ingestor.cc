#include "service/ingest/ingestor.h"

#include <utility>

#include "service/ingest/coverage.h"

namespace mayfly::service {

Result<store::CollectOutcome> Ingest(store::Collection& collection, AccountId account,
                                     connectors::Page page, TimePoint asked_at, TimePoint horizon,
                                     TimePoint now) {
  MAYFLY_ASSIGN_OR_RETURN(Coverage coverage, collection.Coverage(account));
  store::CollectedPage collected;
  collected.account = account;
  // Until history is complete, what arrives is history: staff are not told of it as new.
  collected.backfilled = !coverage.history_complete;
  collected.coverage = AfterPage(std::move(coverage), page, asked_at, horizon);
  collected.cursor = std::move(page.next.value);
  collected.conversations.reserve(page.conversations.size());
  for (connectors::PlatformConversation& conversation : page.conversations) {
    collected.conversations.push_back({.id = std::move(conversation.id),
                                       .participants = std::move(conversation.participants),
                                       .group = conversation.group,
                                       .standing = conversation.standing});
  }
  collected.messages.reserve(page.messages.size());
  for (connectors::PlatformMessage& message : page.messages) {
    collected.messages.push_back({.conversation = std::move(message.conversation),
                                  .id = std::move(message.id),
                                  .sender = std::move(message.sender),
                                  .direction = message.direction,
                                  .sent_at = message.sent_at,
                                  .text = std::move(message.text),
                                  .unreadable = message.unreadable,
                                  .has_unsupported_content = message.has_unsupported_content});
  }
  for (connectors::Edit& edit : page.edits) {
    collected.edits.push_back({.conversation = std::move(edit.conversation),
                               .id = std::move(edit.id),
                               .edited_at = edit.edited_at,
                               .text = std::move(edit.text),
                               .has_unsupported_content = edit.has_unsupported_content});
  }
  for (connectors::Withdrawal& withdrawal : page.withdrawals) {
    collected.withdrawals.push_back(
        {.conversation = std::move(withdrawal.conversation), .id = std::move(withdrawal.id)});
  }
  return collection.Collect(collected, now);
}

}  // namespace mayfly::service
