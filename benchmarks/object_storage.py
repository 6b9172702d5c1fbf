"""A real server of S3's protocol on the loopback (moto), which keeps its objects in memory."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from src.tracking.ui_server import find_free_port

BUCKET = "artifacts"


class ObjectStorage:
    """A server with one empty bucket."""

    def __init__(self, folder: Path) -> None:
        self.port = find_free_port(5700)
        self.address = f"http://127.0.0.1:{self.port}"
        self._log = folder / "s3.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What those who write to it need to know."""
        return {
            "MLFLOW_S3_ENDPOINT_URL": self.address,
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "palimpsest",
            "AWS_SECRET_ACCESS_KEY": "palimpsest",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self) -> None:
        import boto3

        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                stdout=log,
                stderr=log,
            )
        while not self._answers():
            time.sleep(0.1)
        os.environ.update(self.environment)
        boto3.client("s3").create_bucket(Bucket=BUCKET)

    def list_keys(self) -> list[str]:
        """The names of all objects."""
        import boto3

        pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.address, timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


class NetworkCable:
    """A way to a server on the loopback that can be cut: whoever goes by it is refused then."""

    def __init__(self, target_port: int) -> None:
        self.port = find_free_port(5750)
        self.address = f"http://127.0.0.1:{self.port}"
        self._target_port = target_port
        self._listener: socket.socket | None = None
        self._sockets: list[socket.socket] = []

    def plug_in(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        assert self._listener is not None
        for opened in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                # wakes the thread that waits on it
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        self._sockets.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target_port))
                self._sockets += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
