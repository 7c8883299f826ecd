#!/bin/sh
# Builds ../codec.wasm from this folder. Needs the target (rustup target add wasm32-unknown-unknown);
# the toolchain of the host brings the linker that makes the component. Without the target it says
# so, changes nothing, and ends with 1.
#
# usage: ./build.sh [CARGO_OPTION...]     such as -Zbuild-std where the target's libraries are absent
# environment: CARGO_TARGET_DIR; RUST_LINKERS, the folder of wasm-component-ld and gcc-ld/wasm-ld
set -eu
cd "$(dirname "$0")"
rustc=${RUSTC:-rustc}
sysroot=$($rustc --print sysroot)
host=$($rustc -vV | sed -n 's/^host: //p')
bin=${RUST_LINKERS:-$sysroot/lib/rustlib/$host/bin}
target=${CARGO_TARGET_DIR:-target}
case "$*" in
    *build-std*) ;;
    *)
        if [ ! -d "$sysroot/lib/rustlib/wasm32-unknown-unknown" ]; then
            echo "not built, codec.wasm stays as it is: $sysroot has no target wasm32-unknown-unknown" >&2
            echo "add it: rustup target add wasm32-unknown-unknown" >&2
            exit 1
        fi
        ;;
esac
# The linker makes the component. No paths of this machine stand in the messages of panics.
flags="-C linker=$bin/wasm-component-ld -C link-arg=--wasm-ld-path=$bin/gcc-ld/wasm-ld"
flags="$flags --remap-path-prefix=$sysroot=/rust --remap-path-prefix=$PWD=/source"
cargo fetch --locked
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    flags="$flags --remap-path-prefix=$crates=/crates"
done
export RUSTFLAGS="$flags"
cargo build --release --locked --target wasm32-unknown-unknown "$@"
cp "$target/wasm32-unknown-unknown/release/water_meter_wasm.wasm" ../codec.wasm
ls -l ../codec.wasm
