# Tests of store.
mayfly_test(store_codec_tests
  SOURCES unit/store_codec_test.cc
  LIBRARIES mayfly::store LABELS unit)
mayfly_test(store_collect_tests
  SOURCES unit/store_collect_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_outbox_tests
  SOURCES unit/store_outbox_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_purge_tests
  SOURCES unit/store_purge_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_accounts_tests
  SOURCES unit/store_accounts_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_simulation_tests
  SOURCES property/store_simulation_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS property)
mayfly_test(store_ledger_tests
  SOURCES unit/store_ledger_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
