#!/usr/bin/env bash
# A full disk: commits are refused, nothing acknowledged is lost, and the store goes on by itself
# as soon as there is room. On a small ext4 image of its own.
#
# usage: disk-full.sh [ENGINE]    Root and loop devices; without them it says that it skipped, and fails
# where CI=true.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -z "${1:-}" ] || export STRAIT_FAULTS_ENGINE=$1

skip() {
    echo "disk-full: skipped: $1"
    [ "${CI:-}" = true ] && exit 1
    exit 0
}
[ "$(id -u)" = 0 ] || skip "needs root"
for tool in mkfs.ext4 losetup mount; do
    command -v "$tool" >/dev/null || skip "needs $tool"
done

program=${FAULTS_PROGRAM:-$(cargo test --locked --no-run --test faults 2>&1 |
    sed -n 's/.*Executable.*(\(.*\))$/\1/p')}
[ -x "$program" ] || { echo "disk-full: can't build the program"; exit 1; }

work=$(mktemp -d)
mounted=$work/mounted
mkdir "$mounted"
cleanup() {
    ! mountpoint -q "$mounted" || umount "$mounted" || umount -l "$mounted"
    rm -rf "$work"
}
trap cleanup EXIT

truncate -s 64M "$work/disk.img"
mkfs.ext4 -q "$work/disk.img"
mount -o loop "$work/disk.img" "$mounted" 2>/dev/null || skip "no loop devices"
"$program" full "$mounted"
echo "disk-full: passed"
