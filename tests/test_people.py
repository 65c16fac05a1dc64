import pytest

from tests.people import People


@pytest.mark.django_db
def test_an_outsider_belongs_to_another_tenant(people: People) -> None:
    assert not people.tenant.memberships.filter(user=people.outsider).exists()
    assert people.elsewhere.memberships.filter(user=people.outsider, role="owner").exists()
