"""What an alert says fits in where it is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fliqd.core.channels import ChannelType
from fliqd.core.messages import Alert, request_for


def told(kind: ChannelType, *texts: str) -> dict[str, Any]:
    _, body = request_for(kind, "https://ntfy.sh/topic", [Alert(event="e", text=text) for text in texts])
    document: dict[str, Any] = json.loads(body)
    return document


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=90), min_size=1, max_size=10
    )
)
def test_what_fits_is_told_as_it_is(texts: list[str]) -> None:
    lines = [f"fliqd: {text}" for text in texts]
    assert told(ChannelType.NTFY, *texts)["message"].split("\n") == lines
    assert told(ChannelType.DISCORD, *texts)["content"].split("\n") == lines


@pytest.mark.parametrize("letter", ["x", "ä", "🙂"])
@pytest.mark.parametrize("count", [1, 10])
def test_of_much_a_part_of_each_is_told(letter: str, count: int) -> None:
    texts = [f"host-{number} fails: {letter * 5_000}" for number in range(count)]
    message = told(ChannelType.NTFY, *texts)["message"]
    assert 3_900 < len(message.encode()) <= 4_096
    content = told(ChannelType.DISCORD, *texts)["content"]
    assert 1_900 < len(content) <= 2_000
    for text in (message, content):
        lines = text.split("\n")
        assert [line.partition(" fails")[0] for line in lines] == [f"fliqd: host-{n}" for n in range(count)]
        assert all(line.endswith(f"{letter}…") for line in lines)
