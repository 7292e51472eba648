"""Two "machines" on this one: network namespaces with own names and addresses, and a cable that can be cut."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

IP = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin") or ""
HOLD = "hostname {name} && echo ready && exec sleep infinity"


@dataclass(frozen=True)
class Machine:
    """A process holds its namespaces for as long as it lives."""

    name: str
    address: str
    holder: subprocess.Popen[str]

    def inside(self, *command: str) -> list[str]:
        """`command`, as it is run on this machine."""
        namespaces = ["--user", "--net", "--uts", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.holder.pid), *namespaces, *command]

    def ip(self, *words: str) -> None:
        subprocess.run(self.inside(IP, *words), check=True, capture_output=True)

    def cable(self, state: str) -> None:
        """`up` or `down`."""
        self.ip("link", "set", self.name, state)


@contextmanager
def two_machines(first: str, second: str) -> Iterator[tuple[Machine, Machine]]:
    """Machines with these IPv4 addresses, of one network of 256.

    Raises OSError or CalledProcessError where this user may not have any, or has not the tools.
    """
    holders: list[subprocess.Popen[str]] = []
    try:
        a = Machine("alpha", first, _hold(holders, [], ["--user", "--map-root-user"], "alpha"))
        b = Machine("beta", second, _hold(holders, a.inside(), [], "beta"))
        a.ip("link", "add", a.name, "type", "veth", "peer", "name", b.name)
        a.ip("link", "set", b.name, "netns", str(b.holder.pid))
        for machine in (a, b):
            machine.ip("address", "add", f"{machine.address}/24", "dev", machine.name)
            machine.ip("link", "set", "lo", "up")
            machine.cable("up")
        yield a, b
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def _hold(
    holders: list[subprocess.Popen[str]], inside: Sequence[str], mapped: Sequence[str], name: str
) -> subprocess.Popen[str]:
    command = [*inside, "unshare", *mapped, "--net", "--uts", "sh", "-c", HOLD.format(name=name)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    holders.append(holder)
    assert holder.stdout is not None, "a pipe"
    if holder.stdout.readline().strip() != "ready":
        raise OSError("no namespaces may be made here")
    return holder
