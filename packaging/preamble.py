"""Runs inside fliqd.pyz before fliqd: a service removes what earlier versions have unpacked into its own cache."""

import os
import shutil
import sys
from pathlib import Path

# Only where the cache is the service's alone: in a home, another daemon may run from what an older file has unpacked.
if sys.argv[1:2] == ["serve"] and os.environ.get("SHIV_ROOT"):
    ours = Path(site_packages).parent  # type: ignore[name-defined]  # noqa: F821 -- shiv's
    for other in ours.parent.glob("fliqd*_*"):
        if other.is_dir() and other != ours:
            shutil.rmtree(other, ignore_errors=True)
