"""What the service may do on a real machine, and what the preflight says of it."""

from __future__ import annotations

import json

from tests.lab.scenarios.conftest import Stage
from tests.lab.scene import WITHIN_S
from tests.lab.scene_journal import UNIT

MOST_EXPOSED = 2.0
DOCTOR = """\
[Service]
Type=oneshot
User=drive-ingest
SupplementaryGroups=disk
LoadCredential=store:drive-ingest.store
StandardOutput=file:/run/doctor.json
ExecStart=-/usr/bin/ingest-agent doctor --json
"""
"""As docs/operations.md tells, with the credential; systemd-run would need a bus, which the guest lacks."""


def test_the_service_is_nobody_behind_walls_and_the_preflight_finds_nothing_wrong(stage: Stage) -> None:
    with stage.scene("service", {}) as scene:
        bay = scene.machine.bay(1)
        scene.act(bay.insert)
        pid = scene.machine.sh(f"systemctl show -P MainPID {UNIT}").strip()
        status = dict(
            line.split(":", 1)
            for line in scene.machine.sh(f"cat /proc/{pid}/status").splitlines()
            if ":" in line
        )
        assert set(status["Uid"].split()) == {scene.machine.sh("id -u drive-ingest").strip()}
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}
        assert status["NoNewPrivs"].strip() == "1"
        assert scene.machine.try_sh(f"nsenter -t {pid} -m -- touch /etc/written")[0] != 0
        node = bay.node()
        code, said = scene.machine.try_sh(f"dd if=/dev/zero of={node} bs=512 count=1 conv=notrunc")
        assert code != 0
        assert "Operation not permitted" in said
        scene.machine.put("/run/systemd/system/doctor.service", DOCTOR)
        scene.machine.sh("systemctl daemon-reload && systemctl start doctor.service", timeout_s=WITHIN_S)
        found = json.loads(scene.machine.get("/run/doctor.json"))
        told = {one["check"]: one["outcome"] for one in found["value"]}
        assert "Failed" not in told.values(), found
        assert told["device permissions"] == "Passed"
        for unit in (UNIT, "drive-ingest-smart@.service"):
            said = scene.machine.sh(f"systemd-analyze security --no-pager {unit} | tail -n 1").strip()
            print(f"{unit}: {said}")
            assert float(said.split(":")[1].split()[0]) <= MOST_EXPOSED, said
