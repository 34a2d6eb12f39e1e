"""`/metrics`: true, named by the rules, and all that the dashboard and the page speak of."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from fliqd.service import queues
from tests.support import RunningDaemon, Target, until

ROOT = Path(__file__).parent.parent.parent
SUFFIXES = ("_bucket", "_sum", "_count")
LABELS = {"outcome", "error_code", "reason", "status", "queue", "state", "version", "python", "loop", "sqlite", "le"}


async def scrape(fliqd: RunningDaemon) -> dict[str, Metric]:
    answer = await fliqd("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {family.name: family for family in text_string_to_metric_families(answer.body.decode())}


def value(metrics: dict[str, Metric], name: str, **labels: str) -> float:
    family = name.removesuffix("_total")
    for suffix in SUFFIXES:
        family = family.removesuffix(suffix) if family not in metrics else family
    samples = [sample for sample in metrics[family].samples if sample.name == name and sample.labels == labels]
    return sum(sample.value for sample in samples)


async def test_what_happened_is_counted(fliqd: RunningDaemon, target: Target) -> None:
    target.answers = [200, 500]
    for wanted in ("success", "failed"):
        job = await fliqd.create(url=target.url, delay=0)
        await fliqd.until(job["id"], wanted)
    waiting = await fliqd.create(url=target.url, delay="1h")
    await fliqd("DELETE", f"/v1/jobs/{waiting['id']}")
    await fliqd("GET", "/v1/jobs/nonsense")
    metrics = await scrape(fliqd)
    assert value(metrics, "fliqd_jobs_created_total") == 3
    for outcome in ("success", "failed", "cancelled"):
        assert value(metrics, "fliqd_jobs_finished_total", outcome=outcome) == 1
    assert value(metrics, "fliqd_attempts_total", outcome="success", error_code="") == 1
    assert value(metrics, "fliqd_attempts_total", outcome="failed", error_code="bad_status") == 1
    for histogram in ("lateness", "duration"):
        assert value(metrics, f"fliqd_attempt_{histogram}_seconds_count") == 2
    assert value(metrics, "fliqd_api_requests_total", status="201") == 3
    assert value(metrics, "fliqd_api_requests_total", status="404") == 1
    assert value(metrics, "fliqd_attempts_in_flight") == 0
    assert value(metrics, "fliqd_db_bytes") > 0
    assert value(metrics, "fliqd_store_commit_rows_count") > 0


async def test_expired_and_interrupted_jobs_are_counted_too(fliqd: RunningDaemon, target: Target) -> None:
    """Those that end elsewhere than with an answer."""
    target.hold()
    job = await fliqd.create(url=target.url, delay=0, on_interrupt="fail")
    await target.received(1)
    assert fliqd.daemon is not None
    await fliqd.daemon._store.attempts.hand_back(  # noqa: SLF001 -- as a stop does
        [await fliqd.daemon._store.job(job["id"])],  # noqa: SLF001
        now_ms=fliqd.clock.now_ms(),
        reason="stopped",
    )
    assert value(await scrape(fliqd), "fliqd_jobs_finished_total", outcome="failed") == 1


async def test_the_depth_of_queues_is_told_in_few_series(
    fliqd: RunningDaemon, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many names jobs carry: those that have limits are told apart, up to a number."""
    monkeypatch.setattr(queues, "MOST_TOLD", 2)
    for name in ("b", "a", "c"):
        await fliqd("PUT", f"/v1/queues/{name}", {"paused": True})
    for name in ("a", "a", "c", "stray", "default"):
        await fliqd.create(url=target.url, delay="1h", queue=name)
    buffer = (await fliqd("POST", "/v1/buffers", {"url": target.url, "name": "b", "paused": True})).body
    await fliqd("POST", f"/v1/buffers/{buffer['id']}/items", {"items": [{"body": "x"}] * 3})
    target.hold()
    await fliqd.create(url=target.url, delay=0)
    await target.received(1)
    waits = {"default": 1, "a": 2, "b": 0, "(others)": 2}

    async def counted() -> dict[str, Metric] | None:
        seen = await scrape(fliqd)
        return seen if value(seen, "fliqd_queue_jobs", queue="default", state="running") == 1 else None

    metrics = await until(counted, "the job under way")
    shown = {sample.labels["queue"] for sample in metrics["fliqd_queue_jobs"].samples}
    assert shown == waits.keys()
    for name, number in waits.items():
        assert value(metrics, "fliqd_queue_jobs", queue=name, state="waiting") == number
    assert value(metrics, "fliqd_buffer_items", state="waiting") == 3


async def test_it_needs_a_token(fliqd: RunningDaemon) -> None:
    fliqd.token = None
    assert (await fliqd("GET", "/metrics")).status == 401


async def test_names_and_help_follow_the_rules(fliqd: RunningDaemon, target: Target) -> None:
    """What `promtool check metrics` looks at, and that labels come from closed lists."""
    job = await fliqd.create(url=target.url, delay=0)
    await fliqd.until(job["id"], "success")
    assert fliqd.daemon is not None
    await fliqd.daemon.beat()
    metrics = await scrape(fliqd)
    for name, family in metrics.items():
        assert re.fullmatch(r"(fliqd|process)(_[a-z]+)+", name), name
        assert family.documentation.strip().endswith("."), name
        assert family.type != "unknown", name
        words = name.split("_")
        assert not {"ms", "milliseconds", "minutes", "kb", "mb", "percent"} & set(words), name
        assert not {"counter", "gauge", "histogram", "summary"} & set(words), name
        names = {sample.name for sample in family.samples}
        if family.type == "counter":
            assert names <= {f"{name}_total"}, name
        elif family.type == "histogram":
            assert names == {name + suffix for suffix in SUFFIXES}, name
            assert family.samples[-3].labels == {"le": "+Inf"}, name
        else:
            assert not name.endswith(("_total", "_info" if name != "fliqd_build_info" else " ", *SUFFIXES)), name
        for sample in family.samples:
            assert sample.labels.keys() <= LABELS, name
            assert len({tuple(other.labels.items()) for other in family.samples if other.name == sample.name}) == len(
                [other for other in family.samples if other.name == sample.name]
            ), name


def named_in(text: str) -> set[str]:
    return set(re.findall(r"\b(?:fliqd|process)(?:_[a-z]+)+\b", text))


async def test_the_dashboard_and_the_page_speak_of_what_there_is(fliqd: RunningDaemon) -> None:
    metrics = await scrape(fliqd)
    there = {f"{name}_total" if family.type == "counter" else name for name, family in metrics.items()}
    dashboard = json.loads((ROOT / "packaging/grafana/fliqd.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(asked) > 20
    histograms = {
        name + suffix for name, family in metrics.items() if family.type == "histogram" for suffix in SUFFIXES
    }
    assert [name for name in named_in("\n".join(asked)) if name not in there | histograms] == []
    page = (ROOT / "docs/reference/metrics.md").read_text()
    assert named_in("\n".join(re.findall(r"`(.*?)`", page))) == there
    outside = {expr for expr in asked if expr.count("(") != expr.count(")") or expr.count("{") != expr.count("}")}
    assert outside == set()


@pytest.mark.parametrize("path", ["/metrics", "/v1/metrics"])
async def test_it_takes_no_parameters(fliqd: RunningDaemon, path: str) -> None:
    assert (await fliqd("GET", f"{path}?name=fliqd")).status == 400
