"""What a failure of the network means: an UpstreamError that says at which step it happened, and what to do about it.

Part of `providers.upstream`.
"""

from __future__ import annotations

import ssl

import aiohttp

from providers.errors import AddressBlocked, BadReply, BadRequest, TimedOut, Unreachable, UpstreamError, WrongURL
from providers.sockets import Blocked

UNSENT = ("dns", "connect", "tls")  # steps at which nothing has reached the upstream


def of(error: Exception, step: str, *, connect_timeout_s: float) -> UpstreamError:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, Blocked):
        return AddressBlocked(step="connect")
    if isinstance(error, TimeoutError):
        return connect_timed_out(step, connect_timeout_s) if step in UNSENT else timed_out(step, None)
    if isinstance(error, aiohttp.InvalidURL) or (
        step in UNSENT and isinstance(error, ValueError) and not isinstance(error, OSError)
    ):
        return wrong_url()
    if isinstance(error, aiohttp.ClientConnectorDNSError) or step == "dns":
        return Unreachable(
            "The host name of the base URL cannot be resolved.",
            hint="Check the base URL for a typing error.",
            step="dns",
        )
    if isinstance(error, aiohttp.ClientSSLError) or step == "tls":
        return _tls_failed(error)
    if step == "connect":
        return Unreachable(
            "The upstream does not accept connections.",
            hint="Check the host and port of the base URL, and that the server is running.",
            step="connect",
        )
    if isinstance(error, aiohttp.ClientPayloadError) or step == "body":
        return cut_off()
    if isinstance(error, aiohttp.ClientResponseError):
        return malformed("headers")
    if isinstance(error, ValueError):
        return unsendable()
    return hung_up(step)


def wrong_url() -> WrongURL:
    return WrongURL("The base URL is not one that can be called.", step="build")


def unsendable() -> BadRequest:
    """A method or header that HTTP has no place for."""
    return BadRequest("The request cannot be sent.", step="send")


def malformed(step: str) -> BadReply:
    """What came breaks the rules of HTTP, or our limits."""
    if step == "body":
        return BadReply(
            "The answer's body breaks the rules of HTTP.",
            hint="Try again; if it stays so, look at the server's log or at the proxy in front of it.",
            step="body",
        )
    return BadReply(
        "The upstream does not answer in HTTP, or its headers are malformed or too large.",
        hint="Check the scheme (http or https) and the port of the base URL.",
        step="headers",
    )


def cut_off() -> BadReply:
    return BadReply(
        "The answer was cut off before its end.",
        hint="Try again; if it stays so, look at the server's log or at the proxy in front of it.",
        step="body",
    )


def hung_up(step: str) -> Unreachable:
    return Unreachable(
        "The upstream closed the connection without an answer.",
        hint="Check the scheme (http or https) and the port of the base URL, and that the server is healthy.",
        step=step,
    )


def connect_timed_out(step: str, limit_s: float) -> TimedOut:
    """It could not be reached in time. A call that waits for others to end has not come to a step of its own yet."""
    if step == "queue":
        return TimedOut(
            f"The upstream was not asked: all connections to it were in use for {limit_s:g} s.",
            hint="Try again when fewer calls run at once.",
            step="connect",
        )
    what = {"dns": "resolving its host name", "connect": "connecting to it", "tls": "agreeing on TLS with it"}[step]
    return TimedOut(
        f"The upstream cannot be reached: {what} took longer than {limit_s:g} s.",
        hint="Check the host and port of the base URL; a firewall may be in between.",
        step=step,
    )


def timed_out(step: str, limit_s: float | None) -> TimedOut:
    """It was reached, and then too slow."""
    what = {"send": "did not take the request", "headers": "did not begin to answer"}.get(step, "did not finish")
    within = "in time" if limit_s is None else f"within {limit_s:g} s"
    return TimedOut(f"The upstream {what} {within}.", step=step)


def stalled(limit_s: float) -> TimedOut:
    """It began to answer, and then sent nothing more."""
    return TimedOut(f"The upstream's answer stalled: nothing came for {limit_s:g} s.", step="body")


def _tls_failed(error: Exception) -> Unreachable:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return Unreachable(
            "The upstream's TLS certificate is not trusted.",
            hint="It must be valid, for this host, and from a known authority; staff may lift this for local services.",
            step="tls",
        )
    return Unreachable(
        "TLS with the upstream failed.",
        hint="Check whether the base URL should begin with http:// instead, and the port.",
        step="tls",
    )
