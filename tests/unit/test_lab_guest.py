"""What the guest is built of, and how long what was built holds."""

from __future__ import annotations

import lzma
import os
import threading
from pathlib import Path

import pytest

from tests.lab import bay as bays
from tests.lab import guest, kernel, sources, steps, store
from tests.lab.drive import Drive
from tests.lab.trouble import LabMissing


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(store, "STORE", tmp_path / "store")
    monkeypatch.setattr(store, "LOCK", tmp_path / "lock")
    return tmp_path / "store"


def _key(
    maker: bytes = b"maker", deb: bytes = b"deb", source: bytes = b"source", drive: Drive | None = None
) -> str:
    return store.key_of_saved(maker, deb, [source], [drive or Drive("WD-1")])


def test_a_saved_machine_holds_as_long_as_nothing_changes_that_went_into_it() -> None:
    assert _key() == _key()
    changed = [_key(maker=b"other"), _key(deb=b"other"), _key(source=b"other"), _key(drive=Drive("WD-2"))]
    assert len({_key(), *changed, _key(drive=Drive("WD-1", size_bytes=512))}) == 6


def test_parts_of_a_key_do_not_run_together() -> None:
    assert store.digest([b"ab", b"c"]) != store.digest([b"a", b"bc"])


def test_the_file_of_what_prepares_a_machine_bears_on_it() -> None:
    assert Path(__file__).read_bytes() in store.sources_with(_key)
    assert Path(bays.__file__).read_bytes() in store.sources_with(_key)


def test_a_folder_bears_its_name_only_when_it_is_whole(kept: Path) -> None:
    def make_half() -> None:
        with store.making("guest-1") as folder:
            (folder / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        make_half()
    assert list(kept.iterdir()) == []
    with store.making("guest-1") as folder:
        (folder / "whole").touch()
        assert not (kept / "guest-1").exists()
    assert [path.name for path in (kept / "guest-1").iterdir()] == ["whole"]


def test_the_newest_two_of_a_kind_are_kept(kept: Path) -> None:
    for number in range(4):
        with store.making(f"guest-{number}"):
            pass
        os.utime(kept / f"guest-{number}", (number, number))
    with store.making("saved-1"):
        pass
    assert {path.name for path in kept.iterdir()} >= {"guest-3", "saved-1"}
    assert len(list(kept.glob("guest-*"))) == store.KEPT


def test_one_laboratory_at_a_time(kept: Path) -> None:
    entered = threading.Event()

    def other() -> None:
        with store.locked():
            entered.set()

    with store.locked():
        waiting = threading.Thread(target=other)
        waiting.start()
        assert not entered.wait(0.1)
    waiting.join()
    assert entered.is_set()


TARGETS = """\
Packages|Debian|http://host/debian|bookworm|main|$(SIGNED_BY)
Packages|Debian|http://host/debian|bookworm|main|$(SIGNED_BY)
Translations|Debian|http://host/debian|bookworm|main|$(SIGNED_BY)
Packages|Debian|http://host/security|bookworm-security|main|/usr/share/keyrings/a.gpg
Packages|Debian|http://host/debian|bookworm-backports|main|$(SIGNED_BY)
Packages|Node|http://host/node|nodistro|main|$(SIGNED_BY)
"""


def test_the_guest_has_the_sources_of_this_machines_own_debian() -> None:
    assert sources.parsed(TARGETS.splitlines(), "bookworm") == [
        "deb [signed-by=/usr/share/keyrings/a.gpg] http://host/security bookworm-security main",
        "deb http://host/debian bookworm main",
    ]


def test_the_kernel_is_of_the_version_that_debian_means() -> None:
    told = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n  Breaks: linux-image-0\n"
    assert kernel.concrete(told) == "linux-image-6.1.0-56-amd64"
    with pytest.raises(LabMissing, match="no kernel"):
        kernel.concrete("")


def test_modules_are_loaded_in_the_order_of_modprobe_and_each_once() -> None:
    told = "insmod /m/libahci.ko \nbuiltin scsi_mod\ninsmod /m/ahci.ko \ninsmod /m/libahci.ko \n"
    assert [path.name for path in kernel.ordered(told)] == ["libahci.ko", "ahci.ko"]


def test_a_packed_module_is_unpacked(tmp_path: Path) -> None:
    packed = tmp_path / "ahci.ko.xz"
    packed.write_bytes(lzma.compress(b"ELF"))
    kernel.copy(packed, tmp_path / "system" / "ahci.ko.xz")
    assert (tmp_path / "system" / "ahci.ko").read_bytes() == b"ELF"


def test_what_a_killed_laboratory_left_goes_before_the_next(kept: Path) -> None:
    with store.locked():
        pass
    left = [kept.parent / "drive-ingest-lab-x", kept / "making-x"]
    for folder in left:
        (folder / "disk").mkdir(parents=True)
    with store.locked(), store.run_folder() as folder:
        assert folder.is_dir()
        assert not any(each.exists() for each in left)
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever is not root hears of that first")
def test_a_machine_without_its_programs_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(
        "shutil.which", lambda name: None if name in ("socat", "qemu-img") else f"/bin/{name}"
    )
    with pytest.raises(LabMissing, match=r"--no-install-recommends qemu-utils socat$"):
        guest.built()


def test_a_machine_of_another_kind_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(LabMissing, match="this is aarch64"):
        guest.built()


def test_what_cannot_be_fetched_twice_cannot_be_had(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    with pytest.raises(LabMissing, match="ended with 7: no route"):
        steps.fetch("sh", "-c", f"echo >> {tries}; echo no route >&2; exit 7")
    assert tries.read_text() == "\n\n"
    assert steps.fetch("sh", "-c", f"echo >> {tries}; [ $(wc -l < {tries}) = 4 ] && echo here") == "here\n"
