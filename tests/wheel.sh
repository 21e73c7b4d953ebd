#!/usr/bin/env bash
# The wheel that `make package` built works without the checkout: it finds its conf/, and begins a
# project that runs. Its libraries are those of the environment whose python is the first argument.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m venv "$scratch/wheel"
"$scratch/wheel/bin/pip" install --quiet --no-deps dist/*.whl
packages='import site; print(site.getsitepackages()[0])'
"$python" -c "$packages" > "$("$scratch/wheel/bin/python" -c "$packages")/base.pth"
mkdir "$scratch/empty"
cd "$scratch/empty"
"$scratch/wheel/bin/sweeps" show experiment=quickstart --hash | wc -l
"$scratch/wheel/bin/sweeps" init
"$scratch/wheel/bin/sweeps" run experiment=first
grep -q my_activation:softsign outputs/sweeps/*/report.html
