"""References in texts, and texts that only look as if they had any."""

import pytest

from fliqd.core.references import escape, expand, has_references


def found(kind: str, name: str) -> str:
    return f"<{kind} {name}>"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("${env:A}", "<env A>"),
        ("a${env:A}b${file:/c d}e", "a<env A>b<file /c d>e"),
        ("$${", "${"),
        ("$${env:A}", "${env:A}"),
        ("$$${env:A}", "$${env:A}"),
        ("$${env:$${}", "${env:${}"),  # each stands for itself, wherever it stands
        ("$${env:${env:A}}", "${env:<env A>}"),
        ("$ { $x", "$ { $x"),
    ],
)
def test_what_a_text_means(text: str, meaning: str) -> None:
    assert expand(text, found) == meaning


@pytest.mark.parametrize("text", ["${", "${}", "${env}", "${ENV:A}", "a ${x:y} b", "${env:A"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no reference"):
        expand(text, found)


@pytest.mark.parametrize(
    "text", ["${env:A}", "$${env:A}", "$$${", "${env:${}", "${env:x${env:A}}", "${$${", "plain", "$"]
)
def test_an_escaped_text_means_itself(text: str) -> None:
    escaped = escape(text)
    assert expand(escaped, found) == text
    assert has_references(escaped) == ("${" in text)
