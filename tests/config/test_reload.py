"""The configuration file as the truth: what it declares is there, what it changes changes, what it drops is gone."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support import Answer, FakeClock, RunningDaemon, Target, until


class File:
    """The daemon's configuration file, and what a person does after editing it."""

    def __init__(self, path: Path, fliqd: RunningDaemon) -> None:
        self._path = path
        self._fliqd = fliqd

    def write(self, text: str) -> None:
        self._path.write_text(text)

    async def reload(self, text: str) -> Answer:
        self.write(text)
        return await self._fliqd("POST", "/v1/config/reload")

    async def schedules(self) -> dict[str, dict[str, Any]]:
        found = (await self._fliqd("GET", "/v1/schedules?limit=100")).body["schedules"]
        return {schedule["name"]: schedule for schedule in found}


@pytest.fixture
def env() -> dict[str, str]:
    return {"BACKUP_TOKEN": 's3cret-"quoted"'}


@pytest.fixture
async def file(tmp_path: Path, fliqd: RunningDaemon) -> File:
    """A daemon that was started with an empty file."""
    await fliqd.stop()
    file = File(tmp_path / "fliqd.toml", fliqd)
    file.write("")
    await fliqd.start()
    return file


def nightly(url: str, more: str = "") -> str:
    return f"""
        [[schedules]]
        name = "nightly"
        cron = "0 3 * * *"
        timezone = "Europe/Berlin"
        url = "{url}"
        {more}
    """


async def test_an_entry_is_made_changed_and_deleted_with_its_history(
    file: File, fliqd: RunningDaemon, target: Target, clock: FakeClock
) -> None:
    answer = await file.reload(nightly(target.url))
    assert answer.status == 200, answer.body
    assert answer.body["created"] == [{"kind": "schedule", "name": "nightly"}]
    first = (await file.schedules())["nightly"]
    assert first["source"] == "config"
    assert first["next_run_at"] == "2027-03-02T02:00:00.000Z"

    clock.advance(timedelta(hours=14))
    await target.received(1)
    answer = await file.reload(nightly(target.url, "max_retries = 2"))
    assert answer.body["updated"] == [
        {"kind": "schedule", "name": "nightly", "changes": {"max_retries": {"from": 0, "to": 2}}}
    ]
    changed = (await file.schedules())["nightly"]
    assert changed["id"] == first["id"]
    assert changed["next_run_at"] == "2027-03-03T02:00:00.000Z"
    assert changed["run_count"] == 1

    same = await file.reload(nightly(target.url, "max_retries = 2"))
    assert (same.body["created"], same.body["updated"], same.body["deleted"]) == ([], [], [])
    assert same.body["unchanged"] == 1
    assert (await file.schedules())["nightly"]["updated_at"] == changed["updated_at"]

    gone = await file.reload("")
    assert gone.body["deleted"] == [{"kind": "schedule", "name": "nightly"}]
    assert await file.schedules() == {}
    assert len((await fliqd("GET", f"/v1/schedules/{first['id']}/jobs")).body["jobs"]) == 1


async def test_a_wrong_file_changes_nothing_and_every_problem_is_named(
    file: File, fliqd: RunningDaemon, target: Target
) -> None:
    await file.reload(nightly(target.url))
    answer = await file.reload(
        nightly(target.url, 'cron = "61 * * * *"'.replace("cron", "misfire"))
        + """
        [[schedules]]
        name = "nightly"
        cron = "61 * * * *"
        url = "ftp://x/"
        colour = "red"

        [[jobs]]
        url = "http://a/"
        scheduled_at = 2027-01-01
        headers = { Authorization = "Bearer ${env:NO_SUCH}" }
        """
    )
    assert answer.status == 400
    assert answer.code == "invalid_config"
    problems = {detail["field"]: detail["problem"] for detail in answer.body["error"]["details"]}
    assert list(problems) == [
        "schedules[0].misfire",
        "schedules[1].name",
        "schedules[1].cron",
        "schedules[1].url",
        "schedules[1].colour",
        "jobs[0].scheduled_at",
        "jobs[0].headers.Authorization",
        "jobs[0].name",
    ]
    assert problems["schedules[1].cron"] == '"61 * * * *": minute 61 is outside 0-59 (at character 1)'
    assert problems["jobs[0].headers.Authorization"] == "the environment has no NO_SUCH"
    assert list(await file.schedules()) == ["nightly"]


NAMELESS = {
    "schedules": 'every = "1h"\nurl = "http://a/"',
    "jobs": 'scheduled_at = 2027-01-01T00:00:00Z\nurl = "http://a/"',
    "alerts": 'type = "slack"\ntarget = "https://a/"',
    "buffers": 'url = "http://a/"\nrate_limit = 1',
    "queues": "concurrency = 2",
}


@pytest.mark.parametrize("name", ["", 'name = "${env:NO_SUCH}"'])
@pytest.mark.parametrize("kind", NAMELESS)
async def test_an_entry_without_a_name_is_told_so(file: File, kind: str, name: str) -> None:
    answer = await file.reload(f"[[{kind}]]\n{NAMELESS[kind]}\n{name}\n")
    assert (answer.status, answer.code) == (400, "invalid_config")
    told = {(detail["field"], detail["problem"]) for detail in answer.body["error"]["details"]}
    reason = "the environment has no NO_SUCH" if name else "is required: it is how the entry is known again"
    assert (f"{kind}[0].name", reason) in told
    assert {field for field, _ in told} == {f"{kind}[0].name"}


async def test_references_are_looked_up_when_the_request_leaves(
    file: File, fliqd: RunningDaemon, target: Target, clock: FakeClock, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    answer = await file.reload(
        nightly(
            target.url,
            f"""
            headers = {{ Authorization = "Bearer ${{env:BACKUP_TOKEN}}", Literal = "$${{env:BACKUP_TOKEN}}" }}
            json = {{ key = "${{file:{tmp_path}/key}}", token = "${{env:BACKUP_TOKEN}}" }}
            """,
        )
    )
    assert answer.status == 200, answer.body
    shown = (await file.schedules())["nightly"]
    assert shown["headers"]["Authorization"] == "Bearer ${env:BACKUP_TOKEN}"
    (tmp_path / "key").write_text("renewed\n")
    clock.advance(timedelta(hours=14))
    [hit] = await target.received(1)
    assert hit.headers["Authorization"] == 'Bearer s3cret-"quoted"'
    assert hit.headers["Literal"] == "${env:BACKUP_TOKEN}"
    assert hit.body == b'{"key":"renewed","token":"s3cret-\\"quoted\\""}'
    (tmp_path / "key").unlink()
    clock.advance(timedelta(hours=24))

    async def failed() -> dict[str, Any] | None:
        jobs = (await fliqd("GET", f"/v1/schedules/{shown['id']}/jobs?status=failed")).body["jobs"]
        return jobs[0] if jobs else None

    job = await until(failed, "the run without its file")
    assert job["last_error"].startswith("unresolved: the file ")
    assert "s3cret" not in str((await fliqd("GET", "/v1/config")).body)


async def test_what_became_of_an_entry_is_no_difference(
    file: File, fliqd: RunningDaemon, target: Target, clock: FakeClock
) -> None:
    once = f"""
        [[jobs]]
        name = "launch"
        url = "{target.url}"
        scheduled_at = 2028-01-01T00:00:00Z
        requires_approval = true
    """
    target.answers += [web.json_response({"$state": {"n": 1}})]
    await file.reload(nightly(target.url, 'dynamic_fields = "inject"') + once)
    [job] = (await fliqd("GET", "/v1/jobs?name=launch")).body["jobs"]
    assert (await fliqd("POST", f"/v1/jobs/{job['id']}/approve")).status == 200
    clock.advance(timedelta(hours=14))
    [run] = await target.received(1)
    await fliqd.until(run.headers["X-Fliq-Delivery-Id"], "success")
    changed = nightly(target.url, 'dynamic_fields = "inject"\nmax_retries = 1') + f"{once}\nmax_retries = 2"
    answer = await file.reload(changed)
    assert {entry["name"]: list(entry["changes"]) for entry in answer.body["updated"]} == {
        "nightly": ["max_retries"],
        "launch": ["max_retries"],
    }
    assert (await file.schedules())["nightly"]["state"] == {"n": 1}
    kept = await fliqd.job(job["id"])
    assert (kept["status"], kept["approved_by"]) == ("scheduled", "admin")


async def test_what_references_stand_for_is_sent_and_neither_kept_nor_told(
    file: File, fliqd: RunningDaemon, target: Target, clock: FakeClock
) -> None:
    secret = "s3cret-"
    answer = await file.reload(
        nightly(
            f"{target.url}?key=${{env:BACKUP_TOKEN}}",
            f"""
            headers = {{ Authorization = "Bearer ${{env:BACKUP_TOKEN}}" }}
            json = {{ token = "${{env:BACKUP_TOKEN}}", n = "$job.attempt" }}
            dynamic_fields = "inject"
            webhook_url = "{target.url}/told"
            callback_url = "{target.url}/called"

            [[alerts]]
            name = "told"
            type = "webhook"
            target = "{target.url}/alerted"
            """,
        )
    )
    assert answer.status == 200, answer.body
    target.answers += [500]
    clock.advance(timedelta(hours=14))
    run, *told = await target.received(4)
    assert secret in run.path
    assert run.json["token"].startswith(secret)
    assert {hit.path.rpartition("/")[2] for hit in told} == {"told", "called", "alerted"}
    assert not any(secret in hit.body.decode() for hit in told)
    job_id = run.headers["X-Fliq-Delivery-Id"]
    [execution] = (await fliqd("GET", f"/v1/jobs/{job_id}/executions")).body["executions"]
    assert '"token":"${env:BACKUP_TOKEN}"' in execution["request_body"]
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/executions", f"/booper/api/logs?job_id={job_id}"):
        assert secret not in str((await fliqd("GET", path)).body)


@pytest.mark.parametrize(
    "misspelt", ["Bearer ${evn:BACKUP_TOKEN}", "Bearer ${env:BACKUP_TOKEN", "${BACKUP_TOKEN}", "${"]
)
async def test_a_misspelt_reference_is_not_sent_as_it_stands(file: File, target: Target, misspelt: str) -> None:
    answer = await file.reload(nightly(target.url, f'headers = {{ Authorization = "{misspelt}" }}'))
    [detail] = answer.body["error"]["details"]
    assert detail["field"] == "schedules[0].headers.Authorization"
    assert detail["problem"].startswith("a ${ that is no reference: there are ${env:NAME}")


async def test_no_problem_says_what_a_reference_stands_for(file: File, target: Target) -> None:
    wrong = """
        timezone = "${env:BACKUP_TOKEN}"
        overlap = "${env:BACKUP_TOKEN}"
        headers = { "X-${env:BACKUP_TOKEN}" = "1" }
    """
    answer = await file.reload(f'[[schedules]]\nname = "n"\ncron = "0 3 * * *"\nurl = "{target.url}"\n{wrong}')
    problems = {detail["field"]: detail["problem"] for detail in answer.body["error"]["details"]}
    assert problems["schedules[0].timezone"] == "'${env:BACKUP_TOKEN}' is not a time zone"
    assert "${env:BACKUP_TOKEN}" in problems["schedules[0].overlap"]
    assert "s3cret" not in str(answer.body)


async def test_the_api_may_pause_and_run_but_not_edit(file: File, fliqd: RunningDaemon, target: Target) -> None:
    await file.reload(nightly(target.url))
    schedule_id = (await file.schedules())["nightly"]["id"]
    path = f"/v1/schedules/{schedule_id}"
    for answer in (await fliqd("PATCH", path, {"cron": "0 4 * * *"}), await fliqd("DELETE", path)):
        assert (answer.status, answer.code) == (409, "managed_by_config")
    assert (await fliqd("POST", f"{path}/run")).status == 201
    await target.received(1)
    assert (await fliqd("POST", f"{path}/pause")).body["status"] == "paused"
    await file.reload(nightly(target.url, 'description = "d"'))
    assert (await file.schedules())["nightly"]["status"] == "paused"
    await file.reload(nightly(target.url, "paused = false"))
    assert (await file.schedules())["nightly"]["status"] == "active"


async def test_a_schedule_of_the_api_is_taken_over_by_name(file: File, fliqd: RunningDaemon, target: Target) -> None:
    made = await fliqd("POST", "/v1/schedules", {"name": "nightly", "cron": "0 3 * * *", "url": target.url})
    await file.reload(nightly(target.url))
    taken = (await file.schedules())["nightly"]
    assert (taken["id"], taken["source"], taken["timezone"]) == (made.body["id"], "config", "Europe/Berlin")


def once(url: str, at: str, more: str = "") -> str:
    return f'[[jobs]]\nname = "go-live"\nscheduled_at = {at}\nurl = "{url}"\n{more}\n'


async def test_a_declared_job_runs_once_ever(
    file: File, fliqd: RunningDaemon, target: Target, clock: FakeClock
) -> None:
    await file.reload(once(target.url, "2027-03-01T13:00:00Z"))
    [job] = (await fliqd("GET", "/v1/jobs")).body["jobs"]
    assert (job["name"], job["source"]) == ("go-live", "config")
    assert (await fliqd("DELETE", f"/v1/jobs/{job['id']}")).code == "managed_by_config"
    await file.reload(once(target.url, "2027-03-01T14:00:00Z"))
    clock.advance(timedelta(hours=2))
    await target.received(1)
    await fliqd.until(job["id"], "success")

    noted = await file.reload(once(target.url, "2027-03-05T14:00:00Z"))
    assert noted.body["notes"] == ['the job "go-live" has run and does not run again; another name makes another job']
    await file.reload("")
    again = await file.reload(once(target.url, "2027-03-01T14:00:00Z"))
    assert (again.body["created"], again.body["unchanged"]) == ([], 1)
    await fliqd.stop()
    await fliqd.start()
    assert len((await fliqd("GET", "/v1/jobs")).body["jobs"]) == 1
    assert (await fliqd("GET", "/v1/config")).body["jobs"][0]["status"] == "success"


async def test_a_declared_job_that_is_dropped_before_its_time_is_cancelled_and_may_come_back(
    file: File, fliqd: RunningDaemon, target: Target
) -> None:
    await file.reload(once(target.url, "2027-03-01T13:00:00Z"))
    assert (await file.reload("")).body["deleted"] == [{"kind": "job", "name": "go-live"}]
    [job] = (await fliqd("GET", "/v1/jobs")).body["jobs"]
    assert job["status"] == "cancelled"
    assert (await file.reload(once(target.url, "2027-03-01T13:00:00Z"))).body["created"] != []


async def test_a_declared_job_past_its_time_when_first_seen_is_noted_as_missed(
    file: File, fliqd: RunningDaemon, target: Target, clock: FakeClock
) -> None:
    answer = await file.reload(once(target.url, "2027-03-01T11:00:00Z"))
    assert answer.status == 200
    assert answer.body["missed"] == [{"kind": "job", "name": "go-live"}]
    [noted] = (await fliqd("GET", "/v1/config")).body["jobs"]
    assert (noted["status"], noted["scheduled_at"]) == ("missed", "2027-03-01T11:00:00.000Z")
    assert (await fliqd("GET", "/v1/jobs")).body["jobs"] == []
    assert (await file.reload(once(target.url, "2027-03-01T11:00:00Z"))).body["unchanged"] == 1
    assert (await file.reload(once(target.url, "2027-03-01T13:00:00Z"))).body["created"] != []


async def test_diff_says_what_would_change_and_changes_nothing(
    file: File, fliqd: RunningDaemon, target: Target
) -> None:
    await file.reload(nightly(target.url))
    text = nightly(target.url, 'overlap = "skip"') + '[server]\nmax_body = "2MiB"\n'
    answer = await fliqd("POST", "/v1/config/diff", {"config": text})
    assert answer.body["updated"][0]["changes"] == {"overlap": {"from": "queue", "to": "skip"}}
    assert answer.body["restart_needed"] == ["server.max_body"]
    assert (await file.schedules())["nightly"]["overlap"] == "queue"
    assert (await fliqd("POST", "/v1/config/diff")).body["updated"] == []


async def test_defaults_take_effect_at_once(file: File, fliqd: RunningDaemon, target: Target) -> None:
    await file.reload(nightly(target.url))
    answer = await file.reload(nightly(target.url) + "[defaults]\nmax_retries = 4\n")
    assert answer.body["updated"][0]["changes"] == {"max_retries": {"from": 0, "to": 4}}
    assert answer.body["restart_needed"] == []
    assert (await fliqd.create(url=target.url, delay="1h"))["max_retries"] == 4


async def test_a_file_that_is_gone_is_not_an_empty_file(
    file: File, fliqd: RunningDaemon, target: Target, tmp_path: Path
) -> None:
    await file.reload(nightly(target.url))
    (tmp_path / "fliqd.toml").unlink()
    assert (await fliqd("POST", "/v1/config/reload")).code == "invalid_config"
    await fliqd.stop()
    await fliqd.start()
    assert list(await file.schedules()) == ["nightly"]


async def test_only_admins_see_and_reload(file: File, fliqd: RunningDaemon) -> None:
    made = await fliqd("POST", "/v1/tokens", {"name": "w", "scopes": ["read", "write"]})
    fliqd.token = made.body["token"]
    for method, path in (("GET", "/v1/config"), ("POST", "/v1/config/reload"), ("POST", "/v1/config/diff")):
        assert (await fliqd(method, path)).status == 403


LANES = """
[[buffers]]
name = "erp"
url = "{url}"
rate_limit = 5
headers = {{ Authorization = "Bearer ${{env:BACKUP_TOKEN}}" }}

[[queues]]
name = "mail"
concurrency = 2
"""


async def test_buffers_and_queues_are_declared_too(file: File, fliqd: RunningDaemon, target: Target) -> None:
    text = LANES.format(url=target.url)
    made = await file.reload(text)
    assert made.body["created"] == [{"kind": "buffer", "name": "erp"}, {"kind": "queue", "name": "mail"}]
    [buffer] = (await fliqd("GET", "/v1/buffers")).body["buffers"]
    path = f"/v1/buffers/{buffer['id']}"
    own = {"X-A": "${env:BACKUP_TOKEN}", "X-B": "$${env:BACKUP_TOKEN}", "X-C": "${x"}
    asked = {"json": {"literal": "${env:BACKUP_TOKEN}"}, "headers": own}
    item = (await fliqd("POST", f"{path}/items", asked)).body
    assert item["headers"].items() >= own.items()  # as they were given
    assert item["headers"]["Authorization"] == "Bearer ${env:BACKUP_TOKEN}"
    assert (await fliqd("GET", f"{path}/items/{item['id']}")).body["headers"] == item["headers"]
    [hit] = await target.received(1)
    assert hit.headers["Authorization"] == 'Bearer s3cret-"quoted"'
    assert hit.headers.items() >= own.items()
    assert hit.body == b'{"literal": "${env:BACKUP_TOKEN}"}'  # what comes over the API is literal
    assert (await fliqd("PATCH", path, {"rate_limit": 6})).code == "managed_by_config"
    assert (await fliqd("PUT", "/v1/queues/mail", {"concurrency": 3})).code == "managed_by_config"
    assert (await fliqd("DELETE", "/v1/queues/mail")).code == "managed_by_config"
    assert (await fliqd("POST", "/v1/queues/mail/pause")).body["paused"] is True

    changed = await file.reload(text.replace("rate_limit = 5", "rate_limit = 7").replace("= 2", "= 4"))
    assert changed.body["updated"] == [
        {"kind": "buffer", "name": "erp", "changes": {"rate_limit": {"from": 5, "to": 7}}},
        {"kind": "queue", "name": "mail", "changes": {"concurrency": {"from": 2, "to": 4}}},
    ]
    assert (await fliqd("GET", "/v1/queues/mail")).body["paused"] is True
    assert (await fliqd("GET", path)).body["id"] == buffer["id"]
    shown = (await fliqd("GET", "/v1/config")).body
    assert (shown["buffers"], shown["queues"]) == (["erp"], ["mail"])

    gone = await file.reload("")
    assert gone.body["deleted"] == [{"kind": "buffer", "name": "erp"}, {"kind": "queue", "name": "mail"}]
    assert (await fliqd("GET", path)).status == 404
    assert (await fliqd("GET", "/v1/queues/mail")).body["concurrency"] is None
