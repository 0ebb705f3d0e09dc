#!/usr/bin/env bash
# debian13.sh ROOT JOBS: ./dev test on Debian 13, in a root below ROOT that is made once and kept.
#
# The mirror is the one that this machine's apt uses, so nothing here names a host; set
# MAYFLY_DEBIAN_MIRROR where that one has no Debian 13. Everything is mounted in a namespace of its
# own, and every process in it ends with this script: nothing is left mounted or running.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$(realpath -m "$1")
jobs=$2

# shellcheck disable=SC2016  # apt and the shells inside expand these themselves
mirror() {
  apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 !~ /-/ { print $3; exit }'
}

if [ ! -e "$root/made" ]; then
  from=${MAYFLY_DEBIAN_MIRROR:-$(mirror)}
  [ -n "$from" ] || {
    echo "apt knows no Debian mirror here; set MAYFLY_DEBIAN_MIRROR." >&2
    exit 1
  }
  echo "Making $root"
  mkdir -p "$root"
  debootstrap --variant=minbase --include=git,ca-certificates trixie "$root" "$from" \
    >"$root.log" 2>&1 || {
    tail -n 20 "$root.log" >&2
    exit 1
  }
  touch "$root/made"
fi
# How this machine reaches the network.
cp --dereference /etc/resolv.conf /etc/hosts "$root/etc/"
apt-config dump | grep -E '^Acquire::https?::' >"$root/etc/apt/apt.conf.d/90-from-outside" || true

# A copy of the tree as it stands. What was built there stays, so a second run is short; a file that
# did not change keeps its time there, and one that did is newer than whatever was built from it.
rm -rf "$root/mayfly.new"
mkdir -p "$root/mayfly" "$root/mayfly.new"
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
  tar --create --null --files-from=- |
  tar --extract --touch --directory="$root/mayfly.new" --no-same-owner
(cd "$root/mayfly.new" && find . -type f -print0) |
  while IFS= read -r -d '' file; do
    if cmp -s "$root/mayfly.new/$file" "$root/mayfly/$file"; then
      touch --reference="$root/mayfly/$file" "$root/mayfly.new/$file"
    fi
  done
[ ! -d "$root/mayfly/build" ] || mv "$root/mayfly/build" "$root/mayfly.new/"
rm -rf "$root/mayfly"
mv "$root/mayfly.new" "$root/mayfly"

# shellcheck disable=SC2016
inside() {
  unshare --mount --pid --fork --kill-child bash -c '
    set -euo pipefail
    root=$1
    shift
    mount --make-rprivate /
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t tmpfs -o mode=755 dev "$root/dev"
    for device in null zero full random urandom tty; do
      touch "$root/dev/$device"
      mount --bind "/dev/$device" "$root/dev/$device"
    done
    mkdir "$root/dev/shm"
    mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
    ln -s /proc/self/fd "$root/dev/fd"
    exec chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
      "$@"' inside "$root" "$@"
}
environment=(MAYFLY_JOBS="$jobs")
for name in MAYFLY_KILLS http_proxy https_proxy no_proxy; do
  [ -z "${!name:-}" ] || environment+=("$name=${!name}")
done
# shellcheck disable=SC2016
inside "${environment[@]}" bash -c 'cd /mayfly && . /etc/os-release && echo "$PRETTY_NAME" && ./dev test'
