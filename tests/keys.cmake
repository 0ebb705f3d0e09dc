# Tests of keys.
find_package(rapidcheck REQUIRED)
mayfly_test(keys_tests
  SOURCES unit/file_system_test.cc unit/key_vault_test.cc unit/master_key_test.cc unit/passphrase_test.cc unit/seal_test.cc
  LIBRARIES mayfly::keys PkgConfig::sodium LABELS unit)
mayfly_test(keys_property_tests
  SOURCES property/seal_property_test.cc
  LIBRARIES mayfly::keys rapidcheck LABELS property)
# Thousands of torn states: a minute or two.
mayfly_test(keys_torn_tests
  SOURCES unit/key_rotation_test.cc unit/key_torn_test.cc
  LIBRARIES mayfly::keys LABELS unit)
