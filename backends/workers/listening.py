"""Find the processes behind an address on this machine: whose memory and CPU a server has that was not started here."""

from __future__ import annotations

from urllib.parse import urlsplit

import psutil


def listeners(url: str) -> tuple[int, ...]:
    """Processes that listen at a loopback URL; none for another host, or where we may not look."""
    place = urlsplit(url)
    if place.hostname not in ("127.0.0.1", "localhost", "::1"):
        return ()
    port = place.port or (443 if place.scheme == "https" else 80)
    try:
        found = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return ()
    listening = [c for c in found if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
    return tuple({c.pid for c in listening if c.pid})
