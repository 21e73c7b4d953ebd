"""Trial configs as they were stored, here or elsewhere: read without importing what they name."""

import json
from typing import Any

from sweeps.config.hashing import canonical
from sweeps.config.nested import flatten
from sweeps.config.request import trial_from_plain, trial_to_plain
from sweeps.errors import ConfigError

# What names an own activation.
OWN = ("activation", "activation_sha256")
KEPT = (*OWN, "allow_ill_posed")


def canonical_of(plain: dict[str, Any]) -> dict[str, Any]:
    """The canonical form of a stored trial config; its own activation is not imported for it.

    Raises:
        ConfigError: this version knows no such config.
    """
    rest, own = _without_own(plain)
    found: dict[str, Any] = canonical(trial_from_plain(rest))
    return found | {"model": found["model"] | own}


def with_defaults(plain: dict[str, Any]) -> dict[str, Any]:
    """A stored trial config with every key, those that are absent at their defaults.

    Raises:
        ConfigError: `trial_to_plain` would write a value otherwise ('16' for 16), naming it;
            or this version knows no such config.
    """
    rest, _ = _without_own(plain)
    whole = trial_to_plain(trial_from_plain(rest))
    typed = flatten(whole)
    for key, value in flatten(rest).items():
        if json.dumps(value) != json.dumps(typed[key]):
            raise ConfigError(f"{key}={value!r} is not written as a config has it")
    model = plain.get("model", {})
    kept = {"allow_ill_posed": False} | {key: model[key] for key in KEPT if key in model}
    return whole | {"model": whole["model"] | kept}


def _without_own(plain: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A config with a built-in in the place of its own activation, and what that is."""
    model = plain.get("model")
    if not isinstance(model, dict) or ":" not in str(model.get("activation")):
        return plain, {}
    own = {key: str(model[key]) for key in OWN if model.get(key)}
    rest = {key: value for key, value in model.items() if key not in OWN}
    # Whether it is well posed depends on the activation, and was checked when it was composed.
    return plain | {"model": rest | {"allow_ill_posed": True}}, own
