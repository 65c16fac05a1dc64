"""manage.py export_catalog: writes the catalogue as a fixture that import_catalog and loaddata read."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from core.errors import AppError
from providers.services import catalog


class Command(BaseCommand):
    help = "Write the catalogue as JSON, in an order that makes good diffs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--factory", default="", help="Only this factory and its models.")
        parser.add_argument(
            "--output",
            default="-",
            help="A file, - for standard output, or an existing directory: one file per factory.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        target = Path(options["output"])
        try:
            if options["output"] != "-" and target.is_dir():
                texts = catalog.export_files(options["factory"])
            else:
                texts = {"": catalog.export(options["factory"])}
        except AppError as error:
            raise CommandError(str(error)) from error
        if options["output"] == "-":
            self.stdout.write(texts[""], ending="")
            return
        try:
            for name, text in texts.items():
                (target / name if name else target).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.") from error
