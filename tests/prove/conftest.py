"""Runs proofs in their short form, or with `PROVE=long` in the long one, and keeps what they saw."""

import os
from pathlib import Path

import pytest

from tests.prove import page
from tests.prove.disk import built
from tests.prove.proof import SHORT_SEED, Proof

LONG = os.environ.get("PROVE") == "long"
SEED = int(os.environ.get("PROVE_SEED") or SHORT_SEED)
SHARE = int(os.environ.get("PROVE_SHARE") or 100)
PROOFS = pytest.StashKey[dict[str, dict[str, Proof]]]()  # by module and test
DOCS = pytest.StashKey[dict[str, str]]()


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Proof:
    """How far this test goes, and where it tells what it saw."""
    name, module = getattr(request.node, "originalname", request.node.name), request.module.__name__.rpartition(".")[2]
    request.config.stash.setdefault(DOCS, {})[module] = request.module.__doc__ or ""
    proofs = request.config.stash.setdefault(PROOFS, {}).setdefault(module, {})
    figures = proofs[name].figures if name in proofs else {}
    proofs[name] = Proof(LONG, SEED, SHARE, request.node.name, figures)
    request.node.add_report_section("setup", "proof", f"PROVE={'long' if LONG else 'short'} PROVE_SEED={SEED}")
    return proofs[name]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk that keeps a diary, to be preloaded."""
    return built(tmp_path_factory.mktemp("disk"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell the figures of the long form, and write them to the page for each module in which nothing failed."""
    if not LONG:
        return
    reports = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
    failed = {report.nodeid.partition("::")[0] for report in reports}
    text = page.PAGE.read_text()
    for module, tests in sorted(config.stash.get(PROOFS, {}).items()):
        terminalreporter.write_sep("-", f"{page.words(module)} (seed {SEED})")
        rows = {test: str(seen) or "not tried on this machine" for test, seen in tests.items()}
        for test, seen in rows.items():
            terminalreporter.write_line(f"{page.words(test)}: {seen}")
        if f"tests/prove/{module}.py" in failed:
            terminalreporter.write_line("something failed: the page keeps what it says")
        else:
            text = page.replaced(text, module, page.section(module, config.stash[DOCS][module], rows, SEED, SHARE))
    page.PAGE.write_text(text)
