#include "store/attachments.h"

#include <algorithm>
#include <utility>

#include "store/core.h"
#include "store/thread_writer.h"

namespace mayfly::store {
namespace {

constexpr std::size_t kPiecesAtOnce = 4;
constexpr std::size_t kWritingBytes = 16;

tl::unexpected<Error> UnknownAttachment() {
  return Fail(ErrorCode::kNotFound, "There is no such attachment.");
}

struct StoredAttachment {
  SealedHeader header;
  codec::AttachmentRecord record;
};

Result<StoredAttachment> Load(const Core& core, const MessageId& message, std::uint16_t number,
                              Pairs& pairs) {
  const std::string key = schema::AttachmentKey(message.bytes, number);
  MAYFLY_ASSIGN_OR_RETURN(const auto sealed, core.Get(message.day, key));
  if (!sealed) return UnknownAttachment();
  MAYFLY_ASSIGN_OR_RETURN(const OpenedRow row,
                          core.OpenRow(message.day, schema::kAttachment, key, *sealed, pairs));
  StoredAttachment stored{.header = row.header};
  MAYFLY_ASSIGN_OR_RETURN(stored.record, core.Checked(codec::DecodeAttachment(row.body)));
  return stored;
}

// Of a message that somebody may read.
Result<StoredMessage> Readable(const Core& core, const MessageId& message, TimePoint now,
                               Pairs& pairs) {
  MAYFLY_ASSIGN_OR_RETURN(StoredMessage stored, core.FindMessage(message, now, pairs));
  if (stored.record.withdrawn) return Fail(ErrorCode::kNotFound, "There is no such message.");
  return stored;
}

// The one that is to be changed, with its conversation.
struct Waiting {
  StoredMessage message;
  StoredAttachment attachment;
};
// A message that is hidden for now keeps what is fetched for it: it may come back.
Result<Waiting> LoadWaiting(Transaction& transaction, const MessageId& message,
                            std::uint16_t number) {
  const Core& core = transaction.core();
  Waiting waiting;
  MAYFLY_ASSIGN_OR_RETURN(waiting.message,
                          core.FindMessage(message, transaction.now(), transaction.pairs()));
  MAYFLY_ASSIGN_OR_RETURN(waiting.attachment, Load(core, message, number, transaction.pairs()));
  return waiting;
}

// What is said of it now, and that its conversation reads differently.
Status Settle(Transaction& transaction, const Waiting& waiting, std::uint16_t number,
              codec::AttachmentRecord record) {
  const MessageId& id = waiting.message.id;
  const SealedHeader& header = waiting.attachment.header;
  MAYFLY_RETURN_IF_ERROR(
      transaction.PutSealed(id.day, schema::kAttachment, schema::AttachmentKey(id.bytes, number),
                            header.slot, header.account, header.direction, codec::Encode(record)));
  transaction.Remove(id.day, schema::WantedKey(id.bytes, number));
  if (waiting.message.record.withdrawn) return {};
  transaction.Note(ChangeKind::kAttachmentUpdated, id.ToString(),
                   waiting.message.record.conversation);
  MAYFLY_ASSIGN_OR_RETURN(const Account account, transaction.core().GetAccount(header.account));
  ThreadWriter writer(transaction, account);
  const auto thread = writer.FindById(waiting.message.record.conversation);
  if (!thread) {
    if (thread.error().code == ErrorCode::kCorrupt) return {};  // counted
    return Fail(thread.error());
  }
  if (*thread != nullptr) (*thread)->changed = true;
  return writer.Flush();
}

// Those of an earlier try, from a number on.
Status RemovePieces(Transaction& transaction, const MessageId& message, std::uint16_t number,
                    std::uint32_t from) {
  const std::string first = schema::PieceKey(message.bytes, number, from);
  return transaction.core().engine().Scan(Family::Day(message.day),
                                          {.prefix = schema::AttachmentKey(message.bytes, number)},
                                          [&](std::string_view key, std::string_view) {
                                            if (key.size() == first.size() && key >= first) {
                                              transaction.Remove(message.day, std::string(key));
                                            }
                                            return true;
                                          });
}

Status RefuseIn(Transaction& transaction, const MessageId& message, std::uint16_t number,
                AttachmentRefusal why) {
  MAYFLY_ASSIGN_OR_RETURN(const Waiting waiting, LoadWaiting(transaction, message, number));
  codec::AttachmentRecord record = waiting.attachment.record;
  if (record.state == AttachmentState::kRefused) return {};
  if (record.state == AttachmentState::kKept) return UnknownAttachment();
  record.state = AttachmentState::kRefused;
  record.refusal = why;
  record.locator = {};
  MAYFLY_RETURN_IF_ERROR(RemovePieces(transaction, message, number, 0));
  return Settle(transaction, waiting, number, std::move(record));
}

}  // namespace

// --- writing

AttachmentWriter::AttachmentWriter(Core& core, const MessageId& message, std::uint16_t number)
    : core_(core), message_(message), number_(number), writing_(ErasureId::Random().bytes) {}

AttachmentWriter::~AttachmentWriter() { WipeString(waiting_); }

Status AttachmentWriter::Append(std::string_view bytes, TimePoint now) {
  if (written_ + waiting_.size() + bytes.size() > kAttachmentBytesMax) {
    Transaction transaction(core_, now);
    MAYFLY_RETURN_IF_ERROR(transaction.Begin());
    MAYFLY_RETURN_IF_ERROR(RefuseIn(transaction, message_, number_, AttachmentRefusal::kTooLarge));
    MAYFLY_RETURN_IF_ERROR(transaction.Commit());
    return Fail(ErrorCode::kTooLarge, "An attachment is larger than what is kept.");
  }
  constexpr std::size_t kAtOnce = kPiecesAtOnce * kAttachmentPieceBytes;
  while (!bytes.empty()) {
    waiting_.reserve(kAtOnce);  // so that growing leaves nothing behind
    const std::size_t take = std::min(bytes.size(), kAtOnce - waiting_.size());
    waiting_.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (waiting_.size() == kAtOnce) MAYFLY_RETURN_IF_ERROR(Write(/*last=*/false, now));
  }
  return {};
}

Status AttachmentWriter::Finish(TimePoint now) { return Write(/*last=*/true, now); }

Status AttachmentWriter::Write(bool last, TimePoint now) {
  MAYFLY_RETURN_IF_ERROR(core_.room().Admit());
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_ASSIGN_OR_RETURN(const Waiting waiting, LoadWaiting(transaction, message_, number_));
  const auto& [header, known] = waiting.attachment;
  if (known.state != AttachmentState::kWaiting) return UnknownAttachment();
  if (written_ == 0) media_type_ = MediaTypeOf(waiting_);

  auto piece = static_cast<std::uint32_t>(written_ / kAttachmentPieceBytes);
  for (std::size_t at = 0; at < waiting_.size(); at += kAttachmentPieceBytes, ++piece) {
    std::string body;
    body.reserve(kWritingBytes + kAttachmentPieceBytes);
    body.append(schema::View(writing_));
    body.append(waiting_, at, kAttachmentPieceBytes);
    MAYFLY_RETURN_IF_ERROR(transaction.PutSealed(
        message_.day, schema::kAttachment, schema::PieceKey(message_.bytes, number_, piece),
        header.slot, header.account, header.direction, std::move(body)));
  }
  if (last) {
    codec::AttachmentRecord record{.state = AttachmentState::kKept,
                                   .bytes = written_ + waiting_.size(),
                                   .writing = writing_,
                                   .media_type = media_type_,
                                   .name = known.name};
    MAYFLY_RETURN_IF_ERROR(RemovePieces(transaction, message_, number_, piece));
    MAYFLY_RETURN_IF_ERROR(Settle(transaction, waiting, number_, std::move(record)));
  }
  MAYFLY_RETURN_IF_ERROR(transaction.Commit());
  written_ += waiting_.size();
  WipeString(waiting_);
  return {};
}

Result<std::unique_ptr<AttachmentWriter>> Attachments::Write(const MessageId& message,
                                                             std::uint16_t number, TimePoint now) {
  ReaderPairs pairs(core_);
  MAYFLY_RETURN_IF_ERROR(core_.FindMessage(message, now, pairs));
  MAYFLY_ASSIGN_OR_RETURN(const StoredAttachment stored, Load(core_, message, number, pairs));
  if (stored.record.state != AttachmentState::kWaiting) return UnknownAttachment();
  return std::unique_ptr<AttachmentWriter>(new AttachmentWriter(core_, message, number));
}

Status Attachments::Refuse(const MessageId& message, std::uint16_t number, AttachmentRefusal why,
                           TimePoint now) {
  Transaction transaction(core_, now);
  MAYFLY_RETURN_IF_ERROR(transaction.Begin());
  MAYFLY_RETURN_IF_ERROR(RefuseIn(transaction, message, number, why));
  return transaction.Commit();
}

Result<std::vector<WantedAttachment>> Attachments::Wanted(AccountId account, std::size_t count,
                                                          TimePoint now) const {
  std::vector<WantedAttachment> wanted;
  ReaderPairs pairs(core_);
  for (const ExpiryDay day : core_.VisibleDays(now)) {
    std::vector<std::pair<Bytes16, std::uint16_t>> rows;
    Status scanned = core_.engine().Scan(Family::Day(day), {.prefix = schema::Key(schema::kWanted)},
                                         [&](std::string_view key, std::string_view value) {
                                           const auto row = schema::ParseWantedKey(key);
                                           const auto record =
                                               core_.Checked(codec::DecodeWanted(value));
                                           if (row && record && record->account == account)
                                             rows.push_back(*row);
                                           return wanted.size() + rows.size() < count;
                                         });
    if (!scanned && !IsGone(scanned.error())) return Fail(std::move(scanned).error());
    for (const auto& [dkey, number] : rows) {
      const MessageId id{day, dkey};
      auto message = Readable(core_, id, now, pairs);
      auto stored = message ? Load(core_, id, number, pairs)
                            : Result<StoredAttachment>(tl::unexpected(message.error()));
      if (!stored) {
        // Erased, hidden, gone with its date, or damaged (counted): nothing to fetch for.
        if (IsGone(stored.error()) || stored.error().code == ErrorCode::kCorrupt) continue;
        return Fail(std::move(stored).error());
      }
      if (stored->record.state != AttachmentState::kWaiting) continue;
      wanted.push_back({.message = id,
                        .number = number,
                        .platform_message = std::move(message->record.platform_id),
                        .locator = std::move(stored->record.locator),
                        .bytes = stored->record.bytes});
    }
    if (wanted.size() >= count) break;
  }
  return wanted;
}

// --- reading

Result<Attachment> LoadAttachment(const Core& core, const MessageId& message, std::uint16_t number,
                                  Pairs& pairs) {
  MAYFLY_ASSIGN_OR_RETURN(StoredAttachment stored, Load(core, message, number, pairs));
  return Attachment{.number = number,
                    .state = stored.record.state,
                    .refusal = stored.record.refusal,
                    .bytes = stored.record.bytes,
                    .media_type = std::move(stored.record.media_type),
                    .name = std::move(stored.record.name)};
}

namespace {

Status ReadableBy(const Core& core, const Actor& actor, const MessageId& id, TimePoint now,
                  Pairs& pairs) {
  MAYFLY_ASSIGN_OR_RETURN(const StoredMessage message, Readable(core, id, now, pairs));
  if (!core.IsWithheld(actor, message, now, pairs)) return {};
  return Fail(ErrorCode::kRestricted, "Its person had it restricted.");
}

}  // namespace

Result<Attachment> Attachments::Get(const Look& look, const MessageId& message,
                                    std::uint16_t number, TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_RETURN_IF_ERROR(ReadableBy(core_, look.actor(), message, now, pairs));
  return LoadAttachment(core_, message, number, pairs);
}

Result<std::string> Attachments::Read(const Look& look, const MessageId& message,
                                      std::uint16_t number, std::uint64_t offset,
                                      TimePoint now) const {
  ReaderPairs pairs(core_);
  MAYFLY_RETURN_IF_ERROR(ReadableBy(core_, look.actor(), message, now, pairs));
  MAYFLY_ASSIGN_OR_RETURN(const StoredAttachment stored, Load(core_, message, number, pairs));
  const codec::AttachmentRecord& record = stored.record;
  if (record.state != AttachmentState::kKept) {
    return Fail(ErrorCode::kNotFound, "This attachment is not kept.");
  }
  if (offset >= record.bytes) return std::string();
  const std::uint64_t begin = offset / kAttachmentPieceBytes * kAttachmentPieceBytes;
  const auto number_of_piece = static_cast<std::uint32_t>(begin / kAttachmentPieceBytes);
  const std::string key = schema::PieceKey(message.bytes, number, number_of_piece);
  MAYFLY_ASSIGN_OR_RETURN(const auto sealed, core_.Get(message.day, key));
  const auto damaged = [&] {
    core_.CountDamage();
    return Fail(ErrorCode::kCorrupt,
                "Family " + Family::Day(message.day).Name() +
                    ": a piece of an attachment (a) is missing or not its own.");
  };
  if (!sealed) return damaged();
  MAYFLY_ASSIGN_OR_RETURN(const OpenedRow row,
                          core_.OpenRow(message.day, schema::kAttachment, key, *sealed, pairs));
  const std::uint64_t size = std::min<std::uint64_t>(kAttachmentPieceBytes, record.bytes - begin);
  const std::string_view body = row.body;
  if (body.size() != kWritingBytes + size ||
      body.substr(0, kWritingBytes) != schema::View(record.writing)) {
    return damaged();
  }
  return std::string(body.substr(kWritingBytes + (offset - begin)));
}

}  // namespace mayfly::store
