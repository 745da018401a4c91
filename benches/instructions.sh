#!/bin/sh
# Counts the instructions of each hot path under callgrind and compares them with benches/instructions.txt.
#
#   benches/instructions.sh            prints name, instructions per call, the recorded number, the difference;
#                                      fails when one takes more than a twentieth more than recorded
#   benches/instructions.sh --record   writes the file anew
#
# The difference of two runs, so that start and end do not count. The numbers belong to one compiler and one processor
# family (the string searches choose by processor); record them anew when the toolchain changes.
set -eu
cd "$(dirname -- "$0")/.."

table=benches/instructions.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
program=$(cargo bench --locked --package kazoo --no-default-features --bench instructions --no-run 2>&1 |
    sed -n 's/.*(\(.*instructions-[0-9a-f]*\)).*/\1/p')
[ -x "$program" ] || { echo 'instructions: the bench was not built' >&2; exit 1; }

instructions() {
    valgrind --tool=callgrind --callgrind-out-file="$work/out" "$program" "$1" "$2" 2>"$work/log" ||
        { cat "$work/log" >&2; exit 1; }
    sed -n 's/^summary: //p; s/^totals: //p' "$work/out" | head -n 1
}

status=0
for name in $("$program"); do
    few=$(instructions "$name" 100)
    many=$(instructions "$name" 1100)
    echo "$name $(((many - few) / 1000))" >>"$work/table"
done
if [ "${1-}" = --record ]; then
    cp "$work/table" "$table"
fi
while read -r name now; do
    before=$(sed -n "s/^$name //p" "$table")
    echo "$name: $now instructions, recorded ${before:-none}"
    [ "$now" -le $((${before:-0} * 21 / 20)) ] || { echo "instructions: $name takes more than it did" >&2; status=1; }
done <"$work/table"
exit $status
