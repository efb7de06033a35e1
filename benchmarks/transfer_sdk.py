"""The SDK's ``upload_blob`` over a folder: ``python -m benchmarks.transfer_sdk ENDPOINT FOLDER COUNT``.

The SAS comes by standard input; SSL_CERT_FILE names the authority to trust.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import requests
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient

from benchmarks.transfer_own import CONTAINER

AT_ONCE = 16


def main(endpoint: str, folder: Path, most: int) -> None:
    """Upload the first ``most`` files below ``folder``, 16 at once over 16 connections."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE))
    trusted = os.environ.get("SSL_CERT_FILE", True)
    container = ContainerClient(
        endpoint,
        CONTAINER,
        credential=sys.stdin.read(),
        api_version="2025-11-05",
        transport=RequestsTransport(session=session, session_owner=False, connection_verify=trusted),
    )

    def upload(path: Path) -> None:
        with path.open("rb") as file:
            container.upload_blob(path.relative_to(folder).as_posix(), file)

    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(upload, islice(files, most)):
            pass


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
