// Whether the value of an option can work at all: what is known without asking anybody. The API
// asks before it connects an account, and the factory before it makes a connector. Links no
// connector code and no network.
#ifndef MAYFLY_CONNECTORS_OPTIONS_H_
#define MAYFLY_CONNECTORS_OPTIONS_H_

#include <string>

#include "connectors/connector.h"
#include "store/model/result.h"

namespace mayfly::connectors {

// kOptionUnusable with the option's name in `field` and what would do in `message`, which never
// quotes the value.
Status CheckOption(const OptionInfo& option, const std::string& value, const EgressPolicy& egress);

// "https://Host/" and "https://host" are one origin.
std::string NormalOrigin(std::string origin);

}  // namespace mayfly::connectors

#endif  // MAYFLY_CONNECTORS_OPTIONS_H_
