// Bluesky direct messages (chat.bsky.convo.*) as a Connector. See README.md beside this file.
#ifndef MAYFLY_CONNECTORS_BLUESKY_CONNECTOR_H_
#define MAYFLY_CONNECTORS_BLUESKY_CONNECTOR_H_

#include <chrono>
#include <memory>

#include "connectors/connector.h"

namespace mayfly::connectors::bluesky {

inline const ConnectorInfo kInfo = {
    .name = "bluesky",
    .display_name = "Bluesky",
    .options =
        {
            {.name = "service",
             .help =
                 "Address of the account's server, for example https://bsky.social (the default)",
             .required = false,
             .secret = false,
             .kind = OptionKind::kOrigin},
            {.name = "identifier",
             .help = "Handle or DID of the account, for example council.example.org",
             .required = true,
             .secret = false,
             .kind = OptionKind::kHandle,
             .bytes_max = 253},
            {.name = "password",
             .help = "An app password that was made with access to direct messages",
             .required = true,
             .secret = true,
             .bytes_max = 512},
        },
    .capabilities =
        {
            .text_bytes_max = 10'000,
            .text_graphemes_max = 1'000,
            .poll_interval_min = std::chrono::seconds(1),
            .poll_interval_default = std::chrono::seconds(20),
            // Four calls of at most 20 s each: the send, a refresh, a login, the send again.
            .send_deadline = std::chrono::seconds(90),
            .idempotent_send = false,
            .reports_withdrawals = true,
        },
    .data_location =
        "Bluesky keeps its own copy on its chat service (api.bsky.chat), reached through the "
        "account's server. It is not end-to-end encrypted and stays there whatever is destroyed "
        "here.",
};

// Opens no connection. kInvalidArgument with `field` set to an option's name when an option or the
// credential cannot be used.
Result<std::unique_ptr<Connector>> Make(const ConnectorContext& context);

}  // namespace mayfly::connectors::bluesky

#endif  // MAYFLY_CONNECTORS_BLUESKY_CONNECTOR_H_
