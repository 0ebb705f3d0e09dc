# Tests of connectors.
