"""The whole product as a person meets it: the real app, vLLM, training and gate, in a real browser.

One app on one fresh data directory serves every test in this file, in order: a stranger loads the sample, chats,
rates, corrects; then trains an assistant that is learned in seconds, sees the shorter prompt answer in the
conversation that is open, loses vLLM, rolls back.
"""

import asyncio
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from imported_turns import ImportedTurn, load_turns
from passers_by import PassersBy
from playwright.sync_api import Page, expect
from review_scene import chromium, new_tab
from waiting import wait_for

from assistant.assistants import create_assistant
from assistant.serving import LORA_SLOTS, ServerAddress
from assistant.startup import EMBEDDED
from assistant.tokenizer import ChatTokenizer
from assistant.vllm_pool import VllmPool
from benchmarks.processes import ROOT, AppProcess
from store import Store
from store.records import MessageStatus, Role, RunStatus, Segment, SegmentKind, Verdict
from trainer.deployment.swap import check_base_is_base

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

PATIENCE_S = 600.0  # what has not happened by then never will, on any machine

SAMPLE, ORDERS = "otter-quay", "orders"
# What a small model learns in a dozen steps, on any machine and in any number format: to repeat parts of a question in
# another order. The sample, whose first retrain takes a quarter of an hour, is measured by a benchmark.
PROMPT = (
    Segment("role", SegmentKind.INSTRUCTION, "You take orders at the desk of a boat hire.", protected=True),
    Segment(
        "form", SegmentKind.INSTRUCTION, "Answer with the amount, the thing and the name, and nothing else."
    ),
    Segment("tom", SegmentKind.EXAMPLE, user="Tom would like 9 boats, please.", assistant="9 boats for Tom"),
)
NAMES = ("Ann", "Bo", "Carla", "Dmitri", "Elodie", "Farid", "Greta", "Hiro", "Ines", "Jonas", "Katya", "Lars")
THINGS = ("kayaks", "canoes", "paddles", "helmets", "tents", "maps", "oars")


def orders(count: int) -> Iterator[tuple[str, str]]:
    """Questions, no two alike, with their right answers."""
    for number in range(count):
        name, thing = NAMES[number % 12], f"{2 + number % 5} {THINGS[number % 7]}"
        yield f"{name} would like {thing}, please.", f"{thing} for {name}"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    with pytest.MonkeyPatch.context() as patch:
        # The margin allows any loss that a shorter prompt can bring: the gate's guards decide. Other people's
        # corrections start no retrain of their own.
        choices = (
            "epochs=3 variants=1 min_train=10 min_gate=10 margin=0.5 max_answer_tokens=16 retrain_after=1000"
        )
        patch.setenv("SHORTHAND_SET", choices)
        # One thread each for trainer and server: two would wait for each other while other tests have a core.
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("VLLM_CPU_NUM_OF_RESERVED_CPU", "1")
        with AppProcess(tmp_path_factory.mktemp("data")) as running:
            running.wait_for_page(PATIENCE_S)
            yield running


@pytest.fixture(scope="module")
def store(app: AppProcess) -> Iterator[Store]:
    with Store(app.data_dir / "shorthand.sqlite") as opened:
        yield opened


@pytest.fixture(scope="module")
def page(app: AppProcess) -> Iterator[Page]:
    with chromium() as browser:
        tab = new_tab(browser)
        tab.set_default_timeout(1000 * PATIENCE_S)
        tab.goto(app.url)
        yield tab


@pytest.fixture(scope="module")
def passers_by(app: AppProcess, store: Store) -> Iterator[PassersBy]:
    with PassersBy(app, store) as people:
        yield people


@pytest.fixture(scope="module")
def assistant(app: AppProcess, store: Store) -> str:
    """One with enough rated answers for a retrain."""
    tokenizer = ChatTokenizer.load(Path(app.address().model_dir))
    create_assistant(store, tokenizer, "Orders", "exact", PROMPT, assistant_id=ORDERS)
    rows = enumerate(orders(48))
    turns = [ImportedTurn(f"order-{n}", user, answer, Verdict.UP) for n, (user, answer) in rows]
    load_turns(store, ORDERS, turns)
    return ORDERS


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def send(page: Page, text: str) -> None:
    box = page.locator("#chat-input textarea")
    box.fill(text)
    page.locator("#chat-send").click()


def wait_for_answer(page: Page, count: int) -> None:
    """Until `count` answers are there and the last one is complete."""
    answers = page.locator("article.answer[data-status=complete]")
    expect(answers).to_have_count(count)
    expect(page.locator("#answer-caption")).to_contain_text("tokens")


def ask(page: Page, text: str) -> None:
    """Send a message and wait until one more answer is complete."""
    before = page.locator("article.answer[data-status=complete]").count()
    send(page, text)
    wait_for_answer(page, before + 1)


def caption_tokens(page: Page) -> int:
    """The prompt part of the newest answer, as its caption says it."""
    found = re.search(r"([\d,]+) tokens", page.locator("#answer-caption").inner_text())
    assert found is not None
    return int(found[1].replace(",", ""))


def test_the_sample_loads_with_one_click(page: Page, app: AppProcess, store: Store) -> None:
    open_tab(page, "Prompt")
    page.locator("#load-sample").click()
    expect(page.locator("#segments li[data-segment]").first).to_be_visible()
    assert store.deployments.active(SAMPLE).prompt_tokens >= 400
    assert len(store.answers.rated(SAMPLE)) >= 150


def test_a_person_chats_rates_and_corrects(page: Page, app: AppProcess, store: Store) -> None:
    app.wait_for_model(PATIENCE_S)
    expect(page.locator("#server-state")).to_contain_text("ready", timeout=1000 * PATIENCE_S)
    open_tab(page, "Chat")
    ask(page, "How much does a paddleboard cost for two hours?")
    assert caption_tokens(page) == store.deployments.active(SAMPLE).prompt_tokens
    page.locator("#rate-down").click()
    page.locator("#correct").click()
    page.locator("#correction-text").fill("A paddleboard costs $12 for one hour, so two hours cost $24.")
    page.locator("#correction-save").click()
    [conversation] = store.conversations.all(SAMPLE, source="chat")
    answer = store.messages.thread(conversation.id)[-1]
    _wait(lambda: any(rating.correction for rating in store.ratings.all(answer.id)))
    latest = store.ratings.latest([answer.id])[answer.id][0]
    assert latest.correction == "A paddleboard costs $12 for one hour, so two hours cost $24."
    assert latest.verdict is Verdict.DOWN


def test_the_conversation_and_its_rating_come_back_after_a_reload(page: Page, passers_by: PassersBy) -> None:
    page.reload()
    expect(page.locator("#chat-log")).to_contain_text("paddleboard cost for two hours")
    expect(page.locator("#rate-down")).to_be_visible()


def test_nothing_that_was_typed_or_answered_is_lost_on_a_full_disk(
    page: Page, app: AppProcess, store: Store
) -> None:
    """The app may write no byte meanwhile: a limit of its process, which root could not give to a disk everywhere."""
    page.locator("#chat-new").click()
    question = "Write a long story about an otter that rents a kayak."
    with _full_disk(app):
        send(page, question)
        expect(page.locator(".toast-body").first).to_contain_text("Nothing was saved")
        expect(page.locator("#chat-input textarea")).to_have_value(question)
    page.wait_for_timeout(600)  # within half a second a second press is the same
    page.locator("#chat-send").click()
    live = page.locator("article.answer.live .prose-text")
    expect(live).to_contain_text(re.compile(r"\w+ \w+"))
    with _full_disk(app):
        expect(page.locator("#not-saved")).to_contain_text("not saved yet")
        answer = live.inner_text()
        [conversation] = store.conversations.all(SAMPLE, source="chat", search="otter that rents")
        assert store.messages.thread(conversation.id)[-1].status is MessageStatus.STREAMING
    wait_for_answer(page, 1)
    messages = store.messages.thread(conversation.id)
    assert [m.status for m in messages] == [MessageStatus.COMPLETE] * 2
    assert messages[0].text == question and messages[1].text.split()[:20] == answer.split()[:20]
    page.locator("#conversation-list button.open", has_text="paddleboard").click()
    expect(page.locator("#chat-log")).to_contain_text("paddleboard")
    store.conversations.delete(conversation.id)
    wait_for_answer(page, 1)


def test_the_prompt_gets_shorter_while_a_conversation_is_open(
    page: Page, store: Store, assistant: str, passers_by: PassersBy
) -> None:
    before = store.deployments.active(assistant)
    page.reload()  # the picker has the new assistant then
    page.locator("#assistant-picker input").click()
    page.get_by_role("option", name="Orders").click()
    expect(page.locator("#chat-log")).not_to_contain_text("paddleboard")
    ask(page, "Uma would like 3 oars, please.")
    assert caption_tokens(page) == before.prompt_tokens
    open_tab(page, "Training")
    page.locator("#train-now").click()
    _wait(lambda: bool(store.runs.all(assistant)))
    expect(page.locator("#run-status")).to_be_visible()
    _wait(lambda: store.runs.all(assistant)[0].status is not RunStatus.RUNNING, 1800)
    run = store.runs.all(assistant)[0]
    assert run.status is RunStatus.PROMOTED, run.message
    after = store.deployments.active(assistant)
    assert after.adapter == run.adapter
    assert after.prompt_tokens < before.prompt_tokens
    chosen = run.report["gate"]["variants"][after.variant]
    assert all(item["lower"] > -run.settings["margin"] for item in chosen["comparisons"])
    expect(page.locator("#verdict")).to_contain_text(re.compile("promoted", re.I))
    open_tab(page, "Chat")
    ask(page, "Victor would like 5 tents, please.")
    assert caption_tokens(page) == after.prompt_tokens
    open_tab(page, "Savings")
    expect(page.locator("#saved-tokens")).to_contain_text(f"{after.prompt_tokens:,}")


def test_every_answer_is_recorded_with_the_pair_that_gave_it(store: Store, assistant: str) -> None:
    [conversation] = store.conversations.all(assistant, source="chat")
    answers = [m for m in store.messages.thread(conversation.id) if m.role is Role.ASSISTANT]
    pairs = [store.deployments.get(m.deployment_id or 0) for m in answers]
    assert {pair.adapter is None for pair in pairs} == {True, False}, "before the swap and after it"
    for answer, pair in zip(answers, pairs, strict=True):
        assert answer.status is MessageStatus.COMPLETE
        assert answer.usage is not None and answer.usage.prompt_part_tokens == pair.prompt_tokens


def test_vllm_comes_back_with_the_active_adapter_after_it_was_killed(
    page: Page, app: AppProcess, store: Store, assistant: str
) -> None:
    [server] = [
        p
        for p in psutil.Process(app.process.pid).children(recursive=True)
        if "api_server" in _line(p) and "supervisor" not in _line(p)
    ]
    server.kill()
    expect(page.locator("#server-state")).not_to_contain_text("ready")
    expect(page.locator("#server-state")).to_contain_text("ready", timeout=1000 * PATIENCE_S)
    open_tab(page, "Chat")
    ask(page, "Wanda would like 2 maps, please.")
    assert caption_tokens(page) == store.deployments.active(assistant).prompt_tokens


def test_a_rollback_restores_adapter_and_prompt(
    page: Page, app: AppProcess, store: Store, assistant: str
) -> None:
    words = ["rollback", "--assistant", assistant, "--data-dir", str(app.data_dir)]
    command = [sys.executable, "-m", "trainer", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    active = store.deployments.active(assistant)
    assert active.adapter is None and active.variant == 0
    ask(page, "Xaver would like 4 buoys, please.")
    assert caption_tokens(page) == active.prompt_tokens


def test_the_base_model_stays_itself_however_many_adapters_were_loaded(
    app: AppProcess, store: Store, assistant: str
) -> None:
    """vLLM frees no slot when an adapter is unloaded; see assistant/vllm_extension.py."""
    [adapter] = store.adapters.all(assistant)
    address = ServerAddress.read(app.data_dir)
    ids = list(range(1000, 1030))

    async def load_more_than_there_are_slots() -> None:
        pool = await VllmPool.connect(address.urls, address.key)
        try:
            for number in range(LORA_SLOTS + 2):
                name = f"loaded-{number}"
                await pool.load_adapter(name, str(app.data_dir / "adapters" / adapter.name))
                await check_base_is_base(pool, ids, name)
                await pool.unload_adapter(name)
        finally:
            await pool.close()

    with ThreadPoolExecutor(1) as beside_the_browser:  # whose own event loop runs in this thread
        beside_the_browser.submit(asyncio.run, load_more_than_there_are_slots()).result()


def test_nobody_lost_a_word_meanwhile(passers_by: PassersBy) -> None:
    """The short soak: people beside a full disk, a retrain, a swap, a kill and a rollback."""
    ledger = passers_by.ledger
    _wait(lambda: {"answered", "rating"} <= ledger.acknowledged.keys())
    passers_by.stop()
    assert ledger.sound, (ledger.lost, ledger.wrong, ledger.lock_errors)


def test_the_store_is_sound_after_all_of_this(store: Store) -> None:
    assert store.maintenance.check() == []


def test_nothing_outlives_the_app(app: AppProcess) -> None:
    family = psutil.Process(app.process.pid).children(recursive=True)
    assert any("api_server" in _line(process) for process in family)
    assert app.stop(signal.SIGTERM) == 0
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive


def test_nothing_outlives_an_app_that_is_killed(
    app: AppProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as scratch:  # no other test's app puts anything there
        monkeypatch.setenv("TMPDIR", scratch)
        converted = app.data_dir / "models" / EMBEDDED
        with AppProcess(tmp_path, "--model", str(converted), "--no-trainer") as other:
            process = psutil.Process(other.process.pid)
            _wait(lambda: any("api_server" in _line(child) for child in process.children(recursive=True)))
            # The supervising process bears vLLM's command line before it has made its directory.
            _wait(lambda: any(Path(scratch).glob("shorthand-*")))
            family = process.children(recursive=True)
            other.stop(signal.SIGKILL)
            _, alive = psutil.wait_procs(family, timeout=60)
            assert not alive
            # One that started after `family` was read may still be about to remove its own.
            _wait(lambda: not list(Path(scratch).glob("shorthand-*")), 60.0)


@contextmanager
def _full_disk(app: AppProcess) -> Iterator[None]:
    limit = resource.RLIMIT_FSIZE
    before = resource.prlimit(app.process.pid, limit)
    resource.prlimit(app.process.pid, limit, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(app.process.pid, limit, before)


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _wait(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    assert wait_for(condition, timeout_s, 0.25), f"not true within {timeout_s:.0f} s"
