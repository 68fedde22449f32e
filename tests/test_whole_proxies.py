"""A person signs in and chats through a real proxy, at a sub-path with TLS, by the files in `deploy`.

Caddy comes with the test's packages; nginx is tested where it is installed.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fake_vllm import FakeVllm
from page_client import cheap_passwords
from playwright.sync_api import Page, expect
from review_scene import IN_A_BROWSER, answering, chromium, new_tab
from waiting import wait_for

from assistant.tokenizer import ChatTokenizer
from benchmarks.processes import free_port
from store import Store
from store.accounts import UserRole

pytestmark = IN_A_BROWSER

DEPLOY = Path(__file__).parent.parent / "deploy"
CADDY = Path(sys.executable).with_name("caddy")
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
PROXIES = ["caddy", *(["nginx"] if NGINX else [])]


def write_certificate(folder: Path) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
    pem = serialization.Encoding.PEM
    (folder / "site.pem").write_bytes(built.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "site.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def command(proxy: str, app: str, port: int, folder: Path) -> list[str]:
    """The proxy in front of `app`, by our file with other addresses."""
    pair = [folder / "site.pem", folder / "site.key"]
    backend = app.removeprefix("http://")
    if proxy == "caddy":
        text = (DEPLOY / "Caddyfile").read_text().replace("127.0.0.1:7860", backend)
        text = text.replace("example.org {", f"https://localhost:{port} {{\n\ttls {pair[0]} {pair[1]}")
        (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https off\n}\n" + text)
        return [str(CADDY), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    text = (DEPLOY / "nginx.conf").read_text().replace("127.0.0.1:7860", backend)
    text = text.replace("listen 443", f"listen 127.0.0.1:{port}")
    text = text.replace("/etc/ssl/example.org.pem", str(pair[0])).replace(
        "/etc/ssl/example.org.key", str(pair[1])
    )
    aside = "".join(
        f"{kind}_temp_path {folder};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = f"pid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{aside}{text}\n}}\n"
    (folder / "nginx.conf").write_text(text)
    return [str(NGINX), "-e", "stderr", "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]


@contextmanager
def proxied(proxy: str, app: str, folder: Path) -> Iterator[str]:
    port = free_port()
    write_certificate(folder)
    log = folder / "proxy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(proxy, app, port, folder), stdout=output, stderr=output, env={"HOME": str(folder)}
        )
    url = f"https://localhost:{port}/chat"
    try:
        assert wait_for(lambda: process.poll() is not None or answers(url)), log.read_text()
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/sign-in", verify=False, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def sign_in(page: Page, url: str) -> None:
    page.goto(url)  # without the last slash
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("password of ann")
    page.keyboard.press("Enter")
    expect(page.locator("#signed-in")).to_contain_text("ann")
    assert page.url.startswith(f"{url}/")


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_person_chats_through_it_at_a_sub_path_with_tls(
    proxy: str, store: Store, tokenizer: ChatTokenizer, tmp_path: Path
) -> None:
    vllm = FakeVllm(lambda model, ids: "many words come one after the other")
    vllm.holds_after = 2
    with cheap_passwords():
        store.users.add("ann", UserRole.ADMIN, "password of ann")
    with (
        answering(store, tokenizer, vllm) as (app, _),
        proxied(proxy, app, tmp_path) as url,
        chromium() as browser,
    ):
        page, faults = new_tab(browser, ignore_https_errors=True), list[str]()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("response", lambda got: faults.append(got.url) if got.status >= 400 else None)
        sign_in(page, url)
        [cookie] = page.context.cookies()
        assert cookie["secure"] and cookie["httpOnly"]
        page.locator("#chat-input textarea").fill("Who is there?")
        page.locator("#chat-send").click()
        expect(page.locator("article.answer.live")).to_contain_text(
            "many words"
        )  # while the rest is held back
        vllm.go_on.set()
        expect(page.locator("article.answer[data-status=complete]")).to_contain_text("after the other")
        assert not faults, faults
