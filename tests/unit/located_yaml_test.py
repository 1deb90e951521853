"""YAML with places: what is read, what is refused, and how fast."""

import time
import tracemalloc

import pytest

from voicebot.config.located_yaml import dotted, load_located_yaml
from voicebot.core.errors import ConfigError, DialplanError


def refused(text, **options):
    with pytest.raises(ConfigError) as caught:
        load_located_yaml(text, file="plan.yaml", **options)
    return caught.value


def test_plain_data_comes_back_with_yaml_1_2_scalars():
    """``yes`` and ``8:00`` stay text: the YAML 1.1 traps are closed."""
    loaded = load_located_yaml(
        "a: yes\nb: 8:00\nc: [1, 2.5, true, null, ~, '12', 0x10]\nd:\n  e: |\n    x\n"
    )
    assert loaded.data == {
        "a": "yes",
        "b": "8:00",
        "c": [1, 2.5, True, None, None, "12", 16],
        "d": {"e": "x\n"},
    }


def test_where_gives_line_and_column_of_the_key_or_the_item():
    loaded = load_located_yaml("a:\n  b:\n    - x\n    - c: 1\n")
    assert loaded.where(("a", "b")) == (2, 3)
    assert loaded.where(("a", "b", 1)) == (4, 7)
    assert loaded.where(("a", "b", 1, "c")) == (4, 7)


def test_where_of_a_missing_key_is_its_parent():
    loaded = load_located_yaml("a:\n  b: 1\n")
    assert loaded.where(("a", "z", 3)) == (1, 1)


def test_an_error_of_a_path_carries_file_line_column_and_key():
    loaded = load_located_yaml("a:\n  - b: 1\n", file="plan.yaml")
    error = loaded.error(("a", 0, "b"), "too small", DialplanError)
    assert isinstance(error, DialplanError)
    assert str(error) == "plan.yaml:2:5: a[0].b: too small"


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "duplicate key, first on line 1"),
        ("a: &x 1\n", 1, 4, "anchor"),
        ("a: *x\n", 1, 4, "alias"),
        ("a:\n  <<: {b: 1}\n", 2, 3, "merge key"),
        ("a: 1\n12: x\n", 2, 1, 'write "12"'),
        ("a: 1\ntrue: x\n", 2, 1, "not text"),
        ("a: 1\n[1, 2]: x\n", 2, 1, "key must be text"),
        ("a: !!python/object:os.system x\n", 1, 4, "tag"),
        ("a: [1, 2\n", 2, 1, "not valid YAML"),
        ("a: 1\n\tb: 2\n", 2, 1, "not valid YAML"),
        ("a: 1\n---\nb: 2\n", 2, 1, "one document"),
        ("a: 12345678901234567890\n", 1, 4, "too long"),
        ("a: 1e999\n", 1, 4, "too large"),
    ],
)
def test_what_nobody_meant_is_refused_at_its_place(text, line, column, words):
    error = refused(text)
    assert (error.file, error.line, error.column) == ("plan.yaml", line, column)
    assert words in str(error)


def test_control_characters_are_refused():
    assert "not valid YAML" in str(refused("a: \x07\n"))


def test_a_file_that_is_missing_or_not_utf_8_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_located_yaml(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml:2:4: not UTF-8"):
        load_located_yaml(bad)


@pytest.mark.parametrize("name", ["deep_flow", "deep_block", "bomb", "large", "large_duplicate_first"])
def test_attacks_are_refused_within_a_second_and_100_megabytes(tmp_path, name):
    """Line 24 of the fault list: bomb, 2,000-deep nesting, 5 MB."""
    path = tmp_path / f"{name}.yaml"
    path.write_text(
        {
            "deep_flow": "a: " + "[" * 2000 + "]" * 2000,
            "deep_block": "\n".join("  " * n + "a:" for n in range(2000)),
            "bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n"
                for a, b in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            "large": "a: " + "x" * 5_000_000,
            "large_duplicate_first": "a: 1\na: 2\n" + "b: 1\n" * 100_000,
        }[name]
    )
    began = time.process_time()
    with pytest.raises(ConfigError):
        load_located_yaml(path)
    assert time.process_time() - began < 1
    tracemalloc.start()
    with pytest.raises(ConfigError):
        load_located_yaml(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000


def test_dotted_writes_lists_with_brackets():
    assert dotted(("flows", "main", 2, "say")) == "flows.main[2].say"
