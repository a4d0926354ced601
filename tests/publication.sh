#!/usr/bin/env bash
# Whether Galaxy would take the collection: its importer, and the check of the documentation by which docs sites are built. They are in a
# virtual environment of their own, since they bring an ansible-core along. What has passed is not checked again until it changes.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=(galaxy-importer==0.4.44 antsibull-docs==2.28.0)

venv=$PWD/.venv/publication
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ "$(cat "$venv/tools" 2> /dev/null)" != "${tools[*]}" ]; then
    .venv/bin/python -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile "${tools[@]}"
    echo "${tools[*]}" > "$venv/tools"
fi

"$venv/bin/antsibull-changelog" lint  # antsibull-docs brings it

.venv/bin/ansible-galaxy collection build --output-path "$work" > "$work/log"
copy=$work/collections/ansible_collections/utmstack/ha
mkdir -p "$copy"
tar --extract --gzip --file "$work"/utmstack-ha-*.tar.gz --directory "$copy"
content=$(sha256sum < "$copy/FILES.json")
if [ "$(cat "$venv/passed" 2> /dev/null)" = "$content" ]; then
    echo "nothing has changed since it passed"
    exit
fi

unset ANSIBLE_CONFIG ANSIBLE_COLLECTIONS_PATH
export HOME=$work
cd "$work"
# ansible-lint is run by `make lint`, on the checkout.
echo "importer of Galaxy"
if ! GALAXY_IMPORTER_RUN_ANSIBLE_LINT=false PATH=$venv/bin:$PATH \
    "$venv/bin/python" -m galaxy_importer.main utmstack-ha-*.tar.gz > log 2>&1 || grep -q -E '^(ERROR|WARNING)|import failed' log; then
    cat log
    exit 1
fi

echo "antsibull-docs"
cd "$copy"
# With the collections that the virtual environment of the checkout has, since it asks for what this one depends on.
PATH=$(dirname "$venv")/bin:$PATH "$venv/bin/antsibull-docs" lint-collection-docs --plugin-docs .
echo "$content" > "$venv/passed"
