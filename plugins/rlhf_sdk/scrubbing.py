"""Keys and passwords, kept out of everything that is written: a name such as `[HF_TOKEN]` stands where one was.

Secret are the values of environment variables whose names say so, and text in the shape of a well-known token. What is
shorter than `SHORTEST_SECRET` characters can't be told from ordinary text and is left.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

SHORTEST_SECRET = 8
_LONGEST_SECRET = 4096
_BLOCK = 64 << 10
_SECRET_NAME = re.compile(
    r"(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|(?:^|_|API)KEY)$|^RLHF_NOTIFY$", re.IGNORECASE
)
_PARAMETERS = ("key", "api_key", "token", "access_token", "secret", "password", "sig", "signature")
_SHAPES = {
    "HF_TOKEN": r"hf_[A-Za-z0-9]{16,}",
    "ANTHROPIC_API_KEY": r"sk-ant-[A-Za-z0-9_-]{16,}",
    "API_KEY": r"sk-[A-Za-z0-9_-]{16,}",
    "GITHUB_TOKEN": r"(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{16,}",
    "GITLAB_TOKEN": r"glpat-[A-Za-z0-9_-]{16,}",
    "SLACK_TOKEN": r"xox[a-z]-[A-Za-z0-9-]{10,}",
    "AWS_ACCESS_KEY_ID": r"A[KS]IA[A-Z0-9]{16}",
    "WEBHOOK": r"(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/[A-Za-z0-9/_-]+",
    "PASSWORD": r"(?<=://)[^\s/:@]{0,64}:[^\s/]+(?=@)",
    "BEARER": r"(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,}=*",
    "PARAMETER": rf"(?:{'|'.join(f'(?<=[?&]{name}=)' for name in _PARAMETERS)})[^\s&#'\"]{{8,}}",
}
_NEEDLES = (
    *("hf_", "sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "AKIA", "ASIA"),
    *("://", "earer ", "hooks.slack", "discord", *(f"{name}=" for name in _PARAMETERS)),
)
"""What has none of these, and no known value, has no secret: a quick look before the careful one."""


class Scrubber:
    """Knows the secrets in `environment`, a mapping of variable names to values."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        named = {
            value: name
            for name, value in sorted(environment.items())
            if len(value) >= SHORTEST_SECRET and _SECRET_NAME.search(name)
        }
        self._named = dict(sorted(named.items(), key=lambda item: len(item[0]), reverse=True))
        self._needles = (*_NEEDLES, *self._named)
        shapes = "|".join(f"(?P<{name}>{shape})" for name, shape in _SHAPES.items())
        values = "|".join(re.escape(value) for value in self._named)
        pattern = f"(?<![A-Za-z0-9])(?:{shapes})"
        self._pattern = re.compile(f"{values}|{pattern}" if values else pattern)
        self._byte_needles = [os.fsencode(needle) for needle in self._needles]
        self._byte_pattern = re.compile(os.fsencode(self._pattern.pattern))

    def text(self, text: str) -> str:
        """`text` with a name in square brackets for each secret."""
        if len(text) < SHORTEST_SECRET or not any(needle in text for needle in self._needles):
            return text
        return self._pattern.sub(self._name_of, text)

    def _name_of(self, match: re.Match[str]) -> str:
        return f"[{match.lastgroup or self._named[match[0]]}]"

    def data(self, value: Any) -> Any:
        """Plain data with every string, keys of mappings included, as `text` gives it."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self.data(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(item) for item in value]
        return value

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where in `data` secrets begin and end."""
        if not any(needle in data for needle in self._byte_needles):
            return []
        return [match.span() for match in self._byte_pattern.finditer(data)]


@cache
def own_scrubber() -> Scrubber:
    """The scrubber of this process: knows the environment that it had at the first call."""
    return Scrubber(os.environ)


def scrub(value: Any) -> Any:
    """Plain data (a string too) without the secrets that this process knows of."""
    return own_scrubber().data(value)


def secret_places(value: Any, key: str = "") -> list[tuple[str, str]]:
    """(dotted key, what it is) of every string in plain data that holds a secret; the value is never told."""
    if isinstance(value, dict):
        return [found for name, item in value.items() for found in secret_places(item, f"{key}.{name}".lstrip("."))]
    if isinstance(value, list | tuple):
        return [found for index, item in enumerate(value) for found in secret_places(item, f"{key}.{index}")]
    scrubbed = scrub(value)
    return [(key, scrubbed)] if scrubbed != value else []


class Blotter:
    """Overwrites by stars, in place, the secrets that reach a growing file past the scrubbed streams.

    Nothing moves, so that whoever appends or follows is not disturbed.
    """

    def __init__(self, path: Path, scrubber: Scrubber) -> None:
        self._descriptor = os.open(path, os.O_RDWR)
        self._scrubber = scrubber
        self._seen = os.fstat(self._descriptor).st_size

    def blot(self) -> None:
        """Looks through what was added since the last time, or since this was made."""
        while new := os.pread(self._descriptor, _BLOCK, self._seen):
            start = max(0, self._seen - _LONGEST_SECRET)
            data = os.pread(self._descriptor, self._seen - start + len(new), start)
            for begin, end in self._scrubber.spans(data):
                os.pwrite(self._descriptor, b"*" * (end - begin), start + begin)
            self._seen += len(new)


class ScrubbedStream(io.TextIOWrapper):
    """Text that goes out without secrets; what is written to `buffer` or to the descriptor goes out as it is."""

    def write(self, text: str) -> int:
        super().write(scrub(text))
        return len(text)


def scrub_standard_streams() -> None:
    """From now on what this process prints, tracebacks included, is scrubbed."""
    for name in ("stdout", "stderr"):
        before = getattr(sys, name)
        stream = ScrubbedStream(before.detach(), encoding="utf-8", errors="backslashreplace", write_through=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
