"""Deepgram's transcription of recorded audio, which GreenPT speaks, too.

Sources: https://developers.deepgram.com/reference/speech-to-text/listen-pre-recorded and
https://docs.greenpt.ai/audio-prerecorded
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.deepgram import errors, transcription
from providers.wire import Operation

DIALECT: Dialect = ByOperation("deepgram", {Operation.TRANSCRIPTION: transcription}, errors.raise_for)
