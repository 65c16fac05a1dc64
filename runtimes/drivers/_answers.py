"""Answers of runtimes: the object that a success holds, or the error that anything else stands for.

Whatever shape an error has is understood: {"error": "text"}, {"error": {…}}, {"detail": …}, {message, code, type},
plain text, nothing at all.
"""

from __future__ import annotations

from providers.dialects.bodies import load_object
from providers.dialects.failures import classify
from providers.errors import ModelNotFound, Overloaded, UpstreamError, WrongURL
from runtimes.drivers._json import Object, text
from runtimes.drivers.steps import Answer


def document(answer: Answer, *, model: str = "") -> Object:
    """The JSON object of a successful answer; raises UpstreamError for any other."""
    expect(answer, model=model)
    return load_object(answer.headers, answer.body)


def expect(answer: Answer, *, model: str = "") -> Answer:
    """The answer, if it is a success; raises UpstreamError.

    `model`: what was asked about. A 404 that does not say that the path is unknown then means the model.
    """
    if answer.ok:
        return answer
    raise refusal(answer, model=model)


def refusal(answer: Answer, *, model: str = "") -> UpstreamError:
    """The error that an answer which is no success stands for."""
    error = classify(answer.status, answer.headers, answer.body)
    if model and isinstance(error, WrongURL) and answer.status == 404:
        return unknown_model(model, detail=error.detail)
    return error


def unknown_model(name: str, *, detail: str = "") -> ModelNotFound:
    return ModelNotFound(
        f"The runtime has no model “{text(name, 100)}”.",
        hint="Look the service's models up anew, and check the name.",
        step="status",
        upstream_status=404,
        detail=detail,
    )


def still_in_memory() -> Overloaded:
    return Overloaded(
        "The runtime was told to unload the model, and still has it in memory.",
        hint="A call that is running keeps it there; look again when it is over.",
        step="status",
    )
