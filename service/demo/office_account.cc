#include "service/demo/office_account.h"

#include "store/model/json.h"

namespace mayfly::service {

std::string AccountBody(const std::string& platform, const std::string& label,
                        const connectors::PlatformSimulator::Office& office,
                        const std::string& retention) {
  std::string body;
  json::Writer writer(&body);
  writer.StartObject().Field("platform", platform).Field("label", label);
  if (!retention.empty()) writer.Field("retention", retention);
  writer.Key("options").StartObject();
  for (const auto& [name, value] : office.options) writer.Field(name, value);
  writer.EndObject().Key("credential").StartObject();
  const auto credential = json::Parse(office.credential.Reveal());
  if (credential && credential->is_object()) {
    for (const auto& [name, value] : *credential->AsObject()) {
      if (const std::string* secret = value.AsString()) writer.Field(name, *secret);
    }
  }
  writer.EndObject().EndObject();
  return body;
}

}  // namespace mayfly::service
