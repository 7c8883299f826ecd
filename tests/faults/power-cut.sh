#!/usr/bin/env bash
# Power cuts: is everything acknowledged still there?
#
# The database lies on an ext4 image mounted through a loop device. A writer is killed at a random
# moment; the image is copied as the loop device left it, without what the file system held in
# memory; the copy is mounted like a disk after a power cut, and every acknowledged report is
# looked up. The next round goes on with the copy. A control without our sync must lose something:
# else the method proves nothing.
#
# usage: power-cut.sh [ROUNDS [ENGINE]]    default 20, and the default engine. Root and loop devices; without them it says that it
# skipped, and fails where CI=true.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -z "${2:-}" ] || export STRAIT_FAULTS_ENGINE=$2
rounds=${1:-20}
controls=5

skip() {
    echo "power-cut: skipped: $1"
    [ "${CI:-}" = true ] && exit 1
    exit 0
}
[ "$(id -u)" = 0 ] || skip "needs root"
for tool in mkfs.ext4 losetup mount; do
    command -v "$tool" >/dev/null || skip "needs $tool"
done

program=${FAULTS_PROGRAM:-$(cargo test --locked --no-run --test faults 2>&1 |
    sed -n 's/.*Executable.*(\(.*\))$/\1/p')}
[ -x "$program" ] || { echo "power-cut: can't build the writer"; exit 1; }

work=$(mktemp -d)
mounted=$work/mounted
mkdir "$mounted"
cleanup() {
    # Only what this script started and mounted.
    [ -z "${writer:-}" ] || kill -9 "$writer" 2>/dev/null || true
    ! mountpoint -q "$mounted" || umount "$mounted" || umount -l "$mounted"
    rm -rf "$work"
}
trap cleanup EXIT

new_image() {
    rm -f "$work/disk.img"
    truncate -s 1G "$work/disk.img"
    mkfs.ext4 -q "$work/disk.img"
}
new_image
# A long commit interval: nothing becomes durable by the way.
mount -o loop,commit=300 "$work/disk.img" "$mounted" 2>/dev/null || skip "no loop devices"
umount "$mounted"

# one_round MODE: writes, cuts, looks up; the copy becomes the disk.
one_round() {
    mount -o loop,commit=300 "$work/disk.img" "$mounted"
    # shellcheck disable=SC2086 # no word when there is no mode
    "$program" write "$mounted/store" $1 >>"$work/acks" &
    writer=$!
    sleep "$((RANDOM % 3)).$((RANDOM % 900 + 100))"
    {
        kill -9 "$writer"
        cp --sparse=always "$work/disk.img" "$work/cut.img" 2>&3
        wait "$writer" || true
    } 3>&2 2>/dev/null # bash tells of killed jobs
    writer=
    umount "$mounted"
    mv "$work/cut.img" "$work/disk.img"
    mount -o loop "$work/disk.img" "$mounted"
    local fine=0
    "$program" look "$mounted/store" "$work/acks" 2>/dev/null || fine=1
    umount "$mounted"
    return $fine
}

kept=0
: >"$work/acks"
for round in $(seq "$rounds"); do
    printf 'round %s: ' "$round"
    if one_round ""; then
        kept=$((kept + 1))
    fi
done
echo "power-cut: $kept of $rounds kept everything"

lost=0
for round in $(seq "$controls"); do
    new_image
    : >"$work/acks"
    printf 'control %s, without sync: ' "$round"
    if ! one_round flush-only; then
        lost=$((lost + 1))
    fi
done
echo "power-cut: control lost something in $lost of $controls"
[ "$kept" = "$rounds" ] && [ "$lost" -gt 0 ]
