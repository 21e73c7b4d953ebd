"""Short texts for messages: counts, bytes, percentages, errors."""

from sweeps.redaction import without_secrets


def one_line(error: BaseException) -> str:
    """Type and text of an error, in one line and without secrets."""
    return without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))


def format_bytes(count: float) -> str:
    """A number of bytes with three digits and a unit, e.g. "1.5 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def count_noun(count: int, noun: str) -> str:
    """A count with its noun: "1 trial", "2 trials"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def percent(value: float) -> str:
    """A percentage with two significant digits, and never as a power of ten."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
