"""conf/: where it lies, and the choices of its groups."""

from pathlib import Path


def conf_dir() -> Path:
    """conf/ as it ships in the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"


def groups() -> dict[str, list[str]]:
    """The choices of every group, both in the order of the alphabet."""
    folders = sorted(path for path in conf_dir().iterdir() if path.is_dir())
    return {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in folders}
