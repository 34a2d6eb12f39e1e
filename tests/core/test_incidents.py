"""When there is something to tell of an incident: a table of what happens, and what is said of it."""

import pytest

from fliqd.core.incidents import QUIET_MS, REMIND_MS, Incident, News, look_again_ms, went_well, went_wrong

MINUTE = 60_000


def play(*happenings: tuple[int, str]) -> tuple[Incident, list[tuple[int, News]]]:
    """Return how an incident stands after what happened (when, "bad" or "well"), and the news, each out at once."""
    incident: Incident | None = None
    told = []
    for now_ms, what in happenings:
        if what == "bad":
            incident, news = went_wrong(incident, "failure", "a:80", now_ms)
        else:
            assert incident is not None
            incident, news = went_well(incident, now_ms)
        if news is not None:
            told.append((now_ms, news))
            incident = Incident(**{name: getattr(incident, name) for name in FIELDS} | {"told_ms": now_ms})
    assert incident is not None
    return incident, told


FIELDS = Incident.__struct_fields__


def test_a_thousand_failures_are_one_piece_of_news() -> None:
    incident, told = play(*((number, "bad") for number in range(1_000)), (2_000, "well"), (3_000, "well"))
    assert told == [(0, News.OPENED), (2_000, News.CLOSED)]
    assert (incident.count, incident.closed_ms) == (1_000, 2_000)


def test_what_comes_and_goes_is_told_now_and_then() -> None:
    """A target that fails each second time is news twice in ten minutes, not each time."""
    every = [(number * MINUTE // 2, ("bad", "well")[number % 2]) for number in range(120)]
    _, told = play(*every)
    assert told == [(0, News.OPENED), (MINUTE // 2, News.CLOSED), (MINUTE, News.OPENED)]


def test_one_that_came_back_is_over_once_it_has_been_quiet() -> None:
    happened = [(0, "bad"), (1, "well"), (2, "bad"), (3, "well")]
    incident, _ = play(*happened)
    assert incident.closed_ms is None
    assert look_again_ms(incident) == 2 + QUIET_MS
    incident, told = play(*happened, (2 + QUIET_MS, "well"))
    assert told[-1] == (2 + QUIET_MS, News.CLOSED)
    incident, told = play(*happened, (4, "bad"))
    assert (look_again_ms(incident), incident.count) == (None, 2)


def test_one_long_after_the_last_is_a_new_one() -> None:
    incident, told = play((0, "bad"), (1, "well"), (1 + QUIET_MS, "bad"), (2 + QUIET_MS, "well"))
    assert [news for _, news in told] == [News.OPENED, News.CLOSED] * 2
    assert not incident.again


@pytest.mark.parametrize("nights", [1, 5])
def test_what_fails_each_night_is_told_each_night(nights: int) -> None:
    _, told = play(*((night * 24 * 3_600_000, "bad") for night in range(nights)))
    assert [news for _, news in told] == [News.OPENED, *[News.GOES_ON] * (nights - 1)]
    assert REMIND_MS < 24 * 3_600_000
