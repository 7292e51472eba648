"""Where the machines of a run meet, and by which of its addresses and interfaces this one is reached by the others."""

from __future__ import annotations

import ipaddress
import socket

from rlhf_sdk.trainer import UserError

REACH_SECONDS = 2.0
INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def check_meeting(rendezvous: str) -> None:
    """Raises `UserError` where others could not meet this machine at `rendezvous`."""
    host, port = _parts(rendezvous)
    if not host or not 0 < port < 65536:
        raise UserError(f"--rdzv {rendezvous}: say host and port, such as 10.0.0.1:29400")
    try:
        address = str(socket.getaddrinfo(host, port, proto=socket.IPPROTO_TCP)[0][4][0])
    except OSError as error:
        raise UserError(f"--rdzv {rendezvous}: host {host!r} is not known here: {error}") from None
    if ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        raise UserError(
            f"--rdzv {rendezvous}: {host!r} is {address} here, which no other machine reaches; give an address"
        )
    if address not in _interfaces():
        raise UserError(
            f"--rdzv {rendezvous}: {address} is no address of this machine ({socket.gethostname()}); machines meet"
            f" on the one that starts the run, which has {', '.join(_reachable()) or 'none but its own loopback'}"
        )


def own_address(rendezvous: str) -> str:
    """This machine's address on the way to `rendezvous`; nothing is sent. "" where there is no way."""
    host, port = _parts(rendezvous)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as way:
            way.connect(place)
            return str(way.getsockname()[0])
    except OSError:
        return ""


def reachable(rendezvous: str) -> bool:
    """Whether somebody listens at `rendezvous`, as far as can be told from here within a moment."""
    try:
        with socket.create_connection(_parts(rendezvous), timeout=REACH_SECONDS):
            return True
    except OSError:
        return False


def interface_variables(rendezvous: str) -> dict[str, str]:
    """What tells gloo and NCCL to speak over the interface on the way to `rendezvous`: gloo would take the one that
    this machine's name stands for, which is often loopback."""
    interface = _interfaces().get(own_address(rendezvous))
    return dict.fromkeys(INTERFACE_VARIABLES, interface) if interface else {}


def _parts(rendezvous: str) -> tuple[str, int]:
    host, _, port = rendezvous.rpartition(":")
    return host.strip("[]"), int(port) if port.isdecimal() else 0


def _interfaces() -> dict[str, str]:
    """Names by address."""
    found = {}
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        for address in addresses:
            if address.family in (socket.AF_INET, socket.AF_INET6):
                found[address.address.partition("%")[0]] = name
    return found


def _reachable() -> list[str]:
    return sorted(a for a in _interfaces() if not (ip := ipaddress.ip_address(a)).is_loopback and not ip.is_link_local)
