"""What the two envelopes say. RAGFlow's clients show these texts, and some compare them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import AppError
from providers.llm_types import LLMType
from tenants.services.llm_app.outcome import AccessFailed, Failure, MissingArguments, NotSupported
from tenants.services.tenant_llms import bare_name

KIND_NAMES = {
    LLMType.CHAT: "Chat",
    LLMType.EMBEDDING: "Embedding",
    LLMType.RERANK: "Re-rank",
    LLMType.IMAGE2TEXT: "Image to text",
    LLMType.SPEECH2TEXT: "Speech",
    LLMType.TTS: "TTS",
    LLMType.OCR: "OCR",
}


@dataclass(frozen=True, slots=True)
class Texts:
    """What one envelope says; the last two put an error into words."""

    unauthorized: str
    method_not_allowed: str
    missing: Callable[[MissingArguments], str]
    access_failed: Callable[[AccessFailed], str]

    def of(self, error: AppError) -> str:
        """The message for an error of the request or its data."""
        match error:
            case MissingArguments():
                return self.missing(error)
            case NotSupported():
                return not_supported(error)
            case AccessFailed():
                return self.access_failed(error)
        return with_fields(error)


def _seed_missing(error: MissingArguments) -> str:
    return f"Missing required parameter: {', '.join(error.names)}"


def _seed_access_failed(error: AccessFailed) -> str:
    """One line for each model that failed."""
    end = " using this api key." if error.keyed else "."
    lines = (f"Fail to access {_noun(item)}({bare_name(item.llm_name)}){end} {item.message}" for item in error.failures)
    return "\n".join(line.strip() for line in lines)


def _classic_missing(error: MissingArguments) -> str:
    return f"required argument are missing: {','.join(error.names)}; "


def _classic_access_failed(error: AccessFailed) -> str:
    """One line for each model that failed, each begun by a line break."""
    end = "." if error.adding else " using this api key."
    lines = []
    for item in error.failures:
        name = bare_name(item.llm_name)
        name = name if _is_embedding(item) else f"{error.factory}/{name}"
        lines.append(f"\nFail to access {_noun(item)}({name}){end} {item.message}".rstrip(" "))
    return "".join(lines)


def not_supported(error: NotSupported) -> str:
    name = "RE-rank" if error.adding and error.kind is LLMType.RERANK else KIND_NAMES[error.kind]
    return f"{name} model from {error.factory} is not supported yet."


def with_fields(error: AppError) -> str:
    """The message, what is wrong with each field, and what can be done."""
    details = [f"{name}: {' '.join(found)}" for name, found in error.fields.items() if name != "non_field_errors"]
    return " ".join(part for part in (error.message, *details, error.hint) if part)


def _is_embedding(item: Failure) -> bool:
    return item.model_type == LLMType.EMBEDDING


def _noun(item: Failure) -> str:
    return "embedding model" if _is_embedding(item) else "model"


SEED = Texts(
    unauthorized="Unauthorized",
    method_not_allowed="Method Not Allowed",
    missing=_seed_missing,
    access_failed=_seed_access_failed,
)
CLASSIC = Texts(
    unauthorized="<Unauthorized '401: Unauthorized'>",
    method_not_allowed="<MethodNotAllowed '405: Method Not Allowed'>",
    missing=_classic_missing,
    access_failed=_classic_access_failed,
)
