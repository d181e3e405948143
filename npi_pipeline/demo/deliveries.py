"""What the demo shows of deliveries: a DuckDB file and a lake of Parquet, and a few questions that they answer.

Not here: the sinks (``npi_pipeline.delivery``), and the days that are delivered (``session``).
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

DATABASE, LAKE = "npi.duckdb", "lake"


def deliver_to(folder: Path) -> str:
    """The sinks in ``folder``, as NPI_DELIVER_TO names them."""
    place = urllib.parse.quote(str(folder))
    return f"duckdb=duckdb:///{place}/{DATABASE},lake=parquet://{place}/{LAKE}"


def questions(folder: Path) -> Sequence[tuple[str, str]]:
    """Questions, each with the SQL that answers it."""
    files = str(folder / LAKE / "providers" / "day=*" / "state=*" / "*.parquet").replace("'", "''")
    return (
        (
            "Which are the most frequent specialties?",
            (
                "SELECT t.description AS specialty, count(*) AS providers\n"
                "FROM provider_taxonomies t WHERE t.is_primary\n"
                "GROUP BY t.description ORDER BY providers DESC, specialty LIMIT 5"
            ),
        ),
        (
            "What changed from day to day?",
            "SELECT day, change, count(*) AS npis\nFROM changes GROUP BY day, change ORDER BY day, change",
        ),
        (
            "How many providers practise in the largest states, day by day? (from the lake)",
            (
                f"SELECT state, day, count(*) AS providers\nFROM read_parquet('{files}')\n"
                "GROUP BY state, day ORDER BY providers DESC, state, day LIMIT 6"
            ),
        ),
    )


def show_answers(console: Console, folder: Path) -> None:
    """Ask the questions of what was delivered to ``folder``, and print them with their answers."""
    import duckdb

    with duckdb.connect(str(folder / DATABASE), read_only=True) as connection:
        for question, query in questions(folder):
            console.print(f"\n[bold]{question}[/]\n[dim]{query};[/]")
            result = connection.execute(query)
            table = Table(box=None, pad_edge=False)
            for column in result.description or ():
                table.add_column(str(column[0]), style="green")
            for row in result.fetchall():
                table.add_row(*map(str, row))
            console.print(table)
    console.print(f"\nAsk more: the database is {folder / DATABASE}, the lake {folder / LAKE} (docs/deliveries.md)")
