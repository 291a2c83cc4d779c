import pytest

from runtime.errors import InputError
from sdk.datasets._registry import Entry, read_registry
from tests.datasets.archives import write_registry


def test_a_registry_is_read(tmp_path):
    path = write_registry(
        tmp_path / "r.txt", "# words", "", f'one "a b.zip" {"a" * 64} https://x.org/a%20b.zip', "one c.tar.xz - -"
    )
    assert read_registry(path) == (
        Entry("one", "a b.zip", "a" * 64, "https://x.org/a%20b.zip"),
        Entry("one", "c.tar.xz", None, None),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "one a.zip -",
            "r.txt: line 2: expected 4 fields .*data set, file name, sha256, url.*, got 3 in 'one a.zip -'",
        ),
        ("one a b.zip - -", "r.txt: line 2: expected 4 fields .* got 5 .* quote a file name with spaces"),
        ('one "a.zip - -', "r.txt: line 2: expected closed quotes"),
        ("one a.zip 1234 -", "r.txt: line 2: expected a sha256 of 64 lower-case hex digits, or -, got '1234'"),
        (f"one a.zip {'A' * 64} -", "r.txt: line 2: expected a sha256"),
        ("one a.zip - ftp://x", "r.txt: line 2: expected a url .* got 'ftp://x'"),
        ("one first.zip - -", "r.txt: line 2: expected each entry once"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        read_registry(write_registry(tmp_path / "r.txt", "one first.zip - -", line))
