"""What a database must be able to do so that days can be delivered to it: tried, where it is not known to do so.

Not here: reaching it (``database``).
"""

from __future__ import annotations

import contextlib

import sqlalchemy as sa

from npi_pipeline.delivery.sink import DeliveryError
from npi_pipeline.delivery.sql.database import Database
from npi_pipeline.delivery.sql.tables import Tables

_TRIED = {"npi": "tried", "outcome": "", "version": "tried"}


class _NotCommittedError(Exception):
    """Ends a transaction without a commit."""


def ensure_usable(database: Database, tables: Tables) -> None:
    """Raise DeliveryError unless a transaction that is not committed leaves nothing, and an empty text is not null.

    Nothing remains of what is tried, in a table that is empty between deliveries.
    """
    listed = tables.listed
    with contextlib.suppress(_NotCommittedError), database.transaction() as connection:
        connection.execute(listed.delete())
        connection.execute(listed.insert(), [_TRIED])
        read = connection.scalar(sa.select(listed.c.outcome))
        raise _NotCommittedError
    with database.transaction() as connection:
        left = connection.scalar(sa.select(sa.func.count()).select_from(listed))
        connection.execute(listed.delete())
    lacks = "no transactions" if left else "empty texts only as null" if read != "" else ""
    if lacks:
        raise DeliveryError(
            f"the sink {database.name} ({database.kind} at {database.place}) has {lacks}, so what is delivered could "
            "not be relied on: name another in NPI_DELIVER_TO"
        )
