# Tests of keys.
find_package(rapidcheck REQUIRED)
mayfly_test(keys_tests
  SOURCES unit/key_vault_test.cc unit/master_key_test.cc unit/seal_test.cc
  LIBRARIES mayfly::keys PkgConfig::sodium LABELS unit)
mayfly_test(keys_property_tests
  SOURCES property/seal_property_test.cc
  LIBRARIES mayfly::keys rapidcheck LABELS property)
