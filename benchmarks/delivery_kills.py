"""A delivery killed by SIGKILL at random moments, and done again: what the sink holds, and that its receipts never lie.

    python benchmarks/delivery_kills.py --sink parquet               50 kills; also delta, sqlite, duckdb, kafka, ...
    python benchmarks/delivery_kills.py --sink delta+s3 --kills 20   on a local S3
    python benchmarks/delivery_kills.py --url postgresql://...       a server that is there; what it holds is lost

Before each kill a day is published anew. After it, a receipt of that publication must be proven from the sink; after
the next delivery all that is claimed of the delivered days.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import multiprocessing
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from npi_pipeline.delivery.deliver import deliver
from npi_pipeline.delivery.destinations import sink_of
from npi_pipeline.delivery.published_day import open_published_day
from npi_pipeline.settings import SinkUrl
from npi_pipeline.settings.deliveries import sink_urls
from npi_pipeline.storage.local import LocalRoot
from npi_pipeline.testing.s3 import local_s3
from npi_pipeline_tests.delivery.days_to_deliver import FILES, World, make_day
from npi_pipeline_tests.delivery.kafka_broker import kafka_broker


def deliver_it(folder: Path, sink: SinkUrl, day: dt.date, begun: Any) -> None:
    root, to = LocalRoot(folder), sink_of(sink)
    begun.set()
    deliver(root, FILES, day, to)


def sweep(sink: SinkUrl, folder: Path, kills: int) -> str:
    # Forked from a clean process: the threads of this one would not survive a fork.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["boto3", "polars", "npi_pipeline.delivery.deliver"])
    world, root, draw = World(npis=60, days=3), LocalRoot(folder), random.Random(1)
    for day in world.days:
        make_day(root, day, world.of_day[day])
        deliver(root, FILES, day, sink_of(sink))
    longest, ended, held = 0.0, 0, 0
    for number in range(kills):
        # By turns the newest day, and one that is not.
        day = world.days[2 - number % 2]
        make_day(root, day, world.repaired(day, seed=number))
        begun = processes.Event()
        process = processes.Process(target=deliver_it, args=(folder, sink, day, begun))
        process.start()
        begun.wait()
        started = time.monotonic()
        # The first comes to its end: so long does one take.
        process.join(draw.uniform(0, longest) if number else None)
        longest = longest or time.monotonic() - started
        process.kill()
        process.join()
        ended += process.exitcode == 0
        receipt = sink_of(sink).receipts().get(day)
        if receipt and receipt.is_of(open_published_day(root, FILES, day)):
            held += 1
            assert_proven(sink, root, day)
        for each in world.days:
            deliver(root, FILES, each, sink_of(sink))
            assert_proven(sink, root, each)
    return (
        f"{sink.scheme}: {kills} deliveries of up to {longest:.1f} s, {ended} ended before they were killed; {held} "
        "were held by a receipt, and proven; all were put right by the next delivery"
    )


def assert_proven(sink: SinkUrl, root: LocalRoot, day: dt.date) -> None:
    for claim, finding in sink_of(sink).findings(open_published_day(root, FILES, day)):
        assert finding.holds, (claim, finding.line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sink", default="parquet", help="a scheme: what lies in a folder or on S3, or kafka")
    parser.add_argument("--url", help="of a sink whose server is there already")
    parser.add_argument("--kills", type=int, default=50)
    chosen = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = f"{folder}/sink"
        if chosen.sink.endswith("+s3"):
            s3 = stack.enter_context(local_s3())
            os.environ.update(s3.environment)
            s3.create_bucket("kills")
            place = "kills/sink"
        elif chosen.sink in {"sqlite", "duckdb"}:
            place = f"/{place}.db"
        elif chosen.sink == "kafka":
            place = f"{stack.enter_context(kafka_broker())}/npi"
        (sink,) = sink_urls(chosen.url or f"{chosen.sink}://{place}")
        print(sweep(sink, folder / "root", chosen.kills), flush=True)


if __name__ == "__main__":
    main()
