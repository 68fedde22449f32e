"""Checks what must be true before anything is started: one clear line each for what is not."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import sys
from pathlib import Path

import psutil

# vLLM with the embedded model and 2 GiB of cache takes 5.4 GiB, a training run 1.9, the page 0.3 (measured).
_MEMORY_GIB, _DISK_GIB = 8.0, 3.0


def complaints(data_dir: Path, host: str, port: int, own_server: bool) -> list[str]:
    """Everything that would stop the app later, said now."""
    found = []
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        found.append(
            f"Python {sys.version.split()[0]} is not supported. Install Python 3.11 or 3.12, then: make run"
        )
    if not _is_free(host, port):
        found.append(
            f"Port {port} on {host} is taken. Stop what uses it, or choose another: --port {port + 1}"
        )
    if own_server and not (shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")):
        found.append("There is no C compiler, which vLLM needs. Install one: apt-get install gcc")
    memory = psutil.virtual_memory().available / 2**30
    if own_server and memory < _MEMORY_GIB:
        found.append(
            f"{memory:.1f} GiB of memory are free; {_MEMORY_GIB:g} GiB are needed. Close something, or use --vllm-url."
        )
    disk = shutil.disk_usage(data_dir).free / 2**30
    if disk < _DISK_GIB:
        found.append(
            f"{disk:.1f} GiB of disk are free in {data_dir}; {_DISK_GIB:g} GiB are needed. Choose another --data-dir."
        )
    return found


def unguarded(host: str, has_admin: bool, data_dir: Path) -> str | None:
    """Why the page may not listen there: others would reach it, and nobody has to sign in."""
    if has_admin or is_loopback(host):
        return None
    return (
        f"--host {host} would open the page to others, and there is nobody yet who could sign in. Add an admin: "
        f"python -m store user add NAME --role admin --data-dir {data_dir}; or use --host 127.0.0.1."
    )


def is_loopback(host: str) -> bool:
    """Whether this machine alone reaches that address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True
