#include "service/link/convert.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace mayfly::service {
namespace {

using connectors::PlatformConversation;
using connectors::PlatformMessage;
using std::chrono::milliseconds;

constexpr std::int64_t kTimeMsMax = 253'402'300'799'999;  // 9999-12-31T23:59:59.999Z
constexpr std::int64_t kRetryAfterMsMax = 7LL * 24 * 3600 * 1000;
constexpr std::size_t kErrorMessageBytesMax = 200;
constexpr std::size_t kErrorWordBytesMax = 64;
constexpr int kPermissionsMax = 100;
constexpr std::size_t kOwnNameBytesMax = 512;
constexpr std::size_t kMessagesMaxWanted = 10'000;

// Length of the valid UTF-8 sequence at the start of `bytes`; 0 when there is none, and then
// `*invalid` is how many bytes belong to the broken one (at least 1).
std::size_t SequenceLength(std::string_view bytes, std::size_t* invalid) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = at(0);
  *invalid = 1;
  if (first < 0x80) return 1;
  std::size_t length = 0;
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    if (first == 0xe0) second_min = 0xa0;  // overlong
    if (first == 0xed) second_max = 0x9f;  // surrogates
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    if (first == 0xf0) second_min = 0x90;  // overlong
    if (first == 0xf4) second_max = 0x8f;  // past U+10FFFF
  } else {
    return 0;
  }
  for (std::size_t i = 1; i < length; ++i) {
    const unsigned char low = i == 1 ? second_min : 0x80;
    const unsigned char high = i == 1 ? second_max : 0xbf;
    if (i >= bytes.size() || at(i) < low || at(i) > high) {
      *invalid = i;
      return 0;
    }
  }
  return length;
}

bool IsUtf8(std::string_view bytes) {
  std::size_t invalid = 0;
  while (!bytes.empty()) {
    const std::size_t length = SequenceLength(bytes, &invalid);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

// Takes the string and leaves nothing readable where it was.
std::string Take(std::string* from) {
  std::string taken = std::move(*from);
  WipeString(*from);
  return taken;
}

std::string TakeText(std::string* from) { return ReplaceInvalidUtf8(Take(from)); }

Result<PlatformId> TakeId(std::string* from, const char* what) {
  if (from->empty() || from->size() > kPlatformIdBytesMax || !IsUtf8(*from)) {
    return Fail(ErrorCode::kProtocol, what);
  }
  return PlatformId(Take(from));
}

std::int64_t ToMs(TimePoint at) { return at.time_since_epoch().count(); }

TimePoint FromMs(std::int64_t ms) {
  return TimePoint(milliseconds(std::clamp<std::int64_t>(ms, 0, kTimeMsMax)));
}

constexpr std::uint64_t kBudgetMax = 1'000'000'000;

std::optional<TimePoint> ClaimedTime(std::int64_t ms) {
  if (ms < 0 || ms > kTimeMsMax) return std::nullopt;
  return TimePoint(milliseconds(ms));
}

bool IsPrintableAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

// A word of a closed list: letters, digits and the few marks that such words have.
bool IsWord(std::string_view text) {
  return text.size() <= kErrorWordBytesMax && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || c == '.' || c == '/' || c == ':';
         });
}

bool MayComeFromConnector(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
    case ErrorCode::kConversationMoved:
    case ErrorCode::kReplyWindowClosed:
    case ErrorCode::kAddsRecipient:
    case ErrorCode::kCredentialDead:
    case ErrorCode::kMissingPrivilege:
    case ErrorCode::kOptionUnusable:
    case ErrorCode::kHostForbidden:
    case ErrorCode::kRateLimited:
    case ErrorCode::kPlatformRejected:
    case ErrorCode::kPlatformUnavailable:
    case ErrorCode::kOutcomeUnknown:
    case ErrorCode::kProtocol:
    case ErrorCode::kTooLarge:
    case ErrorCode::kCursorInvalid:
    case ErrorCode::kIo:
    case ErrorCode::kUnavailable:
    case ErrorCode::kCancelled:
    case ErrorCode::kInternal:
      return true;
    default:
      return false;
  }
}

using Participants = google::protobuf::RepeatedPtrField<link::Participant>;

// At most kParticipantsMax of them.
void EncodeParticipants(const std::vector<Contact>& contacts, Participants* frames) {
  for (const Contact& contact : contacts) {
    if (static_cast<std::size_t>(frames->size()) >= kParticipantsMax) break;
    link::Participant* participant = frames->Add();
    participant->set_platform_id(contact.platform_id.Reveal());
    participant->set_handle(contact.handle.Reveal());
    participant->set_display_name(contact.display_name.Reveal());
  }
}

Result<std::vector<Contact>> DecodeParticipants(Participants* frames) {
  if (static_cast<std::size_t>(frames->size()) > kParticipantsMax) {
    return Fail(ErrorCode::kProtocol, "a conversation has more participants than are kept");
  }
  std::vector<Contact> contacts;
  for (link::Participant& participant : *frames) {
    Contact contact;
    MAYFLY_ASSIGN_OR_RETURN(contact.platform_id, TakeId(participant.mutable_platform_id(),
                                                        "a participant has no usable id"));
    contact.handle = ContactHandle(TakeText(participant.mutable_handle()));
    contact.display_name = ContactHandle(TakeText(participant.mutable_display_name()));
    contacts.push_back(std::move(contact));
  }
  return contacts;
}

}  // namespace

std::string ReplaceInvalidUtf8(std::string bytes) {
  if (IsUtf8(bytes)) return bytes;
  std::string clean;
  clean.reserve(bytes.size() + 16);
  std::string_view rest = bytes;
  while (!rest.empty()) {
    std::size_t invalid = 0;
    const std::size_t length = SequenceLength(rest, &invalid);
    if (length > 0) {
      clean.append(rest.substr(0, length));
      rest.remove_prefix(length);
    } else {
      clean.append("\xEF\xBF\xBD");
      rest.remove_prefix(invalid);
    }
  }
  WipeString(bytes);
  return clean;
}

link::Hello EncodeHello(const std::string& platform, const connectors::ConnectorContext& context) {
  link::Hello hello;
  hello.set_platform(platform);
  for (const auto& [name, value] : context.options) (*hello.mutable_options())[name] = value;
  hello.set_credential(context.credential.Reveal());
  hello.set_insecure_loopback(context.egress.insecure_loopback);
  for (const std::string& host : context.egress.private_hosts) hello.add_private_hosts(host);
  hello.set_ca_file(context.egress.ca_file);
  return hello;
}

connectors::ConnectorContext DecodeHello(link::Hello* hello) {
  connectors::ConnectorContext context;
  for (const auto& [name, value] : hello->options()) context.options[name] = value;
  context.credential = Credential(Take(hello->mutable_credential()));
  context.egress.insecure_loopback = hello->insecure_loopback();
  for (const std::string& host : hello->private_hosts()) {
    context.egress.private_hosts.push_back(host);
  }
  context.egress.ca_file = hello->ca_file();
  return context;
}

link::Fetch EncodeFetch(const connectors::FetchRequest& request) {
  link::Fetch fetch;
  fetch.set_cursor(request.after.value);
  fetch.set_horizon_ms(ToMs(request.horizon));
  fetch.set_messages_max(
      static_cast<std::uint32_t>(std::min(request.messages_max, kMessagesMaxWanted)));
  return fetch;
}

connectors::FetchRequest DecodeFetch(link::Fetch* fetch) {
  connectors::FetchRequest request;
  request.after.value = Take(fetch->mutable_cursor());
  request.horizon = FromMs(fetch->horizon_ms());
  request.messages_max = fetch->messages_max();
  return request;
}

link::Send EncodeSend(const connectors::OutgoingReply& reply) {
  link::Send send;
  send.set_conversation(reply.conversation.Reveal());
  send.set_idempotency_key(reply.idempotency_key);
  send.set_text(reply.text.Reveal());
  send.set_in_reply_to(reply.in_reply_to.Reveal());
  EncodeParticipants(reply.recipients, send.mutable_recipients());
  return send;
}

Result<connectors::OutgoingReply> DecodeSend(link::Send* send) {
  connectors::OutgoingReply reply;
  MAYFLY_ASSIGN_OR_RETURN(reply.conversation, TakeId(send->mutable_conversation(),
                                                     "a reply names no usable conversation"));
  reply.idempotency_key = send->idempotency_key();
  reply.text = MessageBody(Take(send->mutable_text()));
  if (!send->in_reply_to().empty()) {
    MAYFLY_ASSIGN_OR_RETURN(reply.in_reply_to, TakeId(send->mutable_in_reply_to(),
                                                      "a reply answers no usable message"));
  }
  MAYFLY_ASSIGN_OR_RETURN(reply.recipients, DecodeParticipants(send->mutable_recipients()));
  return reply;
}

link::FindSent EncodeFindSent(const connectors::FindSentRequest& request) {
  link::FindSent find;
  find.set_conversation(request.conversation.Reveal());
  find.set_text(request.text.Reveal());
  find.set_not_before_ms(ToMs(request.not_before));
  return find;
}

Result<connectors::FindSentRequest> DecodeFindSent(link::FindSent* find) {
  connectors::FindSentRequest request;
  MAYFLY_ASSIGN_OR_RETURN(request.conversation, TakeId(find->mutable_conversation(),
                                                       "a search names no usable conversation"));
  request.text = MessageBody(Take(find->mutable_text()));
  request.not_before = FromMs(find->not_before_ms());
  return request;
}

void WipeRequest(link::CoreFrame* frame) {
  if (frame->has_hello()) WipeString(*frame->mutable_hello()->mutable_credential());
  if (frame->has_send()) {
    WipeString(*frame->mutable_send()->mutable_text());
    WipeString(*frame->mutable_send()->mutable_conversation());
    WipeString(*frame->mutable_send()->mutable_in_reply_to());
    for (link::Participant& recipient : *frame->mutable_send()->mutable_recipients()) {
      WipeString(*recipient.mutable_platform_id());
      WipeString(*recipient.mutable_handle());
      WipeString(*recipient.mutable_display_name());
    }
  }
  if (frame->has_find_sent()) {
    WipeString(*frame->mutable_find_sent()->mutable_text());
    WipeString(*frame->mutable_find_sent()->mutable_conversation());
  }
}

link::PageConversation EncodeConversation(const PlatformConversation& conversation) {
  link::PageConversation frame;
  frame.set_id(conversation.id.Reveal());
  frame.set_group(conversation.group);
  frame.set_standing(static_cast<std::uint32_t>(conversation.standing));
  // The core keeps no more either (store/model/conversation.h).
  EncodeParticipants(conversation.participants, frame.mutable_participants());
  return frame;
}

Result<PlatformConversation> DecodeConversation(link::PageConversation* frame) {
  PlatformConversation conversation;
  MAYFLY_ASSIGN_OR_RETURN(conversation.id,
                          TakeId(frame->mutable_id(), "a conversation has no usable id"));
  conversation.group = frame->group();
  if (frame->standing() < static_cast<std::uint32_t>(PlatformStanding::kAccepted) ||
      frame->standing() > static_cast<std::uint32_t>(PlatformStanding::kLocked)) {
    return Fail(ErrorCode::kProtocol, "a conversation has an unknown standing");
  }
  conversation.standing = static_cast<PlatformStanding>(frame->standing());
  MAYFLY_ASSIGN_OR_RETURN(conversation.participants,
                          DecodeParticipants(frame->mutable_participants()));
  return conversation;
}

link::PageMessage EncodeMessage(const PlatformMessage& message) {
  link::PageMessage frame;
  frame.set_conversation(message.conversation.Reveal());
  frame.set_id(message.id.Reveal());
  frame.set_sender(message.sender.Reveal());
  frame.set_direction(static_cast<std::uint32_t>(message.direction));
  if (message.sent_at) frame.set_sent_at_ms(ToMs(*message.sent_at));
  frame.set_text(message.text.Reveal());
  frame.set_unreadable(static_cast<std::uint32_t>(message.unreadable));
  frame.set_has_unsupported_content(message.has_unsupported_content);
  return frame;
}

Result<PlatformMessage> DecodeMessage(link::PageMessage* frame) {
  PlatformMessage message;
  MAYFLY_ASSIGN_OR_RETURN(message.conversation, TakeId(frame->mutable_conversation(),
                                                       "a message names no usable conversation"));
  MAYFLY_ASSIGN_OR_RETURN(message.id, TakeId(frame->mutable_id(), "a message has no usable id"));
  // A stub may stand for a message whose sender the platform does not tell.
  if (!frame->sender().empty() || frame->unreadable() == 0) {
    MAYFLY_ASSIGN_OR_RETURN(message.sender,
                            TakeId(frame->mutable_sender(), "a message has no usable sender"));
  }
  if (frame->direction() != static_cast<std::uint32_t>(Direction::kIncoming) &&
      frame->direction() != static_cast<std::uint32_t>(Direction::kOutgoing)) {
    return Fail(ErrorCode::kProtocol, "a message has an unknown direction");
  }
  message.direction = static_cast<Direction>(frame->direction());
  if (frame->has_sent_at_ms()) message.sent_at = ClaimedTime(frame->sent_at_ms());
  message.text = MessageBody(TakeText(frame->mutable_text()));
  if (frame->unreadable() > static_cast<std::uint32_t>(UnreadableReason::kUnsupportedKind)) {
    return Fail(ErrorCode::kProtocol, "a message is unreadable for an unknown reason");
  }
  message.unreadable = static_cast<UnreadableReason>(frame->unreadable());
  message.has_unsupported_content = frame->has_unsupported_content();
  return message;
}

link::PageEdit EncodeEdit(const connectors::Edit& edit) {
  link::PageEdit frame;
  frame.set_conversation(edit.conversation.Reveal());
  frame.set_id(edit.id.Reveal());
  if (edit.edited_at) frame.set_edited_at_ms(ToMs(*edit.edited_at));
  frame.set_text(edit.text.Reveal());
  frame.set_has_unsupported_content(edit.has_unsupported_content);
  return frame;
}

Result<connectors::Edit> DecodeEdit(link::PageEdit* frame) {
  connectors::Edit edit;
  MAYFLY_ASSIGN_OR_RETURN(edit.conversation, TakeId(frame->mutable_conversation(),
                                                    "an edit names no usable conversation"));
  MAYFLY_ASSIGN_OR_RETURN(edit.id, TakeId(frame->mutable_id(), "an edit names no usable message"));
  if (frame->has_edited_at_ms()) edit.edited_at = ClaimedTime(frame->edited_at_ms());
  edit.text = MessageBody(TakeText(frame->mutable_text()));
  edit.has_unsupported_content = frame->has_unsupported_content();
  return edit;
}

link::PageWithdrawal EncodeWithdrawal(const connectors::Withdrawal& withdrawal) {
  link::PageWithdrawal frame;
  frame.set_conversation(withdrawal.conversation.Reveal());
  frame.set_id(withdrawal.id.Reveal());
  return frame;
}

Result<connectors::Withdrawal> DecodeWithdrawal(link::PageWithdrawal* frame) {
  connectors::Withdrawal withdrawal;
  MAYFLY_ASSIGN_OR_RETURN(
      withdrawal.conversation,
      TakeId(frame->mutable_conversation(), "a withdrawal names no usable conversation"));
  MAYFLY_ASSIGN_OR_RETURN(withdrawal.id,
                          TakeId(frame->mutable_id(), "a withdrawal names no usable message"));
  return withdrawal;
}

link::PageEnd EncodePageEnd(const connectors::Page& page) {
  link::PageEnd end;
  end.set_next(page.next.value);
  end.set_caught_up(page.caught_up);
  end.set_history_complete(page.history_complete);
  end.set_position_lost(page.position_lost);
  end.set_gap(page.gap);
  end.set_skipped_past_horizon(page.skipped_past_horizon);
  if (IsWord(page.warning)) end.set_warning(page.warning);
  return end;
}

std::optional<TimePoint> DecodePlatformTime(std::int64_t ms) { return ClaimedTime(ms); }

void DecodePageEnd(link::PageEnd* end, connectors::Page* page) {
  page->next.value = Take(end->mutable_next());
  page->caught_up = end->caught_up();
  page->history_complete = end->history_complete();
  page->position_lost = end->position_lost();
  page->gap = end->gap();
  page->skipped_past_horizon = end->skipped_past_horizon();
  if (IsWord(end->warning())) page->warning = end->warning();
}

link::SentItem EncodeSentItem(const connectors::SentReply& sent) {
  link::SentItem item;
  item.set_id(sent.id.Reveal());
  if (sent.sent_at) item.set_sent_at_ms(ToMs(*sent.sent_at));
  return item;
}

Result<connectors::SentReply> DecodeSentItem(link::SentItem* item) {
  connectors::SentReply sent;
  MAYFLY_ASSIGN_OR_RETURN(sent.id, TakeId(item->mutable_id(), "a sent message has no usable id"));
  if (item->has_sent_at_ms()) sent.sent_at = ClaimedTime(item->sent_at_ms());
  return sent;
}

link::CheckDone EncodeCheckDone(const connectors::CheckReport& report) {
  link::CheckDone done;
  done.set_own_platform_id(ReplaceInvalidUtf8(report.own_platform_id));
  done.set_own_handle(ReplaceInvalidUtf8(report.own_handle));
  for (const std::string& name : report.permissions_held) done.add_permissions_held(name);
  for (const std::string& name : report.permissions_missing) done.add_permissions_missing(name);
  return done;
}

Result<connectors::CheckReport> DecodeCheckDone(link::CheckDone* done) {
  // Protobuf's lite runtime does not check string fields for UTF-8.
  for (const std::string* name : {&done->own_platform_id(), &done->own_handle()}) {
    if (name->size() > kOwnNameBytesMax || !IsUtf8(*name)) {
      return Fail(ErrorCode::kProtocol, "a check names our own account in an unusable way");
    }
  }
  if (done->permissions_held_size() > kPermissionsMax ||
      done->permissions_missing_size() > kPermissionsMax) {
    return Fail(ErrorCode::kProtocol, "a check lists too many permissions");
  }
  connectors::CheckReport report;
  report.own_platform_id = Take(done->mutable_own_platform_id());
  report.own_handle = Take(done->mutable_own_handle());
  const auto take_names = [](auto* from, std::vector<std::string>* to) {
    for (std::string& name : *from) {
      if (name.empty() || name.size() > kErrorMessageBytesMax || !IsPrintableAscii(name)) {
        return false;
      }
      to->push_back(std::move(name));
    }
    return true;
  };
  if (!take_names(done->mutable_permissions_held(), &report.permissions_held) ||
      !take_names(done->mutable_permissions_missing(), &report.permissions_missing)) {
    return Fail(ErrorCode::kProtocol, "a check lists an unusable permission");
  }
  return report;
}

link::Budget EncodeBudget(const connectors::PlatformBudget& budget) {
  link::Budget frame;
  frame.set_limit(budget.limit);
  frame.set_remaining(budget.remaining);
  if (budget.resets_at) frame.set_resets_at_ms(budget.resets_at->time_since_epoch().count());
  return frame;
}

std::optional<connectors::PlatformBudget> DecodeBudget(const link::Budget& budget) {
  if (budget.limit() == 0 || budget.limit() > kBudgetMax || budget.remaining() > budget.limit()) {
    return std::nullopt;
  }
  connectors::PlatformBudget out{.limit = budget.limit(), .remaining = budget.remaining()};
  if (budget.has_resets_at_ms()) out.resets_at = ClaimedTime(budget.resets_at_ms());
  return out;
}

link::Failure EncodeFailure(const Error& error) {
  link::Failure failure;
  failure.set_code(ToString(error.code));
  failure.set_message(ReplaceInvalidUtf8(error.message));
  failure.set_field(ReplaceInvalidUtf8(error.field));
  failure.set_platform_code(ReplaceInvalidUtf8(error.platform_code));
  if (error.retry_at) failure.set_retry_at_ms(ToMs(*error.retry_at));
  if (error.retry_after) failure.set_retry_after_ms(error.retry_after->count());
  return failure;
}

std::optional<Error> DecodeFailure(const link::Failure& failure) {
  const std::optional<ErrorCode> code = ParseErrorCode(failure.code());
  if (!code || !MayComeFromConnector(*code)) return std::nullopt;
  Error error;
  error.code = *code;
  error.message =
      failure.message().size() <= kErrorMessageBytesMax && IsPrintableAscii(failure.message())
          ? failure.message()
          : "the connector gave no usable reason";
  if (IsWord(failure.field())) error.field = failure.field();
  if (IsWord(failure.platform_code())) error.platform_code = failure.platform_code();
  if (failure.has_retry_at_ms()) error.retry_at = ClaimedTime(failure.retry_at_ms());
  if (failure.has_retry_after_ms() && failure.retry_after_ms() >= 0) {
    error.retry_after =
        milliseconds(std::min<std::int64_t>(failure.retry_after_ms(), kRetryAfterMsMax));
  }
  return error;
}

}  // namespace mayfly::service
