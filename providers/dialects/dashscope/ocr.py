"""Reading a picture by the Qwen-OCR models, which have built-in tasks, or by another model that sees, which is asked.

Source: https://www.alibabacloud.com/help/en/model-studio/qwen-vl-ocr-api-reference
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from providers.dialects.base import json_request
from providers.dialects.bodies import load_object, unexpected
from providers.dialects.dashscope import paths
from providers.dialects.dashscope.errors import output
from providers.dialects.dashscope.transcription import chosen_text
from providers.dialects.documents import FIELDS, read_upload
from providers.dialects.vocabulary import bad, put, refuse_others, unsupported
from providers.errors import BadReply
from providers.target import Target
from providers.wire import Document, Operation, UpstreamRequest

TASKS = (
    *("text_recognition", "advanced_recognition", "document_parsing", "table_parsing", "formula_recognition"),
    *("key_information_extraction", "multi_lan"),
)
MAX_BASE64_BYTES = 10 * 1024 * 1024
_PIXELS = ("min_pixels", "max_pixels", "enable_rotate")
_BUILT_IN = re.compile(r"^qwen-vl-ocr(?:-|$)", re.I)
_ASK = "Transcribe this page as Markdown. Answer with nothing but its text, in the order in which it is read."
_FENCED = re.compile(r"\s*```[\w\-]*\n(.*?)\n?```\s*", re.S)


def build(payload: Mapping[str, Any], target: Target) -> UpstreamRequest:
    """`task` is one of TASKS, text_recognition if none is given; key_information_extraction fills in a `result_schema`.

    `document_parsing` answers in LaTeX and `table_parsing` in HTML. A model without tasks answers in Markdown.
    `min_pixels`, `max_pixels` and `enable_rotate` are passed on.
    """
    asked = target.quirks.apply_params(Operation.OCR, payload)
    refuse_others(asked, {*FIELDS, *_PIXELS, "task", "result_schema"}, "dashscope")
    upload = read_upload(asked)
    if upload.is_pdf:
        raise unsupported("a PDF; a picture of each page can be read", "dashscope")
    if len(upload.base64) > MAX_BASE64_BYTES:
        raise bad("The picture is too large: 10 MB is the most, in Base64.")
    picture: dict[str, Any] = {"image": f"data:{upload.media_type};base64,{upload.base64}"}
    put(picture, **{name: asked.get(name) for name in _PIXELS})
    task, schema = asked.get("task"), asked.get("result_schema")
    body: dict[str, Any] = {"model": target.upstream_model}
    if _BUILT_IN.match(target.upstream_model):
        if task is not None and task not in TASKS:
            raise bad(f"The task is none of {', '.join(TASKS)}.")
        options: dict[str, Any] = {"task": task or TASKS[0]}
        put(options, task_config={"result_schema": schema} if schema else None)
        body |= {"input": _said(picture), "parameters": {"ocr_options": options}}
    else:
        if task is not None or schema is not None:
            raise unsupported("a task for a model that has none", "dashscope")
        body |= {"input": _said(picture, {"text": _ASK})}
    return json_request(paths.url(target, Operation.OCR, paths.GENERATION), body)


def _said(*content: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content)}]}


def parse(headers: Mapping[str, str], body: bytes) -> Document:
    data = load_object(headers, body)
    found = output(data, headers, body)
    text = chosen_text(found)
    if text is None:
        raise unexpected("The answer holds no text.", headers, body)
    if found["choices"][0].get("finish_reason") == "length":
        raise BadReply(
            "The page holds more text than the model writes in one answer.", hint="Send a part of it.", step="parse"
        )
    fenced = _FENCED.fullmatch(text)
    usage = data.get("usage")
    return Document([fenced.group(1) if fenced else text.strip()], usage if isinstance(usage, dict) else None)
