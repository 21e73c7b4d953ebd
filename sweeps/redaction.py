"""Masks secrets in texts: passwords in addresses, and secrets of this process's environment."""

import functools
import os
import re
import urllib.parse

MASK = "***"
# Names of variables that contain a secret, and (next) of those that name the secret's file.
_SECRET = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|(^|_)(PGPASS|SECRET|TOKEN|CREDENTIALS?|KEY|KEY_ID)(_|$)",
    re.IGNORECASE,
)
_PLACE = re.compile(r"(PATH|FILE|DIR|MODE|URI|URL)$", re.IGNORECASE)
# Shorter values could be ordinary words.
_LEAST = 6


def without_secrets(text: str) -> str:
    """Text without `user:password@` in addresses and with this process's secrets masked.

    Secrets are the values of environment variables whose name says so, and the passwords in
    addresses in the environment.
    """
    text = re.sub(r"://[^\s'\"<>]*@", "://", text)
    pattern = _secrets(tuple(sorted(_values())))
    return pattern.sub(MASK, text) if pattern else text


def _values() -> set[str]:
    values = set()
    for name, value in os.environ.items():
        if _SECRET.search(name) and not _PLACE.search(name):
            values.add(value)
        values |= {match[1] for match in re.finditer(r"://[^\s/@:]*:([^\s@]+)@", value)}
    return {value for value in values if len(value) >= _LEAST}


@functools.cache
def _secrets(values: tuple[str, ...]) -> re.Pattern[str] | None:
    """Pattern of all forms of the values: as they are, URL-quoted, unquoted; None without any."""
    forms = {
        form for v in values for form in (v, urllib.parse.quote(v, ""), urllib.parse.unquote(v))
    }
    longest = sorted(forms, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest))) if longest else None
