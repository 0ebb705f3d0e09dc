// A connector whose answers a test writes as functions.
#ifndef MAYFLY_TESTS_SUPPORT_FAKE_CONNECTOR_H_
#define MAYFLY_TESTS_SUPPORT_FAKE_CONNECTOR_H_

#include <functional>
#include <optional>
#include <stop_token>
#include <vector>

#include "connectors/connector.h"

namespace mayfly::testing {

struct FakeConnector final : connectors::Connector {
  std::function<Result<connectors::Page>(const connectors::FetchRequest&, std::stop_token)>
      on_fetch;
  std::function<Result<connectors::SentReply>(const connectors::OutgoingReply&, std::stop_token)>
      on_send;
  std::function<Result<std::vector<connectors::SentReply>>(const connectors::FindSentRequest&)>
      on_find;
  std::function<Result<connectors::CheckReport>()> on_check;

  std::optional<connectors::PlatformBudget> told;

  std::optional<connectors::PlatformBudget> budget() const override { return told; }
  Result<connectors::Page> Fetch(const connectors::FetchRequest& request,
                                 std::stop_token stop) override {
    if (!on_fetch) return Fail(ErrorCode::kInternal, "not expected in this test");
    return on_fetch(request, stop);
  }
  Result<connectors::SentReply> Send(const connectors::OutgoingReply& reply,
                                     std::stop_token stop) override {
    if (!on_send) return Fail(ErrorCode::kInternal, "not expected in this test");
    return on_send(reply, stop);
  }
  Result<std::vector<connectors::SentReply>> FindSent(const connectors::FindSentRequest& request,
                                                      std::stop_token) override {
    if (!on_find) return Fail(ErrorCode::kInternal, "not expected in this test");
    return on_find(request);
  }
  Result<connectors::CheckReport> Check(std::stop_token) override {
    if (!on_check) return Fail(ErrorCode::kInternal, "not expected in this test");
    return on_check();
  }
};

}  // namespace mayfly::testing

#endif  // MAYFLY_TESTS_SUPPORT_FAKE_CONNECTOR_H_
