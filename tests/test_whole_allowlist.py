"""What can be reached over HTTP, with and without a session: Gradio's own routes, the sign-in page, limits."""

import json
import re
import socket
from collections.abc import Iterator

import httpx
import pytest
from page_client import GRADIO_WARNINGS, HTTP, PageClient, cheap_passwords, get, post
from review_scene import services_of, serving
from waiting import PATIENCE_S, wait_for

from assistant.web.access import Access
from assistant.web.sign_in import SIGN_IN_LIMITS
from store import Store
from store.accounts import UserRole

pytestmark = GRADIO_WARNINGS

# Every route that Gradio 6 has, some of which ask for nobody's name; and what a scanner would try.
UNUSED = """
    /gradio_api/info /gradio_api/openapi.json /gradio_api/token /gradio_api/user
    /gradio_api/login_check /gradio_api/startup-events /gradio_api/dev/reload /gradio_api/runs
    /gradio_api/run-history/buckets /gradio_api/run-history/records /gradio_api/deep_link
    /gradio_api/file=/etc/passwd /gradio_api/file/etc/passwd
    /gradio_api/file=http://169.254.169.254/ /gradio_api/proxy=http://example.org/
    /file=/etc/passwd /gradio_api/custom_component/1/client/component/style.css
    /gradio_api/stream/a/1/1/playlist.m3u8 /gradio_api/stream/a/1/1/playlist-file
    /gradio_api/call/open/1 /gradio_api/queue/status /gradio_api/upload_progress?upload_id=1
    /gradio_api/vibe-code /gradio_api/profiling/traces /monitoring /monitoring/summary
    /monitoring/x /pwa_icon /manifest.json /login /logout /docs /redoc /openapi.json /mcp
    /gradio_api/mcp/sse /gradio_api/mcp /.env /shorthand.sqlite /static/../../shorthand.sqlite
    /assets/..%2f..%2fshorthand.sqlite /static/%2e%2e/%2e%2e/etc/passwd //etc/passwd /runs
"""
UNUSED_POSTS = """
    /gradio_api/upload /gradio_api/component_server /gradio_api/component_server/
    /gradio_api/process_recording /gradio_api/vibe-edit /gradio_api/undo-vibe-edit
    /gradio_api/vibe-code /gradio_api/vibe-starter-queries /gradio_api/cancel /gradio_api/reset
    /gradio_api/run/open /gradio_api/api/predict /gradio_api/call/open /gradio_api/call/v2/open
    /gradio_api/stream/1 /gradio_api/stream/1/close /gradio_api/run-history/connect
    /gradio_api/profiling/clear /login /config / /gradio_api/queue/data
"""
USED = ["/", "/config", "/theme.css"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page without users."""
    with (
        Store(tmp_path_factory.mktemp("alone") / "s.sqlite") as store,
        serving(services_of(store)) as (url, _),
    ):
        yield url


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Store]]:
    """A page with two users."""
    with cheap_passwords(), Store(tmp_path_factory.mktemp("team") / "s.sqlite") as store:
        store.users.add("ann", UserRole.ADMIN, "password of ann")
        store.users.add("bo", UserRole.USER, "password of bo")
        with serving(services_of(store)) as (url, _):
            yield url, store


@pytest.fixture
def ann(team: tuple[str, Store]) -> Iterator[PageClient]:
    client = PageClient(team[0])
    assert client.sign_in("ann", "password of ann").status_code == 303
    yield client
    client.close()


def raw(url: str, request: str) -> bytes:
    """What comes back for a request line that no client library would send."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        connection.sendall(f"{request}\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        said = b""
        while piece := connection.recv(65536):
            said += piece
    return said


def test_without_users_everything_is_open_and_nothing_asks_for_a_name(alone: str) -> None:
    assert [get(alone + path).status_code for path in USED] == [200, 200, 200]
    assert get(f"{alone}/sign-in").status_code == 303
    assert "set-cookie" not in get(alone).headers


def test_routes_that_no_page_uses_do_not_exist(alone: str, ann: PageClient) -> None:
    for client in (httpx.Client(base_url=alone, **HTTP), ann.http):
        for path in UNUSED.split():
            assert client.get(path).status_code == 404, path
        for path in UNUSED_POSTS.split():
            found = client.post(path, json={"session_hash": "a", "fn_index": 0, "data": []})
            assert found.status_code == 404, path
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            assert client.request(method, "/config").status_code == 403, method
        client.close()


@pytest.mark.parametrize(
    "line",
    [
        "GET /static/../../../etc/passwd HTTP/1.1",
        "GET //etc/passwd HTTP/1.1",
        "GET http://x/config/../x HTTP/1.1",
    ],
)
def test_paths_that_climb_find_nothing(alone: str, line: str) -> None:
    said = raw(alone, line)
    assert b"root:" not in said and re.match(rb"HTTP/1.1 (40[034])", said), said[:100]


def test_a_stranger_reaches_the_sign_in_page_and_nothing_else(team: tuple[str, Store]) -> None:
    url, _ = team
    assert get(url).headers["location"] == "sign-in"
    page = get(f"{url}/sign-in")
    assert page.status_code == 200 and "<script" not in page.text and "Gradio" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    for path in [
        *UNUSED.split(),
        *USED[1:],
        "/gradio_api/queue/data?session_hash=a",
        "/gradio_api/heartbeat/a",
        "/static/x",
    ]:
        assert get(url + path).status_code == 401, path
    for path in [*UNUSED_POSTS.split(), "/gradio_api/queue/join", "/gradio_api/run/predict"]:
        assert post(url + path, json={}).status_code == 401, path
    for token in ("x", "", "a" * 10_000, "../../etc"):
        found = get(f"{url}/config", cookies={f"shorthand-{url.rsplit(':')[-1]}": token})
        assert found.status_code == 401


def test_the_icon_that_browsers_ask_for_by_themselves_is_there_for_everybody(
    alone: str, team: tuple[str, Store]
) -> None:
    for url in (alone, team[0]):
        icon = get(f"{url}/favicon.ico")
        assert icon.status_code == 200 and icon.headers["content-type"] == "image/svg+xml"
        assert icon.text.startswith("<svg")


def test_the_session_is_a_cookie_that_scripts_and_other_sites_do_not_get(team: tuple[str, Store]) -> None:
    url, store = team
    client = PageClient(url)
    said = client.sign_in("bo", "password of bo")
    cookie = said.headers["set-cookie"].lower()
    assert (
        said.status_code == 303 and "httponly" in cookie and "samesite=lax" in cookie and "path=/" in cookie
    )
    behind = post(
        f"{url}/sign-in",
        data={"name": "bo", "password": "password of bo"},
        headers={"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"},
    )
    assert "; secure" in behind.headers["set-cookie"].lower() and "__Host-" in behind.headers["set-cookie"]
    assert store.audit.entries(1)[0].detail["address"] == "203.0.113.9"
    page = client.http.get("/").text
    token = client.http.cookies.jar.__iter__().__next__().value
    assert token and token not in page and "password of bo" not in page
    assert client.http.get("/sign-out").status_code == 303 and client.http.get("/config").status_code == 200
    assert client.http.post("/sign-out").status_code == 303
    client.http.cookies.set(f"shorthand-{url.rsplit(':')[-1]}", str(token))
    assert client.http.get("/config").status_code == 401, "the session is gone, not only the cookie"
    client.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "origin": "http://evil.example"},
    ],
)
def test_another_site_cannot_act_or_read_for_whoever_is_signed_in(
    ann: PageClient, headers: dict[str, str]
) -> None:
    body = {"data": [], "fn_index": 0, "session_hash": "a"}
    for said in (
        ann.http.post("/gradio_api/queue/join", json=body, headers=headers),
        ann.http.post("/sign-out", headers=headers),
        ann.http.get("/config", headers=headers),
    ):
        assert said.status_code == 403
        assert "components" not in said.text
    assert ann.http.get("/config").status_code == 200
    here = str(ann.http.base_url).rstrip("/")
    assert (
        ann.http.get("/config", headers={"origin": here, "sec-fetch-site": "same-origin"}).status_code == 200
    )


def test_what_is_too_large_or_no_call_is_refused(ann: PageClient) -> None:
    post = ann.http.post
    large = json.dumps({"data": ["x" * (4 << 20)], "fn_index": 0, "session_hash": "a"})
    assert post("/gradio_api/queue/join", content=large).status_code == 413
    for content in (b"", b"[]", b"\xff", b"{", b'{"session_hash": 1}', b'{"fn_index": 1}', b"[" * 100_000):
        assert post("/gradio_api/queue/join", content=content).status_code == 400, content[:20]
    assert post("/sign-in", content=b"name=" + b"x" * 20_000).status_code == 413
    many = "&".join(f"a{n}=1" for n in range(100))
    assert post("/sign-in", content=many).status_code == 400
    for call in (
        {"fn_index": 10**9},
        {"fn_index": "x"},
        {"fn_index": True},
        {},
        {"fn_index": None, "api_name": "open"},
    ):
        said = post("/gradio_api/queue/join", json={"data": [], "session_hash": "a", **call})
        assert said.status_code in (400, 404), call


def test_wrong_tries_are_told_alike_and_slow_down(team: tuple[str, Store]) -> None:
    url, store = team
    client = PageClient(url)
    client.http.headers["x-forwarded-for"] = "203.0.113.50"  # so that nobody else is slowed down
    replies = [client.sign_in(name, "guess") for name in ("ann", "nobody", "<script>")]
    assert [reply.status_code for reply in replies] == [401] * 3
    texts = [text for reply in replies for text in re.findall(r'id="sign-in-wrong">([^<]*)', reply.text)]
    assert len(texts) == 3 and len(set(texts)) == 1 and "<script>" not in replies[2].text
    codes = [client.sign_in("ann", f"guess {n}").status_code for n in range(12)]
    assert codes == [401] * 9 + [429] * 3
    assert "Wait 15 min" in client.sign_in("ann", "password of ann").text
    noted = [entry for entry in store.audit.entries() if entry.detail.get("address") == "203.0.113.50"]
    assert {entry.action for entry in noted} == {"sign-in failed"} and len(noted) == 12
    assert {entry.subject for entry in noted} == {"ann", "an unknown name"}
    assert not any("guess" in str(entry) for entry in noted)
    client.http.headers["x-forwarded-for"] = "203.0.113.7"
    assert client.sign_in("ann", "password of ann").status_code == 303
    client.close()


def test_one_person_cannot_take_all_requests(ann: PageClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.web.allowlist._AT_ONCE", 2)
    with ann.http.stream("GET", "/gradio_api/heartbeat/a"), ann.http.stream("GET", "/gradio_api/heartbeat/b"):
        assert ann.http.get("/config").status_code == 429
    assert wait_for(lambda: ann.http.get("/config").status_code == 200)


def test_the_first_user_closes_a_page_that_runs_and_nothing_opens_it_again(store: Store) -> None:
    with cheap_passwords(), serving(services_of(store)) as (url, _):
        assert get(f"{url}/config").status_code == 200
        store.users.add("ann", UserRole.ADMIN, "password of ann")
        assert get(f"{url}/config").status_code == 401
        store.users.remove("ann")
        assert get(f"{url}/config").status_code == 401
        assert get(url).headers["location"] == "sign-in"
        assert "user add NAME --role admin" in get(f"{url}/sign-in").text


def test_an_address_that_others_reach_is_closed_also_where_nobody_can_sign_in(store: Store) -> None:
    assert Access(store, always=True).sign_in_required() and not Access(store).sign_in_required()


def test_the_limits_are_as_documented() -> None:
    assert [str(limit) for limit in SIGN_IN_LIMITS.values()] == [
        "10 per 15 minute",
        "40 per 15 minute",
        "200 per 1 hour",
    ]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "10.0.0.1:7860"])
def test_without_users_the_page_answers_under_names_of_this_machine_alone(alone: str, host: str) -> None:
    """A site whose name was made to lead here (DNS rebinding) is of the same origin to a browser."""
    refused = get(alone, headers={"host": host})
    assert refused.status_code in (400, 403) and "<script" not in refused.text
    port = alone.rsplit(":", 1)[1].strip("/")
    for mine in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert get(alone, headers={"host": mine}).status_code == 200
