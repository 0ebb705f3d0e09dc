# Tests of connectors.
mayfly_test(bluesky_api_types_test SOURCES unit/bluesky_api_types_test.cc
            LIBRARIES mayfly::connectors LABELS unit)
mayfly_test(bluesky_connector_test SOURCES integration/bluesky_connector_test.cc
            LIBRARIES mayfly::connectors mayfly::simulators LABELS integration)
mayfly_test(bluesky_citizen_test
  SOURCES integration/bluesky_citizen_test.cc support/citizen.cc
  LIBRARIES mayfly::simulators LABELS integration)
mayfly_test(mentions_test SOURCES unit/mentions_test.cc LIBRARIES mayfly::registry LABELS unit)
