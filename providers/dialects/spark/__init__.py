"""iFlytek's speech over a WebSocket. Its chats are called in OpenAI's format.

Source: https://www.xfyun.cn/doc/tts/online_tts/API.html
"""

from __future__ import annotations

from providers.dialects.base import ByOperation, Dialect
from providers.dialects.spark import errors, speech
from providers.wire import Operation

DIALECT: Dialect = ByOperation("spark", {Operation.SPEECH: speech}, errors.raise_for)
