"""The product's settings, plus the jobs that only tests have; for installations that a test starts."""

from llmadmin.settings import *  # noqa: F403
from llmadmin.settings import JOB_HANDLERS
from tests.jobs.handlers import HANDLERS

JOB_HANDLERS = {**JOB_HANDLERS, **HANDLERS}
