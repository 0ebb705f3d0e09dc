# shellcheck shell=bash
# What takes too long for every change, or a machine of its own. Read by ./dev, whose functions it
# uses. `./dev long` runs every part, one after the other, each within its limit, and prints a
# table; `./dev long PART` runs one and shows what it does.

# Seconds that a part may take; after that it is ended with everything that it started.
declare -A LONG_LIMITS=([sanitize]=5400 [debian13]=7200 [tsan]=5400 [fuzz]=5400 [kills]=7200
  [simulation]=3600 [faults]=10800)
LONG_PARTS=(sanitize debian13 tsan fuzz kills simulation faults)

# Programs whose threads ThreadSanitizer can follow: all their code that takes locks is compiled by
# us. RocksDB, cpprestsdk and spdlog are not instrumented, so tests that go through them are left
# out; so are those that start filtered processes, since the sanitizer's own calls are not on the
# allow-list.
TSAN_TESTS=(model_tests keys_tests api_unit_tests http_server_tests frames_tests worker_link_tests
  rest_tests store_collect_tests store_outbox_tests store_accounts_tests registry_tests pacer_tests
  worker_pool_tests)

figures() { printf 'Figures: %s\n' "$*"; }

# passed LOG: how many programs passed, from ctest's log of its last run.
passed() { echo "$(grep -c '^Test Passed' "$1") test programs passed"; }

# sanitize [REGEX]: the tests under AddressSanitizer and UndefinedBehaviorSanitizer. Left out is what
# runs nothing of ours (what must not compile, and the rules about the source), what puts its own
# functions in the place of those that the sanitizer watches, and what runs the same programs once
# more to ask them something else.
sanitize() {
  need "${TEST_PACKAGES[@]}"
  build asan mayfly_tests
  judges asan
  say "Testing under AddressSanitizer and UndefinedBehaviorSanitizer"
  (cd build/asan && MAYFLY_KILLS="${MAYFLY_SANITIZE_KILLS:-3}" \
    ctest -j "$(jobs)" --output-on-failure --no-tests=error -LE 'compile_fail|tidy|fault|repeat' \
      ${1+-R "$1"}) ||
    die "Tests failed under the sanitizers." "the report above names file and line"
  skipped build/asan
  figures "$(passed build/asan/Testing/Temporary/LastTest.log) in build/asan"
}

# fuzz [TARGET] [SECONDS]
fuzz() {
  local wanted=${1:-all} seconds=${2:-${MAYFLY_FUZZ_SECONDS:-60}} targets=() target log found
  need clang libclang-rt-dev
  targets=(tests/fuzz/corpus/*)
  targets=("${targets[@]##*/}")
  if [ "$wanted" != all ]; then
    [ -d "tests/fuzz/corpus/$wanted" ] ||
      die "There is no fuzzer $wanted." "one of: ${targets[*]}"
    targets=("$wanted")
  fi
  build fuzz "${targets[@]/#/fuzz_}"
  mkdir -p build/fuzz/findings
  for target in "${targets[@]}"; do
    say "Fuzzing $target for $seconds seconds"
    mkdir -p "build/fuzz/corpus/$target" # what is new goes here, and is begun with the next time
    log=build/fuzz/$target.log
    "build/fuzz/tests/fuzz_$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
      -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$target-" \
      "build/fuzz/corpus/$target" "tests/fuzz/corpus/$target" >"$log" 2>&1 ||
      { tail -n 40 "$log" >&2
        die "$target: something does not hold; the input lies in build/fuzz/findings." \
          "mend it, and keep the input in tests/fuzz/corpus/$target under a name that tells what it is"; }
    found=$(sed -n 's/^#[0-9]*[[:space:]]*DONE[[:space:]]*\(cov: [0-9]*\).*/\1/p' "$log" | tail -n 1)
    echo "   $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, $found"
  done
  figures "${#targets[@]} fuzzers, $seconds s each, nothing found"
}

tsan() {
  build tsan "${TSAN_TESTS[@]}"
  local IFS='|'
  say "Testing under ThreadSanitizer"
  # Without address randomisation: gcc 12's ThreadSanitizer does not know all of today's layouts.
  (cd build/tsan &&
    TSAN_OPTIONS="halt_on_error=1 suppressions=$PWD/../../tests/long/tsan.supp" \
      setarch "$(uname -m)" -R \
      ctest --output-on-failure --no-tests=error -R "^(${TSAN_TESTS[*]})\$") ||
    die "Tests failed under ThreadSanitizer." "the report above names both threads"
  figures "$(passed build/tsan/Testing/Temporary/LastTest.log)"
}

# The tests of kills with many of them; MAYFLY_KILLS says how many.
kills() {
  need "${TEST_PACKAGES[@]}"
  build release kill_tests mayfly mayfly-worker mayfly-demo
  MAYFLY_KILLS=${MAYFLY_KILLS:-1000} build/release/tests/kill_tests ||
    die "Something was lost, doubled or came back." "the failure above names its seed"
  figures "${MAYFLY_KILLS:-1000} kills"
}

simulation() {
  build release store_simulation_tests
  MAYFLY_SEEDS=${MAYFLY_SEEDS:-200} build/release/tests/store_simulation_tests ||
    die "The simulation failed." "the failure above names its seed"
  figures "${MAYFLY_SEEDS:-200} seeds, 400 simulated days each"
}

# Each file operation of the script fails in turn, in six ways.
faults() {
  build release store_fault_tests
  MAYFLY_FAULT_STRIDE=${MAYFLY_FAULT_STRIDE:-1} build/release/tests/store_fault_tests ||
    die "A disk that failed lost something, or gave something back." "the failure above names it"
  figures "every file operation (stride ${MAYFLY_FAULT_STRIDE:-1}), six faults"
}

debian13() {
  [ "$(id -u)" = 0 ] || die "A Debian 13 root can be made by root only." "sudo ./dev long debian13"
  need debootstrap
  tests/long/debian13.sh "${MAYFLY_DEBIAN13_ROOT:-build/debian13}" "$(jobs)" ||
    die "Mayfly does not build, or not pass, on Debian 13." "the output above says which"
  figures "./dev test on Debian 13"
}

# long_row PART RESULT TIME FIGURES
long_row() { printf '%-12s %-8s %8s  %s\n' "$1" "$2" "$3" "$4"; }

# long [PART...]
long() {
  local parts=("$@") part
  [ $# -gt 0 ] || parts=("${LONG_PARTS[@]}")
  for part in "${parts[@]}"; do
    [ -n "${LONG_LIMITS[$part]:-}" ] ||
      die "There is no part $part." "one of: ${LONG_PARTS[*]}"
  done
  if [ ${#parts[@]} -eq 1 ]; then
    "${parts[0]}"
    return
  fi
  local rows=() failed=0 started result figures_line child=
  mkdir -p build/long
  trap '[ -z "$child" ] || kill "$child" 2>/dev/null || true; exit 130' INT TERM
  for part in "${parts[@]}"; do
    say "$part (build/long/$part.log)"
    started=$SECONDS
    timeout --kill-after=60 "${LONG_LIMITS[$part]}" ./dev long "$part" >"build/long/$part.log" 2>&1 &
    child=$!
    if wait "$child"; then
      result=holds
      figures_line=$(sed -n 's/^Figures: //p' "build/long/$part.log" | tail -n 1)
    else
      result=FAILED
      failed=1
      figures_line="see build/long/$part.log"
      tail -n 30 "build/long/$part.log"
    fi
    child=
    rows+=("$(long_row "$part" "$result" "$((SECONDS - started)) s" "$figures_line")")
  done
  trap - INT TERM
  say "Summary"
  long_row part result time figures
  printf '%s\n' "${rows[@]}"
  [ "$failed" = 0 ] || die "Not all of it holds."
}
