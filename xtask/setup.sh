#!/bin/sh
# Fetches what is missing: the toolchain of rust-toolchain.toml with its targets, QEMU, and e2fsprogs; with the argument
# `images` also what disk images for BIOS and UEFI need: the toolchain of boot/image, and OVMF. What it may not fetch it
# names, in one line with what to type, and ends with status 1.
set -u
packages="qemu-system-x86 e2fsprogs"
images=${1-}

stop() {
    echo "sluice: $1"
    exit 1
}
# Debian keeps some tools where an ordinary user's PATH does not look; a test says otherwise.
there() {
    PATH="$PATH${SBIN-:/usr/sbin:/sbin}" command -v "$1" >/dev/null 2>&1
}
# How a command that needs root is typed: by root as it is, with sudo, or by somebody else.
root= type=type
if [ "$(id -u)" != 0 ]; then
    if there sudo; then root="sudo "; else type="type as root"; fi
fi

there rustup || stop "rustup is missing; type: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
there cc || stop "a C compiler is missing; $type: ${root}apt-get install -y gcc"

has_toolchain() {
    targets=$(rustup target list --installed 2>/dev/null) || return 1
    for target in x86_64-unknown-none x86_64-unknown-linux-musl; do
        echo "$targets" | grep -q "$target" || return 1
    done
    rustup component list --installed 2>/dev/null | grep -q clippy
}
has_toolchain || rustup toolchain install || stop "the toolchain is missing; type: rustup toolchain install"

# Which one it is stands in the folder: rustup reads it there.
image_toolchain() {
    cd "${0%/*}/../boot/image" && rustup "$@"
}
has_image_toolchain() {
    for component in rust-src llvm-tools; do
        (image_toolchain component list --installed 2>/dev/null) | grep -q "$component" || return 1
    done
}
has_ovmf() {
    for file in ${OVMF-/usr/share/OVMF/OVMF_CODE*.fd /usr/share/edk2/*/OVMF_CODE*.fd}; do
        [ ! -e "$file" ] || return 0
    done
    return 1
}

missing=
if [ "$images" = images ]; then
    has_image_toolchain || (image_toolchain toolchain install) ||
        stop "the toolchain of boot/image is missing; type: cd boot/image && rustup toolchain install"
    packages="$packages ovmf"
    has_ovmf || missing=" ovmf"
fi
for tool in qemu-system-x86_64 mke2fs e2fsck debugfs; do
    there "$tool" || missing="$missing $tool"
done
[ -n "$missing" ] || exit 0

there apt-get || stop "missing:$missing; install QEMU for x86_64 and e2fsprogs with the package manager of this system"
line="${root}apt-get install -y $packages"
[ "$(id -u)" = 0 ] || { there sudo && sudo -n true 2>/dev/null; } || stop "missing:$missing; $type: $line"
export DEBIAN_FRONTEND=noninteractive
# A failing update alone is no reason to stop: the lists may be there.
${root}apt-get update -qq
${root}apt-get install -y -qq $packages || stop "missing:$missing; $type: $line"
