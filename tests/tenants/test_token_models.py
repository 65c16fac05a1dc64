"""Which models a token may call: patterns, and that a token made with a token never may call more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.audit import Actor
from core.errors import AppError, Forbidden, InvalidInput
from tenants.models import ApiToken, AuditEvent
from tenants.services import tokens
from tenants.services.tokens import allows
from tests.people import People, actor_of


@pytest.mark.parametrize(
    ("patterns", "name", "allowed"),
    [
        ([], "gpt-4o@OpenAI", True),
        ([], "", True),
        (["*"], "gpt-4o@OpenAI", True),
        (["*"], "fast", True),
        (["gpt-4o@OpenAI"], "gpt-4o@OpenAI", True),
        (["gpt-4o@OpenAI"], "gpt-4o@Azure-OpenAI", False),
        (["gpt-4o@OpenAI"], "gpt-4o", False),
        (["*@OpenAI"], "gpt-4o@OpenAI", True),
        (["*@OpenAI"], "gpt-4o@Azure-OpenAI", False),
        (["*@OpenAI"], "gpt-4o@OpenAI@LM-Studio", False),
        (["*@OpenAI"], "fast", False),
        (["gpt-*@OpenAI"], "o3@OpenAI", False),
        (["fast"], "fast", True),
        (["fast"], "faster", False),
        (["fast"], "Fast", False),
        (["gpt-4o"], "gpt-4o@OpenAI", True),
        (["gpt-4o"], "gpt-4o@Azure-OpenAI", True),
        (["gpt-4o"], "gpt-4o-mini@OpenAI", False),
        (["gpt-4*"], "gpt-4o-mini@OpenAI", True),
        (["*OpenAI"], "gpt-4o@OpenAI", True),
        (["m@q8_0"], "m@q8_0@LM-Studio", False),
        (["m@q8_0@LM-Studio"], "m@q8_0@LM-Studio", True),
        (["a", "b"], "b@X", True),
        (["a*a"], "a", False),
        (["a*a"], "aa", True),
        (["*a*b*"], "xaxbx", True),
        (["*a*b*"], "ba", False),
        (["gpt-4."], "gpt-4o", False),
        (["[a-z]"], "a", False),
    ],
)
def test_a_pattern_allows(patterns: list[str], name: str, allowed: bool) -> None:
    assert allows(patterns, name) is allowed


def test_long_patterns_and_names_take_no_long_time() -> None:
    assert not allows(["*a" * 150], "a" * 149 + "b")
    assert allows(["*a" * 150], "a" * 150)


# --- Tokens ---------------------------------------------------------------------------------------------------------


def created(people: People, *models: str, parent: ApiToken | None = None) -> ApiToken:
    maker = actor_of(people.owner)
    if parent is not None:
        maker = Actor(user_id=people.owner.pk, token_id=parent.pk, label="token")
    token, _ = tokens.create(tenant=people.tenant, name="App", scopes=["write", "invoke"], models=models, actor=maker)
    return ApiToken.objects.get(pk=token.pk)


@pytest.mark.django_db
def test_a_token_is_restricted_to_what_it_was_made_for(people: People) -> None:
    assert created(people).allowed_models == []
    token = created(people, " *@OpenAI ", "fast", "fast")
    assert token.allowed_models == ["*@OpenAI", "fast"]
    assert AuditEvent.objects.latest("id").detail["models"] == ["*@OpenAI", "fast"]


@pytest.mark.django_db
@pytest.mark.parametrize("models", [[""], [" "], ["a\0"], ["x" * 301], [f"m{number}" for number in range(101)]])
def test_what_names_no_model_is_refused(people: People, models: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        created(people, *models)
    assert list(caught.value.fields) == ["models"]
    assert not ApiToken.objects.exists()


@pytest.mark.django_db
def test_a_token_made_with_a_token_may_call_no_more(people: People) -> None:
    parent = created(people, "*@OpenAI", "gpt-*", "fast")
    assert created(people, parent=parent).allowed_models == ["*@OpenAI", "gpt-*", "fast"]
    narrower = ("gpt-4o@OpenAI", "gpt-4*", "gpt-4o@Azure-OpenAI", "gpt-*@*", "fast")
    assert tuple(created(people, *narrower, parent=parent).allowed_models) == narrower
    for wider in ("*", "*@Azure-OpenAI", "o3", "slow", "fas*", "*t", "fast@*", "*-4o@Azure-OpenAI"):
        with pytest.raises(Forbidden, match="models"):
            created(people, "fast", wider, parent=parent)


@pytest.mark.django_db
def test_a_token_made_with_an_unrestricted_token_may_be_restricted(people: People) -> None:
    assert created(people, "x*@Y", parent=created(people)).allowed_models == ["x*@Y"]


LETTERS = st.sampled_from("ab@*")
PATTERNS = st.text(LETTERS, min_size=1, max_size=5)
LIMITS = st.lists(PATTERNS, min_size=1, max_size=3)


@given(LIMITS, PATTERNS, st.lists(st.text(st.sampled_from("ab@"), max_size=3), min_size=6, max_size=6))
def test_what_a_narrower_pattern_allows_the_wider_ones_allow(limits: list[str], pattern: str, texts: list[str]) -> None:
    try:
        tokens.within(limits, [pattern])
    except AppError:
        return
    first, *rest = pattern.split("*")
    name = first + "".join(text + piece for text, piece in zip(texts, rest, strict=False))
    for full in (name, f"{name}@a", f"{name}@b@a"):
        if allows([pattern], full):
            assert allows(limits, full)


@given(PATTERNS)
def test_a_pattern_is_within_itself_and_within_everything(pattern: str) -> None:
    assert tokens.within([pattern], [pattern]) == tokens.within([], [pattern]) == tokens.within(["*"], [pattern])
