"""What is found and checked before anything is started: the model's directory, the address, and this machine."""

import ctypes
import errno
import ipaddress
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

EMBEDDED = "SmolLM2-135M-Instruct"
_CHECK = "model.json"  # in the data directory
_CONTEXT = 4096  # tokens, where a model says nothing
_CONTEXT_NAMES = [
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
]
# vLLM with the embedded model and 2 GiB of cache takes 5.4 GiB, a training run 1.9, the page 0.3 (measured).
_MEMORY_GIB, _DISK_GIB = 8.0, 3.0
_SHARED_MIB = 32  # vLLM puts 21 there (measured); Docker gives 64
_CGROUP = Path("/sys/fs/cgroup")


class ModelNotFound(Exception):
    """There is no such model; the message says what was looked for and what to do."""


def resolve(model: str | None, data_dir: Path) -> Path:
    """The model's directory; converts the embedded model or downloads from the hub the first time."""
    if model is None:
        return _embedded(data_dir / "models" / EMBEDDED)
    path = Path(model)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ModelNotFound(
                f"{path} holds no config.json, so it is no model directory in the transformers format."
            )
        return path.resolve()
    if path.exists() or model.startswith((".", "/")) or model.count("/") != 1:
        raise ModelNotFound(f"{model!r} is neither a directory nor a hub id such as owner/name.")
    return _download(model)


def context_length(model_dir: Path) -> int:
    """Tokens that a request may hold in all, by the model's own word; a server says later how many it has room for."""
    path = model_dir / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config = {**(config.get("text_config") or {}), **config}
        return int(next((config[name] for name in _CONTEXT_NAMES if config.get(name)), _CONTEXT))
    except OSError as error:
        raise ModelNotFound(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise ModelNotFound(
            f"{path} is no configuration of a model ({error}). Download the model again."
        ) from error


def model_problem(data_dir: Path, base: str) -> str | None:
    """Why no adapter of this base model can be trained, empty where one can; None while that is not known."""
    try:
        found = json.loads((data_dir / _CHECK).read_text(encoding="utf-8"))
        return str(found["problem"]) if found["base"] == base else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def record_model_problem(data_dir: Path, base: str, problem: str) -> None:
    aside = data_dir / f".{_CHECK}"
    aside.write_text(json.dumps({"base": base, "problem": problem}), encoding="utf-8")
    aside.replace(data_dir / _CHECK)


def complaints(data_dir: Path, host: str, port: int, own_server: bool) -> list[str]:
    """Everything that would stop the app later."""
    return [*_machine_problems(data_dir, host, port), *(_own_server_problems() if own_server else ())]


def _machine_problems(data_dir: Path, host: str, port: int) -> Iterator[str]:
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        version = sys.version.split()[0]
        yield f"Python {version} is not supported. Install Python 3.11 or 3.12, then: make run"
    if problem := taken(host, port):
        yield problem
    if (disk := shutil.disk_usage(data_dir).free / 2**30) < _DISK_GIB:
        yield f"{disk:.1f} GiB of disk are free in {data_dir}; {_DISK_GIB:g} GiB are needed. Choose another --data-dir."


def _own_server_problems() -> Iterator[str]:
    if find_spec("vllm") is None:
        yield "vLLM is not installed. Install it: make install. Or use one that runs elsewhere: --vllm-url"
    elif not _has_library("libnuma.so.1"):
        yield "The library libnuma is missing, which vLLM needs. Install it: apt-get install libnuma1"
    shared = Path("/dev/shm")
    if shared.is_dir() and (free := shutil.disk_usage(shared).free / 2**20) < _SHARED_MIB:
        yield f"{free:,.0f} MiB are free in {shared}; vLLM needs {_SHARED_MIB}. In Docker: docker run --shm-size=64m"
    if not any(map(shutil.which, ("gcc", "cc", "clang"))):
        yield "There is no C compiler, which vLLM needs. Install one: apt-get install gcc"
    if (free := _free_memory() / 2**30) < _MEMORY_GIB:
        yield f"{free:.1f} GiB of memory are free; {_MEMORY_GIB:g} GiB are needed. Close something, or use --vllm-url."


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


def network(address: str) -> str:
    """By which limits count: of IPv6 the /64, which one customer has whole."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))


def taken(host: str, port: int) -> str:
    """Why the page cannot listen there; empty where it can."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except PermissionError:
        return f"Port {port} is for the machine's administrator alone. Choose one from 1024 on: --port 7860"
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return f"Port {port} on {host} is taken. Stop what uses it, or choose another: --port {port + 1}"
        return f"This machine has no address {host[:100]}. Choose another: --host 127.0.0.1"
    return ""


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _free_memory() -> float:
    """Bytes that the machine has free, or this container where that is less."""
    free = float(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # no limit is “max”
        used, most = ((_CGROUP / name).read_text() for name in ("memory.current", "memory.max"))
        cached = re.search(r"^inactive_file (\d+)", (_CGROUP / "memory.stat").read_text(), re.MULTILINE)
        free = min(free, int(most) - int(used) + int(cached[1] if cached else 0))
    return free


def _download(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        left_out = ["*.bin", "*.pth", "*.gguf", "*.onnx", "original/*"]
        return Path(snapshot_download(model, ignore_patterns=left_out))
    except (HfHubHTTPError, OSError) as error:
        raise ModelNotFound(
            f"{model!r} could not be downloaded ({type(error).__name__}). Check the name and the "
            "network, or give a local directory."
        ) from error


def _embedded(destination: Path) -> Path:
    if not destination.exists():
        print("Converting the embedded model, once (about 20 s) ...", flush=True)
        destination.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "assistant.embedded_model", str(destination)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ModelNotFound(f"The embedded model could not be converted: {last}")
    return destination.resolve()
