# Tests of keys.
