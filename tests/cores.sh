#!/usr/bin/env bash
# cores.sh [CORE|CORE-PYTHON…]: unit and sanity tests on each ansible-core that is maintained, with the Pythons that this machine has. Each
# pair has a virtual environment below .venv-cores, with the newest patch release. What there is no Python for is told and passed over.
set -euo pipefail
cd "$(dirname "$0")/.."

# ansible-core, the ansible package with its collections, and the Pythons to try it with. 2.19 is Debian 13's, which brings it along.
pairs=(
    "2.19 12 3.11"
    "2.20 13 3.12"
    "2.21 14 3.12 3.13"
    "2.22 15 3.13 3.14"
)
# 2.22 joins them when it is released; until then it has to be named.
wanted=" ${*:-2.19 2.20 2.21} "
failed=() passed=() absent=()

find_python() {
    local path
    for path in $(type -aP "python$1") "$HOME/.pyenv/versions/$1".*/bin/python; do
        # A name can be on the path and not work, as pyenv's do for versions that are not chosen.
        if "$path" -c "import ensurepip, venv, sys; sys.exit(sys.version_info[:2] != tuple(map(int, '$1'.split('.'))))" 2> /dev/null; then
            echo "$path"
            return
        fi
    done
    return 1
}

# make_venv DIRECTORY PYTHON CORE ANSIBLE. Before a core is released, its candidates are taken.
make_venv() {
    local install packages=("ansible-core==$3.*" "ansible==$4.*")
    mapfile -t -O 2 packages < <(grep -hE '^(cryptography|netaddr|pyrage)==' requirements.txt; grep -vE '^(#|-r|ansible|molecule|ruff|yamllint)' requirements-dev.txt)
    "$2" -m venv --clear "$1"
    install=("$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile)
    "${install[@]}" "${packages[@]}" 2> /dev/null || "${install[@]}" --pre "${packages[@]}"
    touch "$1/made"
}

for pair in "${pairs[@]}"; do
    read -r core ansible pythons <<< "$pair"
    for version in $pythons; do
        [[ $wanted == *" $core "* || $wanted == *" $core-$version "* ]] || continue
        name="ansible-core $core, Python $version"
        if ! python=$(find_python "$version"); then
            absent+=("$name")
            continue
        fi
        venv=$PWD/.venv-cores/$core-$version
        echo "==> $name"
        if { [ -e "$venv/made" ] || make_venv "$venv" "$python" "$core" "$ansible"; } &&
            env -u ANSIBLE_CONFIG -u ANSIBLE_COLLECTIONS_PATH PATH="$venv/bin:$PATH" "$venv/bin/python" -m pytest -q tests/unit &&
            SANITY_VENV=$venv tests/sanity/run.sh; then
            passed+=("$name")
        else
            failed+=("$name")
        fi
    done
done

[ ${#passed[@]} -eq 0 ] || printf 'passed: %s\n' "${passed[@]}"
[ ${#absent[@]} -eq 0 ] || printf 'no such Python here: %s\n' "${absent[@]}"
[ ${#failed[@]} -eq 0 ] || { printf 'FAILED: %s\n' "${failed[@]}"; exit 1; }
