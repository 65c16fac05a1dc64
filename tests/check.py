"""What `make check` runs: lint, format, types, layers, templates, sizes, migrations. All of them, then the verdict."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import backend

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
MAX_LINES = 500


def commands() -> dict[str, list[str]]:
    pages = [str(page.relative_to(ROOT)) for page in sorted((ROOT / "templates").rglob("*.html"))]
    return {
        "ruff": [str(BIN / "ruff"), "check", "."],
        "ruff format": [str(BIN / "ruff"), "format", "--check", "."],
        "mypy": [str(BIN / "mypy")],
        "import-linter": [str(BIN / "lint-imports"), "--no-logo"],
        **({"djlint": [str(BIN / "djlint"), "--lint", "--quiet", *pages]} if pages else {}),
        "migrations": [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"],
        "system checks": [sys.executable, "manage.py", "check", "--fail-level", "ERROR"],
    }


def too_long() -> list[str]:
    """Python files over 500 lines, migrations aside: each is probably two."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    found = []
    for name in filter(None, listed):
        path = ROOT / name
        if "/migrations/" not in name and path.exists():
            lines = len(path.read_text().splitlines())
            if lines > MAX_LINES:
                found.append(f"{name}: {lines} lines, more than {MAX_LINES}")
    return found


def main() -> int:
    backend.prepare_environment()
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("REDIS_URL", None)
    failed = []
    for name, command in commands().items():
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(f"{'ok    ' if done.returncode == 0 else 'FAILED'} {name}", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout.rstrip(), flush=True)
    sizes = too_long()
    print("\n".join([f"{'FAILED' if sizes else 'ok    '} file sizes", *sizes]))
    return 1 if failed or sizes else 0


if __name__ == "__main__":
    sys.exit(main())
