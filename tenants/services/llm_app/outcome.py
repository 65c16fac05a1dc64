"""How a test that somebody waits for ends: it works, or one of these errors.

    InvalidInput
    ├── MissingArguments   names that the request must have
    ├── NotSupported       no wire format of ours has a call for that type of model
    └── AccessFailed       tested, and it does not work; one failure for each model that was called
    StillRunning           not finished in time: the job goes on

The doors put them into words; the texts differ from one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import InvalidInput, StillRunning
from jobs.models import Job, JobState
from jobs.services import queue
from providers import dialects
from providers.errors import Unsupported
from providers.llm_types import LLMType
from providers.models import LLMFactory
from providers.quirks import Quirks
from tenants.services.tenant_llms import bare_name


@dataclass(frozen=True, slots=True)
class Failure:
    llm_name: str
    model_type: str
    message: str


class MissingArguments(InvalidInput):
    default_code = "missing"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"Missing required parameter: {', '.join(names)}")
        self.names = list(names)


class NotSupported(InvalidInput):
    default_code = "unsupported"

    def __init__(self, factory: str, kind: LLMType, *, adding: bool) -> None:
        super().__init__(f"Model type {kind} of {factory} is not supported yet.")
        self.factory, self.kind, self.adding = factory, kind, adding


class AccessFailed(InvalidInput):
    default_code = "access_failed"

    def __init__(self, factory: str, failures: Sequence[Failure], *, adding: bool, keyed: bool) -> None:
        super().__init__(" ".join(failure.message for failure in failures))
        self.factory, self.failures, self.adding, self.keyed = factory, list(failures), adding, keyed


@dataclass(frozen=True, slots=True)
class Submitted:
    """A test under way, with what is needed to say how it ended."""

    job: Job
    factory: str
    adding: bool
    keyed: bool
    first: tuple[str, str]  # a model and its type, to speak of when no model was called


def settle(submitted: Submitted, *, wait_s: float) -> None:
    """Wait for the end; returns if the test passed, else raises AccessFailed, InvalidInput or StillRunning."""
    job = queue.wait(submitted.job.pk, timeout_s=wait_s)
    if not job.is_finished:
        raise StillRunning("The test is still running.", job_id=job.pk, hint="Poll the job for its verdict.")
    if job.state == JobState.COMPLETED and job.result.get("ok"):
        return
    if job.state == JobState.COMPLETED:
        found = [
            Failure(bare_name(item["llm_name"] or submitted.first[0]), item["model_type"], item["message"])
            for item in job.result.get("failures", [])
        ]
        name, kind = submitted.first
        whole = Failure(bare_name(name), kind, str(job.result.get("reason", "")))
        raise AccessFailed(submitted.factory, found or [whole], adding=submitted.adding, keyed=submitted.keyed)
    text = job.error.get("message") or f"The test ended as “{JobState(job.state).label.lower()}”."
    raise InvalidInput(str(text), hint=str(job.error.get("hint", "")), code="not_tested")


def check_supported(factory: LLMFactory, kinds: Sequence[str], *, adding: bool) -> None:
    """Raises NotSupported for the first type that the factory's wire format has no call for."""
    quirks = Quirks.from_data(factory.quirks)
    for kind in map(LLMType, kinds):
        try:
            dialects.for_type(kind, quirks.dialect_for(kind) or factory.dialect, quirks.uncallable)
        except Unsupported:
            raise NotSupported(factory.name, kind, adding=adding) from None
