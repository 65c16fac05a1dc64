"""Whatever is asked of a job, in whatever order: it never comes into a state that it should not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as properties
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from core.audit import SYSTEM
from core.clock import now
from core.errors import Conflict, Unavailable
from jobs.models import FINISHED, Job, JobState
from jobs.services import queue, runner, sweeping
from jobs.services.context import JobCancelled, JobContext, JobSuspended, JobTimedOut

ALLOWED = {
    ("pending", "running"), ("pending", "suspended"), ("pending", "cancelled"),
    ("running", "completed"), ("running", "failed"), ("running", "cancelled"), ("running", "timed_out"),
    ("running", "pending"), ("running", "suspended"),
    ("suspended", "pending"), ("suspended", "cancelled"),
    ("failed", "pending"), ("cancelled", "pending"), ("timed_out", "pending"),
}  # fmt: skip
END: dict[str, Any] = {}


def handler(ctx: JobContext) -> dict[str, Any]:
    """Ends as the machine says."""
    for verb in END["meanwhile"]:
        job = Job.objects.get(pk=ctx.job_id)
        with suppress(Conflict):
            getattr(queue, verb)(job, actor=SYSTEM)
    if END["how"] == "heed":
        ctx.look()
        ctx.raise_if_cancelled()
    if END["how"] in RAISED:
        raise RAISED[END["how"]]()
    return {}


RAISED: dict[str, Callable[[], Exception]] = {
    "refuse": lambda: Conflict("No.", hint="Ask for something else."),
    "pass": lambda: Unavailable("Away.", hint="Wait."),
    "break": lambda: RuntimeError("broken"),
    "cancel": JobCancelled,
    "rest": JobSuspended,
    "late": JobTimedOut,
}
VERBS = ("cancel", "suspend", "resume", "retry")


class OneJob(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.job = queue.enqueue("stateful", params={}, actor=SYSTEM)
        self.last = str(self.job.state)

    def teardown(self) -> None:
        Job.objects.all().delete()

    def now(self) -> Job:
        return Job.objects.get(pk=self.job.pk)

    @rule(verb=st.sampled_from(VERBS))
    def ask(self, verb: str) -> None:
        before = self.now()
        try:
            after = getattr(queue, verb)(before, actor=SYSTEM)
        except Conflict as error:
            assert error.hint
            assert self.now().state == before.state
        else:
            assert after.state == self.now().state

    @rule(
        how=st.sampled_from(["return", "heed", *RAISED]),
        meanwhile=st.lists(st.sampled_from(VERBS), max_size=3),
    )
    def work(self, how: str, meanwhile: list[str]) -> None:
        END.update(how=how, meanwhile=meanwhile)
        Job.objects.filter(state=JobState.PENDING).update(run_after=None)
        before = self.now()
        assert runner.run(self.job.pk) == (before.state == JobState.PENDING)
        if before.state == JobState.PENDING:
            self.last = "running"

    @precondition(lambda self: self.last == "pending")
    @rule(attempts=st.integers(1, 3), asked=st.booleans())
    def die(self, attempts: int, asked: bool) -> None:
        """A worker takes the job and is never heard of again."""
        long_ago = now() - timedelta(minutes=5)
        taken = {"state": JobState.RUNNING, "lease": "dead", "heartbeat_at": long_ago, "started_at": long_ago}
        Job.objects.filter(pk=self.job.pk).update(**taken, attempts=attempts)
        if asked:
            queue.suspend(self.now(), actor=SYSTEM)
        self.last = "running"
        sweeping.sweep()

    @invariant()
    def it_makes_sense(self) -> None:
        job = self.now()
        assert job.state == self.last or (self.last, job.state) in ALLOWED, (self.last, job.state)
        self.last = str(job.state)
        assert job.state != JobState.RUNNING, "nobody is at it"
        assert job.lease == ""
        assert (job.finished_at is not None) == (job.state in FINISHED)
        assert job.attempts <= job.max_attempts
        assert 0 <= job.progress <= 100
        if job.state in (JobState.PENDING, JobState.SUSPENDED):
            assert job.cancel_requested_at is None and job.suspend_requested_at is None
        if job.state in (JobState.FAILED, JobState.TIMED_OUT):
            assert job.error["code"] and job.error["hint"]


@pytest.mark.django_db
def test_no_order_of_requests_and_ends_leads_to_an_impossible_state(settings: Any) -> None:
    entry = {"handler": f"{__name__}.handler", "suspendable": True}
    settings.JOB_TYPES = {**settings.JOB_TYPES, "stateful": entry}
    run_state_machine_as_test(
        OneJob,
        settings=properties(
            max_examples=60, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
