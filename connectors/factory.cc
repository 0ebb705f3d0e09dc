#include "connectors/factory.h"

#include <algorithm>

#include "connectors/options.h"
#include "connectors/platform_headers.h"
#include "connectors/registry.h"

namespace mayfly::connectors {
namespace {

// Names, and values as far as their kind says; what else a value means is the connector's business.
Status CheckOptions(const ConnectorInfo& info, const ConnectorContext& context) {
  for (const auto& [name, value] : context.options) {
    const auto at = std::find_if(info.options.begin(), info.options.end(),
                                 [&name = name](const OptionInfo& o) { return o.name == name; });
    if (at == info.options.end()) {
      return Fail(ErrorCode::kInvalidArgument, "this platform has no such option", name);
    }
    if (at->secret) {
      return Fail(ErrorCode::kInvalidArgument, "a secret belongs into the credential", name);
    }
    // One that is empty is as good as absent, to some connectors.
    if (!value.empty()) MAYFLY_RETURN_IF_ERROR(CheckOption(*at, value, context.egress));
  }
  for (const OptionInfo& option : info.options) {
    if (option.required && !option.secret && !context.options.contains(option.name)) {
      return Fail(ErrorCode::kInvalidArgument, "a required option is missing", option.name);
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Connector>> MakeConnector(std::string_view platform,
                                                 const ConnectorContext& context) {
  const ConnectorInfo* info = FindConnector(platform);
  if (info == nullptr) {
    return Fail(ErrorCode::kInvalidArgument, "there is no connector for this platform", "platform");
  }
  MAYFLY_RETURN_IF_ERROR(CheckOptions(*info, context));
#define MAYFLY_CONNECTOR(name) \
  if (platform == #name) return name::Make(context);
#include "connectors/connectors.def"
#undef MAYFLY_CONNECTOR
  return Fail(ErrorCode::kInternal, "a connector is registered under another name than its own");
}

}  // namespace mayfly::connectors
