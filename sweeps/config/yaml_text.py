"""Writes and reads plain data as YAML, and finds the fault of a broken YAML file."""

from pathlib import Path
from typing import Any

import yaml
from yaml import MarkedYAMLError

# Errors of reading a YAML file.
YAML_ERRORS = (yaml.YAMLError, UnicodeDecodeError, RecursionError, OSError)
# The dumper of libyaml where PyYAML has it: four times as fast, with the same text.
_FAST = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_FAST):  # type: ignore[misc, valid-type]
    """Dumper that writes text of several lines as a block."""

    def represent_text(self, text: str) -> Any:
        """Text as a YAML scalar."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, "|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def to_yaml(plain: dict[str, Any], *, ascii_only: bool = True) -> str:
    """Plain data as YAML with keys in their order; non-ASCII letters escaped or as they are."""
    text: str = yaml.dump(plain, sort_keys=False, Dumper=_Dumper, allow_unicode=not ascii_only)
    return text


def from_yaml(text: str) -> dict[str, Any]:
    """Plain data from YAML that `to_yaml` wrote."""
    plain: dict[str, Any] = yaml.safe_load(text)
    return plain


def yaml_fault(path: Path) -> str:
    """Reason why a file is not a YAML mapping, with the line; empty if it is one, or is empty."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        return f"{line}{error.problem}"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return f"no YAML in UTF-8 ({' '.join(str(error).split())})"
    except OSError as error:
        return error.strerror or str(error)
    return "" if content is None or isinstance(content, dict) else "it holds no KEY: VALUE"
