"""A local Kubernetes API that takes Jobs, strictly, and in the place of pods starts processes.

Not here: what is sent to it (``orchestration/test_kubernetes``, and the manifests in ``test_deploy``).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

_VERSION = "1.33"


def refuse_what_is_no_manifest(manifest: dict[str, Any]) -> None:
    """Fail when Kubernetes would refuse it, or leave a key of it unheeded."""
    try:
        kubernetes_validate.validate(manifest, _VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        raise AssertionError(f"{manifest['kind']} {manifest['metadata']['name']}: {error}") from error


class KubernetesApi:
    """What was asked of it: ``jobs`` by name, as they were sent, and the processes that stand for their pods."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.jobs: dict[str, dict[str, Any]] = {}
        self.refusals: list[str] = []
        self._pods: dict[str, subprocess.Popen[bytes]] = {}

    def take(self, job: dict[str, Any]) -> None:
        """Validate a Job and start its container's command, with this process' environment and the container's own."""
        name = job["metadata"]["name"]
        self.jobs[name] = job
        try:
            refuse_what_is_no_manifest(job)
        except AssertionError as error:
            self.refusals.append(str(error))
        (container,) = job["spec"]["template"]["spec"]["containers"]
        own = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
        self._pods[name] = subprocess.Popen(
            [Path(sys.executable).with_name(container["args"][0]), *container["args"][1:]],
            # Its home is in the image.
            env={**os.environ, **own, "DAGSTER_HOME": os.environ["DAGSTER_HOME"]},
            start_new_session=True,
        )

    def status(self, name: str) -> dict[str, Any]:
        """The Job as the cluster tells it."""
        pod = self._pods.get(name)
        code = None if pod is None else pod.poll()
        counts = {"active": 1} if code is None else {"failed": 1} if code else {"succeeded": 1}
        return self.jobs[name] | {"status": counts}

    def end(self) -> None:
        """End what is still going on."""
        for pod in self._pods.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pod.pid, 9)
            pod.wait()


@contextlib.contextmanager
def kubernetes_api(folder: Path) -> Iterator[KubernetesApi]:
    """The API on loopback, with a kubeconfig that leads to it."""
    api = KubernetesApi(folder / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api.take(job)
            self._answer(201, job)

        def do_GET(self) -> None:
            name = self.path.removesuffix("/status").rpartition("/")[2]
            if name in api.jobs:
                self._answer(200, api.status(name))
            else:
                self._answer(200, {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []})

        def _answer(self, code: int, body: dict[str, Any]) -> None:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        one = {"name": "one"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "one",
            "clusters": [one | {"cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [one | {"user": {}}],
            "contexts": [one | {"context": {"cluster": "one", "user": "one"}}],
        }
        api.kubeconfig.write_text(yaml.safe_dump(config))
        try:
            yield api
        finally:
            api.end()
            server.shutdown()
            thread.join()
