# Tests of model.
find_package(rapidcheck REQUIRED)
mayfly_test(model_tests
  SOURCES unit/ids_test.cc unit/json_test.cc unit/retention_test.cc unit/sensitive_test.cc
          unit/time_test.cc unit/words_test.cc
  LIBRARIES mayfly::model date::date-tz LABELS unit)
mayfly_test(model_property_tests
  SOURCES property/json_property_test.cc property/retention_property_test.cc
  LIBRARIES mayfly::model rapidcheck LABELS property)
