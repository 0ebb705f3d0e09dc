// Our nouns as JSON. Everything that the REST API shows of a record is decided here.
#ifndef MAYFLY_SERVICE_API_RENDER_H_
#define MAYFLY_SERVICE_API_RENDER_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "service/api/context.h"
#include "service/api/http.h"
#include "store/expiry/purge.h"
#include "store/model/account.h"
#include "store/model/conversation.h"
#include "store/model/coverage.h"
#include "store/model/json.h"
#include "store/model/message.h"
#include "store/model/reply.h"
#include "store/rights/rights.h"
#include "store/tokens.h"

namespace mayfly::service::api {

// How much of an account somebody sees: staff its name and state, operators why it is in it,
// administrators its settings. Nobody sees its credential.
enum class AccountView { kStaff, kOperator, kAdministrator };

// With a `budget` (null for one that is not known) when it is asked for one account alone.
using ShownBudget = std::optional<connectors::PlatformBudget>;
void Render(json::Writer& writer, const Account& account, AccountView view,
            const ShownBudget* budget = nullptr);
void Render(json::Writer& writer, const Conversation& conversation);
void Render(json::Writer& writer, const Message& message);
void Render(json::Writer& writer, const Reply& reply);
void Render(json::Writer& writer, const Coverage& coverage);  // the members, into an open object
void RenderMembers(json::Writer& writer, const store::PurgeReceipt& receipt);  // likewise
void Render(json::Writer& writer, const store::Restriction& restriction);
void Render(json::Writer& writer, const store::HeldPerson& held);
void Render(json::Writer& writer, const store::TokenInfo& token);
void Render(json::Writer& writer, const SandboxReport& report);

// Content-Disposition of what is to be saved (RFC 6266 with RFC 8187): its name in any script, and
// none that leads into another folder.
std::string DispositionOf(const Attachment& attachment);

// Key and text, or null for an empty one.
void StringOrNull(json::Writer& writer, std::string_view key, std::string_view value);
// Key and time, or null.
void TimeField(json::Writer& writer, std::string_view key, const std::optional<TimePoint>& at);

// About how long a list of these messages is, rather more than less.
std::size_t RenderedBytes(const std::vector<Message>& messages);

// A document written by `write`. With a good `bytes_hint` it does not grow, and what people wrote
// is not copied about in memory.
Response Document(int status, const std::function<void(json::Writer&)>& write,
                  std::size_t bytes_hint = 0);
// The one shape of lists: items, next_cursor, has_more, and a Link to the next page. `next_cursor`
// is empty on the last page. `write_more` adds members behind them.
Response ListDocument(const Request& request, const std::string& next_cursor,
                      const std::function<void(json::Writer&)>& write_items,
                      std::size_t bytes_hint = 0,
                      const std::function<void(json::Writer&)>& write_more = nullptr);

// Adds a strong ETag over the whole answer: a keyed print of it, behind the revision when it shows
// a record that people change ("7-4f0c..."). If-Match compares the revision alone, so that what the
// platform changes meanwhile (a state, a name) does not refuse a person's change.
Response Tagged(const ApiContext& context, Response response,
                std::optional<std::uint64_t> revision = std::nullopt);
// 304, without a body, when the client has this answer already (If-None-Match).
Response Conditional(const Request& request, Response response);
// Whole seconds in the form of HTTP dates (RFC 9110, 5.6.7), for Sunset.
std::string FormatHttpDate(TimePoint at);

}  // namespace mayfly::service::api

#endif  // MAYFLY_SERVICE_API_RENDER_H_
