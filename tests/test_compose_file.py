"""docker-compose.yml without Docker: schema, references, open ports."""

import re
import subprocess
import sys
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

FILE = Path(__file__).parent.parent / "docker-compose.yml"
TEXT = FILE.read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
SECRET = re.compile("PASSWORD|SECRET|TOKEN")


def validated(path):
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path],
        capture_output=True,
        text=True,
        check=False,
    )


def is_pinned(image):
    """A tag or digest after the last slash, and not the moving one."""
    tag = re.search(r"[:@]([^/]+)$", image)
    return tag is not None and tag[1] != "latest"


def is_on_loopback(port):
    return isinstance(port, str) and port.startswith("127.0.0.1:")


def secrets_not_required(text):
    """Variables named as secrets that are not written ${NAME:?message}."""
    uses = re.findall(r"(?<!\$)\$(?:\{(\w+)([^}]*)\}|(\w+))", text)
    named = [(braced or bare, rest) for braced, rest, bare in uses]
    return {n for n, rest in named if SECRET.search(n) and not rest.startswith(":?")}


def test_it_validates_against_the_compose_specification():
    done = validated(FILE)
    assert done.returncode == 0, done.stdout


def test_a_misspelt_key_does_not_validate(tmp_path):
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(TEXT.replace("    restart:", "    restrat:"))
    assert validated(wrong).returncode != 0


@pytest.mark.parametrize("name", SERVICES)
def test_networks_volumes_and_dependencies_exist(name):
    service = SERVICES[name]
    assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or source.startswith(".")
    assert set(service.get("depends_on", [])) <= set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name):
    assert is_pinned(SERVICES[name]["image"])


@pytest.mark.parametrize(
    ("image", "pinned"),
    [("a/b:1.2", True), ("a@sha256:0f", True), ("a:latest", False), ("a", False), ("h:5/a", False)],
)
def test_the_pin_check_can_fail(image, pinned):
    assert is_pinned(image) is pinned


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_loopback(name):
    assert all(is_on_loopback(port) for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("port", ["5000:5000", "0.0.0.0:5000:5000", 5000, {"target": 5000}])
def test_the_loopback_check_can_fail(port):
    assert not is_on_loopback(port)


def test_every_secret_is_required_and_has_no_default():
    assert len({n for n in re.findall(r"\$\{(\w+)", TEXT) if SECRET.search(n)}) >= 4
    assert secrets_not_required(TEXT) == set()


@pytest.mark.parametrize(
    "text", ["${A_PASSWORD:-x}", "${A_PASSWORD-x}", "${A_PASSWORD}", "$A_PASSWORD"]
)
def test_the_secret_check_can_fail(text):
    assert secrets_not_required(text) == {"A_PASSWORD"}


STAYING = sorted(set(SERVICES) - {"sweeps"})


@pytest.mark.parametrize("name", STAYING)
def test_permanent_services_restart_and_have_a_health_check(name):
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")


@pytest.mark.parametrize("name", [n for n in SERVICES if n.startswith("ray-") or n == "sweeps"])
def test_every_node_has_the_token_the_shared_folder_and_room_for_rays_objects(name):
    service = SERVICES[name]
    assert service["environment"]["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" in service["environment"]
    assert service["volumes"] == ["sweep-data:/data"]
    assert service["shm_size"] == "2gb"
    assert service["image"] == SERVICES["ray-head"]["image"]


def test_gpu_workers_reserve_their_devices_and_start_only_when_asked_for():
    service = SERVICES["ray-gpu-worker"]
    assert service["profiles"] == ["gpu"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_all_data_is_on_named_volumes():
    kept = {v.split(":")[0] for s in SERVICES.values() for v in s.get("volumes", [])}
    assert kept == set(COMPOSE["volumes"])


def test_logins_are_mlflows_own_but_for_the_seconds_that_they_are_kept():
    ours, theirs = ConfigParser(), ConfigParser()
    ours.read(FILE.parent / "deploy/containers/mlflow_auth.ini")
    theirs.read(Path(find_spec("mlflow").origin).parent / "server/auth/basic_auth.ini")
    added = {"auth_cache_ttl_seconds": "60"}
    same = dict(theirs["mlflow"])
    assert same.pop("grant_default_workspace_access") == "false"  # MLflow's default
    assert dict(ours["mlflow"]) == same | added


def test_every_worker_has_limits_that_env_sets():
    """Two workers of one machine must not both count all of its CPUs."""
    workers = {name: body for name, body in SERVICES.items() if name.endswith("-worker")}
    assert set(workers) == {"ray-worker", "ray-gpu-worker"}
    for name, body in workers.items():
        prefix = name.upper().replace("-", "_")
        limits = body["cpus"], body["mem_limit"]
        assert limits == (f"${{{prefix}_CPUS:-0}}", f"${{{prefix}_MEMORY:-0}}")
