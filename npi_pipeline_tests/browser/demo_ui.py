"""The demo's UI in a browser: starting both, and what a user does there.

Not here: what is expected to be seen (``test_ui``), and the documentation's pictures (``pictures``).
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from npi_pipeline.days.paths import MANIFEST_NAME
from npi_pipeline.orchestration.assets.npi_records import REGISTRY_POOL
from npi_pipeline.orchestration.daily_job import JOB_NAME

# A browser, a web server and runs share what may be two busy cores.
PATIENCE_MS = 120_000

_WATCH_TOASTS = """
new MutationObserver(changes => {
    for (const change of changes)
        for (const node of change.addedNodes)
            if (node.nodeType === Node.ELEMENT_NODE)
                for (const toast of node.querySelectorAll("[class*=toastMessage]"))
                    saw_toast(toast.innerText);
}).observe(document, {childList: true, subtree: true});
"""


class DemoUi:
    """A running ``npi-pipeline demo --ui``. ``messages`` is what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.graph_page = ""
        self.messages = ""
        self._process = process
        self._reader = threading.Thread(target=self._read_on, daemon=True)

    @property
    def data_root(self) -> Path:
        """Where its days lie."""
        return self.folder / "npi-data"

    def wait_until_ready(self) -> None:
        """Return when the demo has said where its UI is. Raises RuntimeError with its messages when it ends before."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.messages += line
            if announced := re.match(r"Dagster UI: (\S+)", line):
                self.graph_page = announced[1]
                self._reader.start()
                return
        raise RuntimeError(f"the demo ended before its UI was ready:\n{self.messages}")

    def missing_days(self) -> list[str]:
        """The days that are not published, by the files."""
        published = {manifest.parent.name for manifest in self.data_root.glob(f"state_files/*/{MANIFEST_NAME}")}
        return [day for day in self.days() if day not in published]

    def days(self) -> list[str]:
        """All days, by the UI."""
        query = '{assetNodeOrError(assetKey: {path: ["state_files"]}) {... on AssetNode {partitionKeys}}}'
        keys: list[str] = self.ask(query)["assetNodeOrError"]["partitionKeys"]
        return keys

    def assets(self) -> list[str]:
        """The names of all assets, by the UI."""
        return [node["assetKey"]["path"][-1] for node in self.ask("{assetNodes {assetKey {path}}}")["assetNodes"]]

    def runs(self) -> list[dict[str, Any]]:
        """All runs, by the UI, newest first: id, status, tags and configuration."""
        fields = "id status runConfigYaml tags {key value}"
        runs: list[dict[str, Any]] = self.ask(f"{{runsOrError {{... on Runs {{results {{{fields}}}}}}}}}")[
            "runsOrError"
        ]["results"]
        for run in runs:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
        return runs

    def run_of(self, day: str) -> dict[str, Any]:
        """The newest run of ``day``."""
        return next(run for run in self.runs() if run["tags"].get("dagster/partition") == day)

    def metadata(self, asset: str, day: str) -> dict[str, int]:
        """The numbers that the latest materialisation of ``asset`` for ``day`` says of itself, by the UI."""
        query = f"""{{assetNodeOrError(assetKey: {{path: ["{asset}"]}}) {{... on AssetNode {{
            assetMaterializations(partitions: ["{day}"], limit: 1) {{metadataEntries {{
            label ... on IntMetadataEntry {{intValue}}}}}}}}}}}}"""
        entries = self.ask(query)["assetNodeOrError"]["assetMaterializations"][0]["metadataEntries"]
        return {entry["label"]: entry["intValue"] for entry in entries if entry.get("intValue") is not None}

    def slots_taken(self) -> int:
        """Of the pool in which days are fetched, by the UI."""
        query = f'{{instance {{concurrencyLimit(concurrencyKey: "{REGISTRY_POOL}") {{claimedSlots {{runId}}}}}}}}'
        return len(self.ask(query)["instance"]["concurrencyLimit"]["claimedSlots"])

    def interrupt(self) -> int:
        """Press Ctrl-C, as it were, and return the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait()

    def ask(self, query: str) -> Any:
        """The answer of the UI's GraphQL."""
        request = urllib.request.Request(
            f"{self.url}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def close(self) -> None:
        """End it, in whatever state it is."""
        if self._process.poll() is None:
            self.interrupt()

    def _read_on(self) -> None:
        # Nobody else reads the pipe from here on, and a full one would stop the demo.
        assert self._process.stdout is not None
        with self._process.stdout as messages:
            for line in messages:
                self.messages += line


@contextlib.contextmanager
def demo_ui(folder: Path, *, npis: int, days: int) -> Iterator[DemoUi]:
    """The demo with its UI, ready, for the length of the block."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [Path(sys.executable).with_name("npi-pipeline"), "demo", "--ui", "--port", str(port), "--folder", folder]
    process = subprocess.Popen(
        [*command, "--days", str(days), "--npis", str(npis)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    demo = DemoUi(process, folder, port)
    try:
        demo.wait_until_ready()
        yield demo
    finally:
        demo.close()


def chromium() -> str | None:
    """Where Debian's chromium is; None when it is not installed."""
    return shutil.which("chromium")


@contextlib.contextmanager
def browser_page(toasts: list[str]) -> Iterator[Page]:
    """A page of a fresh browser. What the UI tells in toasts is added to ``toasts``."""
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium() or "chromium", args=arguments)
        # Narrower, the asset graph is drawn too small for what it tells of each asset.
        context = browser.new_context(viewport={"width": 2240, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        context.expose_function("saw_toast", lambda text: toasts.append(text))  # noqa: PLW0108 - it cannot take a builtin
        context.add_init_script(_WATCH_TOASTS)
        yield context.new_page()
        browser.close()


def materialise(page: Page, demo: DemoUi, day: str) -> None:
    """Launch a run of all assets for ``day``, from the asset graph, and see that it is launched."""
    page.goto(demo.graph_page)
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog").filter(has_text="Partition selection")
    days = dialog.get_by_role("textbox").first
    days.fill(day)
    days.press("Enter")
    expect(dialog.get_by_text("1 partition", exact=True)).to_be_visible()
    dialog.get_by_role("button", name="Launch 1 run").click()
    expect(page.get_by_text("Launched run")).to_be_visible()


def backfill_what_is_missing(page: Page, demo: DemoUi, days: int) -> None:
    """Launch one backfill of the ``days`` days that failed or are missing, from the asset graph."""
    page.goto(demo.graph_page)
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog").filter(has_text="Partition selection")
    dialog.get_by_role("button", name="Failed and missing").click()
    expect(dialog.get_by_text(f"{days} partitions", exact=True)).to_be_visible()
    dialog.get_by_role("button", name=re.compile("^Launch")).click()


def open_launchpad(page: Page, demo: DemoUi, day: str, **settings: object) -> None:
    """Have the launchpad of the daily job open for ``day``, with nothing set but these settings of ``npi_records``."""
    page.goto(f"{demo.url}/locations/npi_pipeline.definitions/jobs/{JOB_NAME}/playground")
    # It comes with the days: until they are loaded, a field that looks the same takes no choice.
    expect(page.get_by_role("button", name="sort_by_alpha")).to_be_visible()
    partition = page.get_by_placeholder("Partition")
    partition.fill(day)
    partition.press("Enter")
    expect(page.get_by_text(f"partition: {day}")).to_be_visible()
    write_at_launchpad(page, **settings)


def write_at_launchpad(page: Page, **settings: object) -> None:
    """In the open launchpad, replace the configuration by these settings of ``npi_records``."""
    fields = "".join(f"      {name}: {value}\n" for name, value in settings.items())
    page.locator(".CodeMirror").evaluate(
        "(element, yaml) => element.CodeMirror.setValue(yaml)", f"ops:\n  npi_records:\n    config:\n{fields}"
    )


def press_launch(page: Page) -> None:
    """In the open launchpad, launch the run."""
    page.get_by_role("button", name="Launch Run").click()


def terminate(page: Page, demo: DemoUi, run: str) -> None:
    """Terminate a run on its page, and see that it is."""
    page.goto(f"{demo.url}/runs/{run}")
    page.get_by_role("button", name="Terminate").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Terminate")).click()
    expect(page.get_by_text("Canceled", exact=True).first).to_be_visible()


def expect_every_asset_filled(page: Page, demo: DemoUi) -> None:
    """On the asset graph, wait until no asset lacks a day."""
    expect(page.get_by_text("100% filled", exact=True)).to_have_count(len(demo.assets()))


def eventually(happens: Callable[[], bool]) -> None:
    """Wait until ``happens``; AssertionError when it does not."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not happens():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
