#!/bin/bash
# Runs a command beside a SLURM of its own on this machine: one controller and two nodes, on
# loopback, without systemd, cgroups or root. SLURM ends with the command, after its jobs.
#   slurm-here.sh COMMAND...      COMMAND finds sbatch, srun, squeue; SLURM_CONF names the cluster
# Debian: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
# Each node has 2 CPUs and 2 GPUs on paper: jobs that ask for GPUs are scheduled, and find none.
set -euo pipefail
export PATH=$PATH:/usr/sbin
for tool in munged slurmctld slurmd sbatch; do
    command -v "$tool" > /dev/null || { echo "slurm-here: no $tool (see the head of this file)" >&2; exit 2; }
done

here=$(mktemp -d /tmp/slurm-here.XXXXXX) # short: a socket's path has 107 bytes
chmod 755 "$here"
mkdir "$here"/{run,log,state,spool,spool/n1,spool/n2}
host=$(hostname -s)
address=$(getent ahostsv4 "$host" | awk '{print $1; exit}')
case $address in
    127.*) ;;
    *) echo "slurm-here: $host has the address ${address:-none}, not one of loopback: put \"127.0.0.1 $host\" first in /etc/hosts" >&2; exit 2 ;;
esac
read -r control first second < <(python3 - <<'PY'
import socket
sockets = [socket.socket() for _ in range(3)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PY
)
(umask 077; head -c 128 /dev/urandom > "$here/munge.key")
cat > "$here/slurm.conf" <<CONF
ClusterName=here
SlurmctldHost=$host($address)
SlurmctldPort=$control
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
# A job that was requeued waits until its credential has expired: 120 s by default.
AuthInfo=socket=$here/run/munge.socket,cred_expire=${SLURM_HERE_EXPIRE:-10}
# Listen on what the host name resolves to (NodeAddr must be that), not on every address.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool/%n
SlurmctldPidFile=$here/run/slurmctld.pid
SlurmdPidFile=$here/run/%n.pid
SlurmctldLogFile=$here/log/slurmctld.log
SlurmdLogFile=$here/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
# More CPUs than the machine may have.
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=15
MinJobAge=3600
GresTypes=gpu
NodeName=n1 NodeHostname=$host NodeAddr=$address Port=$first CPUs=2 RealMemory=4000 Gres=gpu:2
NodeName=n2 NodeHostname=$host NodeAddr=$address Port=$second CPUs=2 RealMemory=4000 Gres=gpu:2
PartitionName=here Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
# Named, since slurmd looks for a mounted one otherwise, and ends where there is none. Not used.
echo CgroupPlugin=cgroup/v1 > "$here/cgroup.conf"
touch "$here"/gpu{0,1}
echo "Name=gpu File=$here/gpu[0-1]" > "$here/gres.conf"
export SLURM_CONF=$here/slurm.conf

pids=()
down() {
    trap '' INT TERM
    if [ ${#pids[@]} -gt 1 ] && kill -0 "${pids[1]}" 2> /dev/null; then # else its clients wait long
        scancel --user="$(id -un)" 2> /dev/null || true
        for _ in $(seq 40); do [ -n "$(squeue -h 2> /dev/null)" ] || break; sleep 0.5; done
    fi
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill "${pids[i]}" 2> /dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2> /dev/null || true; done
    if [ -n "${SLURM_HERE_LOGS:-}" ]; then mkdir -p "$SLURM_HERE_LOGS"; cp -r "$here/log" "$here/slurm.conf" "$SLURM_HERE_LOGS"; fi
    rm -rf "$here"
}
trap down EXIT
trap 'exit 130' INT TERM

munged --foreground --socket="$here/run/munge.socket" --key-file="$here/munge.key" \
    --log-file="$here/log/munged.log" --pid-file="$here/run/munged.pid" \
    --seed-file="$here/run/munged.seed" > "$here/log/munged.out" 2>&1 &
pids+=($!)
for _ in $(seq 50); do [ -S "$here/run/munge.socket" ] && break; sleep 0.1; done
slurmctld -D -f "$SLURM_CONF" > "$here/log/slurmctld.out" 2>&1 &
pids+=($!)
for node in n1 n2; do
    slurmd -D -N "$node" -f "$SLURM_CONF" > "$here/log/$node.out" 2>&1 &
    pids+=($!)
done
failed() { echo "slurm-here: it did not start" >&2; tail -n 3 -q "$here"/log/*.out >&2; exit 1; }
up() { [ "$(sinfo -h -N -t idle -o %N 2> /dev/null | sort -u | wc -l)" = 2 ]; }
for _ in $(seq 60); do
    for pid in "${pids[@]}"; do kill -0 "$pid" 2> /dev/null || failed; done
    ! up || break
    sleep 0.25
done
up || failed
"$@"
