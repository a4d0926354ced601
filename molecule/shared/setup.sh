#!/usr/bin/env bash
# setup.sh machine | bench | s3 | venv: installs what this checkout needs and the machine lacks.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo > /dev/null; then sudo "$@"
    else fail "root rights are needed for: $* -- run make as root, or install sudo."
    fi
}

# install PACKAGE…: by apt on Debian and its kin; elsewhere the user has to.
install() {
    local kin
    kin=$(sed -n 's/^ID\(_LIKE\)\?=//p' /etc/os-release 2> /dev/null | tr -d '"' | tr '\n' ' ')
    [[ " $kin" == *" debian "* ]] || fail "this is not Debian. Install yourself what Debian calls: $*"
    echo "    apt-get install $*"
    as_root apt-get -qq -o Acquire::Retries=3 update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 install --yes --no-install-recommends "$@" > /dev/null
}

# The lab: containers, a system to put into them, the ways in.
machine() {
    local missing=() name package
    # HAProxy for the unit tests of its configuration, a browser for that of the drill's report, javac for the lab's plugin of
    # Elasticsearch, age for what the controller seals, rclone for the unit tests of remote copies.
    local -A package_of=([age]=age [chromium-headless-shell]=chromium-headless-shell [haproxy]=haproxy [javac]=default-jdk-headless [mmdebstrap]=mmdebstrap [ssh]=openssh-client [ip]=iproute2 [sysctl]=procps [psql]=postgresql-client [rclone]=rclone)
    for name in "${!package_of[@]}"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$name" > /dev/null || missing+=("${package_of[$name]}")
    done
    if ! PATH=$PATH:/usr/sbin:/sbin command -v dockerd > /dev/null; then missing+=(docker.io); fi
    # Since Debian 13 the client is a package of its own.
    if ! command -v docker > /dev/null; then
        package=docker.io
        if [ "$(. /etc/os-release; echo "${VERSION_ID:-0}" | cut -d. -f1)" -ge 13 ]; then package=docker-cli; fi
        missing+=("$package")
    fi
    # The lab's library for machines with a low limit on open files, see nofile.c.
    if [ "$(ulimit -Hn)" != unlimited ] && [ "$(ulimit -Hn)" -lt 65535 ] && ! command -v cc > /dev/null; then
        missing+=(gcc libc6-dev)
    fi
    [ ${#missing[@]} -eq 0 ] || install "${missing[@]}"
}

# What make bench measures with. Debian has pgbench in the package of PostgreSQL's server, which would start one: only that file is taken.
bench() {
    local package work pgbench=.lab/cache/pgbench
    command -v redis-benchmark > /dev/null || install redis-tools
    if "$pgbench" --version > /dev/null 2>&1; then return; fi
    mkdir -p .lab/cache
    if pgbench --version > /dev/null 2>&1; then ln -sf "$(command -v pgbench)" "$pgbench"; return; fi
    command -v apt-get > /dev/null || fail "this is not Debian. Install pgbench yourself, on the path."
    as_root apt-get -qq -o Acquire::Retries=3 update
    package=$(apt-cache depends postgresql | sed -n 's/^ *Depends: \(postgresql-[0-9]*\)$/\1/p')
    echo "    pgbench from $package"
    work=$(mktemp -d)
    (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$package" && dpkg-deb --extract ./*.deb .)
    mv "$work"/usr/lib/postgresql/*/bin/pgbench "$pgbench"
    rm -r "$work"
}

# An S3-compatible server for the lab's backup host, which no Debian has: versitygw, a Go module. It wants Go 1.25. Any Go since 1.21 fetches that by
# itself, as a module; Debian has one since 13.
s3() {
    local version=v1.8.0 server work
    server=$PWD/.lab/cache/versitygw-$version
    if [ -x "$server" ]; then return; fi
    if ! command -v go > /dev/null; then
        [ "$(. /etc/os-release; echo "${VERSION_ID:-0}" | cut -d. -f1)" -ge 13 ] || fail "Go 1.21 or newer is needed on the path; this Debian's is older."
        install golang-go
    fi
    echo "    versitygw $version, by $(go version)"
    mkdir -p .lab/cache
    work=$(mktemp -d)
    # Without cgo it runs on each Debian, whichever this machine is.
    GOBIN=$work CGO_ENABLED=0 GOTOOLCHAIN=auto go install "github.com/versity/versitygw/cmd/versitygw@$version"
    mv "$work/versitygw" "$server"
    rm -r "$work"
}

# A name can be on the path and not work, as pyenv's do for versions that are not chosen: so each is tried.
works() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1
}

find_python() {
    local name path
    if [ -n "${PYTHON:-}" ]; then
        works "$PYTHON" || fail "PYTHON=$PYTHON does not run, or is older than Python 3.11."
        command -v "$PYTHON"
        return
    fi
    for name in python3.13 python3.14 python3.12 python3.11 python3; do
        for path in $(type -aP "$name"); do
            # Not the environment's own, else a second run would make it anew.
            if [[ $path != "$PWD/.venv/"* ]] && works "$path"; then echo "$path"; return; fi
        done
    done
    fail "no Python 3.11 or newer on the path. On Debian 12 and newer: apt-get install python3 python3-venv."
}

venv() {
    local python stamp=.venv/.made-from wanted
    python=$(find_python)
    wanted=$(echo "$python" && "$python" --version && cat requirements.txt requirements-dev.txt)
    if [ "$(cat $stamp 2> /dev/null)" = "$wanted" ]; then return; fi
    if ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then install python3-venv "$(basename "$(readlink -f "$python")")-venv"; fi
    echo "    $("$python" --version) from $python"
    "$python" -m venv --clear .venv
    # Compiling is left to the first use: most of the packages' modules have none.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement requirements-dev.txt
    echo "$wanted" > $stamp
}

case ${1:-} in
    machine | bench | s3 | venv) "$1" ;;
    *) fail "usage: setup.sh machine | bench | s3 | venv" ;;
esac
