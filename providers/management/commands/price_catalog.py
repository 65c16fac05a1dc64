"""manage.py price_catalog: brings the models' prices up to date with the installed genai-prices."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.errors import AppError
from providers.catalog.render import plain
from providers.management.acting import actor_named, add_user_argument
from providers.services import prices


class Command(BaseCommand):
    help = "Price the models that genai-prices knows; prices that somebody else gave are left alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--factory", default="", help="Only the models of this factory.")
        parser.add_argument("--dry-run", action="store_true", help="Show the changes and write nothing.")
        parser.add_argument("--json", action="store_true", help="Print one JSON document.")
        add_user_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = prices.refresh(
                actor=actor_named(options["user"]), factory=options["factory"], dry_run=options["dry_run"]
            )
        except AppError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps({**report.to_json(), "applied": not options["dry_run"]}))
            return
        for row in report.changed if options["verbosity"] > 0 else ():
            for one in row.fields:
                self.stdout.write(f"~ {row.name}: {one.field}: {_shown(one.old)} → {_shown(one.new)}")
        self.stdout.write(
            f"{prices.source()}: {len(report.changed)} changed, {report.unchanged} unchanged, "
            f"{report.unpriced} unpriced, {report.kept} kept"
            + (" (dry run: nothing was written)" if options["dry_run"] else "")
        )


def _shown(value: Any) -> str:
    return "unpriced" if value is None else json.dumps(plain(value)).strip('"')
