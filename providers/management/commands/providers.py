"""manage.py providers: which factory can be called for which model type, and why not where it cannot."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from providers.services import matrix

COLUMNS = ("factory", "model type", "models", "dialect", "operation", "signer", "")


class Command(BaseCommand):
    help = "Print the factory × model type matrix of the catalogue: the wire format, operation and signer of each cell."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--fixtures", action="store_true", help="The shipped catalogue instead of the database's.")
        parser.add_argument("--json", action="store_true", help="Print one JSON document.")

    def handle(self, *args: Any, **options: Any) -> None:
        cells = matrix.from_fixtures() if options["fixtures"] else matrix.from_database()
        if options["json"]:
            self.stdout.write(json.dumps([cell.as_data() for cell in cells], indent=2, ensure_ascii=False))
            return
        lines = [COLUMNS, *(_line(cell) for cell in cells)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(COLUMNS))]
        for line in lines:
            self.stdout.write("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        works = sum(cell.callable for cell in cells)
        self.stdout.write(f"{works} of {len(cells)} can be called.")


def _line(cell: matrix.Cell) -> tuple[str, ...]:
    head = (cell.factory, cell.model_type.value, str(cell.models))
    return (*head, cell.dialect, cell.operation.value, cell.signer, cell.problem)
