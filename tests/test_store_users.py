"""Users, their passwords and sessions, and the commands that keep them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from store_scene import answered, run_store

from store import Store, StoreError, accounts
from store.accounts import MAX_LENGTH, SESSION_S, BadPassword, User, UserRole, hash_password, verify_password
from store.errors import Conflict, NotFound
from store.maintenance import backup_file
from store.records import RedactionAction, Ruling, Verdict

GOOD = "correct horse"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Real costs are tested once; a tenth of a second each time is too much here."""
    monkeypatch.setattr(accounts, "_hasher", PasswordHasher(1, 64, 1))
    accounts._dummy_hash.cache_clear()
    yield
    accounts._dummy_hash.cache_clear()


@pytest.fixture
def team(store: Store) -> Store:
    store.users.add("ann", UserRole.ADMIN, GOOD)
    store.users.add("bo", UserRole.USER, "battery staple")
    return store


def test_a_password_is_kept_as_an_argon2id_hash_with_the_recommended_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accounts, "_hasher", PasswordHasher())
    first, second = hash_password(GOOD), hash_password(GOOD)
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$") and first != second
    assert verify_password(GOOD, first) and not verify_password("correct horsf", first)


@pytest.mark.parametrize("password", ["short77", "x" * (MAX_LENGTH + 1)])
def test_a_password_that_is_too_short_or_too_long_is_not_repeated(store: Store, password: str) -> None:
    with pytest.raises(
        BadPassword, match=f"has {len(password)} characters; it has to have 8 to 256"
    ) as refused:
        store.users.add("ann", UserRole.ADMIN, password)
    assert password not in str(refused.value) and store.users.all() == []


def test_only_the_right_password_of_a_known_name_is_right(team: Store) -> None:
    found = team.users.check_password("ann", GOOD)
    assert found is not None and (found.name, found.role) == ("ann", UserRole.ADMIN)
    for password in ("", GOOD + " ", "x" * 10_000_000, "\ud800"):
        assert team.users.check_password("ann", password) is None, password[:20]
    for name in ("Ann", "nobody", "bo", "ann' OR 1=1 --"):
        assert team.users.check_password(name, GOOD) is None, name


def test_an_unknown_name_costs_as_much_as_a_wrong_password(
    team: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work is counted, since the time of it depends on the machine."""
    costs: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
            costs.append(str(hash).rsplit("$", 2)[0])
            return super().verify(hash, password)

    monkeypatch.setattr(accounts, "_hasher", Counting(1, 64, 1))
    for name, password in (("ann", "wrong one"), ("nobody", "wrong one"), ("nobody", "x" * 1000)):
        team.users.check_password(name, password)
    assert len(costs) == 3 and len(set(costs)) == 1


def test_nothing_of_a_password_or_token_is_in_the_file(team: Store) -> None:
    token = team.sessions.begin("ann")
    team.users.check_password("ann", "a wrong password")
    content = team.path.read_bytes()
    for secret in (GOOD, "battery staple", "a wrong password", token):
        assert secret.encode() not in content
    assert "password" not in User.__dataclass_fields__


@pytest.mark.parametrize(
    "name", ["", " ann", "ann\n", "a:b", "trainer", "Import", "\u0430nn", "x" * 65, "-x", "a\x00"]
)
def test_a_name_that_could_be_taken_for_another_is_refused(team: Store, name: str) -> None:
    with pytest.raises(StoreError):
        team.users.add(name, UserRole.USER, GOOD)
    with pytest.raises(Conflict, match="'ann' already"):
        team.users.add("ANN", UserRole.USER, GOOD)
    with pytest.raises(NotFound):
        team.users.get("ANN")


def test_there_is_always_an_admin(store: Store) -> None:
    with pytest.raises(Conflict, match="first user has to be an admin"):
        store.users.add("bo", UserRole.REVIEWER, GOOD)
    store.users.add("ann", UserRole.ADMIN, GOOD)
    store.users.add("bo", UserRole.USER, GOOD)
    for change in (lambda: store.users.change_role("ann", UserRole.USER), lambda: store.users.remove("ann")):
        with pytest.raises(Conflict, match="last admin"):
            change()
    store.users.change_role("bo", UserRole.ADMIN)
    store.users.remove("ann")
    store.users.remove("bo")
    assert not store.users.any()


def test_a_session_is_its_users_until_it_ends(tmp_path: Path) -> None:
    now = [1000.0]
    with Store(tmp_path / "s.sqlite", clock=lambda: now[0]) as store:
        store.users.add("ann", UserRole.ADMIN, GOOD)
        token = store.sessions.begin("ann")
        found = store.sessions.user(token)
        assert found is not None and found.name == "ann"
        assert store.sessions.user(token + "x") is None and store.sessions.user("") is None
        now[0] += SESSION_S - 1
        assert store.sessions.user(token) is not None
        now[0] += 2
        assert store.sessions.user(token) is None
        again = store.sessions.begin("ann")
        store.sessions.end(again)
        store.sessions.end("never there")
        assert store.sessions.user(again) is None


def test_removing_a_user_or_changing_the_password_ends_their_sessions(team: Store) -> None:
    bos, anns = team.sessions.begin("bo"), team.sessions.begin("ann")
    team.users.change_password("bo", "another one")
    assert team.sessions.user(bos) is None and team.users.check_password("bo", "battery staple") is None
    bos = team.sessions.begin("bo")
    team.users.change_role("bo", UserRole.REVIEWER)
    found = team.sessions.user(bos)
    assert found is not None and found.role is UserRole.REVIEWER
    team.users.remove("bo")
    assert team.sessions.user(bos) is None and team.sessions.user(anns) is not None
    with pytest.raises(StoreError, match="was removed"):
        team.sessions.begin("bo")


def test_one_user_has_at_most_20_sessions(team: Store) -> None:
    tokens = [team.sessions.begin("bo") for _ in range(25)]
    assert [team.sessions.user(token) is not None for token in tokens[4:]] == [False, *[True] * 20]


@pytest.mark.parametrize("times", [1, 2])
def test_who_gets_a_removed_users_name_gets_nothing_else_of_theirs(tmp_path: Path, times: int) -> None:
    now = [1000.0]
    with Store(tmp_path / "s.sqlite", clock=lambda: now[0]) as store:
        store.users.add("ann", UserRole.ADMIN, GOOD)
        store.assistants.create("bank", "Bank", "exact")
        for number in range(times):
            now[0] += 60
            store.users.add("bo", UserRole.REVIEWER, GOOD)
            token = store.sessions.begin("bo")
            answer = answered(store, f"talk {number}", owner="bo")
            store.ratings.add(answer.id, "bo", Verdict.UP)
            store.decisions.add(answer.id, "bo", Ruling.APPROVE)
            store.redaction_rules.add("bank", RedactionAction.KEEP, f"word {number}", added_by="bo")
            store.users.remove("bo")
        now[0] += 60
        # Nobody has the name yet: what the last one wrote is still under it.
        assert [one.id for one in store.conversations.all("bank", owner="bo")] == [answer.conversation_id]
        store.users.add("bo", UserRole.USER, GOOD)
        assert store.sessions.user(token) is None
        assert store.conversations.all("bank", owner="bo") == []
        assert len(store.conversations.all("bank")) == times
        with closing(sqlite3.connect(backup_file(store._file, tmp_path / f"copy {number}"))) as copy:
            dump = "\n".join(copy.iterdump())
        inserted = [line for line in dump.splitlines() if "'bo'" in line and 'INTO "audit"' not in line]
        assert len(inserted) == 1 and 'INTO "users"' in inserted[0]
        added = store.audit.entries(100, action="user added")
        formers = {one.detail["earlier"] for one in added if one.detail.get("earlier")}
        assert len(formers) == times
        for former in formers:
            with pytest.raises(StoreError, match="cannot be a name"):
                store.users.add(str(former), UserRole.USER, GOOD)
            assert store.erasure.erase(str(former)).ratings == 1
        assert not store.erasure.preview("bo")


def run(data_dir: Path, *words: str, typed: str = "") -> tuple[int, str]:
    return run_store(*words, "--data-dir", data_dir, typed=typed)


def test_the_commands_make_list_change_and_remove(tmp_path: Path) -> None:
    assert run(tmp_path, "user", "add", "ann", "--role", "admin", typed=f"{GOOD}\n")[0] == 0
    added = run(tmp_path, "user", "add", "bo", "--role", "user", typed=f"{GOOD}\n")
    assert added == (0, "Added bo (user).\n")
    assert run(tmp_path, "user", "role", "bo", "reviewer")[0] == 0
    code, listed = run(tmp_path, "user", "list")
    assert code == 0 and "ann" in listed and "reviewer" in listed and "argon2" not in listed
    assert run(tmp_path, "user", "password", "bo", typed="another one\n")[0] == 0
    with Store(tmp_path / "shorthand.sqlite") as store:
        assert store.users.check_password("bo", "another one") is not None
    assert run(tmp_path, "user", "remove", "bo")[0] == 0
    code, said = run(tmp_path, "user", "remove", "bo")
    assert code == 2 and "There is no user 'bo'" in said
    code, log = run(tmp_path, "audit")
    for action in ("user added", "role changed", "password changed", "user removed"):
        assert action in log
    assert "another one" not in log and GOOD not in log and "shell:" in log


def test_what_would_be_refused_anyway_is_refused_before_a_password_is_asked_for(team: Store) -> None:
    for words, wrong in {
        "password nobody": "There is no user 'nobody'",
        "add ann --role admin": "There is a user 'ann' already",
        "add a:b --role admin": "cannot be a name",
    }.items():
        code, said = run(team.path.parent, "user", *words.split(), typed="")
        assert code == 2 and wrong in said and "standard input" not in said


def test_a_password_is_never_an_argument(tmp_path: Path) -> None:
    code, _ = run(tmp_path, "user", "add", "ann", GOOD, "--role", "admin")
    assert code == 2
    code, said = run(tmp_path, "user", "add", "ann", "--role", "admin", typed="")
    assert code == 2 and "no password on standard input" in said
    code, said = run(tmp_path, "user", "list")
    assert code == 2 and "There is no store" in said


def test_the_commands_make_list_and_revoke_a_key(tmp_path: Path) -> None:
    def run(*words: str) -> tuple[int, str]:
        return run_store("key", *words, "--data-dir", tmp_path)

    code, text = run("add", "shop", "--scope", "chat", "--per-minute", "30")
    with Store(tmp_path / "shorthand.sqlite") as store:
        key = store.api_keys.of(text.strip())
    assert code == 0 and key and (key.name, key.scopes, key.per_minute) == ("shop", ("chat",), 30)
    assert "shop" in run("list")[1] and text.strip() not in run("list")[1]
    assert run("revoke", "shop")[0] == 0 and run("revoke", "shop")[0] == 2 == run("add", "shop")[0]
