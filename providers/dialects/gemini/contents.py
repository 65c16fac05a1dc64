"""A conversation in OpenAI's vocabulary as Gemini's system instruction and contents.

Thoughts come back only as their signatures, in `extra_content.google.thought_signature` of a tool call or a message, as
Google's own OpenAI-compatible endpoint has it.
Sources: https://ai.google.dev/api/caching#Content, https://ai.google.dev/gemini-api/docs/thought-signatures,
https://ai.google.dev/gemini-api/docs/file-input-methods, https://ai.google.dev/gemini-api/docs/function-calling
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from providers.dialects import vocabulary
from providers.dialects.bodies import loads
from providers.dialects.gemini.names import NAME
from providers.dialects.tools import calls
from providers.dialects.vocabulary import bad, each, put, unsupported

# Calls that came without an id get one that begins so; it is not sent back.
MADE_ID = "gemini_call_"
_KINDS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "pdf": "application/pdf",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
}
Part = dict[str, Any]


def conversation(payload: Mapping[str, Any]) -> tuple[list[Part], list[Part]]:
    """The parts of the system instruction, and the contents; what one role says in a row is one content."""
    system: list[Part] = []
    contents: list[Part] = []
    names: dict[str, str] = {}
    last = ""
    for message in vocabulary.messages(payload, NAME):
        role = message.get("role")
        if role in ("system", "developer"):
            system += each(message.get("content"), _text)
            continue
        if role == "user":
            if not (parts := each(message.get("content"), _user_part)):
                raise bad("A message of the user is empty.")
        elif role == "assistant":
            parts = _assistant(message, names)
        elif role == "tool":
            parts = [_result(message, names)]
        else:
            raise unsupported(f"a message of the role {role}", NAME)
        if contents and role == last:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": "model" if role == "assistant" else "user", "parts": parts})
            last = str(role)
    if not contents:
        raise bad("The request needs a message of the user.")
    return system, contents


def signature(holder: Mapping[str, Any]) -> str | None:
    """The signature of a thought that a message or a tool call carries."""
    extra = holder.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    found = google.get("thought_signature") if isinstance(google, Mapping) else None
    return found if isinstance(found, str) and found else None


def _text(part: Mapping[str, Any]) -> Part | None:
    if part["type"] not in ("text", "refusal"):
        raise unsupported(f"{part['type']} where only text can be", NAME)
    text = vocabulary.text_of(part)
    return {"text": text} if text else None


def _user_part(part: Mapping[str, Any]) -> Part | None:
    match part["type"]:
        case "text":
            return _text(part)
        case "image_url" | "video_url":
            return _at(vocabulary.url_in(part))
        case "input_audio":
            return _audio(part.get("input_audio"))
        case "file":
            _, kind, data = vocabulary.file_data(part, NAME)
            return _inline(kind, data)
    raise unsupported(f"{part['type']} in a message", NAME)


def _inline(kind: str, data: str) -> Part:
    return {"inlineData": {"mimeType": kind, "data": data}}


def _at(address: str) -> Part:
    if (data := vocabulary.data_url(address)) is not None:
        return _inline(*data)
    if not address.startswith("https://"):
        raise unsupported("a file that is neither a data URL nor at an https URL", NAME)
    try:
        ending = urlsplit(address).path.rpartition(".")[2].lower()
    except ValueError:
        raise bad("A part of a message has a malformed URL.") from None
    file = {"fileUri": address}
    put(file, mimeType=_KINDS.get(ending))
    return {"fileData": file}


def _audio(audio: Any) -> Part:
    data = audio.get("data") if isinstance(audio, Mapping) else None
    kind = audio.get("format") if isinstance(audio, Mapping) else None
    found = vocabulary.data_url(f"data:audio/{kind};base64,{data}") if data and isinstance(kind, str) else None
    if found is None:
        raise bad("A part of type input_audio needs data and format.")
    return _inline(*found)


def _assistant(message: Mapping[str, Any], names: dict[str, str]) -> list[Part]:
    """What was said, then what was called; `names` learns which call is of which function."""
    parts = each(message.get("content"), _text)
    if isinstance(refusal := message.get("refusal"), str) and refusal:
        parts.append({"text": refusal})
    if (signed := signature(message)) is not None:
        parts = parts or [{"text": ""}]
        parts[-1]["thoughtSignature"] = signed
    for call in calls(message):
        names[call.id] = call.name
        called: Part = {"name": call.name, "args": call.arguments}
        put(called, id=_own_id(call.id))
        part: Part = {"functionCall": called}
        put(part, thoughtSignature=signature(call.raw))
        parts.append(part)
    return parts


def _own_id(identity: str) -> str | None:
    return None if identity.startswith(MADE_ID) else identity


def _result(message: Mapping[str, Any], names: Mapping[str, str]) -> Part:
    identity = message.get("tool_call_id")
    if not isinstance(identity, str) or identity not in names:
        raise bad("The result of a tool has no tool_call_id of a call before it.")
    said: list[str] = []
    shown: list[Part] = []
    for part in each(message.get("content"), _user_part):
        if "text" in part:
            said.append(part["text"])
        elif "inlineData" in part:
            shown.append(part)
        else:
            raise unsupported("a file at a URL in the result of a tool", NAME)
    response: Part = {"name": names[identity], "response": _as_object("\n".join(said))}
    put(response, id=_own_id(identity), parts=shown)
    return {"functionResponse": response}


def _as_object(text: str) -> dict[str, Any]:
    """A result must be an object; one that is something else is put under "output", as Google suggests."""
    try:
        found = loads(text)
    except ValueError:
        found = text
    return found if isinstance(found, dict) else {"output": found}
