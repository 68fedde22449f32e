"""The files to deploy with name commands and options that exist, and run with no more rights than they need."""

import re
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted(DEPLOY.glob("kubernetes/*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in (one for path in MANIFESTS for one in documents(path)):
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "containers" in spec.get("template", {}).get("spec", {}):
            yield document["metadata"]["name"], spec["template"]["spec"]


def commands() -> dict[str, str]:
    """Every way in which our program is started, as a line."""
    compose = documents(DEPLOY / "compose.yaml")[0]["services"]
    found = {f"compose {name}": " ".join(service["command"]) for name, service in compose.items()}
    for name, pod in pods():
        for one in (*pod.get("initContainers", ()), *pod["containers"]):
            if one["image"] == "shorthand":
                found[f"kubernetes {name} {one['name']}"] = " ".join(one["args"])
    for path in DEPLOY.glob("systemd/*.service"):
        found[path.name] = read_unit(path)["Service"]["ExecStart"]
    [line] = re.findall(r"^CMD (.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    return found | {"Dockerfile": " ".join(yaml.safe_load(line))}


class Unit(ConfigParser):
    """Names are as they are written."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def read_unit(path: Path) -> ConfigParser:
    unit = Unit(interpolation=None, strict=False)
    unit.read(path)
    return unit


@pytest.mark.parametrize("name", commands())
def test_every_command_and_option_exists(name: str) -> None:
    line = commands()[name]
    sections = (ROOT / "docs" / "commands.md").read_text().split("\n## ")
    [title] = re.findall(r"app\.py|-m store [a-z]+(?: add)?", line)
    [section] = [one for one in sections if re.match(rf"python {re.escape(title)}\n", one)]
    for option in re.findall(r"(?<=\s)--[a-z-]+", line):
        assert option in section, f"{title} has no {option}"


def test_every_pod_of_ours_may_write_to_its_volumes_alone_and_is_nobody_of_note() -> None:
    ours = [(pod, one) for _, pod in pods() for one in (*pod.get("initContainers", ()), *pod["containers"])]
    ours = [(pod, one) for pod, one in ours if one["image"] == "shorthand"]
    assert len(ours) == 3
    for pod, container in ours:
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_kustomization_has_every_manifest_and_volumes_are_claimed() -> None:
    [kustomization] = documents(DEPLOY / "kubernetes" / "kustomization.yaml")
    assert {*kustomization["resources"], "kustomization.yaml"} == {path.name for path in MANIFESTS}
    found = [one for path in MANIFESTS for one in documents(path)]
    claims = {one["metadata"]["name"] for one in found if one["kind"] == "PersistentVolumeClaim"}
    for _, pod in pods():
        claimed = {
            one["persistentVolumeClaim"]["claimName"]
            for one in pod["volumes"]
            if "persistentVolumeClaim" in one
        }
        assert claimed <= claims
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            assert {mount["name"] for mount in container["volumeMounts"]} <= {
                one["name"] for one in pod["volumes"]
            }


def test_the_app_is_alone_on_its_store_and_has_a_minute_to_end() -> None:
    app = next(one for one in documents(DEPLOY / "kubernetes" / "app.yaml") if one["kind"] == "Deployment")
    assert app["spec"]["replicas"] == 1 and app["spec"]["strategy"] == {"type": "Recreate"}
    assert app["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 60
    assert documents(DEPLOY / "compose.yaml")[0]["services"]["app"]["stop_grace_period"] == "60s"
    assert read_unit(DEPLOY / "systemd" / "shorthand.service")["Service"]["TimeoutStopSec"] == "60"
