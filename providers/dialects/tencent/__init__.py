"""Tencent Cloud's speech recognition: short audio in one call, longer audio as a task that is asked for.

Sources: https://cloud.tencent.com/document/api/1093/35646 (一句话识别) and …/37823, …/37822 (录音文件识别)
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.tencent import errors, transcription
from providers.wire import Operation

DIALECT: Dialect = ByOperation("tencent", {Operation.TRANSCRIPTION: transcription}, errors.raise_for)
