"""deploy/kubernetes/ without Kubernetes: schemas, references, secrets, what is published.

rayjob.schema.json is KubeRay's own (its first line says which), with unknown fields refused.
"""

import functools
import json
import re
import shlex
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from documents import steps
from kubernetes_validate import utils

from sweeps.config.request import request

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
KUBERNETES = "1.31"
RAYJOB = jsonschema.Draft7Validator(
    json.loads((Path(__file__).parent / "rayjob.schema.json").read_text())
)
TEXTS = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.yaml"))}
MANIFESTS = {
    f"{manifest['kind']} {manifest['metadata']['name']}": manifest
    for text in TEXTS.values()
    for manifest in yaml.safe_load_all(text)
}
JOB = MANIFESTS["RayJob sweep"]["spec"]
CLUSTER = JOB["rayClusterSpec"]
WORKERS = {group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}
# It reads them anew for each manifest.
utils.schema_contents = functools.cache(utils.schema_contents)
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
SECRETS = ("POSTGRES_PASSWORD", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_SECRET_KEY", "RAY_TOKEN")


def validate(manifest):
    """Raise unless a manifest has the fields of its kind, and no others."""
    if manifest["kind"] == "RayJob":
        for error in RAYJOB.iter_errors(manifest):
            raise error
    else:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def values(tree, key):
    """All values of a key, however deep."""
    if isinstance(tree, list):
        return [value for item in tree for value in values(item, key)]
    if not isinstance(tree, dict):
        return []
    matches = [tree[key]] if key in tree else []
    return matches + [value for item in tree.values() for value in values(item, key)]


def containers():
    """All containers by their names and their manifests'."""
    return [c for m in MANIFESTS.values() for group in values(m, "containers") for c in group]


def pods():
    """Specifications of all pods."""
    templates = [t for m in MANIFESTS.values() for t in values(m, "template")]
    return [template["spec"] for template in templates]


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_validates(name):
    validate(MANIFESTS[name])


# Their keys are the users' own: labels, amounts, options of Ray.
FREE = ("metadata", "matchLabels", "selector", "nodeSelector", "requests", "limits")
FREE += ("rayStartParams",)


def misspelt(tree):
    """Copies of a manifest, each with one key misspelt, at every depth."""
    if isinstance(tree, list):
        for k, item in enumerate(tree):
            yield from ([*tree[:k], wrong, *tree[k + 1 :]] for wrong in misspelt(item))
    if isinstance(tree, dict):
        for key, item in tree.items():
            yield {f"{k}x" if k == key else k: v for k, v in tree.items()}
            if key not in FREE:
                yield from (tree | {key: wrong} for wrong in misspelt(item))


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_misspelt_field_does_not_validate(name):
    wrongs = list(misspelt(MANIFESTS[name]["spec"]))
    assert wrongs
    for wrong in wrongs:
        with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
            validate(MANIFESTS[name] | {"spec": wrong})


def test_claims_and_secrets_exist():
    claims = {m["metadata"]["name"] for n, m in MANIFESTS.items() if "PersistentVolumeClaim" in n}
    assert {c for m in MANIFESTS.values() for c in values(m, "claimName")} == claims
    refs = [ref for m in MANIFESTS.values() for ref in values(m, "secretKeyRef")]
    assert {ref["name"] for ref in refs} == {"deq-sweeps"}
    # RAY_TOKEN is not used: KubeRay makes a token for each cluster.
    assert {ref["key"] for ref in refs} == set(SECRETS) - {"RAY_TOKEN"}


def made_env(folder):
    return subprocess.run(
        ["make", "-f", ROOT / "Makefile", "env"], cwd=folder, capture_output=True, check=False
    )


def test_make_env_writes_the_secrets_once_for_its_user_alone(tmp_path):
    assert made_env(tmp_path).returncode == 0
    path = tmp_path / ".env"
    secrets = dict(line.split("=") for line in path.read_text().splitlines())
    assert set(secrets) == set(SECRETS)
    assert len(set(secrets.values())) == len(SECRETS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert made_env(tmp_path).returncode != 0
    assert dict(line.split("=") for line in path.read_text().splitlines()) == secrets


def test_the_page_names_what_is_there():
    """kubectl itself is not run by any test."""
    page = steps((ROOT / "docs/how-to/cluster.md").read_text())
    lines = [shlex.split(step.text) for step in page if step.text.startswith(("kubectl", "sed"))]
    words = {word for line in lines for word in line}
    files = {word for word in words if word.endswith(".yaml")}
    assert files == {str(path.relative_to(ROOT)) for path in FOLDER.glob("*.yaml")}
    named = {word.partition("/") for word in words if re.match("(deployment|service)/", word)}
    assert {f"{kind.capitalize()} {name}" for kind, _, name in named} <= set(MANIFESTS)
    assert ["kubectl", "get", "rayjob", "sweep"] in lines
    assert ["kubectl", "create", "secret", "generic", "deq-sweeps", "--from-env-file=.env"] in lines
    (old,) = {re.match(r"s\|(.*?)\|", word)[1] for word in words if word.startswith("s|")}
    assert sum(text.count(f"{old}:") for text in TEXTS.values()) == 4


def test_services_and_policies_select_pods_that_exist():
    labels = [
        t["metadata"]["labels"]
        for m in MANIFESTS.values()
        for t in values(m, "template")
        if "metadata" in t
    ]
    selectors = [
        MANIFESTS[f"Service {name}"]["spec"]["selector"] for name in ("postgres", "mlflow")
    ]
    selectors += [s for m in MANIFESTS.values() for s in values(m, "matchLabels")]
    assert all(selector in labels for selector in selectors)
    assert len(selectors) >= 6


def test_nothing_is_published():
    services = [m["spec"] for name, m in MANIFESTS.items() if name.startswith("Service ")]
    assert [spec["type"] for spec in services] == ["ClusterIP"] * 2
    assert CLUSTER["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert not {n.split()[0] for n in MANIFESTS} & {"Ingress", "Gateway", "Route"}
    for key in ("hostPort", "hostNetwork", "nodePort", "hostPath", "externalIPs", "enableIngress"):
        assert not [v for m in MANIFESTS.values() for v in values(m, key)]


def secret_values(container):
    """Environment variables that are named as secrets and have their value in the manifest."""
    named = [
        e for e in container.get("env", []) if re.search("PASSWORD|SECRET|TOKEN|KEY", e["name"])
    ]
    return [e["name"] for e in named if set(e.get("valueFrom", e)) != {"secretKeyRef"}]


def test_no_secret_is_in_a_manifest_or_in_arguments():
    assert not any(name.startswith("Secret ") for name in MANIFESTS)
    assert [secret_values(c) for c in containers()] == [[] for _ in containers()]
    words = [w for c in containers() for key in ("command", "args") for w in c.get(key, [])]
    words += [
        JOB["entrypoint"],
        *(str(v) for m in MANIFESTS.values() for v in values(m, "command")),
    ]
    assert not [w for w in words if re.search(r"\$\(|_PASSWORD|_TOKEN|_SECRET", w)]
    assert secret_values({"env": [{"name": "A_PASSWORD", "value": "x"}]}) == ["A_PASSWORD"]


def test_ray_has_a_token_and_its_version_is_ours():
    assert CLUSTER["authOptions"] == {"mode": "token"}
    pins = (ROOT / "constraints.txt").read_text()
    assert f"ray=={CLUSTER['rayVersion']}\n" in pins


def test_pods_run_as_users_without_rights():
    for pod in pods():
        user = pod["securityContext"]
        assert user["runAsNonRoot"]
        assert user["runAsUser"] == user["fsGroup"]
        assert user["fsGroupChangePolicy"] == "OnRootMismatch"  # else each start walks the volume
        assert user["seccompProfile"] == {"type": "RuntimeDefault"}  # as restricted namespaces ask
        # Else a service named mlflow sets MLFLOW_PORT in every pod.
        assert pod["enableServiceLinks"] is False


def test_all_nodes_share_the_record_and_check_their_own_process():
    assert MANIFESTS["PersistentVolumeClaim sweep-data"]["spec"]["accessModes"] == ["ReadWriteMany"]
    for group in (CLUSTER["headGroupSpec"], *WORKERS.values()):
        (container,) = group["template"]["spec"]["containers"]
        assert container["volumeMounts"] == [{"name": "sweep-data", "mountPath": "/data"}]
        port = group["rayStartParams"].get("node-manager-port", "6379")
        for probe in ("readinessProbe", "livenessProbe"):
            words = ["python", "/app/deploy/node_health.py", f"localhost:{port}"]
            assert container[probe]["exec"]["command"] == words
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_a_job_that_ended_is_not_repeated_and_waits_for_nodes():
    """KubeRay would repeat exit codes 1, 2, 3 and 130 alike."""
    assert JOB["backoffLimit"] == 0
    assert "cluster.wait_seconds=900" in JOB["entrypoint"]


def test_groups_scale_and_the_gpu_group_has_its_nodes():
    assert CLUSTER["enableInTreeAutoscaling"]
    for group in WORKERS.values():
        assert group["minReplicas"] <= group["replicas"] < group["maxReplicas"]
    assert WORKERS["cpu"]["minReplicas"] >= 1  # a sweep that finds no node is refused
    pod = WORKERS["gpu"]["template"]["spec"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_images_files_and_mlflows_command_are_those_of_the_containers():
    images = {c["image"] for c in containers()}
    assert images == {COMPOSE[name]["image"] for name in ("postgres", "mlflow")}
    (mlflow,) = MANIFESTS["Deployment mlflow"]["spec"]["template"]["spec"]["containers"]
    assert mlflow["command"] + mlflow["args"] == COMPOSE["mlflow"]["command"]
    _, *probe = COMPOSE["mlflow"]["healthcheck"]["test"]
    for name in ("startupProbe", "readinessProbe"):
        assert mlflow[name]["exec"]["command"] == probe
    ours = {e["name"] for e in mlflow["env"]}
    assert ours == set(COMPOSE["mlflow"]["environment"])
    scripts = re.findall(r"/app/deploy/(\w+\.py)", "".join(TEXTS.values()))
    assert all((ROOT / "deploy" / "containers" / name).exists() for name in scripts)


def test_the_jobs_command_is_one_of_ours():
    command, verb, *overrides = shlex.split(JOB["entrypoint"])
    assert (command, verb) == ("sweeps", "run")
    assert request(overrides).launch.cluster.name == "ray"
