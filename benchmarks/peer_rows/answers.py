"""1, 8 and 32 answers at once: vLLM as the app starts it, with and without LoRA, and llama.cpp on the Q4_1 weights."""

import asyncio
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import psutil

from assistant.assistants import SAMPLE_ID, load_sample
from assistant.embedded_model import gguf_file
from assistant.rendering import render
from assistant.sampling import Sampling
from assistant.vllm_client import Completion, VllmClient, VllmError
from assistant.vllm_health import is_healthy
from benchmarks.peer_rows.bench import Bench, Found, NotPossible, Turn, in_loop
from benchmarks.peer_rows.installed import environment
from benchmarks.processes import free_port
from benchmarks.serving import OwnServer
from store.records import Role

_AT_ONCE = (1, 8, 32)
_TOKENS = 64  # of each answer, whatever it says
_SAMPLING = Sampling(more={"ignore_eos": True})
_LORA = (
    "--max-loras",
    "--max-cpu-loras",
    "--max-lora-rank",
    "--worker-extension-cls",
    "--compilation-config",
)
_LLAMA_CPP = ("xllamacpp==2026.10.11549",)
_READY_WITHIN_S = 300.0


def measure(bench: Bench) -> Found:
    with ExitStack() as stack:
        folder = bench.scratch / "answers"
        folder.mkdir(exist_ok=True)
        server = stack.enter_context(OwnServer(folder, str(bench.model_dir())))
        (adapter,) = server.make_random_adapters(1)
        urls = {
            "vLLM, LoRA on, base": (server.url, "base"),
            "vLLM, LoRA on, adapter": (server.url, adapter),
            "vLLM without LoRA": (stack.enter_context(_without_lora(server.url, folder)), "base"),
        }
        with bench.unless_impossible("llama.cpp"):
            urls["llama.cpp, Q4_1"] = (stack.enter_context(_llama(bench)), "base")
        prompts = _prompts(server)
        with asyncio.Runner() as runner:
            runner.run(_load(server, adapter))
            return bench.in_turn(
                {way: in_loop(runner, partial(_turn, *asked, prompts)) for way, asked in urls.items()}
            )


def _prompts(server: OwnServer) -> Iterator[Sequence[int]]:
    """The sample's questions without a prompt, as a trained assistant sends them; another one each time."""
    load_sample(server.store, server.tokenizer)
    answers = server.store.answers.rated(SAMPLE_ID, 200, ())
    return cycle([render(server.tokenizer, (), ((Role.USER, one.context[-1][1]),)).ids for one in answers])


async def _load(server: OwnServer, adapter: str) -> None:
    pool = server.pool()
    await pool.load_adapter(adapter, str(server.templates / adapter))
    await pool.close()


async def _turn(url: str, model: str, prompts: Iterator[Sequence[int]]) -> Turn:
    """Before each size one answer, so that no way finds a processor that rests."""
    turn: Turn = {}
    async with AsyncExitStack() as stack:
        client = VllmClient(url)
        stack.push_async_callback(client.close)
        for count in _AT_ONCE:
            await _answer(client, model, next(prompts))
            began = time.monotonic()
            answers = await asyncio.gather(*(_answer(client, model, ids) for ids in islice(prompts, count)))
            seconds = time.monotonic() - began
            turn[f"{count} at once, tokens/s"] = sum(one.completion_tokens for one in answers) / seconds
            turn[f"{count} at once, first token, s"] = statistics.median(one.first_token_s for one in answers)
    return turn


async def _answer(client: VllmClient, model: str, ids: Sequence[int]) -> Completion:
    try:
        async for item in client.stream(model, ids, max_tokens=_TOKENS, end_ids=(), sampling=_SAMPLING):
            last = item
    except VllmError as error:
        raise NotPossible(str(error)) from error
    if not isinstance(last, Completion):
        raise NotPossible(f"{client.url} sent no end of its answer.")
    return last


@contextmanager
def _without_lora(url: str, folder: Path) -> Iterator[str]:
    """The same vLLM with the same settings, but for those of LoRA."""
    path = url.removeprefix("unix:")
    like = next(
        one
        for one in psutil.Process().children(recursive=True)
        if path in one.cmdline() and "assistant.supervisor" not in one.cmdline()
    )
    words = [word for word in like.cmdline() if word != "--enable-lora"]
    for option in (option for option in _LORA if option in words):
        del words[words.index(option) : words.index(option) + 2]
    other = f"{path}.without-lora"
    words[words.index(path)] = other
    with _process(words, f"unix:{other}", folder / "without-lora.log", like.environ()) as served:
        yield served


@contextmanager
def _llama(bench: Bench) -> Iterator[str]:
    port = free_port()
    script = str(Path(__file__).with_name("llama_cpp.py"))
    words = [str(environment(bench, _LLAMA_CPP)), script, str(gguf_file()), str(port), str(max(_AT_ONCE))]
    with _process(words, f"http://127.0.0.1:{port}", bench.scratch / "answers" / "llama.log") as served:
        yield served


@contextmanager
def _process(words: list[str], url: str, log: Path, variables: dict[str, str] | None = None) -> Iterator[str]:
    """A server from when it is healthy; its URL."""
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, env=variables)
    try:
        until = time.monotonic() + _READY_WITHIN_S
        while not is_healthy(url):
            if process.poll() is not None or time.monotonic() > until:
                raise NotPossible(f"It was not ready: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait()
