"""Stored trial configs, ours or a colleague's: read without importing custom activations."""

import json
from typing import Any

from sweeps.config.hashing import canonical
from sweeps.config.nested import flatten
from sweeps.config.request import trial_from_plain, trial_to_plain
from sweeps.errors import ConfigError

# Keys of a custom activation, and keys that are kept as they were stored.
CUSTOM = ("activation", "activation_sha256")
KEPT = (*CUSTOM, "allow_ill_posed")


def canonical_of(plain: dict[str, Any]) -> dict[str, Any]:
    """Canonical form of a stored trial config.

    Raises:
        ConfigError: it is not a config of this version.
    """
    rest, custom = _without_custom(plain)
    form: dict[str, Any] = canonical(trial_from_plain(rest))
    return form | {"model": form["model"] | custom}


def with_defaults(plain: dict[str, Any]) -> dict[str, Any]:
    """A stored trial config, completed with the defaults of the keys it lacks.

    Raises:
        ConfigError: it is not a config of this version, or has a value in another form than
            `trial_to_plain` writes ('16' for 16).
    """
    rest, _ = _without_custom(plain)
    whole = trial_to_plain(trial_from_plain(rest))
    typed = flatten(whole)
    for key, value in flatten(rest).items():
        if json.dumps(value) != json.dumps(typed[key]):
            raise ConfigError(f"{key}={value!r} is not written as a config has it")
    model = plain.get("model", {})
    kept = {"allow_ill_posed": False} | {key: model[key] for key in KEPT if key in model}
    return whole | {"model": whole["model"] | kept}


def _without_custom(plain: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a config with a custom activation.

    Returns:
        The config without it, which has the default activation, and the activation's keys.
    """
    model = plain.get("model")
    if not isinstance(model, dict) or ":" not in str(model.get("activation")):
        return plain, {}
    custom = {key: str(model[key]) for key in CUSTOM if model.get(key)}
    rest = {key: value for key, value in model.items() if key not in CUSTOM}
    # Well-posedness depends on the activation and was checked when the trial was composed.
    return plain | {"model": rest | {"allow_ill_posed": True}}, custom
