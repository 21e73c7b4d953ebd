"""docker-compose.yml without an engine: its schema, its references, its exposure."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FILE = Path(__file__).parent.parent / "docker-compose.yml"
TEXT = FILE.read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]


def test_it_validates_against_the_compose_specification():
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", FILE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_everything_a_service_names_exists(name):
    service = SERVICES[name]
    assert set(service.get("networks", [])) <= set(COMPOSE["networks"])
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or source.startswith(".")
    assert set(service.get("depends_on", [])) <= set(SERVICES)
    assert re.search(r":\d", service["image"]), "an image is pinned by its tag"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_loopback(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_no_secret_has_a_default():
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|TOKEN)\w*)([^}]*)\}", TEXT)
    assert len(secrets) >= 4
    assert all(rest.startswith(":?") for _, rest in secrets)
