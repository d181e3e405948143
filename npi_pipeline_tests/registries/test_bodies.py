"""The text of a body, whatever characters it came in."""

from __future__ import annotations

import json

import msgspec
import pytest

from npi_pipeline.registries.bodies import text_of

JSON = "application/json"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_json_is_utf8_or_what_json_could_be_before(encoding: str) -> None:
    text = '{"name": "Zoë \\u00eb 😀"}'
    assert text_of(text.encode(encoding), JSON) == text


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("application/json; charset=ISO-8859-1", "latin-1"),
        ('application/json;profile="x;y"; Charset="Windows-1252"', "cp1252"),
        ("text/html;charset=latin1", "latin-1"),
    ],
)
def test_what_is_no_utf8_is_read_in_the_charset_that_is_declared(content_type: str, encoding: str) -> None:
    assert text_of('{"name": "Zoë"}'.encode(encoding), content_type) == '{"name": "Zoë"}'


def test_utf8_is_utf8_whatever_is_declared() -> None:
    # Java's servlets declare ISO-8859-1 of everything that nobody gave a charset.
    assert text_of('{"name": "Zoë"}'.encode(), "application/json;charset=ISO-8859-1") == '{"name": "Zoë"}'


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        JSON,
        "application/json; charset=utf-8",
        "x; charset=no-such",
        "x; charset=hex",
        "x; charset=",
        "x; charset=a\0b",
        "x; charset=\xe9",
    ],
)
def test_what_is_in_no_known_charset_is_no_text(content_type: str) -> None:
    with pytest.raises(UnicodeDecodeError):
        text_of(b'{"name": "Zo\xeb"}', content_type)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (r"\ud800", "\ufffd"),
        (r"a\uDFFFb", "a\ufffdb"),
        (r"\udc00\ud800", "\ufffd\ufffd"),
        (r"\uD83D\ude00", "😀"),
        (r"\ud83d\ud83d\ude00", "\ufffd😀"),
        (r"\\ud800", r"\ud800"),
        (r"\\\ud800", "\\\ufffd"),
        (r"\ud800\\udc00", "\ufffd\\udc00"),
        (r"\ud800\n\u00e9", "\ufffd\né"),
        (r"\u00d8\ud7ff\ue000", "\u00d8\ud7ff\ue000"),
    ],
)
def test_the_escape_of_half_a_character_becomes_the_replacement_character(written: str, kept: str) -> None:
    text = text_of(f'{{"{written}": "{written}"}}'.encode(), JSON)

    assert msgspec.json.decode(text) == json.loads(text) == {kept: kept}
    if "\ufffd" not in kept:
        assert text == f'{{"{written}": "{written}"}}'
