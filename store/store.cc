#include "store/store.h"

#include <algorithm>

#include "store/core.h"
#include "store/inspect.h"
#include "store/keys/receipt_signer.h"

namespace mayfly::store {

struct Store::Impl {
  Impl(std::unique_ptr<Engine> engine, std::unique_ptr<KeyVault> vault, const StoreOptions& options,
       std::shared_ptr<const search::Tokenizer> tokenizer)
      : core(std::move(engine), std::move(vault), options),
        search_index(core, std::move(tokenizer), options.search_limits) {}

  Core core;
  Accounts accounts{core};
  Tokens tokens{core};
  Collection collection{core};
  Conversations conversations{core};
  Attachments attachments{core};
  OutboxQueue outbox{core};
  AuditLog audit{core};
  Purge purge{core};
  Erasure erasure{core};
  Rights rights{core};
  search::SearchIndex search_index;
  search::Search search{core, search_index};
};

Result<std::unique_ptr<Store>> Store::Open(std::unique_ptr<Engine> engine,
                                           std::unique_ptr<KeyVault> vault,
                                           const StoreOptions& options) {
  MAYFLY_ASSIGN_OR_RETURN(auto tokenizer, search::Tokenizer::Make(options.search_languages));
  auto impl =
      std::make_unique<Impl>(std::move(engine), std::move(vault), options, std::move(tokenizer));
  MAYFLY_RETURN_IF_ERROR(impl->core.Open());
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

void Store::SetObserver(ChangeObserver* observer) { impl_->core.SetObserver(observer); }

Accounts& Store::accounts() { return impl_->accounts; }
Tokens& Store::tokens() { return impl_->tokens; }
Collection& Store::collection() { return impl_->collection; }
Conversations& Store::conversations() { return impl_->conversations; }
Attachments& Store::attachments() { return impl_->attachments; }
OutboxQueue& Store::outbox() { return impl_->outbox; }
AuditLog& Store::audit() { return impl_->audit; }
Purge& Store::purge() { return impl_->purge; }
Erasure& Store::erasure() { return impl_->erasure; }
Rights& Store::rights() { return impl_->rights; }
search::Search& Store::search() { return impl_->search; }
search::SearchIndex& Store::search_index() { return impl_->search_index; }

Result<std::optional<ClockRecord>> Store::LoadClock() const {
  const Core& core = impl_->core;
  MAYFLY_ASSIGN_OR_RETURN(const auto row,
                          core.engine().Get(Family::Sys(), schema::Key(schema::kClock)));
  if (!row) return std::nullopt;
  MAYFLY_ASSIGN_OR_RETURN(const ClockRecord record, core.Checked(codec::DecodeClock(*row)));
  return record;
}

Status Store::SaveClock(const ClockRecord& record) {
  Transaction transaction(impl_->core, record.certain);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(const auto stored, LoadClock());
  if (stored && record.certain < stored->certain) return {};
  transaction.batch().Put(Family::Sys(), schema::Key(schema::kClock), codec::Encode(record));
  return transaction.Commit();
}

Status Store::FlushBeforeExpiry() { return impl_->core.engine().FlushAll(); }

Status Store::RotateMasterKey(const SecretKey& next, const Actor& actor, const Clock& clock) {
  const auto record = [&](const char* outcome) -> Status {
    Transaction transaction(impl_->core, clock.Now());
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "master-key.rotate", "", outcome));
    return transaction.Commit();
  };
  MAYFLY_RETURN_IF_ERROR(record("begun"));
  MAYFLY_RETURN_IF_ERROR(impl_->core.vault().RotateMaster(next));
  return record("ok");
}

std::string Store::PageCursorKey() const {
  const Pair key = impl_->core.vault().PurposeKey(schema::kPurposePageCursor);
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

std::string Store::SignReceipt(std::string_view receipt) const {
  return ReceiptSigner(impl_->core.vault()).Sign(receipt);
}

std::string Store::ReceiptKey() const { return ReceiptSigner(impl_->core.vault()).PublicKey(); }

std::uint64_t Store::damaged_records() const { return impl_->core.damaged(); }

Status Store::Health() const { return impl_->core.engine().Health(); }
Status Store::Mend() { return impl_->core.engine().Mend(); }
RoomView Store::Room() const { return impl_->core.room().Look(); }

Result<std::optional<ReturnReport>> Store::Reconcile(TimePoint now) {
  return ReconcileWithLedger(impl_->core, now);
}

Result<std::filesystem::path> Store::TakeCheckpoint(const Actor& actor, TimePoint now) {
  Core& core = impl_->core;
  {
    Transaction transaction(core, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    MAYFLY_RETURN_IF_ERROR(transaction.Audit(actor, "backup.take", "store", "ok"));
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  }
  MAYFLY_ASSIGN_OR_RETURN(std::filesystem::path taken, core.checkpoint().Take(core.engine(), now));
  // From here on the copy is an older store than this one.
  auto advanced = AdvanceGeneration(core, now);
  if (!advanced) {
    MAYFLY_RETURN_IF_ERROR(core.checkpoint().Drop());
    return Fail(std::move(advanced).error());
  }
  return taken;
}

Status Store::DropCheckpoint() { return impl_->core.checkpoint().Drop(); }

std::string Store::KeysPrint() const { return KeysPrintOf(impl_->core.vault()); }

Store::ExpiryView Store::View(TimePoint now) const {
  ExpiryView view;
  const std::vector<ExpiryDay> visible = impl_->core.VisibleDays(now);
  if (!visible.empty()) view.oldest_living = visible.back();
  for (const ExpiryDay day : impl_->core.vault().Dates()) {
    if (!IsVisible(StartOf(day), now)) view.due_not_destroyed.push_back(day);
  }
  return view;
}

}  // namespace mayfly::store
