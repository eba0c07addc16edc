"""The JSON API against its own description: what it says of itself is what it answers, also to nonsense."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from monitor.web.openapi import document
from tests.web.dash import Dash, dash, report

EXAMPLES = 8
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
API = schemathesis.openapi.from_dict(document(token=False))


@pytest.fixture(scope="module")
def served() -> Iterator[Dash]:
    with dash([report(1, 10**6), report(2, None), report(3, 0), report(4, 29 * 10**5)]) as made:
        yield made


@API.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_those_of_the_description(case: schemathesis.Case[Any], served: Dash) -> None:
    case.call_and_validate(base_url=f"http://127.0.0.1:{served.port}", checks=CHECKS)
    assert served.said == [], "no page failed"


def test_every_position_is_as_described(served: Dash) -> None:
    """What generated ids hardly ever meet."""
    operations = {path: API[path]["GET"] for path in document(token=False)["paths"] if "{id}" in path}
    assert len(operations) == 4
    for one in json.loads(served.ask("/api/v1/positions")[2])["positions"]:
        for operation in operations.values():
            case = operation.Case(path_parameters={"id": one["id"]})
            case.call_and_validate(base_url=f"http://127.0.0.1:{served.port}", checks=CHECKS)
