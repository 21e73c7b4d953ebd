"""What must be written nowhere: passwords in addresses, secrets in this process's environment."""

import functools
import os
import re
import urllib.parse

MASK = "***"
# The name of a variable that holds a secret itself, and not the file it is in.
_SECRET = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|(^|_)(PGPASS|SECRET|TOKEN|CREDENTIALS?|KEY|KEY_ID)(_|$)",
    re.IGNORECASE,
)
_PLACE = re.compile(r"(PATH|FILE|DIR|MODE|URI|URL)$", re.IGNORECASE)
# What is shorter could be any word.
_LEAST = 6


def without_secrets(text: str) -> str:
    """Text with `user:password@` taken out of every address, and this process's secrets masked.

    Secrets are the values of environment variables named as such, and the passwords of
    addresses in the environment.
    """
    text = re.sub(r"://[^\s'\"<>]*@", "://", text)
    pattern = _secrets(tuple(sorted(_values())))
    return pattern.sub(MASK, text) if pattern else text


def _values() -> set[str]:
    found = set()
    for name, value in os.environ.items():
        if _SECRET.search(name) and not _PLACE.search(name):
            found.add(value)
        found |= {match[1] for match in re.finditer(r"://[^\s/@:]*:([^\s@]+)@", value)}
    return {value for value in found if len(value) >= _LEAST}


@functools.cache
def _secrets(values: tuple[str, ...]) -> re.Pattern[str] | None:
    """All ways in which a value may stand in a text: as it is, quoted, unquoted."""
    ways = {way for v in values for way in (v, urllib.parse.quote(v, ""), urllib.parse.unquote(v))}
    longest = sorted(ways, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest))) if longest else None
