"""Proofs: what docs/explanation/promises.md says, tried with faults, chance and time until it holds or breaks.

Each module here proves one promise, or one kind of fault. `make test` runs it in its short form, a few seconds with
a fixed seed; `make prove` in its long form, with a new seed each time, and writes what was seen to
`docs/reliability.md`.

To add a proof: write `test_<name>.py`. Its docstring is what the page says was tried, under the heading `<Name>`. Ask
for the fixture `proof`, and

    async def test_nothing_is_lost(proof: Proof, tmp_path: Path) -> None:
        for _ in range(proof.times(short=3, long=300)):
            ... proof.chance.random() ...
            proof.saw(kills=1, repeats=2)

`times` says how often, `chance` is all the chance there is, and `saw` adds to figures by their names, over all the
parameters of a test; a figure that is no number is a note. Each test is a row of the page, named as the test is.

    make prove                                              all of them, in their long form
    make prove ARGS="tests/prove/test_model.py" SEED=17     one of them again, with the seed that it told
    make prove SHARE=10                                     a tenth of it, on a slow machine; the page says so
"""
