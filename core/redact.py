"""Takes keys out of texts that somebody may read: errors, hints, logs.

Two nets: the secrets that were in play are removed wherever they stand, in every spelling a vendor may echo them in;
and what looks like a key is removed even when nobody told us of it. It rather removes too much than too little.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "[redacted]"
CUT = "…"  # where a text that was too long ends
_SHORTEST = 4  # "x" and "key" are dummies, and removing them would garble every text
_WORDLIKE = 8  # a shorter secret is removed only where it stands alone

_HEX = re.compile(r"%[0-9A-F]{2}")
_VALUE = r"[^\s\"'`,;&<>(){}\[\]\\]"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.S), MASK),
    (re.compile(r"(?i)\b(bearer|basic|token)(\s+)(?!\[redacted)[\w\-.~+/=*]{8,}"), rf"\1\2{MASK}"),
    # user:password@ and the query of a URL
    (re.compile(r"(?i)\b([a-z][a-z0-9+.\-]{1,15}://)[^\s/@?#\"'<>]{1,256}@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)\b(https?://[^\s?\"'<>]{1,1024})\?[^\s\"'<>]+"), rf"\1?{MASK}"),
    # named values: api_key=…, "x-api-key": "…", Authorization: …, API key provided: …
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization|(?:[a-z0-9]{1,20}[_-]){0,3}(?:api[_ -]?key|apikey|secret|password|passwd|"
            r"access[_-]?token|secret[_-]?key|access[_-]?key|private[_-]?key|client[_-]?secret)(?:[_-][a-z0-9]{1,20})?"
            r"(?: provided| used| given| is)?)"
            rf"([\"']?\s{{0,4}}[:=]\s{{0,4}}[\"']?)(?!\[redacted){_VALUE}{{4,}}"
        ),
        rf"\1\2{MASK}",
    ),
    (re.compile(r"(?i)([?&](?:key|token|sig|signature|code)=)[^\s&\"'<>]+"), rf"\1{MASK}"),
    # the shapes of vendors' keys
    (
        re.compile(
            r"\b(?:sk|pk|rk|gsk|xai|nvapi|pplx|tgp|fw|hf|r8|csk|ghp|github_pat|glpat|fc|tvly|pa|AIza|ya29)"
            r"[_\-.][\w\-.*]{8,}|\bAIza[\w\-]{20,}|\b(?:hf|r8|jina|gsk)_\w{8,}|\bA[KS]IA[0-9A-Z]{12,}|\bLTAI\w{12,}"
            r"|\bAKID\w{12,}|\blla_[\w\-]{16,}|\beyJ[\w\-]{8,}\.[\w\-]{4,}(?:\.[\w\-]*)?|\bgAAAA[\w\-=]{40,}"
        ),
        MASK,
    ),
)


def redact(text: str, *, secrets: Iterable[str] = ()) -> str:
    """`text` without the given secrets and without anything that looks like a key."""
    for spelling in sorted({s for secret in secrets for s in _spellings(secret)}, key=len, reverse=True):
        if len(spelling) >= _WORDLIKE:
            text = _without_what_was_cut(text.replace(spelling, MASK), spelling)
        else:
            text = re.sub(rf"(?<!\w){re.escape(spelling)}(?!\w)", MASK, text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _without_what_was_cut(text: str, spelling: str) -> str:
    """Texts are shortened before they come here: what is left of a secret right before a “…” goes, too."""
    if CUT in text:
        for length in range(min(len(spelling) - 1, len(text)), _SHORTEST - 1, -1):
            if spelling[:length] + CUT in text:
                return text.replace(spelling[:length] + CUT, MASK + CUT)
    return text


def _spellings(secret: str) -> set[str]:
    """The secret as it stands, in URLs (however much of it is quoted there), inside JSON, in HTML, and in Base64."""
    if len(secret) < _SHORTEST:
        return set()
    raw = secret.encode("utf-8", "surrogatepass")
    quoted = {quote(raw, safe=""), quote(raw, safe="/"), quote_plus(raw), quote(raw, safe="/:@!$&'()*+,;=")}
    inside_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    in_html = {html.escape(secret, quote=False), html.escape(secret), html.escape(secret).replace("&#x27;", "&#39;")}
    return {
        secret,
        *quoted,
        *(_HEX.sub(lambda found: found[0].lower(), one) for one in quoted),
        *inside_json,
        *(one.replace("/", "\\/") for one in inside_json),
        *in_html,
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    }
