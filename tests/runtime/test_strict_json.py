"""What a lenient reader of JSON lets through, and that nothing else is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.files import strict_json

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(documents)
def test_what_json_writes_is_read(document):
    assert strict_json.loads(json.dumps(document)) == document
    assert strict_json.loads(json.dumps(document, ensure_ascii=False).encode()) == document


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=30) | st.text('[]{}":,0123456789.eE-nulltrue\\ud8', max_size=20).map(str.encode))
def test_any_bytes_are_a_document_or_a_value_error(data):
    try:
        found = strict_json.loads(data)
    except ValueError:
        return
    assert found == json.loads(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"a": 1, "a": 1}}', "the key 'a' twice"),
        ("[NaN]", "the constant NaN, which is not a finite number"),
        ("-1e999", "the constant -1e999, which"),
        ("[" * 64 + "1" + "]" * 64, "nesting deeper than 64 levels"),
        ("[" * 100_000, "recursion|nesting"),
        (r'{"\ud800": 1}', "surrogates not allowed"),
        (r'["\udfff"]', "surrogates not allowed"),
        ("9" * 5000, "limit"),
        (b"\xff", "utf-8"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        strict_json.loads(text)


def test_sixty_three_levels_are_taken():
    assert json.dumps(strict_json.loads("[" * 63 + "1" + "]" * 63)).count("[") == 63
