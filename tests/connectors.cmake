# Tests of connectors.
mayfly_test(bluesky_api_types_test SOURCES unit/bluesky_api_types_test.cc
            LIBRARIES mayfly::connectors LABELS unit)
mayfly_test(bluesky_connector_test SOURCES integration/bluesky_connector_test.cc
            LIBRARIES mayfly::connectors mayfly::simulators LABELS integration)
mayfly_test(bluesky_citizen_test
  SOURCES integration/bluesky_citizen_test.cc support/citizen.cc
  LIBRARIES mayfly::simulators LABELS integration)
mayfly_test(mentions_test SOURCES unit/mentions_test.cc LIBRARIES mayfly::registry LABELS unit)
mayfly_test(mastodon_unit_tests
  SOURCES unit/mastodon_api_types_test.cc unit/mastodon_html_text_test.cc
          property/mastodon_html_property_test.cc
  LIBRARIES mayfly::connectors rapidcheck LABELS unit)
# Each line of connectors.def against its simulator.
mayfly_test(connector_conformance_test
  SOURCES conformance/connector_conformance_test.cc support/connected_office.cc
  LIBRARIES mayfly_core mayfly_worker_side mayfly::connectors mayfly::simulators mayfly::engines
  LABELS conformance)
mayfly_test(mastodon_contract_test
  SOURCES integration/mastodon_contract_test.cc support/platform_contract.cc
  LIBRARIES mayfly::simulators LABELS integration)
mayfly_test(mastodon_simulator_test SOURCES integration/mastodon_simulator_test.cc
            LIBRARIES mayfly::simulators LABELS integration)
mayfly_test(mastodon_connector_test SOURCES integration/mastodon_connector_test.cc
            LIBRARIES mayfly::connectors mayfly::simulators LABELS integration)
mayfly_test(mastodon_citizen_test
  SOURCES integration/mastodon_citizen_test.cc support/citizen.cc
  LIBRARIES mayfly::simulators LABELS integration)
# A hostile platform against the HTTP client, each connector and the real worker.
mayfly_test(platform_hostile_test
  SOURCES integration/platform_hostile_test.cc support/tls_server.cc support/certificates.cc
  LIBRARIES mayfly::connectors mayfly::simulators mayfly::link mayfly::supervisor
            OpenSSL::SSL OpenSSL::Crypto
  LABELS integration)
target_compile_definitions(platform_hostile_test PRIVATE MAYFLY_WORKER="$<TARGET_FILE:mayfly-worker>")
add_dependencies(platform_hostile_test mayfly-worker)
