// Between the frames of link.proto and the connectors' values.
//
// Encode* is the worker's direction for answers and the core's for requests; it cannot fail,
// because WriteFrame checks the size. Decode* trusts nothing. Rules, on either side:
//   * texts, handles and names: invalid UTF-8 is replaced by U+FFFD;
//   * platform ids: 1 to 1,024 bytes of valid UTF-8, else kProtocol (a replaced id would be another
//   id);
//   * cursors and credentials are opaque bytes;
//   * a claimed time outside the years 1970 to 9999 is no time;
//   * words of an error are cut to what a log may show (see DecodeFailure).
#ifndef MAYFLY_SERVICE_LINK_CONVERT_H_
#define MAYFLY_SERVICE_LINK_CONVERT_H_

#include <cstddef>
#include <optional>
#include <string>

#include "connectors/connector.h"
#include "link.pb.h"
#include "store/model/result.h"

namespace mayfly::service {

inline constexpr std::size_t kPlatformIdBytesMax = 1024;
inline constexpr std::size_t kParticipantsMax = 50;
inline constexpr std::size_t kCredentialBytesMax = 64u << 10;

// Each maximal invalid stretch, as Unicode recommends, becomes one U+FFFD.
std::string ReplaceInvalidUtf8(std::string bytes);

// Requests. The Encode functions for Hello, Send and FindSent put secrets or text into the frame;
// WipeRequest empties them again after it was written.
link::Hello EncodeHello(const std::string& platform, const connectors::ConnectorContext& context);
connectors::ConnectorContext DecodeHello(link::Hello* hello);  // takes the strings; sets no sink
link::Fetch EncodeFetch(const connectors::FetchRequest& request);
connectors::FetchRequest DecodeFetch(link::Fetch* fetch);
link::Send EncodeSend(const connectors::OutgoingReply& reply);
Result<connectors::OutgoingReply> DecodeSend(link::Send* send);
link::FindSent EncodeFindSent(const connectors::FindSentRequest& request);
Result<connectors::FindSentRequest> DecodeFindSent(link::FindSent* find);
void WipeRequest(link::CoreFrame* frame);

// Answers. Decode takes the strings out of the frame.
link::PageConversation EncodeConversation(const connectors::PlatformConversation& conversation);
Result<connectors::PlatformConversation> DecodeConversation(link::PageConversation* conversation);
link::PageMessage EncodeMessage(const connectors::PlatformMessage& message);
Result<connectors::PlatformMessage> DecodeMessage(link::PageMessage* message);
link::PageEdit EncodeEdit(const connectors::Edit& edit);
Result<connectors::Edit> DecodeEdit(link::PageEdit* edit);
link::PageWithdrawal EncodeWithdrawal(const connectors::Withdrawal& withdrawal);
Result<connectors::Withdrawal> DecodeWithdrawal(link::PageWithdrawal* withdrawal);
// Everything of a page but its items.
link::PageEnd EncodePageEnd(const connectors::Page& page);
void DecodePageEnd(link::PageEnd* end, connectors::Page* page);
// nullopt for what is no time that anybody's clock could show.
std::optional<TimePoint> DecodePlatformTime(std::int64_t ms);
link::SentItem EncodeSentItem(const connectors::SentReply& sent);
Result<connectors::SentReply> DecodeSentItem(link::SentItem* item);
link::CheckDone EncodeCheckDone(const connectors::CheckReport& report);
Result<connectors::CheckReport> DecodeCheckDone(link::CheckDone* done);
link::Budget EncodeBudget(const connectors::PlatformBudget& budget);
// Nothing for one that cannot be: more left than there is, or no limit at all.
std::optional<connectors::PlatformBudget> DecodeBudget(const link::Budget& budget);
link::Failure EncodeFailure(const Error& error);
// The Error that a connector reported, or nullopt when the code is none that a connector
// may report, which is a worker that breaks the rules. `message`, `field` and `platform_code` come
// from a process that reads platform text, so only short printable ASCII without surprises is taken
// over, and anything else is replaced or dropped.
std::optional<Error> DecodeFailure(const link::Failure& failure);

}  // namespace mayfly::service

#endif  // MAYFLY_SERVICE_LINK_CONVERT_H_
