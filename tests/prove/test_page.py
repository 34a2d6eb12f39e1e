"""The page keeps each module's section in its place."""

from tests.prove import page
from tests.prove.proof import Proof


def test_a_section_is_replaced_and_the_others_stay() -> None:
    text = "# Reliability\n\nWhat was tried.\n"
    for module in ("test_model", "test_power_cut", "test_model"):
        text = page.replaced(text, module, page.section(module, "Tried.", {"test_x": f"kills: {len(text)}"}, 1))
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Model", "## Power cut"]
    assert text.count("<!-- end of test_model -->") == 1
    assert "| X | kills: 30 |" not in text


def test_figures_add_up_and_notes_do_not() -> None:
    proof = Proof(long=True, seed=1)
    for _ in range(3):
        proof.saw(kills=500, on="tmpfs")
    assert str(proof) == "kills: 1 500, on: tmpfs"
