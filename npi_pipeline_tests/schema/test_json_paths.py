"""The names of columns and their order."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npi_pipeline.schema.json_paths import RESERVED, ROOT, column_of, leaves, name_of, order_of, pattern_of

STEPS = (
    st.integers(0, 20)
    | st.sampled_from(["a", "b", "a.b", "[0]", '["a"]', "", "$", ".", "=x", "+1", "npi", "ä", "a b"])
    | st.text()
)
PATHS = st.lists(STEPS, min_size=1, max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("affiliatedPractices", "items", 0, "address", "state"), "affiliatedPractices.items[0].address.state"),
        ((0, "a"), "[0].a"),
        (("a.b",), '["a.b"]'),
        (("a", "b c", "d"), 'a["b c"].d'),
        (("", "x"), '[""].x'),
        (("$", "x"), '["$"].x'),
        ((ROOT, "x"), "$.x"),
        (("=1+1",), '["=1+1"]'),
    ],
)
def test_a_path_reads_as_json_paths_do(path: Any, name: str) -> None:
    assert name_of(path) == name


def test_every_list_position_is_alike_in_a_pattern() -> None:
    assert pattern_of(("taxonomies", 12, "new", 0)) == "taxonomies[*].new[*]"


@pytest.mark.parametrize("key", sorted(RESERVED))
def test_a_key_that_is_called_as_one_of_our_columns_gets_another_name(key: str) -> None:
    assert column_of((key,)) == f"$.{key}"
    assert column_of(("a", key)) == f"a.{key}"


@given(st.lists(PATHS, unique=True, max_size=30))
def test_different_paths_have_different_names_and_none_begins_a_formula(paths: list[Any]) -> None:
    for naming in (name_of, column_of):
        names = [naming(path) for path in paths]
        assert len(set(names)) == len(paths)
        assert not any(name[0] in "=+-@\t\r\n＝＋－＠" for name in names)  # noqa: RUF001


@given(st.lists(PATHS, unique=True, max_size=30), st.randoms())
def test_the_order_of_columns_depends_on_nothing_but_the_set_of_paths(paths: list[Any], draw: random.Random) -> None:
    shuffled = list(paths)
    draw.shuffle(shuffled)
    assert sorted(shuffled, key=order_of) == sorted(paths, key=order_of)


def test_list_columns_come_last_and_in_the_order_of_their_positions() -> None:
    paths = [("items", 10, "a"), ("items", 2, "b"), ("z",), ("items", 2, "a"), ("b", "c"), ("a", 0)]
    assert [name_of(path) for path in sorted(paths, key=order_of)] == [
        "b.c",
        "z",
        "a[0]",
        "items[2].a",
        "items[2].b",
        "items[10].a",
    ]


def test_every_scalar_and_every_empty_container_is_a_leaf() -> None:
    value = {"a": [1, {"b": None}, []], "c": {}, "d": ""}
    assert [(name_of(path), leaf) for path, leaf in leaves(value)] == [
        ("a[0]", 1),
        ("a[1].b", None),
        ("a[2]", []),
        ("c", {}),
        ("d", ""),
    ]


def test_leaves_are_found_at_any_depth() -> None:
    deep: Any = "here"
    for step in itertools.islice(itertools.cycle([list, dict]), 5000):
        deep = [deep] if step is list else {"k": deep}
    assert [leaf for _, leaf in leaves(deep)] == ["here"]
