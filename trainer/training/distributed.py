"""Several processes that train one adapter together, as `accelerate launch` or `torchrun` start them.

Rank 0 holds the lock, freezes, publishes and talks to the servers; the others only take part in training. Without a
launcher there is one process, and nothing here costs anything.
"""

import os
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")

# The others wait in a broadcast while rank 0 freezes the dataset and, between trials, while it measures.
_PATIENCE = timedelta(hours=2)
_shut_down = False


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def broadcast(value: T) -> T:
    """Rank 0's value, at every rank; every rank has to call it."""
    if world() == 1:
        return value
    import torch
    from torch import distributed

    if not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
    box = [value]
    # Through gloo on CPU also beside NCCL: what is shared here are Python values.
    distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def barrier() -> None:
    """Wait until every process is here; after a first `broadcast`."""
    if world() > 1:
        import torch
        from torch import distributed

        # On CPU, through gloo; a broadcast does not wait for those who receive.
        distributed.all_reduce(torch.zeros(1))


def shut_down() -> None:
    """Rank 0, after the last training: let the others end. Whoever calls it again does nothing."""
    global _shut_down
    if world() > 1 and not _shut_down:
        _shut_down = True
        broadcast(None)
