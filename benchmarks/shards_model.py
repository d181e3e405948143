"""A model of a day in shards by 1 to 64 workers: where it bends, and why. No run: arithmetic with measured costs.

    python benchmarks/shards_model.py [--npis 200000] [--limit 0] [--latency 0.05]

Each worker has a core of its own and its share of `NPI_THREADS`; the registry takes `--latency` seconds an answer and
admits `--limit` requests a second (0: any number). What comes before and after the asking is a step each, however many
workers there are. Checks are counted by the starts of their steps alone.
"""

from __future__ import annotations

import argparse

WORKERS = (1, 2, 4, 8, 16, 32, 64)
THREADS = 1000
# Seconds of a core. Of an NPI: 942 of them a second are asked for by one process; plan and seal of 20,000 take 1.6 s
# without the starts of their steps; table and files of 100,000 take 5.4 and 2.7 s. The start of a step: 2.5 s.
ASKING, PLAN_AND_SEAL, TABLES, START = 1 / 942, 0.08e-3, 0.081e-3, 2.5
# One after the other in any case: list, plan, seal, table, files, changes, report, and the checks of five of them.
STEPS = 12


def seconds(npis: int, workers: int, limit: float, latency: float) -> tuple[float, float, str]:
    """How long the asking takes and how long the rest does, and what the asking is bound by."""
    bounds = {
        "cores": npis * ASKING / workers,
        "latency": npis * latency / THREADS,
        "registry": npis / limit if limit else 0.0,
    }
    by = max(bounds, key=lambda name: bounds[name])
    return START + bounds[by], STEPS * START + npis * (PLAN_AND_SEAL + TABLES), by


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--npis", type=int, default=200_000)
    options.add_argument("--limit", type=float, default=0.0)
    options.add_argument("--latency", type=float, default=0.05)
    chosen = options.parse_args()
    print("workers  asking s  the rest s  gain  the asking is bound by")
    alone = sum(seconds(chosen.npis, 1, chosen.limit, chosen.latency)[:2])
    for workers in WORKERS:
        asking, rest, by = seconds(chosen.npis, workers, chosen.limit, chosen.latency)
        print(f"{workers:7} {asking:9.0f} {rest:11.0f} {alone / (asking + rest):5.2f}  {by}")


if __name__ == "__main__":
    main()
