"""`POST /cron/preview`."""

import pytest

from tests.support import RunningDaemon


async def test_the_next_runs_and_what_they_mean(fliqd: RunningDaemon) -> None:
    answer = await fliqd(
        "POST",
        "/v1/cron/preview",
        {"cron": "0 8 * * 1-5", "timezone": "Europe/Berlin", "from": "2027-03-26T06:00:00Z", "count": 3},
    )
    assert answer.status == 200
    assert answer.body == {
        "runs": ["2027-03-26T07:00:00.000Z", "2027-03-29T06:00:00.000Z", "2027-03-30T06:00:00.000Z"],
        "description": "At 08:00, Monday through Friday",
    }


async def test_from_now_in_utc_five_of_them(fliqd: RunningDaemon) -> None:
    runs = (await fliqd("POST", "/cron/preview", {"cron": "*/15 * * * *"})).body["runs"]
    assert [run[11:16] for run in runs] == ["12:15", "12:30", "12:45", "13:00", "13:15"]


@pytest.mark.parametrize(
    ("asked", "code", "says"),
    [
        ({}, "invalid_cron", "required"),
        ({"cron": "61 * * * *"}, "invalid_cron", "'61 * * * *': minute 61 is outside 0-59"),
        ({"cron": "0 0 30 2 *"}, "invalid_cron", "0 0 30 2 *"),
        ({"cron": "0 22-3 * * *"}, "invalid_cron", "22-23,0-3"),
        ({"cron": "* * * * * *"}, "invalid_cron", "* * * * * *"),
        ({"cron": "x" * 300}, "invalid_cron", "256"),
        ({"cron": 5}, "invalid_cron", "text"),
        ({"cron": "* * * * *", "timezone": "Europe/Berlim"}, "invalid_timezone", "Europe/Berlin"),
        ({"cron": "* * * * *", "timezone": "../etc/passwd"}, "invalid_timezone", "zone"),
        ({"cron": "* * * * *", "timezone": ""}, "invalid_timezone", "zone"),
        ({"cron": "* * * * *", "count": 0}, "invalid_count", "1 to 1000"),
        ({"cron": "* * * * *", "count": 1001}, "invalid_count", "1 to 1000"),
        ({"cron": "* * * * *", "from": "2027-03-25T07:00:00"}, "invalid_from", "offset"),
        ({"cron": "0 0 1 1 *", "from": "9999-12-31T23:59:59Z"}, "invalid_cron", "no date"),
        ({"cron": "* * * * *", "zone": "UTC"}, "unknown_field", "zone"),
    ],
)
async def test_what_is_refused(fliqd: RunningDaemon, asked: dict[str, object], code: str, says: str) -> None:
    answer = await fliqd("POST", "/v1/cron/preview", asked)
    assert (answer.status, answer.code) == (400, code), answer.body
    assert says in answer.body["error"]["message"]


async def test_to_ask_takes_no_more_than_reading(fliqd: RunningDaemon) -> None:
    made = await fliqd("POST", "/v1/tokens", {"name": "reader", "scopes": ["read"]})
    fliqd.token = made.body["token"]
    assert (await fliqd("POST", "/v1/cron/preview", {"cron": "@daily"})).status == 200
