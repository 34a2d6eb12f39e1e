"""Where references of the configuration file are looked up."""

import os
from pathlib import Path

import pytest

from fliqd.references import lookup_in


def test_what_is_no_text_is_said_where_it_stands(tmp_path: Path) -> None:
    """Bytes of another encoding, as Python keeps them in `os.environ`, or as a file has them."""
    file = tmp_path / "secret"
    file.write_bytes(b"caf\xe9\n")
    lookup = lookup_in({"OLD": os.fsdecode(b"caf\xe9"), "NEW": "café"})
    assert lookup("env", "NEW") == "café"
    with pytest.raises(ValueError, match="OLD in the environment is not UTF-8"):
        lookup("env", "OLD")
    with pytest.raises(ValueError, match="secret is not UTF-8"):
        lookup("file", str(file))
