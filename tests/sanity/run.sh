#!/usr/bin/env bash
# Runs ansible-test sanity without containers: on a copy in the directory layout that ansible-test insists on, with the
# Python of the virtual environment, or of another one (SANITY_VENV). What ansible-test installs for itself stays below it too.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip=(
    shebang     # allows `env python` at most, and Debian's hosts have no command of that name
    pslint      # checks PowerShell, of which there is none
    shellcheck  # needs a binary that is no Python package; the scripts here are few and short
)

venv=${SANITY_VENV:-$PWD/.venv}
python=$venv/bin/python
[ -x "$python" ] || python=$(command -v python3)
home=${SANITY_HOME:-$venv/sanity}

# ansible-test fetches a script that installs pip from its makers' server. Python brings pip along, so that isn't needed.
pip=$("$python" -c 'import sys, types
from ansible_test._internal.python_requirements import get_venv_packages
python = types.SimpleNamespace(version=".".join(map(str, sys.version_info[:2])))
print(get_venv_packages(python)["pip"].replace(".", "_"))')
mkdir -p "$home/.ansible/test/cache"
echo 'import ensurepip; ensurepip.bootstrap()' > "$home/.ansible/test/cache/get_pip_$pip.py"

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
collection=$copy/ansible_collections/utmstack/ha
mkdir -p "$collection"
# The links that make a checkout work as a collection would lead back into it.
git ls-files -z --cached --others --exclude-standard | grep -zv -e '^collections/' -e '^playbooks/collections$' |
    while IFS= read -r -d '' file; do if [ -e "$file" ]; then printf '%s\0' "$file"; fi; done |
    tar --create --null --files-from=- | tar --extract --directory="$collection"

cd "$collection"
unset ANSIBLE_CONFIG ANSIBLE_COLLECTIONS_PATH
# Every Python on the path is tried, so the path is short: names that do not work, as pyenv's, would stop it.
bin=$(dirname "$python")
HOME=$home PATH=$bin:/usr/bin:/bin "$bin/ansible-test" sanity --python default --color no "${skip[@]/#/--skip-test=}" "$@"
