#!/bin/sh
# One command of `sweeps`. A driver joins Ray through a node on its own machine: a command that
# trains or looks at the cluster gets one without CPUs; the others start no Ray.
set -eu
case ${1:-} in
run | resume | verify | doctor)
    ray start --address="$RAY_ADDRESS" --num-cpus=0 --object-store-memory="$RAY_OBJECT_STORE" \
        > /dev/null
    ;;
esac
exec sweeps "$@"
