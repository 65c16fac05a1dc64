"""`manage.py usage_check`: prove the books, and put them right."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from datetime import date, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from core.clock import now
from core.errors import AppError
from providers.management.acting import actor_named, add_user_argument
from usage.flusher import QUARANTINE
from usage.segments import SUFFIX
from usage.services import checking

SHOWN = 100


class Command(BaseCommand):
    help = (
        "Recompute the daily sums from the records of the calls, and the models' used tokens from the sums, and say "
        "what differs (exit status 1). With --repair, the sums become what the records say."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="first", type=_day, help="The first day (UTC); six days ago if not given.")
        parser.add_argument("--to", dest="last", type=_day, help="The last day, included; today if not given.")
        parser.add_argument("--repair", action="store_true", help="Put right what differs.")
        add_user_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        last = options["last"] or now().date()
        first = options["first"] or last - timedelta(days=6)
        try:
            report = checking.check(
                first=first, last=last, repair=options["repair"], actor=actor_named(options["user"])
            )
        except AppError as error:
            raise CommandError(str(error)) from error
        for difference in report.differences[:SHOWN]:
            self.stdout.write(difference.what)
            for name, booked in difference.booked.items():
                self.stdout.write(f"    {name}: booked {booked}, should be {difference.recomputed[name]}")
        if len(report.differences) > SHOWN:
            self.stdout.write(f"… and {len(report.differences) - SHOWN} more")
        self.stdout.write(
            f"{report.days} days with {report.records} calls and {report.models} models checked: "
            f"{len(report.differences)} differences{' repaired' if report.repaired and report.differences else ''}."
        )
        self._say_what_waits()
        if report.differences and not report.repaired:
            sys.exit(1)

    def _say_what_waits(self) -> None:
        """What is not in the books, on this machine."""
        folder = settings.USAGE_SPOOL_DIR
        waiting = sum(path.stat().st_size for path in folder.glob(f"*{SUFFIX}"))
        aside = sum(path.read_bytes().count(b"\n") for path in (folder / QUARANTINE).glob("*"))
        if waiting:
            self.stdout.write(f"{waiting} bytes of records wait in {folder}.")
        if aside:
            self.stdout.write(f"{aside} lines were put aside in {folder / QUARANTINE}: see docs/usage.md.")


def _day(text: str) -> date:
    return date.fromisoformat(text)
