"""The rule of docs/adr/0001-rename-rule.md."""

import pytest

from agent.formats.rename import rename


@pytest.mark.parametrize(
    ("path", "n", "renamed"),
    [
        ("Name", 2, "Name (2)"),
        ("Seattle.jpg", 2, "Seattle (2).jpg"),
        ("photos/2024/harbour.tar.gz", 3, "photos/2024/harbour.tar (3).gz"),
        ("v1.2/readme", 2, "v1.2/readme (2)"),
        ("a/.profile", 2, "a/ (2).profile"),
        ("x%2E", 10, "x%2E (10)"),
    ],
)
def test_the_number_stands_before_the_last_dot_of_the_last_segment(path: str, n: int, renamed: str) -> None:
    assert rename(path, n) == renamed
