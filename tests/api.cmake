# Tests of api. The first two link no store: they see the listener and the pure parts alone.
mayfly_test(api_unit_tests
  SOURCES unit/change_feed_test.cc unit/dispatch_test.cc unit/http_head_test.cc unit/peer_test.cc
          unit/problem_test.cc unit/rate_limiter_test.cc
          unit/router_test.cc
  LIBRARIES mayfly::api)
mayfly_test(http_server_tests
  SOURCES integration/http_server_test.cc integration/http_events_test.cc
  LIBRARIES mayfly::api Threads::Threads)
mayfly_test(http_hostile_tests
  SOURCES integration/http_hostile_test.cc integration/http_slow_test.cc support/certificates.cc
  LIBRARIES mayfly::api OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
mayfly_test(tls_tests
  SOURCES integration/tls_test.cc support/certificates.cc
  LIBRARIES mayfly::api OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
# service/api/openapi.json as a judge of every answer.
add_library(mayfly_api_contract STATIC support/api_contract.cc support/json_schema.cc)
target_link_libraries(mayfly_api_contract PUBLIC mayfly::api GTest::gtest)
target_include_directories(mayfly_api_contract PRIVATE ${RAPIDJSON_INCLUDE_DIR})
target_compile_definitions(mayfly_api_contract PRIVATE MAYFLY_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
mayfly_test(rest_tests
  SOURCES integration/rest_handlers_test.cc integration/rest_rights_test.cc
          integration/rest_contract_test.cc integration/http_changes_test.cc
  LIBRARIES mayfly::api mayfly::engines mayfly_api_contract Threads::Threads)
