#!/usr/bin/env bash
# Counts the instructions of a fixed amount of work, part by part (examples/fixed_work), and
# compares them with the counts that were accepted. Needs valgrind.
#
#     tests/instructions/run.sh             # fails if a part takes over 5 % more
#     tests/instructions/run.sh --accept    # from now on, the counts are to be what they are
#
# Nothing else that the machine does changes a count. The compiler, the C library and the kind of
# processor do: where they are not those of the accepted counts, the comparison is only shown.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

accepted=tests/instructions/accepted.txt
program="${CARGO_TARGET_DIR:-target}/debug/examples/fixed_work"
valgrind=$(command -v valgrind)
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT

# glibc chooses its memcpy by what the processor has; Valgrind has no more than AVX2. Those for
# any x86-64 are on all of them. (Names that a version of glibc does not know it passes over.)
plain_x86_64=glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-SSSE3,-Fast_Unaligned_Copy,-SSE4_1,-SSE4_2

# Instructions of the function that does the work, and of all that it calls. An empty environment
# is the same everywhere.
count() {
    local log
    if ! log=$(env -i GLIBC_TUNABLES="$plain_x86_64" "$valgrind" --tool=callgrind \
        --callgrind-out-file=/dev/null --collect-atstart=no \
        --toggle-collect='fixed_work::counted*' "$program" "$1" 2>&1); then
        echo "$log" >&2
        return 1
    fi
    sed -n 's/^.*Collected : \([1-9]\)/\1/p' <<<"$log" | grep .
}

# As optimised as a release. The dependencies are those that `cargo test` has built: to
# optimise them too, and all of it together, takes minutes, and their instructions hardly change.
ours=profile.dev.package.stormpetrel
cargo build --locked --quiet --example fixed_work \
    --config $ours.opt-level=3 --config $ours.codegen-units=1 --config $ours.debug=1 \
    --config $ours.debug-assertions=false --config $ours.overflow-checks=false
echo "# $(rustc --version), $(getconf GNU_LIBC_VERSION), $(uname -m)" >"$counts"
for part in $("$program"); do
    instructions=$(count "$part")
    echo "$part $instructions" >>"$counts"
done

if [ "${1:-}" = --accept ]; then
    cp "$counts" "$accepted"
    cat "$accepted"
    exit
fi

awk '
    FNR == 1 { built_with[NR == 1] = $0; next }
    NR == FNR { accepted[$1] = $2; next }
    {
        if (!($1 in accepted)) {
            printf "%-10s %12d  was not accepted yet\n", $1, $2
            failed = failed " " $1
            next
        }
        more = 100 * ($2 / accepted[$1] - 1)
        note = more > 5 ? "  too many" : more < -5 ? "  better: accept it, so that it stays" : ""
        printf "%-10s %12d, accepted were %12d: %+6.2f %%%s\n", $1, $2, accepted[$1], more, note
        if (more > 5) failed = failed " " $1
        delete accepted[$1]
    }
    END {
        for (part in accepted) {
            print part " was accepted and is gone"
            failed = failed " " part
        }
        if (failed != "") print "not as accepted:" failed
        if (built_with[0] != built_with[1]) {
            print "nothing is held against anybody: accepted was " substr(built_with[1], 3)
            print "                                     this is " substr(built_with[0], 3)
        } else if (failed != "") {
            print "if it must be so: tests/instructions/run.sh --accept"
            exit 1
        }
    }
' "$accepted" "$counts"
