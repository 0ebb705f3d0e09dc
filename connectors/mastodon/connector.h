// Private mentions on Mastodon, and on the servers that speak its API (Hometown, GoToSocial,
// Pleroma, Akkoma, snac), as a Connector. See README.md beside this file.
#ifndef MAYFLY_CONNECTORS_MASTODON_CONNECTOR_H_
#define MAYFLY_CONNECTORS_MASTODON_CONNECTOR_H_

#include <chrono>
#include <memory>

#include "connectors/connector.h"

namespace mayfly::connectors::mastodon {

inline const ConnectorInfo kInfo = {
    .name = "mastodon",
    .display_name = "Mastodon",
    .options =
        {
            {.name = "server",
             .help = "Address of the account's server, for example https://social.example.org",
             .required = true,
             .secret = false,
             .kind = OptionKind::kOrigin},
            {.name = "access_token",
             .help = "An access token with the scopes read:accounts, read:statuses, "
                     "read:notifications and write:statuses",
             .required = true,
             .secret = true,
             .kind = OptionKind::kToken,
             .bytes_max = 4096},
        },
    .capabilities =
        {
            // The server's own limit (500 characters on an ordinary Mastodon) is asked for and
            // kept to before sending.
            .text_bytes_max = 65'536,
            .text_graphemes_max = 0,
            .poll_interval_min = std::chrono::seconds(10),
            .poll_interval_default = std::chrono::seconds(30),
            // At most five calls of 17 s each: who we are, what the server is (twice), who wrote
            // the first status of the thread, the reply.
            .send_deadline = std::chrono::seconds(90),
            // Mastodon remembers a key for an hour; GoToSocial and snac not at all.
            .idempotent_send = false,
            .reports_edits = true,
            .reports_withdrawals = true,
            .mentions_deliver = true,
        },
    .data_location =
        "The account's server and the servers of the people who write keep their own copies. They "
        "are not end-to-end encrypted and stay there whatever is destroyed here.",
};

// Opens no connection. kInvalidArgument with `field` set to an option's name when an option or the
// credential cannot be used.
Result<std::unique_ptr<Connector>> Make(const ConnectorContext& context);

}  // namespace mayfly::connectors::mastodon

#endif  // MAYFLY_CONNECTORS_MASTODON_CONNECTOR_H_
