# Tests of processes.
