"""The product's settings, plus the jobs that only tests have; for installations that a test starts."""

from llmadmin.settings import *  # noqa: F403
from llmadmin.settings import JOB_TYPES
from tests.jobs.handlers import TYPES

JOB_TYPES = {**JOB_TYPES, **TYPES}
