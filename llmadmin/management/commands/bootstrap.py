"""`manage.py bootstrap`: prepares an installation without starting it, for when the processes are started elsewhere."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from llmadmin.bootstrap import bootstrap, first_run_file


class Command(BaseCommand):
    help = "Migrate, load the catalogue, and make the first logins. Changes nothing that is there already."

    def handle(self, *args: Any, **options: Any) -> None:
        first = bootstrap(self.stdout.write)
        if first is None:
            self.stdout.write("Ready; people and tenants were there already.")
        else:
            self.stdout.write(f"Ready; the first logins are in {first_run_file()}.")
