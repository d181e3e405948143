"""A digest of rows that does not depend on their order, and that a database computes from its own cells the same.

The text of a row is its cells that are not null, by their columns' names, each as ``name=text`` and an end mark: a
column that is added later and is null changes nothing. The digest of a row is the first 32 bits of the MD5 of its
text, and that of a table their sum: against accidents, not against forgery.
Not here: the same in SQL (``sql.digests``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import polars as pl

END = "\x1f"


def row_texts(frame: pl.DataFrame) -> pl.Series:
    """The text of each row: booleans as 1 and 0, dates as in ISO 8601. Its columns hold no lists or structs."""
    cells: list[pl.Expr] = []
    for name, dtype in sorted(frame.schema.items()):
        nulls = frame[name].null_count()
        if nulls < frame.height:
            start, text, end = pl.lit(f"{name}="), _text(name, dtype), pl.lit(END)
            # Where any is null, name and end mark are to go with it; else one copy is saved.
            cells += [start + text + end] if nulls else [start, text, end]
    if not cells:
        return pl.Series("text", [""] * frame.height, dtype=pl.String)
    return frame.select(pl.concat_str(cells, ignore_nulls=True).alias("text"))["text"]


def digest_of_texts(texts: Iterable[str]) -> int:
    """The digest of rows by their texts. Digests of parts of a table add up to that of the table."""
    return sum(map(digest_of_text, texts))


def digest_of_text(text: str) -> int:
    """The digest of one row."""
    return int.from_bytes(_md5(text)[:4], "big")


def version_of_text(text: str) -> str:
    """Tells a text from any other: 16 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _md5(text: str) -> bytes:
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    return (column.cast(pl.Int8) if dtype == pl.Boolean else column).cast(pl.String)
