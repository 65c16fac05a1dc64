"""`manage.py sweep_jobs`: what the scheduler does every ten seconds, by hand."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from jobs.services import sweeping


class Command(BaseCommand):
    help = "Give the jobs of dead workers to living ones, and send lost messages again."

    def handle(self, *args: Any, **options: Any) -> None:
        counts = sweeping.sweep()
        self.stdout.write(", ".join(f"{count} {what}" for what, count in counts.items()))
