#!/bin/sh
# Shows that the models of loom.rs see what they are for: every ordered access of shm/src is weakened, one at a time,
# and a model must fail each time. `make loom-mistakes`; ten minutes on two quiet cores.
#
# An ordered access carries the name of its edge in a comment of its line (`// SYNC P`). One without is an error.
set -eu
cd "$(dirname -- "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)/mistakes
tree=$target/tree
whole=$target/whole
mkdir -p "$tree"
tar -cf - --exclude=./.git --exclude=./target . | tar -xf - -C "$tree"
# Newer than what an interrupted run has built.
find "$tree/shm" -type f -exec touch {} +
rm -rf "$whole"
cp -r "$tree/shm/src" "$whole"
cd "$tree"
export RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR="$target" CARGO_PROFILE_RELEASE_LTO=off RUST_BACKTRACE=0
ordered='Ordering::\(Acquire\|Release\|AcqRel\|SeqCst\)'
log=$target/log

models() {
    cargo test --locked --package kazoo-shm --release --test loom "$@" >"$log" 2>&1
}

# Runs the models on the tree as it is; prints those that fail, and succeeds if there are any.
seen() {
    models --no-run || { cat "$log" >&2; return 1; }
    models && return 1
    # A model that panics while it unwinds ends the whole run: its name is in the message then, not in the list.
    sed -n "s/^test \([a-z_]*\) \.\.\. FAILED\$/\1/p; s/^thread '\([a-z_]*\)'.* panicked at .*/\1/p" "$log" |
        sort -u | grep .
}

if grep -n "$ordered" "$whole"/*.rs | grep -v '// SYNC [A-Z]$'; then
    echo 'mistakes: the edge of an ordered access is not named' >&2
    exit 1
fi
models || { cat "$log" >&2; echo 'mistakes: models fail without one' >&2; exit 1; }
missed=0
for place in $(cd "$whole" && grep -n "$ordered" *.rs | cut -d: -f1,2); do
    file=${place%:*} line=${place#*:}
    text=$(sed -n "${line}p" "$whole/$file")
    for nth in $(seq "$(printf '%s\n' "$text" | grep -o "$ordered" | wc -l)"); do
        case $text in
            *fence\(*) mistake='no fence' change="${line}s/fence($ordered)/()/" ;;
            *) mistake='Relaxed' change="${line}s/$ordered/Ordering::Relaxed/$nth" ;;
        esac
        sed "$change" "$whole/$file" >"shm/src/$file"
        access=$(printf '%s\n' "${text%;*}" | sed 's/^ *//')
        if failed=$(seen); then
            echo "${text##*// }, $place, $access: $mistake is seen by" $failed
        else
            echo "mistakes: ${text##*// }, $place, $access: $mistake is NOT seen" >&2
            missed=1
        fi
    done
    cp "$whole/$file" "shm/src/$file"
done
exit $missed
