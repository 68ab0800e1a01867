"""Text files of any usual encoding, and JSON and TOML of the wrong kind: a value or one line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import vidparse
from vidparse.errors import InputError, UsageError
from vidparse.textfiles import parse_json, parse_toml, read_json, read_text

TEXT = "café\r\nMünchen\n日本\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16", "utf-16 big endian", "utf-32"],
)
def test_a_mark_is_read_and_left_out(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    assert read_text(path) == TEXT


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"v1\ncaf\xe9\n", "line 2 is not UTF-8, but perhaps Latin-1 (byte 0xe9)"),
        (TEXT.encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"\xff\xfea\x00b", "line 1 is not UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0\0", "holds zero bytes: no text"),
    ],
)
def test_another_encoding_is_one_line_with_the_file(
    tmp_path: Path, data: bytes, words: str
) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_text(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_error_of_the_requested_class(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_text(tmp_path / "list.txt")
    with pytest.raises(UsageError, match="No such file"):
        read_json(tmp_path / "palette.json", failure=UsageError)
    with pytest.raises(InputError, match="Is a directory"):
        read_json(tmp_path)
    with pytest.raises(InputError, match="no file name"):
        read_text(tmp_path / "a\0b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": Infinity}', "Infinity is no number"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": 1e999}', "not finite"),
        ('{"a": -1E+400}', "not finite"),
        ('{"a": 9223372036854775808}', "out of range"),
        ('{"a": -9223372036854775809}', "out of range"),
        ('{"a": ' + "9" * 5000 + "}", "out of range"),
        ("[" * 200_000 + "]" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_json_out_of_range_is_one_line_with_the_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_json(text)
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: not json (")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_json_in_range_is_read_as_it_stands(tmp_path: Path) -> None:
    text = '{"a": [9223372036854775807, -9223372036854775808, 1e300, 0.1234567890123456789]}'
    assert parse_json(text) == {"a": [2**63 - 1, -(2**63), 1e300, 0.12345678901234568]}
    path = tmp_path / "a.json"
    path.write_bytes('{"name": "é"}'.encode("utf-16"))
    assert read_json(path) == {"name": "é"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = inf", "not finite"),
        ("a = nan", "not finite"),
        ("a = 1e999", "not finite"),
        ("a = [1, 0x1ffffffffffffffffffff]", "out of range"),
        ("a = " + "9" * 5000, "out of range"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a = ", "Invalid value"),
    ],
)
def test_toml_out_of_range_is_an_error(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_toml(text)


def test_toml_in_range_is_read_as_it_stands() -> None:
    assert parse_toml(b"\xef\xbb\xbfa = true\n[b]\nc = [0.5, 'x', -7]\n") == {
        "a": True,
        "b": {"c": [0.5, "x", -7]},
    }


def test_nothing_else_parses_json_or_toml() -> None:
    """Whoever parses by itself forgets a mark, an infinite number or a nesting without end."""
    parsers = {"json.load", "json.loads", "tomllib.load", "tomllib.loads"}
    root = Path(vidparse.__file__).parent
    found = []
    for path in root.rglob("*.py"):
        if path.name == "textfiles.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in parsers:
                plain = ast.unparse(node.args[0]).startswith("json.dumps(")  # a value made plain
                found += [] if plain else [f"{path.relative_to(root)}:{node.lineno}"]
    assert found == []
