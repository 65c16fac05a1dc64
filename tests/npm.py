"""Third parties' programs that come from npm: installed once a machine, in a private folder outside the project."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def installed(name: str, version: str) -> Path:
    """The folder that the package is installed in; skips the test, with the reason, where that cannot be."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip(f"npm and node are not installed: {name} cannot be")
    folder = Path(tempfile.gettempdir()) / f"llmadmin-{name.rpartition('/')[2]}-{version}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        pytest.skip(f"{folder} belongs to somebody else")
    package = folder / "node_modules" / name
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes come here at once
        if not (package / "package.json").exists():
            command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run([*command, f"{name}@{version}"], capture_output=True, text=True, timeout=180)
            if done.returncode:
                pytest.skip(f"npm could not install {name}: {done.stderr.strip()[-300:]}")
    return package
