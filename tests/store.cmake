# Tests of store.
mayfly_test(store_codec_tests
  SOURCES unit/store_codec_test.cc
  LIBRARIES mayfly::store LABELS unit)
mayfly_test(store_collect_tests
  SOURCES unit/store_collect_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_bad_input_tests
  SOURCES unit/store_bad_input_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_attachments_tests
  SOURCES unit/store_attachments_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_outbox_tests
  SOURCES unit/store_outbox_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_purge_tests
  SOURCES unit/store_purge_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_erasure_tests
  SOURCES unit/store_erasure_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_rights_tests
  SOURCES unit/store_rights_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_accounts_tests
  SOURCES unit/store_accounts_test.cc unit/certain_clock_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_simulation_tests
  SOURCES property/store_simulation_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS property)
# Takes the place of the C library's file functions in the whole program.
mayfly_test(store_fault_tests
  SOURCES fault/store_fault_test.cc support/file_faults.cc
  LIBRARIES mayfly::store mayfly::engines ${CMAKE_DL_LIBS} LABELS fault)
set_target_properties(store_fault_tests PROPERTIES ENABLE_EXPORTS ON)
mayfly_test(store_keys_tests
  SOURCES unit/store_keys_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(search_words_tests
  SOURCES unit/search_words_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_room_tests
  SOURCES unit/store_room_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(store_search_tests
  SOURCES unit/store_search_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
mayfly_test(search_property_tests
  SOURCES property/search_property_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS property)
mayfly_test(store_ledger_tests
  SOURCES unit/store_ledger_test.cc
  LIBRARIES mayfly::store mayfly::engines LABELS unit)
