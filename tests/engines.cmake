# Tests of engines.
