"""`manage.py rotate_secrets`: put every stored secret under the primary encryption key."""

from __future__ import annotations

import threading
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from core import env, keys
from core.audit import SYSTEM
from jobs.models import Job, JobState
from jobs.services import queue, runner
from tenants.services import rotation
from tenants.services.rotation import Survey

LOOK_EVERY_S = 0.2


class Command(BaseCommand):
    help = (
        "Re-encrypt every stored key with the first of the encryption keys. In order: --new-key (or put a new key in "
        "front of FIELD_ENCRYPTION_KEY), restart every process, rotate_secrets, --retire-old-keys, restart again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--dry-run", action="store_true", help="Say what would be done and change nothing.")
        what.add_argument("--new-key", action="store_true", help="Put a fresh key in front of those in DATA_DIR.")
        what.add_argument("--retire-old-keys", action="store_true", help="Forget all keys in DATA_DIR but the first.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["new_key"]:
            self.new_key()
        elif options["retire_old_keys"]:
            self.retire_old_keys()
        elif options["dry_run"]:
            self.report(rotation.survey(self.show), "would be rotated")
        else:
            self.rotate()

    def rotate(self) -> None:
        """Do the job in this process, or watch it where another process does."""
        job = rotation.prepare(actor=SYSTEM)
        while not job.is_finished:
            if job.state == JobState.PENDING:
                self.run_here(job)
            else:
                self.show(job.progress, job.message or "Another process is at it; waiting for it.")
                time.sleep(LOOK_EVERY_S)
            job = Job.objects.get(pk=job.pk)
            if not job.is_finished:
                job = rotation.take_over(job)
        if job.state != JobState.COMPLETED:
            error = job.error or {"message": f"It is {job.state}.", "hint": "Start it again: it goes on where it was."}
            raise CommandError(f"{error['message']} {error.get('hint', '')}")
        found = {name: job.result[name] for name in Survey.__dataclass_fields__}
        self.stdout.write(f"{job.result['rotated']} rotated.")
        self.report(Survey(**found), "still need an older key")

    def run_here(self, job: Job) -> None:
        def work() -> None:
            try:
                runner.run(job.pk)
            finally:
                connections.close_all()

        thread = threading.Thread(target=work, name="rotation")
        thread.start()
        try:
            while thread.is_alive():
                thread.join(LOOK_EVERY_S)
                seen = Job.objects.get(pk=job.pk)
                self.show(seen.progress, seen.message)
        except KeyboardInterrupt:
            queue.cancel(job, actor=SYSTEM)
            thread.join()
            raise CommandError("Stopped. Start it again: it does what is left.") from None

    def new_key(self) -> None:
        self.refuse_unless_stored()
        count = keys.add_field_key(settings.DATA_DIR)
        self.stdout.write(
            f"{settings.DATA_DIR / keys.FILE_NAME} has {count} encryption keys now, a fresh one first. Back it up, "
            "restart every process, then run: manage.py rotate_secrets"
        )

    def retire_old_keys(self) -> None:
        self.refuse_unless_stored()
        if keys.load_or_create(settings.DATA_DIR).field_encryption_keys != settings.FIELD_ENCRYPTION_KEY:
            raise CommandError("The keys have just been changed by somebody else. Start again.")
        found = rotation.survey(self.show)
        if found.stale:
            raise CommandError(f"{found.stale} rows still need an older key. Run first: manage.py rotate_secrets")
        gone = keys.retire_field_keys(settings.DATA_DIR)
        self.stdout.write(f"{gone} old keys are forgotten. Restart every process.")

    def refuse_unless_stored(self) -> None:
        if env.text("FIELD_ENCRYPTION_KEY"):
            raise CommandError(
                "The keys come from FIELD_ENCRYPTION_KEY, which this command cannot change: list the new key first and "
                "the old ones behind it, separated by commas."
            )

    def show(self, percent: int, message: str) -> None:
        line = f"{percent:3d} %  {message}"
        if message and line != getattr(self, "_shown", ""):
            self._shown = line
            self.stderr.write(line)

    def report(self, found: Survey, stale: str) -> None:
        for row in found.unreadable_rows:
            self.stdout.write(self.style.WARNING(f"No key decrypts {row}."))
        self.stdout.write(
            f"{found.current} under the primary key, {found.stale} {stale}, {found.unreadable} unreadable."
        )
        if len(settings.FIELD_ENCRYPTION_KEY) > 1 and not found.stale:
            self.stdout.write("The older keys are not needed any more.")
