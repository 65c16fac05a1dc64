"""The job that brings the catalogue up to date with the fixtures that this release came with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings

from jobs.services.context import JobContext
from providers.catalog import formats
from providers.services import catalog


def run_job(ctx: JobContext) -> dict[str, Any]:
    """Imports CATALOG_DIR: `overwrite` an operator's edits, `retire` what the fixtures do not have any more."""
    files = sorted(Path(settings.CATALOG_DIR).glob("*.json"))
    ctx.progress(5, "Reading the fixtures")
    parsed = formats.merged([formats.parse(file.read_bytes()) for file in files])
    ctx.raise_if_cancelled()
    ctx.progress(40, "Comparing")
    diff = catalog.preview(parsed, overwrite=ctx.params["overwrite"], retire=ctx.params["retire"])
    ctx.raise_if_cancelled()
    ctx.progress(60, "Writing")
    applied = catalog.apply(diff, actor=ctx.actor, reason="fixtures")
    return {"files": len(files), **applied.summary}
