"""The history: every version of every NPI, as days are delivered in any order and delivered anew.

A version holds from ``valid_from``, a day that was delivered, up to the first day delivered on which the NPI was known
otherwise or was not on the list (``valid_to``; null when there is no such day). So of the days delivered the history
says all, and of a day in between that was not delivered, what the one before it says.

To deliver a day is to say anew what holds from that day up to the next day delivered, and only of the NPIs of which
something else held then: what held there is cut out, what holds is put in, and neighbours with the same version become
one. That is all, for a new day, one between others and one that is repaired. What a version holds is the same wherever
it holds; so a delivery that is made again replaces it there too, whatever became of it in the database.
Not here: the rows themselves (``relational``), and that all of it is one transaction (``sink``).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from npi_pipeline.delivery.sql.relational import PROVIDERS
from npi_pipeline.delivery.sql.tables import Tables
from npi_pipeline.outcomes import Outcome


def holds_on(history: sa.FromClause, day: dt.date) -> sa.ColumnElement[bool]:
    """Of a version: whether it holds on ``day``."""
    return sa.and_(history.c.valid_from <= day, sa.or_(history.c.valid_to.is_(None), history.c.valid_to > day))


def note_affected(connection: sa.Connection, tables: Tables, day: dt.date) -> None:
    """Fill ``affected`` from ``listed``: the NPIs of which the history says something else on ``day``."""
    history, listed = tables.history, tables.listed
    of_npi = sa.exists().where(history.c.npi == listed.c.npi, holds_on(history, day))
    is_known_so = of_npi.where(history.c.version == listed.c.version)
    is_known_otherwise = of_npi.where(history.c.version != listed.c.version)
    is_listed = sa.exists().where(listed.c.npi == history.c.npi)
    otherwise = sa.select(listed.c.npi).where(sa.or_(~is_known_so, is_known_otherwise))
    gone = sa.select(history.c.npi).where(holds_on(history, day), ~is_listed)
    connection.execute(tables.affected.insert().from_select(["npi"], sa.union_all(otherwise, gone)))


def cut_out(connection: sa.Connection, tables: Tables, day: dt.date, following: dt.date | None) -> None:
    """Make nothing hold of the affected NPIs from ``day`` up to ``following``, the next day delivered, if any."""
    history = tables.history
    held = sa.and_(holds_on(history, day), is_affected(tables, history))
    if following is not None:
        after = sa.and_(held, sa.or_(history.c.valid_to.is_(None), history.c.valid_to > following))
        columns = [sa.literal(following, sa.Date) if c.name == "valid_from" else c for c in history.c]
        connection.execute(history.insert().from_select(list(history.c), sa.select(*columns).where(after)))
    connection.execute(history.delete().where(held, history.c.valid_from == day))
    connection.execute(history.update().where(held).values(valid_to=day))


def join_neighbours(connection: sa.Connection, tables: Tables, day: dt.date, following: dt.date | None) -> None:
    """Make one of what was put in on ``day`` and what held right before it or from ``following`` on, where the same."""
    history = tables.history
    if following is not None:
        _note_neighbours(connection, tables, history.c.valid_from == following)
        _end_as_neighbours(connection, tables, history.c.valid_from == day)
        _note_neighbours(connection, tables, history.c.valid_from == day)
        _drop_like_neighbours(connection, tables, history.c.valid_from == following)
    _note_neighbours(connection, tables, history.c.valid_from == day)
    _end_as_neighbours(connection, tables, history.c.valid_to == day)
    _note_neighbours(connection, tables, history.c.valid_from < day, holds_on(history, day))
    _drop_like_neighbours(connection, tables, history.c.valid_from == day)


def _note_neighbours(connection: sa.Connection, tables: Tables, *where: sa.ColumnElement[bool]) -> None:
    """Fill ``neighbours`` anew with versions of affected NPIs: MySQL changes no table by what it holds itself."""
    history, neighbours = tables.history, tables.neighbours
    connection.execute(neighbours.delete())
    columns = ("npi", "version", "valid_to")
    rows = sa.select(*(history.c[name] for name in columns)).where(is_affected(tables, history), *where)
    connection.execute(neighbours.insert().from_select(columns, rows))


def _is_neighbour(tables: Tables) -> sa.ColumnElement[bool]:
    history, neighbours = tables.history, tables.neighbours
    return sa.and_(neighbours.c.npi == history.c.npi, neighbours.c.version == history.c.version)


def _end_as_neighbours(connection: sa.Connection, tables: Tables, where: sa.ColumnElement[bool]) -> None:
    history, is_same = tables.history, _is_neighbour(tables)
    end = sa.select(tables.neighbours.c.valid_to).where(is_same).scalar_subquery()
    connection.execute(history.update().where(where, sa.exists().where(is_same)).values(valid_to=end))


def _drop_like_neighbours(connection: sa.Connection, tables: Tables, where: sa.ColumnElement[bool]) -> None:
    connection.execute(tables.history.delete().where(where, sa.exists().where(_is_neighbour(tables))))


def take_out_listed(connection: sa.Connection, tables: Tables) -> list[tuple[Any, ...]]:
    """Take every version that is listed out of the history; of each: npi, valid_from, valid_to, outcome, version.

    All NPIs that are listed are affected then.
    """
    history, listed = tables.history, tables.listed

    def is_listed(rows: sa.FromClause) -> sa.ColumnElement[bool]:
        return sa.exists().where(listed.c.npi == rows.c.npi, listed.c.version == rows.c.version)

    columns = (history.c.npi, history.c.valid_from, history.c.valid_to, history.c.outcome, history.c.version)
    taken = [tuple(row) for row in connection.execute(sa.select(*columns).where(is_listed(history)))]
    for rows in (history, *tables.list_history.values()):
        connection.execute(rows.delete().where(is_listed(rows)))
    connection.execute(tables.affected.delete())
    connection.execute(tables.affected.insert().from_select(["npi"], sa.select(listed.c.npi)))
    return taken


def drop_unused_lists(connection: sa.Connection, tables: Tables) -> None:
    """Remove the list items of versions of affected NPIs that hold on no day any more."""
    history = tables.history
    for items in tables.list_history.values():
        is_used = sa.exists().where(history.c.npi == items.c.npi, history.c.version == items.c.version)
        connection.execute(items.delete().where(is_affected(tables, items), ~is_used))


def refresh_newest(connection: sa.Connection, tables: Tables) -> None:
    """Make the plain tables say of the affected NPIs what holds on the newest day."""
    history = tables.history
    holds = sa.and_(
        history.c.valid_to.is_(None), history.c.outcome == Outcome.found.value, is_affected(tables, history)
    )
    for name, plain in {PROVIDERS: tables.providers, **tables.lists}.items():
        connection.execute(plain.delete().where(is_affected(tables, plain)))
        columns = list(plain.c.keys())
        if name == PROVIDERS:
            rows = sa.select(*(history.c[column] for column in columns)).where(holds)
        else:
            items = tables.list_history[name]
            is_of = sa.and_(items.c.npi == history.c.npi, items.c.version == history.c.version)
            rows = sa.select(*(items.c[column] for column in columns)).join_from(history, items, is_of).where(holds)
        connection.execute(plain.insert().from_select(columns, rows))


def fill_newest(connection: sa.Connection, tables: Tables) -> None:
    """Fill the plain tables, which are empty, from a history that holds providers of one day, and nothing else."""
    of_history = {tables.providers: tables.history}
    of_history |= {plain: tables.list_history[name] for name, plain in tables.lists.items()}
    for plain, rows in of_history.items():
        columns = list(plain.c.keys())
        connection.execute(plain.insert().from_select(columns, sa.select(*(rows.c[name] for name in columns))))


def is_affected(tables: Tables, rows: sa.FromClause) -> sa.ColumnElement[bool]:
    """Of rows with ``npi``: whether they are of an affected NPI."""
    return rows.c.npi.in_(sa.select(tables.affected.c.npi))
