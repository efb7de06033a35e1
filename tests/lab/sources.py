"""Where this machine's apt gets its packages: the guest gets its own from there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from typing import Final

from tests.lab.trouble import LabMissing

_FIELDS: Final = "$(CREATED_BY)|$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)"


def release() -> str:
    """The code name of this machine's Debian, which will be the guest's."""
    said = {}
    with open("/etc/os-release", encoding="utf-8") as file:
        for line in file:
            name, _, value = line.strip().partition("=")
            said[name] = value.strip('"')
    if said.get("ID") != "debian":
        raise LabMissing("this is no Debian, of which the guest is made")
    return said["VERSION_CODENAME"]


def lines() -> list[str]:
    """One-line sources, as in a sources.list; raises LabMissing when apt knows of none."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", _FIELDS], capture_output=True, text=True, check=False
    )
    found = parsed(told.stdout.splitlines(), release())
    if not found:
        raise LabMissing("apt has no index of Debian's packages: apt-get update")
    return found


def parsed(targets: Iterable[str], codename: str) -> list[str]:
    """Those of Debian itself: the release, its updates, its security."""
    found = set()
    for target in targets:
        kind, origin, uri, suite, component, signed_by = target.split("|")
        if (
            kind == "Packages"
            and origin == "Debian"
            and re.fullmatch(f"{codename}(-updates|-security)?", suite)
        ):
            option = f"[signed-by={signed_by}] " if signed_by.startswith("/") else ""
            found.add(f"deb {option}{uri} {suite} {component}")
    return sorted(found)
